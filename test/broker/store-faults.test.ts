/**
 * Every way a store can fail, or be late, with a broker in front of it: producing goes on,
 * archiving waits and resumes, readers of the WAL notice nothing, cold readers are told and
 * recover, nothing leaves the WAL before its archive is verified, and in the end registry, bucket
 * and producers agree.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { registrySegments, untilAllArchived, walPartitions } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { type FaultKind, FaultProxy } from "../support/fault-proxy.ts";
import { runRestore } from "../support/restore-process.ts";
import { type S3Server, s3SkipReason, startS3 } from "../support/s3-server.ts";
import { Kafka } from "./kafka.ts";
import {
  checkStore,
  checkTopic,
  hurriedStoreArgs,
  s3Environment,
  s3Folder,
  Writer,
} from "./store-scene.ts";

const isCi = process.env["CI"] === "true";

const faults: Readonly<Record<string, FaultKind>> = {
  "error-500": { status: 500, code: "InternalError" },
  "error-503": { status: 503, code: "SlowDown" },
  "error-429": { status: 429, code: "TooManyRequests" },
  "error-403": { status: 403, code: "AccessDenied" },
  refuse: "refuse",
  stall: "stall",
  "reset-body": "reset-body",
  "stall-body": "stall-body",
  short: "short",
  flip: "flip",
  "other-range": "other-range",
  "flip-request": "flip-request",
  "lose-answer": "lose-answer",
};
const names = Object.keys(faults);
/** What an archive's upload and verification do not meet: its requests are of no range, and what
 * else they change is not there. Reads of ranges meet all of them but the last. */
const harmlessToPuts: readonly string[] = ["other-range"];
const harmlessToReads: readonly string[] = ["flip-request"];

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

/** Answers without records, half a second each, before a reader has waited long enough. */
const emptiesMax = 40;

