import { expect, test } from "bun:test";
import fc from "fast-check";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

test("finds the entry of every archived offset and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1000),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 }),
      async (start, lengths) => {
        const registry = await SegmentRegistry.open(new MemoryJournal());
        let base = start;
        const expected = new Map<number, number>();
        for (const length of lengths) {
          await registry.add(segmentEntry(base, base + length - 1), 0);
          for (let offset = base; offset < base + length; offset++) expected.set(offset, base);
          base += length;
        }
        for (let offset = Math.max(0, start - 2); offset < base + 3; offset++) {
          expect(registry.find("id-t", 0, offset)?.base).toBe(expected.get(offset));
        }
        expect(registry.range("id-t", 0)).toEqual({ start, end: base });
      },
    ),
    { numRuns: 50 },
  );
});

test("refuses an overlap and a hole, and stays as it was", async () => {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  await registry.add(segmentEntry(0, 9), 0);
  await expect(registry.add(segmentEntry(5, 14), 0)).rejects.toThrow("overlaps");
  await expect(registry.add(segmentEntry(11, 14), 0)).rejects.toThrow("leaves a hole");
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 10 });
  expect(journal.entries).toHaveLength(1);
  await registry.add(segmentEntry(10, 14), 0);
  expect(registry.totals()).toEqual({
    segments: 2,
    topics: 1,
    partitions: 1,
    records: 15,
    bytes: 2000,
    quarantined: 0,
    index_pending: 0,
    index_pending_bytes: 0,
    retired: 0,
    retired_bytes: 0,
  });
});

test("two adds at once of the same range: exactly one is registered", async () => {
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const results = await Promise.allSettled([
    registry.add(segmentEntry(0, 9), 0),
    registry.add(segmentEntry(0, 9), 0),
  ]);
  expect(results.map((r) => r.status)).toEqual(["fulfilled", "rejected"]);
});

test("an entry that could not be made durable is not visible", async () => {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  journal.failing = true;
  await expect(registry.add(segmentEntry(0, 9), 0)).rejects.toThrow("no space left");
  journal.failing = false;
  expect(registry.range("id-t", 0)).toBeNull();
  await registry.add(segmentEntry(0, 9), 0);
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: 10 });
});

test("a reopened registry is equal, also after a snapshot and a retired topic", async () => {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  for (let i = 0; i < 4200; i++) await registry.add(segmentEntry(i * 10, i * 10 + 9), 0);
  expect(journal.compactions).toBe(1);
  await registry.add(segmentEntry(0, 4, { topic: "gone", topicId: "id-gone" }), 0);
  await registry.retireTopic("id-gone");
  await registry.settled();
  const again = await SegmentRegistry.open(journal);
  expect(again.all()).toEqual(registry.all());
  expect(Array.from(again.retiredObjects(), (o) => o.topicId)).toEqual(["id-gone"]);
  expect(again.find("id-gone", 0, 0)).toBeUndefined();
  await again.objectsDeleted(Array.from(again.retiredObjects(), (o) => o.key));
  expect([...(await SegmentRegistry.open(journal)).retiredObjects()]).toEqual([]);
});

test("an entry stands whatever becomes of the snapshot behind it", async () => {
  const journal = new MemoryJournal();
  const heard: string[] = [];
  const registry = await SegmentRegistry.open(journal, (message) => heard.push(message));
  journal.compactParts = () => Promise.reject(new Error("too large"));
  for (let i = 0; i < 4200; i++) await registry.add(segmentEntry(i, i), 0);
  await registry.settled();
  expect(heard).toEqual(["the segment registry's journal could not be compacted"]);
  expect((await SegmentRegistry.open(journal)).range("id-t", 0)).toEqual({ start: 0, end: 4200 });
});

test("refuses a journal of a newer format by name", async () => {
  const journal = new MemoryJournal();
  journal.entries.push(new TextEncoder().encode(JSON.stringify({ v: 3, type: "add" })));
  await expect(SegmentRegistry.open(journal)).rejects.toThrow("version 3");
});

test("a pinned entry is known to be in use until the last reader is done", async () => {
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const entry = segmentEntry(0, 9);
  const first = registry.pin(entry);
  const second = registry.pin(entry);
  first();
  first();
  expect(registry.isPinned(entry)).toBe(true);
  second();
  expect(registry.isPinned(entry)).toBe(false);
});

test("a hole below the log start is taken; only the newest run counts as archived", async () => {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  await registry.add(segmentEntry(0, 9), 0);
  await expect(registry.add(segmentEntry(50, 59), 49)).rejects.toThrow("leaves a hole");
  await registry.add(segmentEntry(50, 59), 55);
  await registry.add(segmentEntry(60, 69), 55);
  expect(registry.range("id-t", 0)).toEqual({ start: 50, end: 70 });
  expect((await SegmentRegistry.open(journal)).range("id-t", 0)).toEqual({ start: 50, end: 70 });
});
