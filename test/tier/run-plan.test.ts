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

test("seals what is old enough, oldest first; never an empty, young or future segment", () => {
  const active = { sealed: false };
  const partitions = [
    partition(0, [segment(1, 0, 9, { ...active, firstAppendMs: 95_000 })]),
    partition(1, [segment(1, 0, 9, { ...active, firstAppendMs: 50_000 })]),
    partition(2, [segment(1, 0, 9, { ...active, firstAppendMs: 40_000 })]),
    partition(3, [segment(1, 0, 9, { ...active, firstAppendMs: 900_000 })]),
    partition(4, [segment(1, 0, -1, { ...active, records: 0, firstAppendMs: 0 })]),
    partition(5, [segment(1, 0, 9)]),
  ];
  const due = partitionsToSeal(partitions, 100_000, 10_000, 30_000);
  expect(due.map((p) => p.index)).toEqual([2, 1]);
});

test("stretches the age limit above 300 due partitions", () => {
  const many = Array.from({ length: 1000 }, (_, i) =>
    partition(i, [segment(1, 0, 9, { sealed: false, firstAppendMs: i })]),
  );
  const due = partitionsToSeal(many, 1e6, 10_000, 30_000);
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
  const plan = planArchives([p], () => 0, 100);
  expect(plan.tasks.map((t) => t.segments.map((s) => s.id))).toEqual([[1, 2], [3], [4]]);
  expect(plan.more).toBe(false);
});

test("skips what is archived and says when the limit cut the run", () => {
  const p = partition(0, [segment(1, 0, 9), segment(2, 10, 19), segment(3, 20, 29)]);
  const plan = planArchives([p], () => 10, 1);
  expect(plan.tasks.map((t) => t.segments.map((s) => s.id))).toEqual([[2]]);
  expect(plan.more).toBe(true);
});
