import { expect, test } from "bun:test";
import type { Logger } from "../../src/telemetry/logger.ts";
import { Indexer } from "../../src/tier/indexer.ts";
import type { WalSegment } from "../../src/tier/ports.ts";
import { SegmentRegistry } from "../../src/tier/segment-registry.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakeArchives, FakePartition, FakeStore } from "../support/fake-tier.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { segmentEntry } from "../support/segment-entry.ts";
import { silentLogger } from "../support/silent-logger.ts";

const logger: Logger = silentLogger();

function segment(
  id: number,
  base: number,
  last: number,
  over: Partial<WalSegment> = {},
): WalSegment {
  const records = last - base + 1;
  return {
    id,
    base,
    last,
    bytes: 100,
    records,
    maxTimestamp: 0,
    sealed: true,
    firstAppendMs: 0,
    ...over,
  };
}

async function world(partition: FakePartition, over: { deleteAfterIndex?: boolean } = {}) {
  const files = new Map<string, string>();
  const engine = new FakeArchives(files);
  const store = new FakeStore(files);
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  const clock = new FakeClock(1_000_000);
  const config = {
    enabled: true,
    intervalSecs: 30,
    minSegmentAgeSecs: 10,
    segmentsPerRunMax: 100,
    parallel: false,
    concurrentTasksMax: 4,
    archiveBytesMax: 256 << 20,
    archivesPerSecMax: 10,
    pendingBytesMax: 4 * 1024 ** 3,
    pendingAgeSecsMax: 300,
  };
  const indexer = new Indexer(config, {
    engine,
    store,
    registry,
    logger,
    clock,
    nowMs: () => clock.nowMs(),
    scratchDir: "/tmp-scratch",
    removeFile: (path) => {
      files.delete(path);
      return Promise.resolve();
    },
    deleteAfterIndex: over.deleteAfterIndex ?? true,
    faultPoint: () => Promise.resolve(),
    partitions: () => [partition],
  });
  return { indexer, engine, store, registry, journal, clock, files };
}

test("seals, archives, registers, then checkpoints, then releases: in that order", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9, { sealed: false })] });
  partition.unsealedAge = 15_000;
  const { indexer, registry, files } = await world(partition);
  const run = await indexer.run();
  expect(partition.journal).toEqual(["seal", "checkpoint 10", "release 1"]);
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 10 });
  expect([...files.keys()]).toEqual(["tantivy_indexes/t/partition-0/segment-0-9.tar.gz"]);
  expect(run).toMatchObject({
    segments_processed: 1,
    records_indexed: 10,
    indexes_created: 1,
    errors: 0,
  });
  expect(indexer.stats().totals).toMatchObject({ runs: 1, records_indexed: 10 });
});

test("five ticks on an idle topic create nothing", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9, { sealed: false })] });
  partition.unsealedAge = 15_000;
  const { indexer, engine, files } = await world(partition);
  await indexer.run();
  for (let tick = 0; tick < 5; tick++) await indexer.run();
  expect(engine.builds).toBe(1);
  expect(files.size).toBe(1);
});

test("a failing store keeps the WAL and is retried", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, store, registry } = await world(partition);
  store.failPuts = true;
  expect((await indexer.run()).errors).toBe(1);
  expect(partition.wal).toHaveLength(1);
  expect(registry.range("id-t", 0)).toBeNull();
  store.failPuts = false;
  expect((await indexer.run()).errors).toBe(0);
  expect(partition.wal).toHaveLength(0);
});

test("an object that fails verification is not registered and the WAL stays", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, engine, registry } = await world(partition);
  engine.failVerify = true;
  await indexer.run();
  expect(registry.range("id-t", 0)).toBeNull();
  expect(partition.journal).toEqual([]);
});

test("a registry entry that is not durable releases nothing", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, journal } = await world(partition);
  journal.failing = true;
  await indexer.run();
  journal.failing = false;
  expect(partition.journal).toEqual([]);
  await indexer.run();
  expect(partition.journal).toEqual(["checkpoint 10", "release 1"]);
});

test("a put whose answer was lost is adopted, not stored twice", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, store, registry, files } = await world(partition);
  store.loseAnswer = true;
  await indexer.run();
  await indexer.run();
  expect([...files.keys()]).toEqual(["tantivy_indexes/t/partition-0/segment-0-9.tar.gz"]);
  expect(registry.segments("id-t", 0)).toHaveLength(1);
});

test("a key taken by other bytes leads to a key with generation and hash", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, registry, files } = await world(partition);
  files.set(
    "tantivy_indexes/t/partition-0/segment-0-9.tar.gz",
    JSON.stringify({ topicId: "other" }),
  );
  await indexer.run();
  const keys = registry.segments("id-t", 0).map((entry) => entry.key);
  expect(keys).toEqual(["tantivy_indexes/t/partition-0/segment-0-9.g1-sha10000.tar.gz"]);
});

