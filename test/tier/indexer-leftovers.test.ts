/** What a crash, a failure or damage left, and what the indexer makes of it. */
import { expect, test } from "bun:test";
import { StoreError } from "../../src/store/object-store.ts";
import type { WalSegment } from "../../src/tier/ports.ts";
import type { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { FakePartition } from "../support/fake-tier.ts";
import { registryEntry, segment, world } from "../support/indexer-lab.ts";

test("an adopted archive is registered with the index it has, not the one asked for", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const walSpace = { bytesMax: 1_000, isPressed: false, isStrained: true };
  const { indexer, store, registry } = await world(partition, { walSpace });
  store.loseAnswer = true;
  await indexer.run();
  walSpace.isStrained = false;
  await indexer.run();
  expect(registry.segments("id-t", 0).map(({ index }) => index)).toEqual(["pending"]);
});

const plain = (base: number, last: number) =>
  `tantivy_indexes/t/partition-0/segment-${base}-${last}.tar.gz`;
const rangesOf = (registry: SegmentRegistry) =>
  registry.segments("id-t", 0).map(({ base, last }) => [base, last]);
const retiredOf = (registry: SegmentRegistry) =>
  Array.from(registry.retiredObjects(), ({ key }) => key);

/** A broker that was killed between put and register of its first archive, [0, last], and came back
 * over what it left. */
async function killedBeforeRegister(
  segments: WalSegment[],
  walSpace = { bytesMax: 0, isPressed: false, isStrained: false },
) {
  const partition = new FakePartition({ segments });
  const before = await world(partition);
  before.registry.add = () => Promise.reject(new Error("killed"));
  expect((await before.indexer.run()).errors).toBe(1);
  const { files, journal } = before;
  expect(journal.entries).toHaveLength(1);
  return { partition, ...(await world(partition, { files, journal, walSpace })) };
}

test("an archive that a crash left without a name is found again, not joined", async () => {
  const left = await killedBeforeRegister([segment(1, 0, 9), segment(2, 10, 19)]);
  const { partition, indexer, registry, files } = left;
  expect([...files.keys()]).toEqual([plain(0, 19)]);
  partition.wal = [...partition.wal, segment(3, 20, 29)];
  await indexer.run();
  partition.wal = [segment(4, 30, 39), segment(5, 40, 49)];
  await indexer.run();
  expect(rangesOf(registry)).toEqual([
    [0, 19],
    [20, 29],
    [30, 49],
  ]);
  expect([...files.keys()].sort()).toEqual([plain(0, 19), plain(20, 29), plain(30, 49)].sort());
  expect([registry.begunArchives(), retiredOf(registry)]).toEqual([[], []]);
});

test("an archive that a crash left is not joined by what is sealed for room", async () => {
  const walSpace = { bytesMax: 160, isPressed: true, isStrained: false };
  const left = await killedBeforeRegister([segment(1, 0, 9)], walSpace);
  const { partition, indexer, registry, files } = left;
  partition.wal = [...partition.wal, segment(2, 10, 19, { sealed: false, bytes: 90 })];
  await indexer.run();
  expect(partition.journal[0]).toBe("seal");
  expect(rangesOf(registry)).toEqual([
    [0, 9],
    [10, 19],
  ]);
  expect([...files.keys()]).toEqual([plain(0, 9), plain(10, 19)]);
});

test("an archive that a crash left goes when its records are deleted", async () => {
  const left = await killedBeforeRegister([segment(1, 0, 9), segment(2, 10, 19)]);
  const { partition, indexer, registry, files } = left;
  partition.logStartOffset = 10;
  partition.wal = partition.wal.slice(1);
  expect((await indexer.run()).errors).toBe(0);
  expect(retiredOf(registry)).toEqual([plain(0, 19)]);
  expect(rangesOf(registry)).toEqual([[10, 19]]);
  expect([...files.keys()]).toEqual([plain(0, 19), plain(10, 19)]);
});

test("or with its topic; what cannot be read now has time", async () => {
  const left = await killedBeforeRegister([segment(1, 0, 9)]);
  const { partition, indexer, registry } = left;
  partition.damage = new Error("damaged");
  partition.wal = [];
  await indexer.run();
  expect([registry.begunArchives().length, registry.isIntendedKey(plain(0, 9))]).toEqual([1, true]);
  await registry.retireTopic("id-t");
  expect(retiredOf(registry)).toEqual([plain(0, 9)]);
});

