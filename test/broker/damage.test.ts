/** Stored bytes that changed while the broker was down: a typed error for what they held, never
 * wrong data, never emptiness; everything else goes on. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { pending, within } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { batchOf, Kafka, valuesOf } from "./kafka.ts";

const random = Random.from("CHRONIK_CRASH_SEED");
const storageError = ErrorCode.KAFKA_STORAGE_ERROR;
const text = (offset: number) => `value ${offset} ${"x".repeat(3000 + (offset % 7))}`;
const texts = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => text(from + at));

let broker: BrokerProcess;

beforeEach(async () => {
  broker = await startBroker({ args: busyTierArgs });
});
afterEach(async () => await broker?.[Symbol.asyncDispose]());

function files(folder: string, pattern: RegExp): string[] {
  const path = join(broker.dataDir, folder);
  const number = (name: string) => Number(/(\d+)\D*$/.exec(name)?.[1] ?? 0);
  return readdirSync(path)
    .filter((name) => pattern.test(name))
    .sort((a, b) => number(a) - number(b))
    .map((name) => join(path, name));
}

function first<T>(list: readonly T[]): T {
  const [item] = list;
  if (item === undefined) throw new Error("nothing found to damage");
  return item;
}

/** Turns one bit of a byte that lies in [from, to) of the file. */
function flip(path: string, from: number, to: number): void {
  const bytes = readFileSync(path);
  const at = random.between(Math.floor(from), Math.floor(to) - 1);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 7));
  writeFileSync(path, bytes);
}

