/** Reading archives beside readers of new records: slower, whole, and told of. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { WireClient } from "../../src/client/wire-client.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { type ColdScan, fetchAt, fill, scan } from "../support/cold-scan.ts";
import { batchOf, Kafka } from "./kafka.ts";

const records = 20_000;
let broker: BrokerProcess;

beforeAll(async () => {
  const args = ["-X", "limits.cold_percent_beside_tails=1", "-X", "limits.chunk_cache_bytes_max=0"];
  broker = await startBroker({ args: [...busyTierArgs, ...args] });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("old");
  await kafka.createTopic("new");
  kafka.close();
  await fill(broker.kafkaPort, "old", records);
  await untilAllArchived(broker, 60_000);
  await broker.restart();
}, 120_000);
afterAll(async () => await broker?.[Symbol.asyncDispose]());

/** Reads that waited, and how long. */
async function held(): Promise<[count: number, seconds: number]> {
  const page = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(page)?.[1]);
  return [value("chronik_tier_reads_held"), value("chronik_tier_reads_held_seconds")];
}

/** Produces and consumes one record after the other until `ending` is over. */
async function follow(ending: Promise<unknown>): Promise<number> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  ending.then(over, over);
  const kafka = await Kafka.connect(broker.kafkaPort);
  const { kafkaPort: port } = broker;
  const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "new" });
  let seen = 0;
  while (!isOver) {
    const { baseOffset } = await kafka.produce("new", 0, batchOf([String(seen)]));
    if ((await fetchAt(client, "new", 0, baseOffset)).length > 0) seen++;
  }
  client.close();
  kafka.close();
  return seen;
}

test("archives are read whole beside readers of new records, in turn with them", async () => {
  const readAll = () => scan(broker.kafkaPort, "old", records);
  const same = ({ records: count, bytes, sha256 }: ColdScan) => ({ count, bytes, sha256 });
  const alone = await readAll();
  expect(await held()).toEqual([0, 0]);
  const beside = Promise.all([readAll(), readAll()]);
  expect(await follow(beside)).toBeGreaterThan(10);
  for (const one of await beside) expect(same(one)).toEqual(same(alone));
  const [count, seconds] = await held();
  expect(count).toBeGreaterThan(10);
  expect(seconds).toBeGreaterThan(0);
}, 120_000);
