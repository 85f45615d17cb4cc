import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { SegmentEntry } from "../../../src/tier/registry/segment-registry.ts";
import {
  type MergeLimits,
  type MergePolicy,
  type MergeStep,
  mergesMax,
  nextStep,
} from "../../../src/tier/rewrite/merge-plan.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

const limits: MergeLimits = { targetBytes: 256, sourcesMax: 64, abortedMax: 100 };
const forEver: MergePolicy = {
  merges: true,
  searchIndex: "full",
  retentionMs: -1,
  retentionBytes: -1,
};

/** Archives side by side with these raw bytes. */
function archives(sizes: readonly number[], over: Partial<SegmentEntry> = {}): SegmentEntry[] {
  return sizes.map((rawBytes, i) => segmentEntry(i * 10, i * 10 + 9, { rawBytes, ...over }));
}

function plan(entries: SegmentEntry[], policy: Partial<MergePolicy> = {}, nowMs = 0) {
  return nextStep(entries, { ...forEver, ...policy }, limits, nowMs);
}

function bases(step: MergeStep | null): number[] | undefined {
  return step?.sources.map(({ base }) => base);
}

/** What the registry holds after the step. */
function applied(entries: readonly SegmentEntry[], step: MergeStep): SegmentEntry[] {
  const [first] = step.sources;
  const last = step.sources.at(-1);
  const at = entries.indexOf(first as SegmentEntry);
  expect(at).toBeGreaterThanOrEqual(0);
  expect(entries.slice(at, at + step.sources.length)).toEqual([...step.sources]);
  const sum = (of: (entry: SegmentEntry) => number) =>
    step.sources.reduce((total, entry) => total + of(entry), 0);
  const merged = segmentEntry(first?.base ?? 0, last?.last ?? 0, {
    rawBytes: sum((entry) => entry.rawBytes),
    aborted: sum((entry) => entry.aborted ?? 0),
    index: step.index === "merge" ? (first?.index ?? "") : step.index,
    merges: step.merges,
  });
  return [...entries.slice(0, at), merged, ...entries.slice(at + step.sources.length)];
}

describe("what is merged", () => {
  test("eight of a level, not seven", () => {
    expect(plan(archives([1, 1, 1, 1, 1, 1, 1]))).toBeNull();
    const step = plan(archives([1, 1, 1, 1, 1, 1, 1, 1, 1]));
    expect(bases(step)).toEqual([0, 10, 20, 30, 40, 50, 60, 70]);
    expect(step).toMatchObject({ index: "merge", merges: 1 });
  });

  test("what together has half of the target, without waiting for eight", () => {
    expect(bases(plan(archives([100, 100, 100])))).toEqual([0, 10]);
    expect(plan(archives([200, 100, 200]))).toBeNull();
    expect(plan(archives([128, 128, 128]))).toBeNull();
  });

  test("nothing that was merged three times", () => {
    const thrice = archives([1, 1, 1, 1, 1, 1, 1, 1], { merges: mergesMax });
    expect(plan(thrice)).toBeNull();
    expect(plan(archives([1, 1, 1, 1, 1, 1, 1, 1], { merges: 2 }))).toMatchObject({ merges: 3 });
  });

  test("one large archive of a high level is not taken for seven small ones", () => {
    const entries = archives([50, 1, 1, 1, 1, 1, 1, 1]);
    entries[0] = { ...(entries[0] as SegmentEntry), merges: 2 };
    expect(plan(entries)).toBeNull();
  });

  test.each([
    ["a hole", { base: 45 }],
    ["another mode", { index: "text" }],
    ["quarantine", { quarantined: { reason: "flipped", sinceMs: 1 } }],
    ["very many aborts", { aborted: 101 }],
  ] as [string, Partial<SegmentEntry>][])("never across %s", (_, over) => {
    const entries = archives([1, 1, 1, 1, 1, 1, 1, 1, 1]);
    entries[4] = { ...(entries[4] as SegmentEntry), ...over };
    expect(plan(entries)).toBeNull();
  });

  test("aborts of all together fit one manifest", () => {
    expect(plan(archives([1, 1, 1, 1, 1, 1, 1, 1], { aborted: 13 }))).toBeNull();
    expect(plan(archives([1, 1, 1, 1, 1, 1, 1, 1], { aborted: 12 }))).not.toBeNull();
  });

  test("nothing where compaction decides", () => {
    expect(plan(archives([1, 1, 1, 1, 1, 1, 1, 1]), { merges: false })).toBeNull();
  });
});

