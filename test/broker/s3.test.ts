/** Archives in a bucket: the way of a record, faults on it, and what a stop and a start keep. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Kafka as KafkaJs, logLevel } from "kafkajs";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, brokerBin, startBroker, until } from "../support/broker-process.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import {
  accessKey,
  type S3Server,
  s3SkipReason,
  secretKey,
  startS3,
} from "../support/s3-server.ts";
import { Kafka } from "./kafka.ts";

interface IntegrityStatus {
  readonly run: { readonly finished_at: string | null } | null;
}

const isCi = process.env["CI"] === "true";

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

describe.skipIf(s3SkipReason !== null)("with a bucket", () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let broker: BrokerProcess;

  const s3Environment = () => ({
    OBJECT_STORE_BACKEND: "s3",
    S3_ENDPOINT: proxy.endpoint,
    S3_REGION: "us-east-1",
    S3_BUCKET: server.bucket,
    S3_ACCESS_KEY: accessKey,
    S3_SECRET_KEY: secretKey,
    S3_PREFIX: "cluster-a",
  });
  /** Patience for tests; nothing cached, so that every cold read asks the store. */
  const args = [
    ["--wal-indexing-interval", "1"],
    ["-X", "min_segment_age_secs=0"],
    ["-X", "wal.segment_bytes_max=1MiB"],
    ["-X", "object_store.attempt_timeout_ms=1000"],
    ["-X", "object_store.read_timeout_ms=3000"],
    ["-X", "object_store.write_timeout_ms=3000"],
    ["-X", "limits.tail_cache_bytes_max=0"],
    ["-X", "limits.chunk_cache_bytes_max=0"],
    ["-X", "cache.max_bytes=0"],
    ["-X", "indexer.merge_archives=false"],
    ["-X", "backup.interval=1"],
  ].flat();

  const client = () =>
    new KafkaJs({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING, clientId: "s3-test" });

  async function produce(topic: string, from: number, to: number): Promise<void> {
    const producer = client().producer();
    await producer.connect();
    for (let first = from; first < to; first += 100) {
      const messages = Array.from({ length: Math.min(100, to - first) }, (_, i) => ({
        key: `k${first + i}`,
        value: `value ${first + i} ${"x".repeat(200)}`,
      }));
      await producer.send({ topic, messages, acks: -1 });
    }
    await producer.disconnect();
  }

  async function consume(topic: string, count: number): Promise<string[]> {
    const consumer = client().consumer({ groupId: `g-${crypto.randomUUID()}` });
    const keys: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        keys.push(message.key?.toString() ?? "");
      },
    });
    await until(`${count} records of ${topic}`, 60_000, () => keys.length >= count);
    await consumer.disconnect();
    return keys;
  }

  const expected = (count: number) => Array.from({ length: count }, (_, i) => `k${i}`);
  const reads = () => proxy.seen.filter(({ path }) => /tantivy_indexes.*x-id=GetObject/.test(path));

  beforeAll(async () => {
    server = await startS3();
    proxy = await FaultProxy.start(server.endpoint);
    broker = await startBroker({ args, env: s3Environment() });
  }, 600_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test("produced, archived, released, read from 0, and again after a restart", async () => {
    await produce("way", 0, 6_000);
    await untilAllArchived(broker);
    const folder = join(server.folder, server.bucket, "cluster-a/tantivy_indexes/way/partition-0");
    expect(readdirSync(folder).some((name) => name.endsWith(".tar.gz"))).toBe(true);
    expect(readdirSync(broker.dataDir)).not.toContain("tantivy_indexes");
    expect(await consume("way", 6_000)).toEqual(expected(6_000));
    await broker.restart();
    expect(await consume("way", 6_000)).toEqual(expected(6_000));
    await produce("way", 6_000, 6_500);
    expect(await consume("way", 6_500)).toEqual(expected(6_500));
  }, 180_000);

  test("a cold fetch reads table of contents and chunk, a warmer one less", async () => {
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("gets");
    await kafka.append("gets", 0, ["a", "b"]);
    await untilAllArchived(broker);
    await broker.restart();
    const again = await Kafka.connect(broker.kafkaPort);
    proxy.will();
    const ask = [{ partition: 0, offset: 0 }];
    const [answer] = await again.fetchOnce("gets", ask, { maxBytes: 1 });
    expect(answer?.records?.length).toBeGreaterThan(0);
    expect(reads()).toHaveLength(2);
    await again.fetchOnce("gets", ask, { maxBytes: 1 });
    expect(reads()).toHaveLength(3);
    kafka.close();
    again.close();
  }, 90_000);

  test("what cannot be read is a storage error of its own offsets, and heals", async () => {
    const kafka = await Kafka.connect(broker.kafkaPort);
    for (const topic of ["lost", "found"]) {
      await kafka.createTopic(topic);
      await kafka.append(topic, 0, ["one", "two"]);
    }
    await untilAllArchived(broker);
    await kafka.append("lost", 0, ["three"]);
    const faults = [
      { status: 503, code: "SlowDown" },
      { status: 404, code: "NoSuchKey" },
      { status: 403, code: "AccessDenied" },
      "stall",
      "reset-body",
      "short",
      "flip",
    ] as const;
    for (const kind of faults) {
      proxy.will({ kind, method: "GET", path: /tantivy_indexes\/lost\// });
      const ask = [{ partition: 0, offset: 0 }];
      let [cold] = await kafka.fetchOnce("lost", ask);
      // What is still tried is left out of the answers until it is given up.
      for (let i = 0; cold?.errorCode === 0 && i < 20; i++) {
        expect(cold.records?.length ?? 0).toBe(0);
        [cold] = await kafka.fetchOnce("lost", ask);
      }
      expect([kind, cold?.errorCode]).toEqual([kind, ErrorCode.KAFKA_STORAGE_ERROR]);
      expect(cold?.records?.length ?? 0).toBe(0);
      const [tail] = await kafka.fetchOnce("lost", [{ partition: 0, offset: 2 }]);
      expect(tail?.errorCode).toBe(0);
      const [other] = await kafka.fetchOnce("found", [{ partition: 0, offset: 0 }]);
      expect([kind, other?.errorCode]).toEqual([kind, 0]);
      expect(other?.records?.length).toBeGreaterThan(0);
      proxy.will();
      await until(`it heals after ${JSON.stringify(kind)}`, 30_000, async () => {
        const [healed] = await kafka.fetchOnce("lost", [{ partition: 0, offset: 0 }]);
        if (healed?.errorCode === 0) return (healed.records?.length ?? 0) > 0;
        // A check of its own may have met the fault twice, and taken the archive out of use.
        await fetch(`${broker.adminUrl}/admin/integrity/run?deep=true`, { method: "POST" });
        return false;
      });
    }
    kafka.close();
  }, 120_000);

  test("a deep run reads every archive in the bucket, and finds the one that is gone", async () => {
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("checked");
    await kafka.append("checked", 0, ["one", "two"]);
    await untilAllArchived(broker);
    const total = (await registrySegments(broker)).length;
    const run = async () => {
      // One that another test asked for may still go on: it is not joined.
      await until("a run of its own begins", 60_000, async () => {
        const url = `${broker.adminUrl}/admin/integrity/run?deep=true`;
        return (await fetch(url, { method: "POST" })).status === 202;
      });
      let status: IntegrityStatus | null = null;
      await until("the run ends", 60_000, async () => {
        const response = await fetch(`${broker.adminUrl}/admin/integrity`);
        status = (await response.json()) as IntegrityStatus;
        return status.run?.finished_at != null;
      });
      return status as IntegrityStatus | null;
    };
    const sound = { checked: total, damaged: 0, unchecked: 0 };
    expect(await run()).toMatchObject({ run: sound, findings: [] });
    const gone = (await registrySegments(broker)).find(({ topic }) => topic === "checked");
    rmSync(join(server.folder, server.bucket, "cluster-a", gone?.key ?? "none"));
    const findings = [{ topic: "checked", partition: 0, first_offset: 0, last_offset: 1 }];
    expect(await run()).toMatchObject({ run: { damaged: 1 }, quarantined: 1, findings });
    kafka.close();
  }, 120_000);

  test("a store that is away keeps records in the WAL, and nobody from producing", async () => {
    proxy.will({ kind: { status: 503, code: "SlowDown" } });
    await produce("away", 0, 500);
    await fetch(`${broker.adminUrl}/admin/indexer/run`, { method: "POST" });
    expect((await registrySegments(broker)).some(({ topic }) => topic === "away")).toBe(false);
    expect(await consume("away", 500)).toEqual(expected(500));
    // A start does not wait for it either, nor does a stop.
    const stoppingMs = performance.now();
    expect(await broker.stop()).toBe(0);
    expect(performance.now() - stoppingMs).toBeLessThan(15_000);
    await broker.restart();
    expect(await consume("away", 500)).toEqual(expected(500));
    proxy.will();
    await untilAllArchived(broker);
    expect(await consume("away", 500)).toEqual(expected(500));
  }, 180_000);

  test("a put whose answer is lost is stored once and adopted", async () => {
    proxy.will({ kind: "lose-answer", method: "PUT", path: /tantivy_indexes\/twice\//, times: 1 });
    await produce("twice", 0, 200);
    await untilAllArchived(broker);
    const segments = (await registrySegments(broker)).filter(({ topic }) => topic === "twice");
    const folder = join(
      server.folder,
      server.bucket,
      "cluster-a/tantivy_indexes/twice/partition-0",
    );
    expect(readdirSync(folder).sort()).toEqual(
      segments.map(({ key }) => key.replace(/^.*\//, "")).sort(),
    );
    expect(await consume("twice", 200)).toEqual(expected(200));
  }, 90_000);

  test("a deleted topic's objects go", async () => {
    await produce("doomed", 0, 200);
    await untilAllArchived(broker);
    const admin = client().admin();
    await admin.connect();
    await admin.deleteTopics({ topics: ["doomed"] });
    await admin.disconnect();
    const folder = join(server.folder, server.bucket, "cluster-a/tantivy_indexes/doomed");
    await until("its objects are gone", 30_000, () => {
      try {
        return readdirSync(folder, { recursive: true }).every((name) => !`${name}`.endsWith(".gz"));
      } catch {
        return true; // not even a folder
      }
    });
  }, 90_000);

  test("no secret is told by log, admin API, DescribeConfigs or chronik config", async () => {
    const admin = client().admin();
    await admin.connect();
    const configs = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: 4, name: "1" }],
    });
    await admin.disconnect();
    const pages = ["/metrics", "/admin/topics", "/admin/indexer/stats", "/admin/wal/status"];
    const told = await Promise.all(
      pages.map(async (page) => await (await fetch(`${broker.adminUrl}${page}`)).text()),
    );
    const shown = Bun.spawnSync([...command(), "config"], { env: environment() });
    const everything = [JSON.stringify(configs), broker.log(), ...told, `${shown.stdout}`].join();
    expect(everything).not.toContain(secretKey);
    expect(`${shown.stdout}`).toContain("object_store.secret_key is given and not shown");
    const typed = Bun.spawnSync([...command(), "-X", "object_store.secret_key=abc-shown"]);
    expect(typed.exitCode).toBe(2);
    expect(`${typed.stderr}`).not.toContain("abc-shown");
  }, 30_000);

  test("chronik store check", () => {
    const check = (env: Record<string, string | undefined>) =>
      Bun.spawnSync([...command(), "store", "check"], { env });
    const good = check(environment());
    expect(`${good.stdout}${good.stderr}`).toContain("the object store can be used");
    expect(good.exitCode).toBe(0);
    const { S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, ...bare } = environment();
    const aws = { AWS_ACCESS_KEY_ID: S3_ACCESS_KEY, AWS_SECRET_ACCESS_KEY: S3_SECRET_KEY };
    const byAws = check({ ...bare, ...aws, AWS_REGION: S3_REGION });
    expect([`${byAws.stderr}`, byAws.exitCode]).toEqual(["", 0]);
    const nobody = { ...bare, AWS_EC2_METADATA_DISABLED: "true", HOME: broker.dataDir };
    const without = check(nobody);
    expect(`${without.stdout}`).toContain("FAILED put");
    expect(`${without.stdout}`).toContain("give object_store.access_key");
    expect(without.exitCode).toBe(1);
    const wrong = check({ ...environment(), S3_SECRET_KEY: "not-this-one" });
    expect(`${wrong.stdout}`).toContain("check object_store.access_key");
    expect(`${wrong.stdout}`).not.toContain("not-this-one");
    const lost = check({ ...environment(), S3_BUCKET: "no-such-bucket" });
    expect(`${lost.stdout}`).toContain("create the bucket");
  }, 60_000);

  const environment = () => ({ ...process.env, ...s3Environment(), S3_ENDPOINT: server.endpoint });
  const command = () => (brokerBin.endsWith(".ts") ? [process.execPath, brokerBin] : [brokerBin]);
});
