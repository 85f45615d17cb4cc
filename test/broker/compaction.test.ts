/** Compaction of a user topic as clients see it, over restarts and kill -9. */
import { expect, test } from "bun:test";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { lastOffset, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { batch } from "../support/log-lab.ts";
import { Random } from "../support/random.ts";
import { Kafka } from "./kafka.ts";

const args = [
  ["--wal-indexing-interval", "1"],
  ["-X", "min_segment_age_secs=0"],
].flat();
const topic = "compacted";
const decoder = new TextDecoder();

interface Found {
  readonly offset: number;
  readonly key: string;
  readonly value: string | null;
}

async function read(kafka: Kafka, from = 0): Promise<Found[]> {
  const batches = await kafka.readAll(topic, 0, from);
  const found = batches.flatMap(({ header, bytes }) => {
    const records = parseRecords(recordsPayload(bytes, 0, header), header);
    return records.map((record) => ({
      offset: header.baseOffset + record.offsetDelta,
      key: record.key === null ? "" : decoder.decode(record.key),
      value: record.value && decoder.decode(record.value),
    }));
  });
  // As clients do: the first batch may begin before what was asked for.
  return found.filter(({ offset }) => offset >= from);
}

async function feed(kafka: Kafka, random: Random, table: Map<string, Found>): Promise<void> {
  for (let count = 0; count < 30; count++) {
    const keys = Array.from({ length: random.between(1, 5) }, () => `k${random.between(0, 20)}`);
    const values = keys.map((key) =>
      random.next() < 0.2 ? null : `${key} ${random.between(0, 1e9)}`,
    );
    const timestamps = keys.map(() => Date.now());
    const answer = await kafka.produce(topic, 0, batch({ keys, values, timestamps }));
    expect(answer.errorCode).toBe(0);
    for (const [at, key] of keys.entries()) {
      table.set(key, { offset: answer.baseOffset + at, key, value: values[at] ?? null });
    }
  }
}

async function alter(kafka: Kafka, configs: Readonly<Record<string, string>>): Promise<void> {
  const set = Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 }));
  const { responses } = await kafka.client.request(incrementalAlterConfigsApi, 1, {
    resources: [{ resourceType: 2, resourceName: topic, configs: set }],
    validateOnly: false,
  });
  expect(responses[0]?.errorCode).toBe(0);
}

function lines(broker: BrokerProcess, text: string): number {
  return broker.log().split(text).length - 1;
}

test("only the last record of each key is left, over restarts and kill -9", async () => {
  const random = Random.from("CHRONIK_CRASH_SEED");
  await using broker = await startBroker({ args });
  let kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic(topic, 1, {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
  });
  const table = new Map<string, Found>();
  const expected = () => [...table.values()].sort((a, b) => a.offset - b.offset);
  for (const end of ["stop", "kill", "run"] as const) {
    await feed(kafka, random, table);
    await untilAllArchived(broker);
    if (end !== "run") {
      kafka.close();
      // Somewhere in the middle of what follows, or before it.
      if (end === "kill") await broker.kill9();
      await broker.restart();
      kafka = await Kafka.connect(broker.kafkaPort);
    }
    await until("the topic is compacted", 30_000, async () => {
      const found = await read(kafka);
      return found.length === table.size;
    });
    expect(await read(kafka)).toEqual(expected());
  }
  expect(lines(broker, " compacted")).toBeGreaterThanOrEqual(3);

  // A fetch in a hole is answered with what comes next, and one behind it all with nothing.
  const [first, second] = expected();
  const between = (first?.offset ?? 0) + 1;
  expect((await read(kafka, between))[0]).toEqual(second as Found);
  const { offset: end } = await kafka.listOffset(topic, 0, -1);
  const batches = await kafka.readAll(topic, 0, 0);
  expect(lastOffset(batches.at(-1)?.header as never) + 1).toBe(end);
  expect(await read(kafka, end)).toEqual([]);
  const { offset: start } = await kafka.listOffset(topic, 0, -2);
  expect(start).toBe(0);

  // The archives cover every offset, and are few.
  const segments = (await registrySegments(broker)).filter((one) => one.topic === topic);
  expect(segments[0]?.base_offset).toBe(0);
  expect(segments.at(-1)?.last_offset).toBe(end - 1);
  expect(segments.length).toBeLessThan(4);
  const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/chronik_compaction_runs_total [1-9]/);
  kafka.close();
  expect(await broker.stop()).toBe(0);
}, 180_000);

test("a topic that turns to compact is compacted, one with compact,delete as well", async () => {
  const random = new Random(3);
  await using broker = await startBroker({ args });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic(topic, 1, { "delete.retention.ms": "0" });
  const table = new Map<string, Found>();
  await feed(kafka, random, table);
  // From before the topic was compacted: Kafka's cleaner drops such records too.
  const keyless = batch({ keys: [null], values: ["keyless"], timestamps: [Date.now()] });
  expect((await kafka.produce(topic, 0, keyless)).errorCode).toBe(0);
  await untilAllArchived(broker);
  expect((await read(kafka)).length).toBeGreaterThan(table.size);
  await alter(kafka, {
    "cleanup.policy": "compact,delete",
    "min.cleanable.dirty.ratio": "0",
    "delete.retention.ms": "0",
  });
  await until("the topic is compacted", 30_000, async () => {
    return (await read(kafka)).length === table.size;
  });
  // With no time to be seen, tombstones go when they are looked at once more.
  await feed(kafka, random, table);
  await untilAllArchived(broker);
  const left = () => [...table.values()].filter(({ value }) => value !== null);
  let turns = 0;
  await until("old tombstones are gone", 60_000, async () => {
    const answer = await kafka.produce(
      topic,
      0,
      batch({ keys: ["turn"], values: [`${turns++}`], timestamps: [Date.now()] }),
    );
    expect(answer.errorCode).toBe(0);
    await untilAllArchived(broker);
    const found = (await read(kafka)).filter(({ key }) => key !== "turn");
    return found.length === left().length;
  });
  const found = (await read(kafka)).filter(({ key }) => key !== "turn");
  expect(found).toEqual(left().sort((a, b) => a.offset - b.offset));
  kafka.close();
}, 180_000);
