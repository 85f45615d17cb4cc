/**
 * kill -9 at the points between the steps of the tiers: put, verify, register, release, and what
 * rewrites, retention, deletion and caches do. After each start everything acknowledged is read
 * back, or what the topic's rules leave of it, and registry and store agree.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { pending, unannouncedMoment, within } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { accessKey, s3SkipReason, secretKey, startS3 } from "../support/s3-server.ts";
import { brokerPoints } from "./points.ts";
import { Scene } from "./scene.ts";
import {
  ColdReads,
  CompactedTopic,
  PassingTopics,
  registryAgreesWithStore,
  type SideLoad,
  type StoreReport,
  TrimmedTopic,
} from "./tier-scene.ts";

/** By default as many as a CI run has time for; with 50 every point is killed at twice. */
const cycles = Number(process.env["CHRONIK_TIER_CYCLES"] ?? 10);
const localCycles = Math.ceil(cycles * 0.6);
const bucketCycles = cycles - localCycles;
const isCi = process.env["CI"] === "true";
const bin = process.env["CHRONIK_TEST_BIN"] ?? join(import.meta.dir, "../../dist/chronik-test");
const killed = 128 + 9;
/** How long a point may take to be passed. */
const passMsMax = 30_000;

/** Points that no running broker passes. */
const notReached: Readonly<Record<string, string>> = {
  "restore-registry": "of chronik restore; test/backup/crash.test.ts kills there",
  "restore-partitions": "of chronik restore; test/backup/crash.test.ts kills there",
  "restore-metadata": "of chronik restore; test/backup/crash.test.ts kills there",
  "restore-built": "of chronik restore; test/backup/crash.test.ts kills there",
  "restore-moved": "of chronik restore; test/backup/crash.test.ts kills there",
};
/** Points that a broker passes only where its archives are in a bucket. */
const ofBuckets: readonly string[] = ["backup-put", "cache-write"];

/** One start in this many is killed before it is done, so that recovery is killed too. */
const killedStartEvery = 4;

/** Archives are merged, compacted, dropped and read all the time. */
const args = [
  ...busyTierArgs,
  ["-X", "indexer.archive_bytes_max=4MiB"],
  ["-X", "limits.tail_cache_bytes_max=0"],
  ["-X", "limits.chunk_cache_bytes_max=0"],
  ["-X", "log.retention.check.interval.ms=300"],
  ["-X", "log.initial.task.delay.ms=0"],
  ["-X", "cache.max_bytes=16MiB"],
  ["-X", "backup.interval=1"],
].flat();

test("there are points, and those not reached exist", () => {
  const points = [...brokerPoints().keys()];
  expect(points).toEqual(expect.arrayContaining(["verify", "register", "registered", "release"]));
  expect(points).toEqual(expect.arrayContaining([...Object.keys(notReached), ...ofBuckets]));
});

test(
  `tiers agree with what was acknowledged over ${localCycles} kills`,
  async () => {
    await using broker = await startBroker({ bin, args });
    const random = Random.from("CHRONIK_CRASH_SEED");
    const points = reached().filter((name) => !ofBuckets.includes(name));
    await killInTurn(broker, broker.dataDir, shuffled(points, random), localCycles, random);
  },
  90_000 + localCycles * 40_000,
);

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

test.skipIf(s3SkipReason !== null)(
  `and with a bucket over ${bucketCycles} kills`,
  async () => {
    await using server = await startS3();
    const env = {
      OBJECT_STORE_BACKEND: "s3",
      S3_ENDPOINT: server.endpoint,
      S3_REGION: "us-east-1",
      S3_BUCKET: server.bucket,
      S3_ACCESS_KEY: accessKey,
      S3_SECRET_KEY: secretKey,
    };
    await using broker = await startBroker({ bin, args, env });
    const random = Random.from("CHRONIK_CRASH_SEED");
    const others = reached().filter((name) => !ofBuckets.includes(name));
    const order = [...ofBuckets, ...shuffled(others, random)];
    const objects = join(server.folder, server.bucket);
    await killInTurn(broker, objects, order, bucketCycles, random);
  },
  300_000 + bucketCycles * 40_000,
);

function reached(): string[] {
  return [...brokerPoints().keys()].filter((name) => !(name in notReached));
}