describe("retention", () => {
  const hour = 3_600_000;
  const hourly = Array.from({ length: 16 }, (_, i) =>
    segmentEntry(i * 10, i * 10 + 9, { rawBytes: 1, maxTimestamp: i * 1000 }),
  );

  test("takes archives that are not worth a merge any more", () => {
    const retentionMs = 100 * hour;
    const nowMs = retentionMs - hour + 2500;
    expect(bases(plan(hourly, { retentionMs }, nowMs))?.[0]).toBe(30);
    expect(plan(hourly, { retentionMs }, nowMs + 7000)).toBeNull();
  });

  test("records without timestamps are as old as their archive", () => {
    const without = { maxTimestamp: -1, createdMs: 1000 * hour };
    const eight = archives([1, 1, 1, 1, 1, 1, 1, 1], without);
    expect(bases(plan(eight, { retentionMs: hour }, 1000 * hour))?.length).toBe(8);
    expect(plan(eight, { retentionMs: hour }, 1001 * hour)).toBeNull();
    const pending = archives([1], { ...without, index: "pending" });
    expect(bases(plan(pending, { retentionMs: hour }, 1000 * hour))).toEqual([0]);
  });

  test("by bytes the same", () => {
    expect(bases(plan(hourly, { retentionBytes: 100 }))?.[0]).toBe(0);
    const sized = archives(Array.from({ length: 20 }, () => 1));
    expect(bases(plan(sized, { retentionBytes: 64 }))?.[0]).toBe(0);
    expect(plan(sized, { retentionBytes: 7 })).toBeNull();
  });

  test("merged archives span no more than an eighth of it", () => {
    expect(plan(hourly, { retentionMs: 8 * 6999 }, 0)).toBeNull();
    expect(plan(hourly, { retentionMs: 8 * 7000 }, 0)).not.toBeNull();
  });
});

describe("deferred indexes", () => {
  const pending = { index: "pending" };

  test("come first, the oldest first, joined on the way", () => {
    const entries = [...archives([1, 1, 1, 1, 1, 1, 1, 1]), ...archives([200, 50, 50], pending)];
    const shifted = entries.map((entry, i) => ({ ...entry, base: i * 10, last: i * 10 + 9 }));
    const step = plan(shifted);
    expect(bases(step)).toEqual([80, 90]);
    expect(step).toMatchObject({ index: "full", merges: 1 });
  });

  test("one alone may be large and merged before", () => {
    const entries = archives([500], { ...pending, merges: mergesMax });
    expect(plan(entries)).toMatchObject({ index: "full", merges: mergesMax });
    expect(plan(entries, { searchIndex: "text", merges: false })).toMatchObject({ index: "text" });
  });

  test("each by itself where compaction decides about merging", () => {
    expect(bases(plan(archives([1, 1], pending), { merges: false }))).toEqual([0]);
  });

  test("none where the topic wants no index; they are merged as they are", () => {
    const entries = archives([1, 1, 1, 1, 1, 1, 1, 1], pending);
    expect(plan(entries, { searchIndex: "none" })).toMatchObject({ index: "merge", merges: 1 });
    expect(plan(archives([1], pending), { searchIndex: "none" })).toBeNull();
  });

  test("a damaged one does not hold up the others", () => {
    const entries = archives([1, 1], pending);
    const quarantined = { reason: "flipped", sinceMs: 1 };
    entries[0] = { ...(entries[0] as SegmentEntry), quarantined };
    expect(bases(plan(entries))).toEqual([10]);
  });
});

describe("any sequence of archives", () => {
  const archive = fc.record({
    rawBytes: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 300 })),
    aborted: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60 })),
    isPending: fc.boolean(),
  });

  test("is covered exactly, and no byte is merged more than three times", () => {
    const sequence = fc.array(archive, { maxLength: 120 });
    fc.assert(
      fc.property(sequence, (given) => {
        let entries: SegmentEntry[] = [];
        /** How often the bytes of each archive, by its base, were written again. */
        const rewrites = new Map<number, number>();
        for (const { rawBytes, aborted, isPending } of given) {
          const base = entries.at(-1) === undefined ? 0 : (entries.at(-1)?.last ?? 0) + 1;
          const index = isPending ? "pending" : "full";
          entries.push(segmentEntry(base, base + 9, { rawBytes, aborted, index }));
          for (let step = plan(entries); step; step = plan(entries)) {
            const isMerge = step.sources.length > 1;
            const [first] = step.sources;
            for (let at = first?.base ?? 0; at <= (step.sources.at(-1)?.last ?? 0); at += 10) {
              if (isMerge) rewrites.set(at, (rewrites.get(at) ?? 0) + 1);
            }
            entries = applied(entries, step);
            const made = entries.find((entry) => entry.base === first?.base);
            if (isMerge) expect(made?.rawBytes).toBeLessThanOrEqual(limits.targetBytes);
            if (isMerge) expect(made?.aborted).toBeLessThanOrEqual(limits.abortedMax);
          }
          expect(entries.some((entry) => entry.index === "pending")).toBe(false);
        }
        expect(Math.max(0, ...rewrites.values())).toBeLessThanOrEqual(mergesMax);
        let next = 0;
        for (const entry of entries) {
          expect(entry.base).toBe(next);
          next = entry.last + 1;
        }
        expect(next).toBe(given.length * 10);
      }),
      { numRuns: 300 },
    );
  });

  test("of small ones becomes few", () => {
    let entries: SegmentEntry[] = [];
    for (let i = 0; i < 5_000; i++) {
      entries.push(segmentEntry(i * 10, i * 10 + 9, { rawBytes: 1 }));
      for (let step = plan(entries); step; step = plan(entries)) entries = applied(entries, step);
    }
    // 5,000 bytes of at most 256 each, and the last ones of every level.
    expect(entries.length).toBeLessThanOrEqual(5_000 / 128 + 21);
  });
});
