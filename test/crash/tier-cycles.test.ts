/**
 * kill -9 at the points between the steps of the tiers: put, verify, register, release, and what
 * rewrites, retention, deletion and caches do. After each start everything acknowledged is read
 * back, or what the topic's rules leave of it, and registry and store agree.
 */
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { pending, within } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { brokerPoints } from "./points.ts";
import { Scene } from "./scene.ts";
import {
  ColdReads,
  CompactedTopic,
  given,
  PassingTopics,
  registryAgreesWithStore,
  type SideLoad,
  type StoreReport,
  TrimmedTopic,
} from "./tier-scene.ts";

const cycles = Number(process.env["CHRONIK_TIER_CYCLES"] ?? 10);
const bin = process.env["CHRONIK_TEST_BIN"] ?? join(import.meta.dir, "../../dist/chronik-test");
const killed = 128 + 9;
/** How long a point may take to be passed. */
const passMsMax = 30_000;

/** Points that this scene does not bring a broker to. */
const notReached: Readonly<Record<string, string>> = {
  "backup-put": "the local store has no backup unless it is asked for; test/backup kills there",
};

const args = [
  ...busyTierArgs,
  ["-X", "limits.tail_cache_bytes_max=0"],
  ["-X", "limits.chunk_cache_bytes_max=0"],
  given("retention.checkIntervalMs", "log.retention.check.interval.ms=300"),
  given("retention.initialDelayMs", "retention.initial_delay_ms=0"),
  given("cache.maxBytes", "cache.max_bytes=16MiB"),
].flat();

let broker: BrokerProcess | undefined;
afterAll(async () => await broker?.[Symbol.asyncDispose]());

test("there are points, and those not reached exist", () => {
  const points = [...brokerPoints().keys()];
  expect(points).toEqual(expect.arrayContaining(["verify", "register", "registered", "release"]));
});

test(
  `tiers agree with what was acknowledged over ${cycles} kills`,
  async () => {
    const random = Random.from("CHRONIK_CRASH_SEED");
    const started = await startBroker({ bin, args });
    broker = started;
    const topics = [{ name: "kept", partitions: 2 }];
    const targets = [0, 1].map((partition) => [{ topic: "kept", partition }]);
    const scene = await Scene.begin(started, topics, targets);
    const trimmed = new TrimmedTopic();
    const compacted = new CompactedTopic();
    const setup = await Kafka.connect(started.kafkaPort);
    await setup.createTopic(trimmed.topic, 1, TrimmedTopic.configs);
    await setup.createTopic(compacted.topic, 1, CompactedTopic.configs);
    setup.close();
    const cold = new ColdReads(["kept", trimmed.topic, compacted.topic]);
    const loads = [trimmed, compacted, cold, new PassingTopics(started.adminUrl)];

    const points = [...brokerPoints().keys()].filter((name) => !(name in notReached));
    const order = shuffled(points, random);
    const kills: string[] = [];
    for (let cycle = 0; cycle < cycles; cycle++) {
      const point = order[cycle % order.length] ?? "";
      await started.kill9();
      // Later rounds kill at later passes too.
      const pass = cycle < order.length ? 1 : random.between(1, 3);
      started.spawn({ CHRONIK_FP: `${point}=kill:${pass}` });
      const working = loads.map((load) => workOn(started, load));
      const code = await within(passMsMax, started.exited());
      if (code === pending) throw new Error(`${point} is not passed:\n${tailOf(started)}`);
      expect([point, code]).toEqual([point, killed]);
      expect(started.log().slice(-2000)).toContain(`fault point ${point}`);
      await Promise.all(working);
      kills.push(point);
      await started.restart();
      await scene.checkNew();
      await checkLoads(started, loads, kills);
      await registryAgreesWithStore(started);
    }
    await scene.pause();
    await scene.repeatLast();
    await untilAllArchived(started);
    await scene.checkAll();
    await checkLoads(started, loads, kills);
    const report = await untilQuiet(started);
    expect(report.entries).toBeGreaterThan(0);
    console.log(
      `${cycles} kills at ${new Set(kills).size} points, ${scene.acked.count} batches ` +
        `acknowledged, ${report.entries} archives`,
    );
  },
  90_000 + cycles * 40_000,
);

/** Whatever was killed: what has no entry is deleted, or adopted under the name it was put by. */
async function untilQuiet(running: BrokerProcess): Promise<StoreReport> {
  let report = await registryAgreesWithStore(running);
  await until("no object is without an entry", 90_000, async () => {
    report = await registryAgreesWithStore(running);
    return report.unnamed.length === 0;
  });
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
    if (!`${error}`.includes("connection")) throw error;
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
