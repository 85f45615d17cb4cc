import { expect, test } from "bun:test";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

/** A registry of consecutive segments of ten offsets each, whose clock stands at 5,000 ms. */
async function registryOf(count: number, journal = new MemoryJournal()) {
  const registry = await SegmentRegistry.open(journal, undefined, () => 5_000);
  for (let i = 0; i < count; i++) await registry.add(segmentEntry(i * 10, i * 10 + 9), 0);
  return { registry, journal, reopened: () => SegmentRegistry.open(journal) };
}

const keysOf = (registry: SegmentRegistry) =>
  registry.segments("id-t", 0).map(({ base, last, generation }) => [base, last, generation]);

const retiredOf = (registry: SegmentRegistry) =>
  Array.from(registry.retiredObjects(), ({ key, retiredMs }) => [key, retiredMs]);

const rewrite = (base: number, last: number, name = "a") =>
  segmentEntry(base, last, { generation: 2, key: `k/segment-${base}-${last}.g2-${name}.tar.gz` });

test("a replacement is one journal entry: the new in, the old objects retired", async () => {
  const { registry, journal, reopened } = await registryOf(5);
  const old = registry.segments("id-t", 0).slice(1, 4);
  const before = journal.entries.length;
  await registry.replace(old, [rewrite(10, 39)]);
  expect(journal.entries).toHaveLength(before + 1);
  for (const one of [registry, await reopened()]) {
    expect(keysOf(one)).toEqual([
      [0, 9, 1],
      [10, 39, 2],
      [40, 49, 1],
    ]);
    expect(retiredOf(one)).toEqual(old.map(({ key }) => [key, 5_000]));
    expect(one.find("id-t", 0, 25)?.generation).toBe(2);
    expect(one.range("id-t", 0)).toEqual({ start: 0, end: 50 });
    expect(one.totals()).toMatchObject({ segments: 3, retired: 3, retired_bytes: 3000 });
  }
});

test("a list handed out does not change under its reader when its middle is replaced", async () => {
  const { registry } = await registryOf(3);
  const list = registry.segments("id-t", 0);
  await registry.replace(list.slice(0, 2), [rewrite(0, 19)]);
  expect(list.map(({ base }) => base)).toEqual([0, 10, 20]);
});

test("a replacement of what changed meanwhile is refused, and nothing changes", async () => {
  const { registry, journal } = await registryOf(4);
  const [a, b, c] = registry.segments("id-t", 0);
  if (!a || !b || !c) throw new Error("three segments");
  await registry.replace([a, b], [rewrite(0, 19)]);
  const entries = journal.entries.length;
  for (const [remove, add, why] of [
    [[b, c], [rewrite(10, 29, "b")], "is not registered any more"],
    [[c], [rewrite(20, 28)], "is not covered up to 29"],
    [[c], [rewrite(20, 24), rewrite(26, 29)], "does not follow"],
    [[c], [rewrite(20, 35)], "is not covered"],
    [[c], [{ ...rewrite(20, 29), key: a.key }], "is being deleted"],
    [[c], [{ ...rewrite(20, 29), key: c.key }], "has the key"],
    [[c], [rewrite(20, 24, "x"), { ...rewrite(25, 29), key: rewrite(20, 24, "x").key }], "key"],
  ] as const) {
    await expect(registry.replace(remove, add)).rejects.toThrow(why);
  }
  const gone = registry.replace([c], [rewrite(20, 29)], () => false);
  await expect(gone).rejects.toMatchObject({ code: "CHRONIK_TOPIC_GONE" });
  expect(journal.entries).toHaveLength(entries);
});

test("two replacements at once of one segment: exactly one is in force", async () => {
  const { registry } = await registryOf(2);
  const [a] = registry.segments("id-t", 0);
  if (!a) throw new Error("a segment");
  const results = await Promise.allSettled([
    registry.replace([a], [rewrite(0, 9, "x")]),
    registry.replace([a], [rewrite(0, 9, "y")]),
  ]);
  expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected"]);
  expect(registry.find("id-t", 0, 0)?.key).toBe(rewrite(0, 9, "x").key);
});

test("a retention's drop takes whole segments below the offset, oldest first", async () => {
  const { registry, reopened } = await registryOf(4);
  expect(await registry.dropBefore("id-t", 0, 10)).toHaveLength(1);
  expect(await registry.dropBefore("id-t", 0, 29)).toHaveLength(1);
  expect(await registry.dropBefore("id-t", 0, 29)).toEqual([]);
  for (const one of [registry, await reopened()]) {
    expect(one.range("id-t", 0)).toEqual({ start: 20, end: 40 });
    expect(one.find("id-t", 0, 19)).toBeUndefined();
    expect(retiredOf(one).map(([key]) => key)).toEqual([
      segmentEntry(0, 9).key,
      segmentEntry(10, 19).key,
    ]);
  }
  expect(await registry.dropBefore("id-t", 0, 1e9)).toHaveLength(2);
  expect((await reopened()).totals()).toMatchObject({ segments: 0, partitions: 0, topics: 0 });
});

