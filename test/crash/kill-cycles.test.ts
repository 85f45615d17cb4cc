import { afterAll, expect, test } from "bun:test";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { unannouncedMoment } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import type { Target } from "./producer.ts";
import { Scene } from "./scene.ts";

const cycles = Number(process.env["CHRONIK_CRASH_CYCLES"] ?? 30);
const partitions = 4;
const producersPerPartition = 2;
/** One start in this many is killed before it is done, so that recovery is killed too. */
const killedStartEvery = 4;
const fullCheckEvery = 10;

let broker: BrokerProcess | undefined;
afterAll(async () => await broker?.[Symbol.asyncDispose]());

/** Two producers on each partition of one topic, and one that writes to two topics at once. */
const targets: Target[][] = [
  ...Array.from({ length: partitions * producersPerPartition }, (_, at) => [
    { topic: "crash", partition: at % partitions },
  ]),
  [
    { topic: "crash", partition: 0 },
    { topic: "wide", partition: 0 },
    { topic: "wide", partition: 1 },
  ],
];
const topics = [
  { name: "crash", partitions },
  { name: "wide", partitions: 2 },
];

test(
  `nothing acknowledged is lost, doubled or changed by ${cycles} kills`,
  async () => {
    const random = Random.from("CHRONIK_CRASH_SEED");
    broker = await startBroker({ args: busyTierArgs });
    const scene = await Scene.begin(broker, topics, targets);
    let killedStarts = 0;
    for (let cycle = 1; cycle <= cycles; cycle++) {
      // Half of the kills come while segments are sealed, archived and released.
      if (random.between(0, 1) === 1) void startIndexer(broker);
      await unannouncedMoment(random, 30, 400);
      await broker.kill9();
      if (random.between(1, killedStartEvery) === 1) {
        broker.spawn();
        await unannouncedMoment(random, 20, 250);
        await broker.kill9();
        killedStarts++;
      }
      await broker.restart();
      if (cycle % fullCheckEvery === 0) await scene.checkAll();
      else await scene.checkNew();
    }
    await scene.pause();
    await scene.checkAll();
    expect(scene.acked.count).toBeGreaterThan(cycles);

    await untilAllArchived(broker);
    await broker.kill9();
    await broker.restart();
    await scene.repeatLast();
    await scene.checkAll();
    const archivedOffsets = scene.checkedOffsets;
    scene.resume();
    await until("the producers go on", 20_000, async () => {
      await scene.checkNew();
      return scene.checkedOffsets > archivedOffsets + 100;
    });
    await scene.pause();
    await scene.checkAll();
    const segments = await registrySegments(broker);
    console.log(
      `${cycles} kills, ${killedStarts} starts killed, ${scene.acked.count} batches ` +
        `acknowledged, ${scene.checkedOffsets} offsets checked, ${segments.length} archives`,
    );
  },
  60_000 + cycles * 10_000,
);

/** Not waited for: the kill comes while it runs. */
async function startIndexer({ adminUrl }: BrokerProcess): Promise<void> {
  try {
    await fetch(`${adminUrl}/admin/indexer/run`, { method: "POST" });
  } catch {
    // The broker was killed meanwhile, which is what this is for.
  }
}
