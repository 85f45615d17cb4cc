/** Reading: waking on data, timestamps, stored bytes, ListOffsets over WAL and archive. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { crcHolds, timestampTypeOf } from "../../src/protocol/record-batch.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { pending, within } from "../support/moments.ts";
import { codecs, compressed } from "./compress.ts";
import { batchOf, Kafka } from "./kafka.ts";

let broker: BrokerProcess;
let kafka: Kafka;
beforeAll(async () => {
  broker = await startBroker({ args: busyTierArgs });
  kafka = await Kafka.connect(broker.kafkaPort);
}, 30_000);
afterAll(async () => await broker?.[Symbol.asyncDispose]());

const longWaitMs = 60_000;

test("a fetch at the end is answered by an append to any of its partitions", async () => {
  await kafka.createTopic("tail", 8);
  const asks = Array.from({ length: 8 }, (_, partition) => ({ partition, offset: 0 }));
  for (const [round, partition] of [0, 7, 3].entries()) {
    const reader = await Kafka.connect(broker.kafkaPort);
    const from = asks.map((ask) => ({
      ...ask,
      offset: [0, 7, 3].slice(0, round).includes(ask.partition) ? 1 : 0,
    }));
    const waiting = reader.fetchOnce("tail", from, { maxWaitMs: longWaitMs, minBytes: 1 });
    expect(await within(150, waiting)).toBe(pending);
    await kafka.append("tail", partition, ["now"]);
    // Far below the wait asked for: only the data can have ended it.
    const answers = await waiting;
    const withData = answers.filter(({ records }) => (records?.length ?? 0) > 0);
    expect(withData.map((answer) => answer.partitionIndex)).toEqual([partition]);
    reader.close();
  }
}, 30_000);

test("one wait for all partitions: without data the answer comes after it, empty", async () => {
  await kafka.createTopic("quiet", 20);
  const asks = Array.from({ length: 20 }, (_, partition) => ({ partition, offset: 0 }));
  const startMs = performance.now();
  const answers = await kafka.fetchOnce("quiet", asks, { maxWaitMs: 300, minBytes: 1 });
  const tookMs = performance.now() - startMs;
  expect(answers.length).toBe(20);
  expect(tookMs).toBeGreaterThanOrEqual(290);
  // Twenty waits one after the other would take 6 s.
  expect(tookMs).toBeLessThan(3_000);
});

test("the first batch comes whole however small the limits are", async () => {
  await kafka.createTopic("large");
  await kafka.append("large", 0, ["x".repeat(50_000), "y".repeat(50_000)]);
  const answers = await kafka.fetchOnce("large", [{ partition: 0, offset: 0 }], { maxBytes: 1 });
  expect(answers[0]?.records?.length).toBeGreaterThan(50_000);
  expect(answers[0]?.records?.length).toBeLessThan(60_000);
});

test("LogAppendTime: the broker's time in batch, answer and ListOffsets", async () => {
  await kafka.createTopic("stamped", 1, { "message.timestamp.type": "LogAppendTime" });
  const beforeMs = Date.now();
  const answer = await kafka.produce("stamped", 0, batchOf(["a", "b"], {}, 1000));
  const afterMs = Date.now();
  expect(answer.errorCode).toBe(0);
  expect(answer.logAppendTimeMs).toBeGreaterThanOrEqual(beforeMs);
  expect(answer.logAppendTimeMs).toBeLessThanOrEqual(afterMs);
  const check = async () => {
    const [found] = await kafka.readAll("stamped", 0);
    if (!found) throw new Error("no batch");
    expect(timestampTypeOf(found.header.attributes)).toBe("LogAppendTime");
    expect(found.header.maxTimestamp).toBe(answer.logAppendTimeMs);
    expect(crcHolds(found.bytes, 0, found.header, crc32c)).toBe(true);
    const byTime = await kafka.listOffset("stamped", 0, beforeMs);
    expect(byTime).toMatchObject({ offset: 0, timestamp: answer.logAppendTimeMs });
    expect((await kafka.listOffset("stamped", 0, afterMs + 1)).offset).toBe(-1);
  };
  await check();
  await untilAllArchived(broker);
  await check();
}, 60_000);

test("every codec's batches come back byte for byte: hot, archived, after a restart", async () => {
  await kafka.createTopic("codecs");
  const sent = codecs.map((_, codec) =>
    compressed(batchOf([`codec ${codec} `.repeat(100), "second", "third"]), codec),
  );
  for (const batch of sent) {
    expect((await kafka.produce("codecs", 0, batch)).errorCode).toBe(0);
  }
  const check = async () => {
    const found = await kafka.readAll("codecs", 0);
    expect(found.map(({ header }) => header.baseOffset)).toEqual([0, 3, 6, 9, 12]);
    for (const [at, { bytes }] of found.entries()) {
      expect(Buffer.from(bytes.subarray(16)).equals(Buffer.from(sent[at] ?? []).subarray(16))).toBe(
        true,
      );
    }
  };
  await check();
  await untilAllArchived(broker);
  await check();
  await broker.restart();
  kafka = await Kafka.connect(broker.kafkaPort);
  await check();
}, 60_000);

test("ListOffsets over archive and WAL", async () => {
  await kafka.createTopic("times");
  // Offset n has timestamp 1000 + 10 n, but offset 5 the largest of all.
  const timeOf = (offset: number) => (offset === 5 ? 9_000 : 1_000 + offset * 10);
  const write = async (from: number, to: number) => {
    for (let offset = from; offset < to; offset++) {
      await kafka.produce("times", 0, batchOf([`${offset}`], {}, timeOf(offset)));
    }
  };
  const check = async (end: number) => {
    expect((await kafka.listOffset("times", 0, -2)).offset).toBe(0);
    expect((await kafka.listOffset("times", 0, -1)).offset).toBe(end);
    expect(await kafka.listOffset("times", 0, -3)).toMatchObject({ offset: 5, timestamp: 9_000 });
    expect((await kafka.listOffset("times", 0, 0)).offset).toBe(0);
    expect((await kafka.listOffset("times", 0, 1_021)).offset).toBe(3);
    expect((await kafka.listOffset("times", 0, 1_060)).offset).toBe(5);
    expect((await kafka.listOffset("times", 0, 9_001)).offset).toBe(-1);
  };
  await write(0, 10);
  await check(10);
  await untilAllArchived(broker);
  await check(10);
  await write(10, 20);
  await check(20);
  await kafka.deleteRecords("times", 0, 6);
  expect((await kafka.listOffset("times", 0, 0)).offset).toBe(6);
  expect((await kafka.listOffset("times", 0, -3)).offset).toBe(19);
  await untilAllArchived(broker);
  expect((await kafka.listOffset("times", 0, 1_115)).offset).toBe(12);
}, 60_000);
