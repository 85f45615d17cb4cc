import { expect, test } from "bun:test";
import { archiveLag } from "../../src/tier/archive-lag.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { Timeline } from "../../src/tier/timeline.ts";
import { FakePartition } from "../support/fake-tier.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { segmentEntry } from "../support/segment-entry.ts";

const rewrite = (base: number, last: number, over = {}) =>
  segmentEntry(base, last, { generation: 2, key: `k/${base}-${last}.g2.tar.gz`, ...over });

test("what happens to the registry is told, newest first", async () => {
  let nowMs = 0;
  const timeline = new Timeline(() => nowMs, 100);
  const registry = await SegmentRegistry.open(new MemoryJournal());
  registry.subscribe((change) => timeline.registryChanged(change));
  for (let i = 0; i < 5; i++) {
    await registry.add(segmentEntry(i * 10, i * 10 + 9, i === 4 ? { index: "pending" } : {}), 0);
    nowMs += 1_000;
  }
  const [a, b, c, d, e] = registry.segments("id-t", 0);
  if (!a || !b || !c || !d || !e) throw new Error("five segments");
  await registry.replace([a, b], [rewrite(0, 19)]);
  await registry.replace([c], [rewrite(20, 29, { records: 4 })]);
  await registry.replace([e], [rewrite(40, 49)]);
  await registry.quarantine(d, "its hash differs", 1);
  await registry.unquarantine(d);
  await registry.dropBefore("id-t", 0, 30);
  await registry.retireTopic("id-t");
  await registry.objectsDeleted([a.key]);
  const told = timeline.newest(100);
  expect(told.map((event) => [event.type, event.base_offset, event.last_offset])).toEqual([
    ["topic-retired", 30, 49],
    ["dropped", 0, 29],
    ["unquarantined", 30, 39],
    ["quarantined", 30, 39],
    ["indexed", 40, 49],
    ["compacted", 20, 29],
    ["merged", 0, 19],
    ["archived", 40, 49],
    ["archived", 30, 39],
    ["archived", 20, 29],
    ["archived", 10, 19],
    ["archived", 0, 9],
  ]);
  expect(told[3]?.detail).toBe("its hash differs");
  expect(told[6]?.detail).toBe("2 archives became 1");
  expect(told.at(-1)).toMatchObject({ sequence: 0, at: "1970-01-01T00:00:00.000Z", bytes: 1000 });
});

test("remembers so many events and no more; a topic's are found among the others", () => {
  const timeline = new Timeline(() => 7, 10);
  const event = { type: "sealed", partition: 0, lastOffset: 9, bytes: 1 } as const;
  for (let n = 0; n < 25; n++) {
    timeline.record({ ...event, topic: n % 5 === 0 ? "rare" : "t", baseOffset: n });
  }
  const offsets = (limit: number, topic: string | null = null) =>
    timeline.newest(limit, topic).map((found) => found.base_offset);
  expect(offsets(3)).toEqual([24, 23, 22]);
  expect(offsets(100)).toEqual([24, 23, 22, 21, 20, 19, 18, 17, 16, 15]);
  expect(offsets(100, "rare")).toEqual([20, 15]);
});

test("the lag counts what no archive has, by its oldest record", () => {
  const segment = (id: number, base: number, last: number, firstAppendMs: number) => ({
    ...{ id, base, last, firstAppendMs, bytes: 100, records: last - base + 1 },
    ...{ maxTimestamp: 0, sealed: true },
  });
  const one = new FakePartition({ segments: [segment(1, 0, 9, 1_000), segment(2, 10, 29, 5_000)] });
  const two = new FakePartition({ index: 1, segments: [segment(1, 0, 4, 3_000)] });
  const ends = [10, 0];
  const lag = (nowMs: number) => archiveLag([one, two], ({ index }) => ends[index] ?? 0, nowMs);
  expect(lag(9_000)).toEqual({ records: 25, bytes: 200, seconds: 6 });
  expect(lag(0)).toEqual({ records: 25, bytes: 200, seconds: 0 });
  ends[1] = 5;
  expect(lag(9_000)).toEqual({ records: 20, bytes: 100, seconds: 4 });
  two.damage = "damaged";
  ends[0] = 30;
  expect(lag(9_000)).toEqual({ records: 0, bytes: 0, seconds: 0 });
});
