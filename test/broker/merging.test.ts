/** Small archives become few: the same bytes to readers before, during and after, and after a
 * restart; what was archived without an index gets one. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { crcHolds } from "../../src/protocol/record-batch.ts";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

let broker: BrokerProcess;
let kafka: Kafka;
const args = [
  ...busyTierArgs,
  // Every read of an archive asks the store.
  ...["-X", "limits.tail_cache_bytes_max=0"],
  ...["-X", "limits.chunk_cache_bytes_max=0"],
];
beforeAll(async () => {
  broker = await startBroker({ args });
  kafka = await Kafka.connect(broker.kafkaPort);
}, 30_000);
afterAll(async () => {
  kafka?.close();
  await broker?.[Symbol.asyncDispose]();
});

async function archivesOf(topic: string) {
  return (await registrySegments(broker)).filter((segment) => segment.topic === topic);
}

/** Everything from the start, each batch checked. */
async function digest(topic: string, reader = kafka): Promise<string> {
  const hash = createHash("sha256");
  let next = 0;
  for (const { header, bytes } of await reader.readAll(topic, 0)) {
    expect(header.baseOffset).toBe(next);
    expect(crcHolds(bytes, 0, header, crc32c)).toBe(true);
    hash.update(bytes);
    next += header.lastOffsetDelta + 1;
  }
  return `${next} ${hash.digest("hex")}`;
}

/** One archive with a few records more. */
async function archiveMore(topic: string, round: number): Promise<void> {
  const values = Array.from({ length: 3 }, (_, i) => `{"round":${round},"i":${i}}`);
  await kafka.append(topic, 0, values);
  await untilAllArchived(broker);
}

const rounds = 20;
/** The records' timestamps are old: with a limit, retention would take them. */
const keptForEver = { "retention.ms": "-1" };

test("many small archives are merged while readers read them", async () => {
  await kafka.createTopic("small", 1, keptForEver);
  let isReading = true;
  let reads = 0;
  const read = async () => {
    const reader = await Kafka.connect(broker.kafkaPort);
    while (isReading) {
      // Batches are contiguous up to wherever the end is by now.
      await digest("small", reader);
      reads++;
    }
    reader.close();
  };
  const readers = Promise.all([read(), read()]);
  for (let round = 0; round < rounds; round++) await archiveMore("small", round);
  const expected = await digest("small");
  await until("the archives are merged", 60_000, async () => {
    const archives = await archivesOf("small");
    return archives.length <= 7 && archives.some(({ generation }) => generation > 1);
  });
  expect(await digest("small")).toBe(expected);
  isReading = false;
  await readers;
  expect(reads).toBeGreaterThan(rounds);

  const archives = await archivesOf("small");
  expect(archives[0]?.base_offset).toBe(0);
  let next = 0;
  for (const { base_offset, last_offset, key, documents, generation } of archives) {
    expect(base_offset).toBe(next);
    next = last_offset + 1;
    expect(documents).toBe(last_offset - base_offset + 1);
    expect(key.includes(`.g${generation}-`)).toBe(generation > 1);
    expect(existsSync(join(broker.dataDir, key))).toBe(true);
  }
  expect(next).toBe(rounds * 3);
  await broker.restart();
  kafka.close();
  kafka = await Kafka.connect(broker.kafkaPort);

  expect(await archivesOf("small")).toEqual(archives);
  expect(await digest("small")).toBe(expected);
}, 180_000);

test("an index that was deferred is added, many at once", async () => {
  // Whatever waits is too much, so that archives are made without an index; nothing is merged.
  const deferring = ["-X", "indexer.pending_bytes_max=1MiB", "-X", "indexer.merge_archives=false"];
  await using deferred = await startBroker({ args: [...args, ...deferring] });
  const client = await Kafka.connect(deferred.kafkaPort);
  await client.createTopic("later", 1, keptForEver);
  const value = "x".repeat(400_000);
  for (let i = 0; i < 12; i++) await client.append("later", 0, [value]);
  await untilAllArchived(deferred);
  const before = await registrySegments(deferred);
  expect(before.some(({ index }) => index === "pending")).toBe(true);
  const values = await client.values("later", 0);
  client.close();
  await deferred.stop();

  await using second = await startBroker({ dataDir: deferred.dataDir, args });
  await until("no archive is without an index", 60_000, async () =>
    (await registrySegments(second)).every(({ index }) => index === "full"),
  );
  const after = await registrySegments(second);
  expect(after.reduce((sum, { documents }) => sum + documents, 0)).toBe(12);
  const reader = await Kafka.connect(second.kafkaPort);
  expect(await reader.values("later", 0)).toEqual(values);
  reader.close();
}, 120_000);
