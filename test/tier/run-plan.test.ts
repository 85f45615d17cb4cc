import { expect, test } from "bun:test";
import type { TierPartition, WalSegment } from "../../src/tier/ports.ts";
import { partitionsToSeal, planArchives } from "../../src/tier/run-plan.ts";
import { FakePartition } from "../support/fake-tier.ts";

function segment(
  id: number,
  base: number,
  last: number,
  over: Partial<WalSegment> = {},
): WalSegment {
  return {
    id,
    base,
    last,
    bytes: 100,
    records: last - base + 1,
    maxTimestamp: 0,
    sealed: true,
    firstAppendMs: 1000,
    ...over,
  };
}

function partition(index: number, segments: WalSegment[], archivableEnd = 1e9): TierPartition {
  return new FakePartition({ index, segments, archivableEnd });
}

function aged(index: number, ageMs: number | null): TierPartition {
  const made = new FakePartition({ index, segments: [segment(1, 0, 9, { sealed: false })] });
  made.unsealedAge = ageMs;
  return made;
}

test("seals what is old enough, oldest first; never a young one or one without records", () => {
  const partitions = [
    aged(0, 5_000),
    aged(1, 50_000),
    aged(2, 60_000),
    aged(3, null),
    aged(4, 10_000),
  ];
  const due = partitionsToSeal(partitions, 10_000, 30_000, 10);
  expect(due.map((p) => p.index)).toEqual([2, 1, 4]);
});

test("stretches the age limit above 300 due partitions", () => {
  const many = Array.from({ length: 1000 }, (_, i) => aged(i, 1e6 - i));
  const due = partitionsToSeal(many, 10_000, 30_000, 10);
  expect(due).toHaveLength(300);
  expect(due[0]?.index).toBe(0);
});

test("joins consecutive sealed segments up to 256 MiB and stops at the archivable end", () => {
  const mib = 1024 * 1024;
  const p = partition(
    0,
    [
      segment(1, 0, 9, { bytes: 100 * mib }),
      segment(2, 10, 19, { bytes: 100 * mib }),
      segment(3, 20, 29, { bytes: 100 * mib }),
      segment(4, 30, 39, { bytes: 300 * mib }),
      segment(5, 40, 49),
      segment(6, 50, 59, { sealed: false }),
    ],
    45,
  );
  const plan = planArchives([p], () => 0, 100, 256 << 20);
  expect(plan.tasks.map((t) => t.segments.map((s) => s.id))).toEqual([[1, 2], [3], [4]]);
  expect(plan.more).toBe(false);
});

test("skips what is archived and says when the limit cut the run", () => {
  const p = partition(0, [segment(1, 0, 9), segment(2, 10, 19), segment(3, 20, 29)]);
  const plan = planArchives([p], () => 10, 1, 256 << 20);
  expect(plan.tasks.map((t) => t.segments.map((s) => s.id))).toEqual([[2]]);
  expect(plan.more).toBe(true);
});

test("what lies below the log start as a whole is not archived; what it cuts is", () => {
  const made = new FakePartition({
    segments: [segment(1, 0, 9), segment(2, 10, 19), segment(3, 20, 29)],
  });
  made.logStartOffset = 15;
  const { tasks } = planArchives([made], () => 0, 100, 1 << 30);
  expect(tasks.flatMap((task) => task.segments.map(({ id }) => id))).toEqual([2, 3]);
});