/** Kills at one point after the other under load; after each start everything is looked at. */
async function killInTurn(
  broker: BrokerProcess,
  objects: string,
  order: readonly string[],
  count: number,
  random: Random,
): Promise<void> {
  const topics = [{ name: "kept", partitions: 2, configs: { "retention.ms": "-1" } }];
  const targets = [0, 1].map((partition) => [{ topic: "kept", partition }]);
  const scene = await Scene.begin(broker, topics, targets);
  const loads = await beginLoads(broker);
  const kills: string[] = [];
  let rewrites = 0;
  let merging = 0;
  for (let cycle = 0; cycle < count; cycle++) {
    const point = order[cycle % order.length] ?? "";
    // Later rounds kill at later passes too.
    const pass = cycle < order.length ? 1 : random.between(1, 3);
    if (point.startsWith("rewrite-")) {
      const round = Math.floor(cycle / order.length);
      const merges = (rewrites++ + round) % 2 === 0;
      await letCompact(broker, !merges);
      if (merges) merging++;
    }
    await killAt(broker, point, pass, loads);
    kills.push(point);
    if (random.between(1, killedStartEvery) === 1) {
      broker.spawn();
      await unannouncedMoment(random, 20, 250);
      await broker.kill9();
    }
    await broker.restart();
    await scene.checkAll();
    await checkLoads(broker, loads, kills);
    await registryAgreesWithStore(broker, objects);
  }
  await scene.pause();
  await scene.repeatLast();
  await untilAllArchived(broker);
  await scene.checkAll();
  await checkLoads(broker, loads, kills);
  const report = await untilQuiet(broker, objects);
  // A short run may end before anything was due to be rewritten.
  if (count >= order.length) expect(report.rewritten).toBeGreaterThan(0);
  console.log(
    `${count} kills at ${new Set(kills).size} points, ${merging} of them in merges and ` +
      `${rewrites - merging} in compactions, ${scene.acked.count} batches acknowledged, ` +
      `${report.entries} archives, ${report.rewritten} of them of others`,
  );
}

/** A rewrite is a compaction's nearly always where there are some. */
async function letCompact(broker: BrokerProcess, allowed: boolean): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  const { "min.cleanable.dirty.ratio": ratio } = CompactedTopic.configs;
  const configs = { "min.cleanable.dirty.ratio": allowed ? ratio : "1" };
  await kafka.alterTopic(CompactedTopic.topic, configs);
  kafka.close();
}

async function beginLoads(broker: BrokerProcess): Promise<SideLoad[]> {
  const trimmed = new TrimmedTopic();
  const compacted = new CompactedTopic();
  const setup = await Kafka.connect(broker.kafkaPort);
  await setup.createTopic(trimmed.topic, 1, TrimmedTopic.configs);
  await setup.createTopic(compacted.topic, 1, CompactedTopic.configs);
  setup.close();
  const cold = new ColdReads(["kept", trimmed.topic, compacted.topic]);
  return [trimmed, compacted, cold, new PassingTopics(broker.adminUrl)];
}

async function killAt(
  broker: BrokerProcess,
  point: string,
  pass: number,
  loads: readonly SideLoad[],
): Promise<void> {
  await broker.kill9();
  broker.spawn({ CHRONIK_FP: `${point}=kill:${pass}` });
  const working = Promise.all(loads.map((load) => workOn(broker, load)));
  const ended = within(passMsMax, broker.exited());
  // A load that fails ends the wait.
  const code = await Promise.race([ended, working.then(() => ended)]);
  if (code === pending) throw new Error(`${point} is not passed:\n${tailOf(broker)}`);
  expect([point, code]).toEqual([point, killed]);
  expect(broker.log().slice(-2000)).toContain(`fault point ${point}`);
  await working;
}

/** Whatever was killed: what has no entry is deleted, or adopted under the name it was put by. */
async function untilQuiet(running: BrokerProcess, objects: string): Promise<StoreReport> {
  let report = await registryAgreesWithStore(running, objects);
  try {
    await until(
      "no object is without an entry",
      60_000,
      async () => {
        report = await registryAgreesWithStore(running, objects);
        return report.unnamed.length === 0;
      },
      200,
    );
  } catch (error) {
    throw new Error(`${error}: ${report.unnamed.join(", ")}`);
  }
  return report;
}

async function workOn(running: BrokerProcess, load: SideLoad): Promise<void> {
  let kafka: Kafka | null = null;
  await until("the broker takes connections, or is gone again", passMsMax, async () => {
    kafka = await Kafka.connect(running.kafkaPort).catch(() => null);
    return kafka !== null || running.isGone();
  });
  if (kafka === null) return;
  const open: Kafka = kafka;
  try {
    await load.work(open);
  } catch (error) {
    if (!`${error}`.includes("connection")) throw new Error(`${error}\n${tailOf(running)}`);
  } finally {
    open.close();
  }
}

async function checkLoads(
  running: BrokerProcess,
  loads: readonly SideLoad[],
  kills: readonly string[],
): Promise<void> {
  const kafka = await Kafka.connect(running.kafkaPort);
  try {
    for (const load of loads) await load.check(kafka);
  } catch (error) {
    throw new Error(`after kills at ${kills.join(", ")}: ${error}\n${tailOf(running)}`);
  } finally {
    kafka.close();
  }
}

function tailOf(running: BrokerProcess): string {
  return running.log().slice(-6000);
}

function shuffled(names: readonly string[], random: Random): string[] {
  const left = [...names].sort();
  const order: string[] = [];
  while (left.length > 0) order.push(...left.splice(random.between(0, left.length - 1), 1));
  return order;
}
