import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { pending, within } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { archiverPoints, enginePoints } from "./points.ts";
import { Scene } from "./scene.ts";
import { registryAgreesWithStore } from "./tier-scene.ts";

const root = join(import.meta.dir, "../..");
const bin = process.env["CHRONIK_TEST_BIN"] ?? join(root, "dist/chronik-test");

/** Points that no client or operator can bring a healthy broker to; the engine's own tests kill at
 * them. */
const notReached: Readonly<Record<string, string>> = {
  wal_rollback: "needs a full disk",
  truncate_after_unlink: "needs a log cut by its owner; a single broker never cuts one",
  truncate_after_cut: "needs a log cut by its owner; a single broker never cuts one",
};

/** What tier-cycles.test.ts kills at has its own way to be reached. */
const points = [...enginePoints(), ...archiverPoints()];
/** Passed when the log of the group offsets is cleaned, every 15 s where it grew. */
const cleaningPoints = points.filter((name) => name.startsWith("clean_"));
const topics = [{ name: "points", partitions: 2 }];
const targets = [0, 1, 0, 1].map((partition) => [{ topic: "points", partition }]);
const killed = 128 + 9;

/** How long a point may take to be passed as often as asked. */
const passMsMax = 30_000;

describe("a kill at every named point", () => {
  let broker: BrokerProcess;
  let scene: Scene;
  const random = Random.from("CHRONIK_CRASH_SEED");

  beforeAll(async () => {
    broker = await startBroker({ bin, args: busyTierArgs });
    scene = await Scene.begin(broker, topics, targets);
  }, 60_000);

  afterAll(async () => await broker?.[Symbol.asyncDispose]());

  test("there are points, and those not reached exist", () => {
    expect(points.length).toBeGreaterThanOrEqual(36);
    expect(Object.keys(notReached).filter((name) => !points.includes(name))).toEqual([]);
  });

  const reached = points.filter((name) => !(name in notReached) && !cleaningPoints.includes(name));
  test.each(reached)(
    "%s",
    async (point) => {
      if (point.startsWith("recovery_")) await killWithTornTail(broker);
      else await broker.kill9();
      broker.spawn({ CHRONIK_FP: `${point}=kill:${passes(point, random)}` });
      if (point.startsWith("stop_")) {
        await until("the broker is ready", passMsMax, () => isReady(broker));
        process.kill(broker.pid, "SIGTERM");
      }
      expect(await exitWithin(broker, passMsMax)).toBe(killed);
      expect(broker.log().slice(-2000)).toContain(`fault point ${point}`);
      await broker.restart();
      await scene.checkNew();
    },
    120_000,
  );

  test("registry, store and WAL agree, whatever was killed before", async () => {
    await broker.restart();
    await scene.pause();
    await scene.repeatLast();
    await untilAllArchived(broker);
    await scene.checkAll();
    const { entries, unnamed } = await registryAgreesWithStore(broker);
    expect(entries).toBeGreaterThan(0);
    expect(unnamed).toEqual([]);
    await broker.restart();
    expect(readdirSync(join(broker.dataDir, "tmp"))).toEqual([]);
    await scene.checkAll();
    // Tests run in any order: the next one needs its load.
    scene.resume();
  }, 180_000);
});

test("a kill while the log of group offsets is cleaned loses no commit", async () => {
  expect(cleaningPoints.length).toBeGreaterThanOrEqual(3);
  // Side by side: each waits for the broker's next look at the log.
  await Promise.all(cleaningPoints.map(killWhileCleaning));
}, 120_000);

async function killWhileCleaning(point: string): Promise<void> {
  await using broker = await startBroker({ bin, env: { CHRONIK_FP: `${point}=kill` } });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("cleaned");
  const padding = "m".repeat(4000);
  let acked = 0;
  const ended = broker.exited();
  let isEnded = false;
  void ended.then(() => {
    isEnded = true;
  });
  const lateMs = performance.now() + 60_000;
  while (!isEnded && performance.now() < lateMs) {
    try {
      await kafka.commit("group", "cleaned", acked + 1, padding);
      acked++;
    } catch (error) {
      if (!`${error}`.includes("connection")) throw error;
      break;
    }
  }
  expect(await within(1_000, ended)).toBe(killed);
  expect(broker.log()).toContain(`fault point ${point}`);
  await broker.restart({ CHRONIK_FP: "" });
  const after = await Kafka.connect(broker.kafkaPort);
  expect([acked, acked + 1]).toContain(await after.committed("group", "cleaned"));
  // Once more, so that what the kill left behind is cleaned or replayed.
  await broker.restart({ CHRONIK_FP: "" });
  const again = await Kafka.connect(broker.kafkaPort);
  expect([acked, acked + 1]).toContain(await again.committed("group", "cleaned"));
}

/** The engine's points are passed often under load: which pass kills is left to the seed. */
function passes(point: string, random: Random): number {
  if (/^wal_(before_write|after_write|after_fsync|before_complete)/.test(point)) {
    return random.between(1, 60);
  }
  return /^(wal|seal|write_file)_/.test(point) ? random.between(1, 3) : 1;
}

async function isReady({ adminUrl }: BrokerProcess): Promise<boolean> {
  try {
    return (await fetch(`${adminUrl}/readyz`)).ok;
  } catch {
    return false;
  }
}

async function exitWithin(broker: BrokerProcess, timeoutMs: number): Promise<number> {
  const code = await within(timeoutMs, broker.exited());
  if (code === pending) throw new Error(`still running:\n${broker.log().slice(-3000)}`);
  return code;
}

/** Killed while the partition has a segment: the first write may still be to come, and the
 * archiver releases what it has archived. */
async function killWithTornTail(broker: BrokerProcess): Promise<void> {
  for (let tries = 0; tries < 5; tries++) {
    await until(
      "the partition has a segment",
      passMsMax,
      () => newestSegment(broker) !== undefined,
    );
    await broker.kill9();
    const path = newestSegment(broker);
    if (path !== undefined) return tearTail(path);
    await broker.restart();
  }
  throw new Error("each kill met a partition without a segment");
}

function newestSegment({ dataDir }: BrokerProcess): string | undefined {
  const folder = join(dataDir, "wal/points/0");
  const newest = readdirSync(folder)
    .filter((name) => name.endsWith(".log"))
    .sort((a, b) => segmentId(a) - segmentId(b))
    .at(-1);
  return newest === undefined ? undefined : join(folder, newest);
}

/** What a crash in the middle of a write leaves: part of a frame behind the last whole one. */
function tearTail(path: string): void {
  const bytes = readFileSync(path);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  // A frame may end in a few zeros of its own.
  const torn = Buffer.concat([bytes.subarray(0, end), Buffer.alloc(16), Buffer.alloc(40, 0xa5)]);
  writeFileSync(path, torn);
}

function segmentId(name: string): number {
  return Number(/(\d+)\.log$/.exec(name)?.[1] ?? -1);
}
