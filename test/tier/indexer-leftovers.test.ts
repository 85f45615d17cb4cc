/** What a crash, a failure or damage left, and what the indexer makes of it. */
import { expect, test } from "bun:test";
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

test("an archive that a crash left is not joined by what is sealed for room", async () => {
  const active = (bytes: number) => segment(2, 10, 19, { sealed: false, bytes });
  const partition = new FakePartition({ segments: [segment(1, 0, 9), active(90)] });
  const others = [1, 2, 3].map((index) => new FakePartition({ index, segments: [active(50)] }));
  const walSpace = { bytesMax: 1_600, isPressed: true, isStrained: false };
  const { indexer, registry } = await world(partition, { walSpace, others });
  await indexer.run();
  expect(partition.journal[0]).toBe("seal");
  expect(registry.segments("id-t", 0).map(({ base, last }) => [base, last])).toEqual([
    [0, 9],
    [10, 19],
  ]);
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