test("nothing is retired that the WAL does not reach yet", async () => {
  const left = await killedBeforeRegister([segment(1, 0, 9)]);
  const { partition, indexer, registry } = left;
  partition.wal = [];
  await indexer.run();
  expect([registry.begunArchives().length, retiredOf(registry)]).toEqual([1, []]);
});

test("an object that was there before is nobody's: it stays whatever happens", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, registry, files, store } = await world(partition);
  files.set(plain(0, 9), JSON.stringify({ topicId: "other" }));
  const { openForVerify } = store;
  store.openForVerify = (key) => Promise.reject(new StoreError("unavailable", key, "is away"));
  await indexer.run();
  expect(registry.begunArchives()).toEqual([]);
  store.openForVerify = openForVerify;
  await indexer.run();
  expect(rangesOf(registry)).toEqual([[0, 9]]);
  expect(retiredOf(registry)).not.toContain(plain(0, 9));
  expect(files.has(plain(0, 9))).toBe(true);
});

test("an object of ours that rotted before it was registered goes", async () => {
  const left = await killedBeforeRegister([segment(1, 0, 9)]);
  const { indexer, registry, files } = left;
  files.set(plain(0, 9), "rotten");
  await indexer.run();
  expect(rangesOf(registry)).toEqual([[0, 9]]);
  expect(retiredOf(registry)).toEqual([plain(0, 9)]);
});

test("a namesake's archive that is not deleted yet does not stand in the way", async () => {
  const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
  const { indexer, registry } = await world(partition);
  await registry.begin({ ...registryEntry(0, 9), topicId: "id-old" });
  expect((await indexer.run()).errors).toBe(0);
  await registry.retireTopic("id-old");
  expect(rangesOf(registry)).toEqual([[0, 9]]);
  expect(retiredOf(registry)).toEqual([plain(0, 9)]);
});

test("an archive under a key of its own that cannot be registered is not left", async () => {
  const partition = new FakePartition({ segments: [segment(1, 5, 9)] });
  const { indexer, store, registry, files } = await world(partition);
  const first = "tantivy_indexes/t/partition-0/segment-5-9.tar.gz";
  await registry.retireUnregistered(registryEntry(5, 9));
  files.set(first, "on its way out");
  const register = registry.add.bind(registry);
  registry.add = () => Promise.reject(new Error("no room for the entry"));
  expect((await indexer.run()).errors).toBe(1);
  const left = [...store.files.keys()].filter((key) => key !== first);
  expect(left).toHaveLength(1);
  expect(Array.from(registry.retiredObjects(), ({ key }) => key)).toEqual([first, ...left]);
  registry.add = register;
  expect((await indexer.run()).errors).toBe(0);
  expect(registry.all().map(({ base, last }) => [base, last])).toEqual([[5, 9]]);
});

test("what a quarantined archive cannot give back stays in the WAL with all behind", async () => {
  const partition = new FakePartition({
    segments: [segment(1, 0, 9), segment(2, 10, 19), segment(3, 20, 29), segment(4, 30, 39)],
  });
  const { indexer, registry } = await world(partition);
  for (const [base, last] of [
    [0, 9],
    [10, 19],
    [20, 29],
  ] as const) {
    await registry.add(registryEntry(base, last), 0);
  }
  const damaged = registryEntry(10, 19);
  await registry.quarantine(damaged, "test", 1);
  const run = await indexer.run();
  expect([run.errors, registry.range("id-t", 0)]).toEqual([0, { start: 0, end: 40 }]);
  expect(partition.wal.map(({ id }) => id)).toEqual([2, 3, 4]);
  await indexer.run();
  expect(partition.wal.map(({ id }) => id)).toEqual([2, 3, 4]);
  await registry.unquarantine(damaged);
  expect((await indexer.run()).errors).toBe(0);
  expect(partition.wal).toEqual([]);
});

test("an archive in quarantine that the WAL no longer holds keeps nothing there", async () => {
  const partition = new FakePartition({ segments: [segment(2, 10, 19)] });
  const { indexer, registry } = await world(partition);
  await registry.add(registryEntry(0, 9), 0);
  await registry.quarantine(registryEntry(0, 9), "test", 1);
  expect((await indexer.run()).errors).toBe(0);
  expect(partition.wal).toEqual([]);
});
