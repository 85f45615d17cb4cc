import { expect, test } from "bun:test";
import { segmentsPage, tiersView } from "../../src/broker-tier-view.ts";
import type { Partition } from "../../src/log/partition.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { segmentEntry } from "../support/segment-entry.ts";

async function registryOf(places: readonly (readonly [topic: string, partition: number])[]) {
  const registry = await SegmentRegistry.open(new MemoryJournal());
  for (const [topic, partition] of places) {
    for (let i = 0; i < 4; i++) {
      const key = `k/${topic}/${partition}/${i}`;
      const over = { topic, topicId: `id-${topic}`, partition, key, createdMs: 1_000 };
      await registry.add(segmentEntry(i * 10, i * 10 + 9, over), 0);
    }
  }
  return registry;
}

const everything = { topic: null, partition: null, after: null, limit: 1_000 };

test("pages of any size give every segment once, also while some are dropped", async () => {
  const registry = await registryOf([
    ["a", 0],
    ["a", 1],
    ["b", 0],
  ]);
  const whole = segmentsPage(registry, everything);
  expect(whole?.segments).toHaveLength(12);
  expect(whole?.next).toBeNull();
  for (const limit of [1, 3, 4, 5, 11]) {
    const keys: string[] = [];
    let after: { partition: string; base: number } | null = null;
    do {
      const page = segmentsPage(registry, { ...everything, after, limit });
      if (!page) throw new Error("a page");
      keys.push(...page.segments.map((segment) => segment.key));
      after = page.next;
    } while (after !== null);
    expect(keys).toEqual(whole?.segments.map((segment) => segment.key) ?? []);
  }
  const of = (topic: string | null, partition: number | null) =>
    segmentsPage(registry, { ...everything, topic, partition })?.segments.length;
  expect([of("a", null), of("a", 1), of(null, 0), of("none", null)]).toEqual([8, 4, 8, 0]);
  const cursor = { partition: "id-a/1", base: 10 };
  await registry.dropBefore("id-a", 1, 20);
  const rest = segmentsPage(registry, { ...everything, after: cursor });
  expect(rest?.segments.map((segment) => segment.base_offset)).toEqual([20, 30, 0, 10, 20, 30]);
  await registry.retireTopic("id-a");
  expect(segmentsPage(registry, { ...everything, after: cursor })).toBeNull();
});

test("the tiers of a partition: WAL, archives a page at a time, and what is cached", async () => {
  const registry = await registryOf([["a", 0]]);
  const walSegment = { bytes: 50, maxTimestamp: 0, cleaned: false };
  const partition = {
    topic: "a",
    topicId: "id-a",
    index: 0,
    logStartOffset: 5,
    logEndOffset: 60,
    highWatermark: 58,
    segments: () => [
      { ...walSegment, id: 3, base: 30, last: 39, records: 10, sealed: true, firstAppendMs: 2_000 },
      { ...walSegment, id: 4, base: 40, last: 49, records: 10, sealed: true, firstAppendMs: 3_000 },
      { ...walSegment, id: 5, base: 50, last: 59, records: 10, sealed: false, firstAppendMs: 9e9 },
    ],
  } as unknown as Partition;
  const cached = ({ base }: { base: number }) => (base === 10 ? 77 : 0);
  const query = { fromOffset: 15, limit: 2 };
  const view = tiersView(partition, registry, cached, query, 11_000);
  expect(view).toMatchObject({ topic: "a", partition: 0, log_start_offset: 5, log_end_offset: 60 });
  expect(view.wal.segments.map(({ state, age_seconds }) => [state, age_seconds])).toEqual([
    ["archived", 9],
    ["sealed", 8],
    ["active", 0],
  ]);
  expect(view.wal).toMatchObject({ start_offset: 30, end_offset: 60, bytes: 150, records: 30 });
  expect(view.object).toMatchObject({ start_offset: 0, end_offset: 40, segment_count: 4 });
  expect(view.object.segments.map((segment) => segment.base_offset)).toEqual([10, 20]);
  expect(view.object.next_offset).toBe(30);
  expect(view.object.segments[0]).toMatchObject({ age_seconds: 10, cached_bytes: 77 });
  expect(view.cached).toMatchObject({ start_offset: 10, end_offset: 20, bytes: 77 });
  const last = tiersView(partition, registry, cached, { fromOffset: 40, limit: 2 }, 11_000);
  expect(last.object.segments).toEqual([]);
  expect(last.object.next_offset).toBeNull();
  expect(last.cached).toMatchObject({ start_offset: null, end_offset: null, segment_count: 0 });
});
