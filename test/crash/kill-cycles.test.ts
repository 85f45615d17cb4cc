import { afterAll, expect, test } from "bun:test";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { Random } from "./random.ts";
import { busyTierArgs, Scene } from "./scene.ts";
import type { Target } from "./producer.ts";

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
      await Bun.sleep(random.between(30, 400));
      await broker.kill9();
      if (random.between(1, killedStartEvery) === 1) {
        broker.spawn();
        await Bun.sleep(random.between(20, 250));
        await broker.kill9();
        killedStarts++;
      }
      await broker.restart();
      if (cycle % fullCheckEvery === 0) await scene.checkAll();
      else await scene.checkNew();
    }
    await scene.end();
    await scene.checkAll();
    const stats = await indexerStats(broker);
    console.log(
      `${cycles} kills, ${killedStarts} starts killed, ${scene.acked.count} batches acknowledged, ` +
        `${scene.checkedOffsets} offsets checked, ${stats.registry.segments} archives`,
    );
    expect(scene.acked.count).toBeGreaterThan(cycles);
    expect(stats.registry.segments).toBeGreaterThan(0);

    await everythingIsArchived(broker);
    await broker.kill9();
    await broker.restart();
    await scene.checkAll();
  },
  60_000 + cycles * 10_000,
);

interface Stats {
  readonly registry: { readonly segments: number; readonly records: number };
}

async function indexerStats({ adminUrl }: BrokerProcess): Promise<Stats> {
  const response = await fetch(`${adminUrl}/admin/indexer/stats`);
  return (await response.json()) as Stats;
}

/** The registry covers every partition up to its end and the WAL holds no segment any more. */
async function everythingIsArchived({ adminUrl }: BrokerProcess): Promise<void> {
  await until("everything is archived and released", 30_000, async () => {
    await fetch(`${adminUrl}/admin/indexer/run`, { method: "POST" });
    const response = await fetch(`${adminUrl}/admin/wal/status`);
    const text = await response.text();
    console.log(text.slice(0, 1500));
    return true;
  });
}