/** Where the file's last byte that is not zero lies: behind it is room allocated ahead. */
function usedBytes(path: string): number {
  const bytes = readFileSync(path);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

/** Everything of a partition that can be read, and whether an error stands in the way. */
async function readable(kafka: Kafka, topic: string, partition: number, end: number) {
  const found: { offset: number; value: string }[] = [];
  const failed: number[] = [];
  for (let offset = 0; offset < end; offset++) {
    const answer = await kafka.fetchAt(topic, partition, offset);
    if (answer.errorCode !== 0) {
      failed.push(offset);
      expect(answer.errorCode).toBe(storageError);
      continue;
    }
    // An empty answer below the end would say that there is nothing.
    expect(answer.records?.length).toBeGreaterThan(0);
    const [value] = valuesOf(answer.records ?? new Uint8Array());
    found.push({ offset, value: value ?? "" });
  }
  return { found, failed };
}

async function expectHealthy(kafka: Kafka, topic: string, partition: number): Promise<void> {
  const end = (await kafka.listOffset(topic, partition, -1)).offset;
  expect(await kafka.values(topic, partition)).toEqual(texts(0, end));
  expect(await kafka.append(topic, partition, [text(end)])).toBe(end);
}

async function fill(kafka: Kafka, count: number): Promise<void> {
  await kafka.createTopic("hurt", 2);
  for (const partition of [0, 1]) {
    for (let at = 0; at < count; at += 50) {
      await kafka.append("hurt", partition, texts(at, Math.min(count, at + 50)));
    }
  }
}

async function reopened(change: () => void): Promise<Kafka> {
  change();
  await broker.restart();
  return await Kafka.connect(broker.kafkaPort);
}

describe("the active segment of the WAL", () => {
  test("a flipped bit in the middle is damage: nothing wrong is served, others go on", async () => {
    await withoutIndexer();
    const kafka = await Kafka.connect(broker.kafkaPort);
    await fill(kafka, 100);
    // The last group of a crashed run looks like a torn end, so one more follows what is damaged.
    await kafka.append("hurt", 0, [text(100)]);
    await broker.kill9();
    const after = await reopened(() => {
      const path = first(files("wal/hurt/0", /\.log$/));
      flip(path, usedBytes(path) * 0.2, usedBytes(path) * 0.8);
    });
    const { found, failed } = await readable(after, "hurt", 0, 100);
    for (const { offset, value } of found) expect(value).toBe(text(offset));
    expect(failed.length).toBeGreaterThan(0);
    expect((await after.produce("hurt", 0, batchOf(["more"]))).errorCode).toBe(storageError);
    expect(broker.log()).toContain("hurt");
    await expectHealthy(after, "hurt", 1);
  }, 60_000);

  test("a torn end is cut: all before it is served and appends go on", async () => {
    await withoutIndexer();
    const kafka = await Kafka.connect(broker.kafkaPort);
    await fill(kafka, 40);
    await broker.kill9();
    const after = await reopened(() => {
      const path = first(files("wal/hurt/0", /\.log$/));
      const end = usedBytes(path);
      const torn = Buffer.concat([
        readFileSync(path).subarray(0, end),
        Buffer.alloc(16),
        Buffer.alloc(random.between(1, 500), random.between(1, 255)),
      ]);
      writeFileSync(path, torn);
    });
    expect((await after.listOffset("hurt", 0, -1)).offset).toBe(40);
    await expectHealthy(after, "hurt", 0);
    await expectHealthy(after, "hurt", 1);
  }, 60_000);

  for (const [how, change] of [
    ["gone", (path: string) => rmSync(path)],
    ["empty", (path: string) => truncateSync(path, 0)],
    ["half", (path: string) => truncateSync(path, Math.floor(usedBytes(path) / 2))],
    [
      "another partition's",
      (path: string) => copyFileSync(path.replaceAll("/0/wal_0", "/1/wal_1"), path),
    ],
  ] as const) {
    test(`a file that is ${how} after a clean stop is damage, not emptiness`, async () => {
      await withoutIndexer();
      const kafka = await Kafka.connect(broker.kafkaPort);
      await fill(kafka, 60);
      expect(await broker.stop()).toBe(0);
      const after = await reopened(() => change(first(files("wal/hurt/0", /\.log$/))));
      const { found, failed } = await readable(after, "hurt", 0, 60);
      for (const { offset, value } of found) expect(value).toBe(text(offset));
      expect(failed.length).toBeGreaterThan(0);
      expect((await after.produce("hurt", 0, batchOf(["more"]))).errorCode).toBe(storageError);
      await expectHealthy(after, "hurt", 1);
    }, 60_000);
  }
});

describe("a sealed segment of the WAL", () => {
  test("a flipped bit costs its own offsets only", async () => {
    await withoutIndexer();
    const kafka = await Kafka.connect(broker.kafkaPort);
    await fill(kafka, 800);
    await broker.kill9();
    const after = await reopened(() => {
      const path = first(files("wal/hurt/0", /\.log$/));
      flip(path, usedBytes(path) * 0.3, usedBytes(path) * 0.6);
    });
    const { found, failed } = await readable(after, "hurt", 0, 800);
    for (const { offset, value } of found) expect(value).toBe(text(offset));
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThan(400);
    await expectHealthy(after, "hurt", 1);
  }, 60_000);

  test("a segment missing in the middle is damage for its partition", async () => {
    await withoutIndexer();
    const kafka = await Kafka.connect(broker.kafkaPort);
    await fill(kafka, 1200);
    await broker.kill9();
    const after = await reopened(() => {
      const all = files("wal/hurt/0", /\.log$/);
      expect(all.length).toBeGreaterThan(2);
      rmSync(all[1] ?? "");
    });
    const { found, failed } = await readable(after, "hurt", 0, 1200);
    for (const { offset, value } of found) expect(value).toBe(text(offset));
    expect(failed.length).toBeGreaterThan(0);
    await expectHealthy(after, "hurt", 1);
  }, 60_000);
});

test("a checkpoint that is damaged stops its partition, not the others", async () => {
  const kafka = await Kafka.connect(broker.kafkaPort);
  await fill(kafka, 40);
  await untilAllArchived(broker);
  await broker.kill9();
  const after = await reopened(() => {
    const path = join(broker.dataDir, "wal/hurt/0/checkpoint");
    flip(path, 0, readFileSync(path).length);
  });
  const { found, failed } = await readable(after, "hurt", 0, 40);
  for (const { offset, value } of found) expect(value).toBe(text(offset));
  expect((await after.produce("hurt", 0, batchOf(["more"]))).errorCode).toBe(storageError);
  expect(failed.length + found.length).toBe(40);
  await expectHealthy(after, "hurt", 1);
}, 60_000);

describe("an archive", () => {
  for (const [how, change] of [
    ["a flipped bit", (path: string) => flip(path, 2000, readFileSync(path).length * 0.3)],
    ["its end cut off", (path: string) => truncateSync(path, 3000)],
    ["nothing in it", (path: string) => truncateSync(path, 0)],
    ["gone", (path: string) => rmSync(path)],
    ["the other partition's", (path: string) => copyFileSync(path.replace("-0/", "-1/"), path)],
  ] as const) {
    test(`with ${how}: an error for its range, never wrong data`, async () => {
      const kafka = await Kafka.connect(broker.kafkaPort);
      await fill(kafka, 60);
      await untilAllArchived(broker);
      await kafka.append("hurt", 0, texts(60, 70));
      await untilAllArchived(broker);
      await kafka.append("hurt", 0, texts(70, 75));
      await broker.kill9();
      const after = await reopened(() =>
        change(first(files("tantivy_indexes/hurt/partition-0", /^segment-0-/))),
      );
      const { found, failed } = await readable(after, "hurt", 0, 75);
      for (const { offset, value } of found) expect(value).toBe(text(offset));
      // A flipped bit may lie in the index, which reading does not need.
      if (how !== "a flipped bit")
        expect(failed).toEqual(Array.from({ length: 60 }, (_, at) => at));
      expect(found.filter(({ offset }) => offset >= 60)).toHaveLength(15);
      expect(await after.append("hurt", 0, [text(75)])).toBe(75);
      await expectHealthy(after, "hurt", 1);
    }, 60_000);
  }
});

describe("the journals of metadata and registry", () => {
  for (const folder of ["metadata", "registry"]) {
    test(`${folder}: a flipped bit ends the start with 7; put right, all is there`, async () => {
      const kafka = await Kafka.connect(broker.kafkaPort);
      await fill(kafka, 40);
      await untilAllArchived(broker);
      expect(await broker.stop()).toBe(0);
      const path = first(files(folder, /\.log$/));
      const good = readFileSync(path);
      flip(path, usedBytes(path) * 0.1, usedBytes(path) * 0.5);
      await expectRefused();
      writeFileSync(path, good);
      await broker.restart();
      await expectHealthy(await Kafka.connect(broker.kafkaPort), "hurt", 0);
    }, 60_000);
  }

  test("metadata that is gone does not delete topics' data", async () => {
    const kafka = await Kafka.connect(broker.kafkaPort);
    await fill(kafka, 40);
    expect(await broker.stop()).toBe(0);
    const folder = join(broker.dataDir, "metadata");
    renameSync(folder, `${folder}.away`);
    broker.spawn();
    if ((await within(2_000, broker.exited())) === pending) await broker.kill9();
    expect(files("wal/hurt/0", /\.log$/).length).toBeGreaterThan(0);
    rmSync(folder, { recursive: true, force: true });
    renameSync(`${folder}.away`, folder);
    await broker.restart();
    const after = await Kafka.connect(broker.kafkaPort);
    await expectHealthy(after, "hurt", 0);
    await expectHealthy(after, "hurt", 1);
  }, 60_000);
});

async function withoutIndexer(): Promise<void> {
  await broker[Symbol.asyncDispose]();
  broker = await startBroker({
    args: ["-X", "enable_wal_indexing=false", "-X", "wal.segment_bytes_max=1MiB"],
  });
}

async function expectRefused(): Promise<void> {
  const before = broker.log().length;
  broker.spawn();
  const code = await within(15_000, broker.exited());
  const printed = broker.log().slice(before).split("\n");
  expect(code).toBe(7);
  expect(printed.filter((line) => /^chronik: /.test(line))).toHaveLength(1);
  expect(printed.filter((line) => /^\s+at /.test(line))).toEqual([]);
}