test("a damaged segment is marked, kept, not replaced, and free again", async () => {
  const { registry, reopened } = await registryOf(2);
  const [a] = registry.segments("id-t", 0);
  if (!a) throw new Error("a segment");
  await registry.quarantine(a, "its hash differs", 77);
  for (const one of [registry, await reopened()]) {
    const quarantined = { reason: "its hash differs", sinceMs: 77 };
    expect(one.find("id-t", 0, 3)?.quarantined).toEqual(quarantined);
    expect(one.totals().quarantined).toBe(1);
  }
  await expect(registry.replace([a], [rewrite(0, 9)])).rejects.toThrow("is in quarantine");
  await registry.unquarantine(a);
  expect((await reopened()).find("id-t", 0, 3)).toEqual(a);
  await registry.dropBefore("id-t", 0, 10);
  await expect(registry.quarantine(a, "late", 1)).rejects.toThrow("not registered any more");
});

test("an object that was put and never registered is retired, a named one is not", async () => {
  const { registry, reopened } = await registryOf(1);
  await registry.retireUnregistered(segmentEntry(0, 9));
  expect(retiredOf(registry)).toEqual([]);
  await registry.retireUnregistered(rewrite(50, 59));
  const again = await reopened();
  expect(again.isRetiredKey(rewrite(50, 59).key)).toBe(true);
  expect(again.retiredCount("id-t")).toBe(1);
  await again.objectsDeleted([rewrite(50, 59).key, "unknown"]);
  expect((await reopened()).totals()).toMatchObject({ segments: 1, retired: 0, retired_bytes: 0 });
});

test("a first archive that was begun stays so over starts, until an entry names it", async () => {
  const { registry, journal, reopened } = await registryOf(1);
  const next = segmentEntry(10, 19);
  await registry.begin(next);
  const entries = journal.entries.length;
  // Another try of it, of other bytes.
  await registry.begin({ ...next, bytes: 5 });
  expect(journal.entries).toHaveLength(entries);
  expect(registry.begin({ ...next, topicId: "id-u" })).rejects.toThrow("has the key");
  const gone = () => false;
  expect(registry.begin(segmentEntry(20, 29), gone)).rejects.toThrow("was deleted or is closing");
  let again = await reopened();
  for (const one of [registry, again]) {
    expect(one.begunArchives().map(({ first }) => first)).toEqual([{ base: 10, last: 19 }]);
    expect([one.isBegun(next), one.isIntendedKey(next.key), retiredOf(one)]).toEqual([
      true,
      true,
      [],
    ]);
  }
  journal.entries = [...again.snapshotParts()];
  again = await reopened();
  expect(again.isBegun(next)).toBe(true);
  await again.add(next, 0);
  for (const one of [again, await reopened()]) {
    expect([one.begunArchives(), retiredOf(one)]).toEqual([[], []]);
    expect(one.range("id-t", 0)).toEqual({ start: 0, end: 20 });
  }
});

test("a first archive that nobody goes on with is retired, alone or with its topic", async () => {
  const { registry, reopened } = await registryOf(0);
  const [one, other] = [segmentEntry(0, 9), segmentEntry(10, 19)];
  for (const segment of [one, other]) await registry.begin(segment);
  await registry.retireBegun(one.key);
  await registry.retireBegun("unknown");
  expect(retiredOf(registry)).toEqual([[one.key, 5_000]]);
  expect(registry.isTakenKey(one)).toBe(true);
  await registry.retireTopic("id-t");
  for (const each of [registry, await reopened()]) {
    expect(retiredOf(each)).toEqual([
      [one.key, 5_000],
      [other.key, 5_000],
    ]);
    expect([each.begunArchives(), each.retiredCount("id-t")]).toEqual([[], 2]);
  }
});

test("a journal of the first release is read", async () => {
  const journal = new MemoryJournal();
  const lines = await Bun.file(`${import.meta.dir}/../../fixtures/registry-v1.jsonl`).text();
  for (const line of lines.trimEnd().split("\n")) journal.entries.push(Buffer.from(line));
  const registry = await SegmentRegistry.open(journal);
  expect(registry.segments("Wm1DS2JwT0tLUXk5d2xsUQ", 0).map((s) => [s.base, s.last])).toEqual([
    [0, 99],
    [100, 149],
  ]);
  expect(retiredOf(registry)).toEqual([
    ["tantivy_indexes/old/partition-0/segment-0-9.tar.gz", 0],
    ["tantivy_indexes/gone/partition-1/segment-0-9.tar.gz", 0],
  ]);
  expect(registry.find("Wm1DS2JwT0tLUXk5d2xsUQ", 0, 120)).toEqual({
    topic: "orders",
    topicId: "Wm1DS2JwT0tLUXk5d2xsUQ",
    partition: 0,
    generation: 1,
    base: 100,
    last: 149,
    records: 50,
    minTimestamp: 1700000000000,
    maxTimestamp: 1700000009999,
    key: "tantivy_indexes/orders/partition-0/segment-100-149.tar.gz",
    bytes: 4321,
    rawBytes: 9000,
    sha256: "b".repeat(64),
    tocPosition: 4000,
    documents: 50,
    aborted: 2,
    index: "full",
    createdMs: 1700000020000,
  });
});