describe.skipIf(s3SkipReason !== null)("a broker over a faulty store", () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let broker: BrokerProcess;
  let kafka: Kafka;

  beforeAll(async () => {
    server = await startS3();
    proxy = await FaultProxy.start(server.endpoint);
    const parallel = ["-X", "parallel_indexing=true", "-X", "max_concurrent_tasks=16"];
    const backups = ["-X", "backup.interval=1"];
    broker = await startBroker({
      args: [...hurriedStoreArgs, ...parallel, ...backups],
      env: s3Environment(proxy.endpoint, server.bucket),
    });
  }, 600_000);
  beforeEach(async () => {
    proxy.will();
    kafka?.close();
    kafka = await Kafka.connect(broker.kafkaPort);
  });
  afterAll(async () => {
    kafka?.close();
    await broker?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** A topic for each fault, which befalls all requests for its objects. */
  const topicOf = (stem: string, fault: string) => `${stem}-${fault}`;
  const befall = (stem: string) =>
    proxy.will(
      ...names.map((fault) => ({
        kind: faults[fault] as FaultKind,
        path: new RegExp(`tantivy_indexes/${topicOf(stem, fault)}/`),
      })),
    );
  async function writersOf(stem: string): Promise<Map<string, Writer>> {
    const writers = new Map<string, Writer>();
    for (const fault of names) {
      await kafka.createTopic(topicOf(stem, fault));
      writers.set(fault, new Writer(topicOf(stem, fault)));
    }
    return writers;
  }
  /** What the beginning of a topic is answered with: what is still tried is left out until then. */
  async function fetchAnswered(reader: Kafka, topic: string) {
    for (let empties = 0; ; empties++) {
      const [answer] = await reader.fetchOnce(topic, [{ partition: 0, offset: 0 }]);
      const isEmpty = answer?.errorCode === 0 && (answer.records?.length ?? 0) === 0;
      if (!isEmpty || empties === emptiesMax) return answer;
    }
  }
  const runIndexer = () => fetch(`${broker.adminUrl}/admin/indexer/run`, { method: "POST" });
  const archived = async (topic: string) =>
    (await registrySegments(broker)).filter((segment) => segment.topic === topic);
  async function integrityReport() {
    const url = `${broker.adminUrl}/admin/integrity`;
    await fetch(`${url}/run?deep=false`, { method: "POST" });
    type Report = {
      quarantined: number;
      run: { finished_at: string | null } | null;
      orphans: { list: { key: string }[] };
    };
    const report = async () => (await (await fetch(url)).json()) as Report;
    await until("the run ends", 30_000, async () => (await report()).run?.finished_at != null);
    return report();
  }
  const firstInWal = async (topic: string) => {
    const partition = (await walPartitions(broker)).find((one) => one.topic === topic);
    return (partition?.segments[0] as { base_offset?: number } | undefined)?.base_offset ?? null;
  };

  test("faults on the way to an archive: its WAL stays until it is verified", async () => {
    const writers = await writersOf("put");
    befall("put");
    for (const writer of writers.values()) await writer.write(kafka, 20);
    await runIndexer();
    // A second round over the first one's leavings, while more is produced.
    const second = runIndexer();
    for (const writer of writers.values()) await writer.write(kafka, 20);
    await second;
    for (const [fault, { acked }] of writers) {
      const topic = topicOf("put", fault);
      expect([fault, acked.length]).toEqual([fault, 40]);
      await checkTopic(broker, topic, acked);
      if (harmlessToPuts.includes(fault)) continue;
      expect([fault, await archived(topic), await firstInWal(topic)]).toEqual([fault, [], 0]);
    }
    const befell = new Set(proxy.seen.map((request) => JSON.stringify(request.fault)));
    for (const kind of Object.values(faults)) expect(befell).toContain(JSON.stringify(kind));
    proxy.will();
    await untilAllArchived(broker);
    for (const [fault, { acked }] of writers) {
      await checkTopic(broker, topicOf("put", fault), acked);
    }
    const topics = names.map((fault) => topicOf("put", fault));
    await checkStore(broker, server, topics);
  }, 90_000);

  test("faults on cold reads: told to who reads there, and over when they are", async () => {
    const writers = await writersOf("get");
    await kafka.createTopic("sound");
    const sound = new Writer("sound");
    for (const writer of [...writers.values(), sound]) await writer.write(kafka, 10);
    await untilAllArchived(broker);
    befall("get");
    for (const writer of writers.values()) await writer.write(kafka, 5);
    const answers = names.map(async (fault) => {
      const reader = await Kafka.connect(broker.kafkaPort);
      const cold = await fetchAnswered(reader, topicOf("get", fault));
      reader.close();
      return [fault, cold?.errorCode, cold?.records?.length ?? 0] as const;
    });
    // Meanwhile readers of sound archives and of the WAL get theirs.
    await checkTopic(broker, "sound", sound.acked);
    for (const fault of names) {
      const [tail] = await kafka.fetchOnce(topicOf("get", fault), [{ partition: 0, offset: 10 }]);
      expect([fault, tail?.errorCode, (tail?.records?.length ?? 0) > 0]).toEqual([fault, 0, true]);
    }
    const harmful = names.filter((fault) => !harmlessToReads.includes(fault));
    for (const [fault, errorCode, bytes] of await Promise.all(answers)) {
      if (!harmful.includes(fault)) continue;
      // Never taken for an end: consumers would wait there, or start anew somewhere else.
      expect([fault, errorCode, bytes]).toEqual([fault, ErrorCode.KAFKA_STORAGE_ERROR, 0]);
    }
    proxy.will();
    for (const [fault, { acked }] of writers) {
      await checkTopic(broker, topicOf("get", fault), acked);
    }
  }, 90_000);

  test("an object that rots before it is verified is replaced by another", async () => {
    await kafka.createTopic("rotten");
    const writer = new Writer("rotten");
    proxy.will({ kind: "stall", method: "GET", path: /tantivy_indexes\/rotten\// });
    await writer.write(kafka, 20);
    const folder = join(s3Folder(server), "tantivy_indexes/rotten/partition-0");
    await until(
      "an archive is put",
      20_000,
      () => existsSync(folder) && readdirSync(folder).length > 0,
    );
    const [name = ""] = readdirSync(folder).filter((each) => each.endsWith(".tar.gz"));
    const path = join(folder, name);
    const bytes = readFileSync(path);
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    // In place: what the server keeps beside the bytes stays.
    const file = openSync(path, "r+");
    writeSync(file, bytes, 0, bytes.length, 0);
    closeSync(file);
    expect(await archived("rotten")).toEqual([]);
    proxy.will();
    await untilAllArchived(broker);
    const stem = name.replace(".tar.gz", "");
    const [entry] = (await archived("rotten")).filter(({ key }) => key.includes(`${stem}.`));
    expect(entry?.key).toMatch(/\.g1-[0-9a-f]{8}\.tar\.gz$/);
    await checkTopic(broker, "rotten", writer.acked);
  }, 60_000);

  test("faults that pass: each befalls the store twice, and nobody is told", async () => {
    const writers = await writersOf("once");
    const passing = names.filter((fault) => fault !== "error-403");
    const few = () =>
      proxy.will(
        ...passing.map((fault) => ({
          kind: faults[fault] as FaultKind,
          path: new RegExp(`tantivy_indexes/${topicOf("once", fault)}/`),
          times: 2,
        })),
      );
    few();
    for (const writer of writers.values()) await writer.write(kafka, 10);
    await untilAllArchived(broker);
    await checkStore(
      broker,
      server,
      names.map((fault) => topicOf("once", fault)),
    );
    for (const [fault, { acked }] of writers) {
      await checkTopic(broker, topicOf("once", fault), acked);
    }
  }, 90_000);

  test("lists that are stale: nothing is missed, and nothing deleted that is needed", async () => {
    const writer = new Writer("listed");
    const doomed = new Writer("doomed");
    for (const topic of ["listed", "doomed"]) await kafka.createTopic(topic);
    await writer.write(kafka, 20);
    await doomed.write(kafka, 20);
    await untilAllArchived(broker);
    await broker.restart();
    kafka.close();
    kafka = await Kafka.connect(broker.kafkaPort);
    proxy.will({ kind: "stale-list", method: "GET", path: /list-type=2/ });
    const doomedKeys = (await archived("doomed")).map(({ key }) => key);
    await writer.write(kafka, 20);
    await untilAllArchived(broker);
    await kafka.deleteTopic("doomed");
    // The next life looks for backups in that listing; deletions wait for the next of them.
    await broker.restart();
    kafka.close();
    kafka = await Kafka.connect(broker.kafkaPort);
    await until("the deleted topic's objects are gone", 60_000, () =>
      doomedKeys.every((key) => !existsSync(join(s3Folder(server), key))),
    );
    const report = await integrityReport();
    expect(report.quarantined).toBe(0);
    // Late about what is there, and at worst about what is gone.
    const left = report.orphans.list.map(({ key }) => key);
    expect(left.filter((key) => existsSync(join(s3Folder(server), key)))).toEqual([]);
    expect(left).toEqual(expect.arrayContaining(doomedKeys));
    await checkTopic(broker, "listed", writer.acked);
    await checkStore(broker, server, ["listed"]);
    expect(await broker.stop()).toBe(0);
    const environment = s3Environment(proxy.endpoint, server.bucket);
    const dataDir = mkdtempSync(join(tmpdir(), "chronik-stale-"));
    const { code, out, err } = await runRestore(["--data-dir", dataDir], environment);
    expect([code, err]).toEqual([0, ""]);
    const manifests = readdirSync(s3Folder(server), { recursive: true, encoding: "utf8" })
      .filter((path) => path.includes("/manifests/"))
      .sort();
    const newest = Number(/(\d{16})/.exec(manifests.at(-1) ?? "")?.[1]);
    expect(newest).toBeGreaterThan(0);
    expect(out).toContain(`backup ${newest} of cluster`);
    expect(out).toContain("0 offsets known at");
    const env = environment;
    const args = [...hurriedStoreArgs];
    await using restored = await startBroker({ dataDir, args, env });
    await checkTopic(restored, "listed", writer.acked);
    expect(await restored.stop()).toBe(0);
    rmSync(dataDir, { recursive: true });
    await broker.restart();
  }, 120_000);

  test("a store that is down: producing and tailing go on, and all catches up", async () => {
    await kafka.createTopic("down");
    const writer = new Writer("down", { valueBytes: 20_000 });
    await writer.write(kafka, 100);
    await untilAllArchived(broker);
    const early = writer.acked.length;
    proxy.will({ kind: "refuse" });
    const failures = () => broker.log().match(/indexer step failed/g)?.length ?? 0;
    const before = failures();
    let isDown = true;
    const producing = writer.write(kafka, 4_000, () => !isDown);
    await until("archiving gave up more than once", 30_000, () => failures() > before + 2);
    isDown = false;
    await producing;
    const [tail] = await kafka.fetchOnce("down", [{ partition: 0, offset: early }]);
    expect([tail?.errorCode, (tail?.records?.length ?? 0) > 0]).toEqual([0, true]);
    const cold = await fetchAnswered(kafka, "down");
    expect(cold?.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(await firstInWal("down")).toBe(early);
    await broker.restart();
    kafka.close();
    kafka = await Kafka.connect(broker.kafkaPort);
    expect(await firstInWal("down")).toBe(early);
    await writer.write(kafka, 50);
    proxy.will();
    await untilAllArchived(broker);
    await checkTopic(broker, "down", writer.acked);
    await checkStore(broker, server, ["down"]);
    expect(await firstInWal("down")).toBeNull();
  }, 90_000);
});