test("a key whose deleted object may be deleted once more is not used again", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, registry, files } = await world(partition);
  const key = "tantivy_indexes/t/partition-0/segment-0-9.tar.gz";
  await registry.add({ ...segmentEntry(0, 9), topicId: "id-old", key }, 0);
  await registry.retireTopic("id-old");
  await indexer.run();
  expect(registry.segments("id-t", 0).map((entry) => entry.key)).not.toContain(key);
  expect(files.has(key)).toBe(false);
  await registry.objectsDeleted([key]);
  expect(registry.isRetiredKey(key)).toBe(false);
});

test("the archive of a topic deleted meanwhile is not registered and not left", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, engine, registry, files } = await world(partition);
  const verify = engine.verify.bind(engine);
  engine.verify = (path, expected) => {
    partition.isOpen = false;
    return verify(path, expected);
  };
  const run = await indexer.run();
  expect(run.errors).toBe(1);
  expect(registry.all()).toEqual([]);
  expect(Array.from(registry.retiredObjects(), ({ key }) => key)).toEqual([...files.keys()]);
  expect(registry.retiredTotal).toBe(1);
});

test("with delete_after_index off the WAL stays and nothing is archived twice", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, engine } = await world(partition, { deleteAfterIndex: false });
  await indexer.run();
  await indexer.run();
  expect(partition.journal).toEqual(["checkpoint 10"]);
  expect(engine.builds).toBe(1);
});

test("a crash between register and release is finished at the next run", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9), segment(2, 10, 19)] });
  const { indexer, registry, engine } = await world(partition);
  await registry.add(registryEntry(0, 9), 0);
  await indexer.run();
  expect(partition.wal).toHaveLength(0);
  expect(engine.builds).toBe(1);
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 20 });
});

test("only what lies below the archivable end is archived, the rest is pending", async () => {
  const partition = new FakePartition({
    segments: [segment(1, 0, 9), segment(2, 10, 19)],
    archivableEnd: 15,
  });
  const { indexer, registry } = await world(partition);
  await indexer.run();
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 10 });
  expect(indexer.stats().pending).toEqual({ sealed_segments: 1, records: 10, bytes: 100 });
});

test("data that waits too long is archived without an index: the WAL is bounded", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, store, registry, clock } = await world(partition);
  store.failPuts = true;
  await indexer.run();
  clock.advance(4 * 60_000);
  await indexer.run();
  clock.advance(2 * 60_000);
  store.failPuts = false;
  await indexer.run();
  expect(registry.segments("id-t", 0)[0]?.index).toBe("pending");
  partition.wal = [segment(2, 10, 19)];
  await indexer.run();
  expect(registry.segments("id-t", 0)[1]?.index).toBe("full");
});

test("a stop gives up the archive being built and keeps its WAL", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, engine, registry } = await world(partition);
  const building = Promise.withResolvers<never>();
  const begun = Promise.withResolvers<void>();
  engine.build = () => {
    begun.resolve();
    return building.promise;
  };
  engine.stopBuilds = () => {
    building.reject(new Error("the broker is stopping"));
    return Promise.resolve();
  };
  const run = indexer.run();
  await begun.promise;
  await indexer.stop();
  expect((await run).errors).toBe(0);
  expect(registry.range("id-t", 0)).toBeNull();
  expect(partition.wal).toHaveLength(1);
});

test("start ticks on the interval and stop ends it", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, clock } = await world(partition);
  indexer.start();
  clock.advance(29_000);
  expect(indexer.stats().last_run_started_at).toBeNull();
  clock.advance(1_000);
  await indexer.run();
  expect(indexer.stats().totals.runs).toBe(1);
  await indexer.stop();
  clock.advance(120_000);
  expect(indexer.stats().totals.runs).toBe(1);
});

function registryEntry(base: number, last: number) {
  const entry = { topic: "t", topicId: "id-t", partition: 0, generation: 1, base, last };
  const sizes = {
    records: last - base + 1,
    minTimestamp: 0,
    maxTimestamp: 0,
    bytes: 1,
    rawBytes: 1,
  };
  const object = {
    key: `tantivy_indexes/t/partition-0/segment-${base}-${last}.tar.gz`,
    sha256: "x",
  };
  return {
    ...entry,
    ...sizes,
    ...object,
    tocPosition: 0,
    documents: 0,
    index: "full",
    createdMs: 0,
  };
}

test("an archive takes as many segments as its manifest has room for their aborts", async () => {
  const each = 60_000;
  const segments = Array.from({ length: 5 }, (_, n) => segment(n, n * each, (n + 1) * each - 1));
  const partition = new FakePartition({ segments });
  // All in the first two, but for a few.
  partition.aborted = Array.from({ length: 2 * each + 9 }, (_, n) => ({
    producerId: 1,
    firstOffset: n,
    lastOffset: n,
  }));
  const { indexer, registry } = await world(partition);
  const run = await indexer.run();
  expect([run.segments_processed, run.errors]).toEqual([5, 0]);
  const archives = registry.segments("id-t", 0).map(({ base, last, aborted }) => ({
    segments: `${base / each}-${(last + 1) / each - 1}`,
    aborted,
  }));
  expect(archives).toEqual([
    { segments: "0-0", aborted: each },
    { segments: "1-4", aborted: each + 9 },
  ]);
});
