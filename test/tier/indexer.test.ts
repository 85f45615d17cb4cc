import { expect, test } from "bun:test";
import { StoreError } from "../../src/store/object-store.ts";
import { FakePartition } from "../support/fake-tier.ts";
import { registryEntry, segment, world } from "../support/indexer-lab.ts";
import { segmentEntry } from "../support/segment-entry.ts";

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

test("an archive that was stored and not verified is made again as it was", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9), segment(2, 10, 19)] });
  const { indexer, store, registry, files } = await world(partition);
  const { openForVerify } = store;
  store.openForVerify = (key) => Promise.reject(new StoreError("unavailable", key, "is away"));
  await indexer.run();
  partition.wal = [...partition.wal, segment(3, 20, 29), segment(4, 30, 39)];
  await indexer.run();
  store.openForVerify = openForVerify;
  await indexer.run();
  const entries = registry.segments("id-t", 0);
  expect(entries.map(({ base, last }) => [base, last])).toEqual([
    [0, 19],
    [20, 39],
  ]);
  // Nothing is left that no entry names.
  expect([...files.keys()].sort()).toEqual(entries.map(({ key }) => key).sort());
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

test("a topic that stopped archiving is not sealed, not archived, not pending", async () => {
  const partition = new FakePartition({
    segments: [segment(1, 0, 9), segment(2, 10, 19, { sealed: false })],
  });
  partition.unsealedAge = 60_000;
  partition.copyDisabled = true;
  const { indexer, registry } = await world(partition);
  await indexer.run();
  expect(partition.journal).toEqual([]);
  expect(registry.range("id-t", 0)).toBeNull();
  expect(indexer.stats().pending).toEqual({ sealed_segments: 0, records: 0, bytes: 0 });
});

test("a topic with limits of its own for its WAL keeps it, now and at the next run", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  partition.localRetention = { ms: 60_000, bytes: -2 };
  const { indexer, registry } = await world(partition);
  for (let run = 0; run < 2; run++) await indexer.run();
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 10 });
  expect(partition.journal).toEqual(["checkpoint 10"]);
  partition.localRetention = null;
  await indexer.run();
  expect(partition.wal).toEqual([]);
});

test("what is deleted while it is archived is no error, and what is left is archived", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9), segment(2, 10, 19)] });
  const { indexer, engine, registry } = await world(partition);
  const build = engine.build.bind(engine);
  engine.build = (request, path) => {
    if (request.base > 0) return build(request, path);
    partition.logStartOffset = 12;
    partition.wal = partition.wal.slice(1);
    return Promise.reject(new Error("offset 0 is not in the log"));
  };
  const run = await indexer.run();
  expect(run).toMatchObject({ errors: 0, segments_processed: 1 });
  expect(registry.segments("id-t", 0).map(({ base, last }) => [base, last])).toEqual([[10, 19]]);
});

/** A cap of 1000 bytes over one partition's segments. */
class FakeWalSpace {
  readonly bytesMax = 1_000;
  private readonly partition: FakePartition;

  constructor(partition: FakePartition) {
    this.partition = partition;
  }

  get isPressed(): boolean {
    return this.bytes > 500;
  }

  get isStrained(): boolean {
    return this.bytes > 750;
  }

  private get bytes(): number {
    return this.partition.wal.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

test("a WAL that nears its cap is sealed and archived at once, in small archives", async () => {
  const segments = [0, 1, 2, 3, 4, 5].map((n) =>
    segment(n, n * 10, n * 10 + 9, { sealed: n < 5, bytes: n < 5 ? 62 : 300 }),
  );
  const partition = new FakePartition({ segments });
  const { indexer, clock, registry } = await world(partition, {
    walSpace: new FakeWalSpace(partition),
  });
  indexer.start();
  await indexer.run();
  expect(partition.wal).toEqual([]);
  expect(partition.journal[0]).toBe("seal");
  // An eighth of the cap each, where one archive could have held them all.
  expect(registry.segments("id-t", 0).map(({ base, last }) => [base, last])).toEqual([
    [0, 19],
    [20, 39],
    [40, 49],
    [50, 59],
  ]);
  expect(clock.nowMs()).toBe(1_000_000);
  await indexer.stop();
});

test("while more than three quarters of the cap are used archives have no index", async () => {
  const segments = [0, 1, 2, 3].map((n) => segment(n, n * 10, n * 10 + 9, { bytes: 120 }));
  const active = segment(9, 40, 49, { sealed: false, bytes: 350 });
  const partition = new FakePartition({ segments: [...segments, active] });
  const { indexer, registry } = await world(partition, { walSpace: new FakeWalSpace(partition) });
  await indexer.run();
  const modes = registry.segments("id-t", 0).map(({ index }) => index);
  // 830 bytes are there, then 710 and less.
  expect(modes).toEqual(["pending", "full", "full", "full", "full"]);
});

test("a run that failed while the WAL is pressed is repeated in seconds", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9, { bytes: 600 })] });
  const { indexer, clock, store } = await world(partition, {
    walSpace: new FakeWalSpace(partition),
  });
  store.failPuts = true;
  indexer.start();
  expect((await indexer.run()).errors).toBe(1);
  await Promise.resolve();
  store.failPuts = false;
  clock.advance(4_999);
  expect(partition.wal).toHaveLength(1);
  clock.advance(1);
  await indexer.run();
  expect(partition.wal).toHaveLength(0);
  await indexer.stop();
});
