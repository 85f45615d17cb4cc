import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { WalSegment } from "../../src/tier/ports.ts";
import {
  planLocalRelease,
  planRetention,
  type RetentionUnit,
  retentionUnits,
} from "../../src/tier/retention.ts";
import { RetentionClock } from "../../src/tier/retention-clock.ts";
import { segmentEntry } from "../support/segment-entry.ts";

const nowMs = 1_000_000;
const dayMs = 86_400_000;

/** Ten offsets and 100 bytes each, from offset 0 on, with these largest timestamps. */
function units(...timestamps: number[]): RetentionUnit[] {
  return timestamps.map((timestampMs, n) => ({
    base: n * 10,
    last: n * 10 + 9,
    bytes: 100,
    timestampMs,
  }));
}

function segment(
  id: number,
  base: number,
  last: number,
  over: Partial<WalSegment> = {},
): WalSegment {
  const fields = { bytes: 100, records: last - base + 1, maxTimestamp: 0, firstAppendMs: 0 };
  return { id, base, last, sealed: true, ...fields, ...over };
}

const rules = (retentionMs: number, retentionBytes: number, deletes = true) => ({
  deletes,
  retentionMs,
  retentionBytes,
});

describe("what retention drops", () => {
  const old = nowMs - 1001;
  const young = nowMs - 1000;
  const table: [string, RetentionUnit[], ReturnType<typeof rules>, number, number, number][] = [
    ["nothing without limits", units(0, 0), rules(-1, -1), 0, 20, 0],
    ["what is older than retention.ms", units(old, old, young), rules(1000, -1), 0, 30, 20],
    ["not what is exactly as old", units(young), rules(1000, -1), 0, 10, 0],
    ["nothing behind the first that stays", units(young, old), rules(1000, -1), 0, 20, 0],
    ["everything when all is old", units(old, old), rules(1000, -1), 0, 20, 20],
    ["nothing with a time ahead of the clock", units(nowMs + dayMs, old), rules(0, -1), 0, 20, 0],
    ["nothing that reaches past the high watermark", units(old, old), rules(0, -1), 0, 19, 10],
    ["what is over retention.bytes", units(0, 0, 0), rules(-1, 150), 0, 30, 10],
    ["nothing that would leave less than it", units(0, 0, 0), rules(-1, 201), 0, 30, 0],
    ["as much as leaves exactly it", units(0, 0, 0), rules(-1, 200), 0, 30, 10],
    ["all with retention.bytes=0", units(0, 0, 0), rules(-1, 0), 0, 30, 30],
    ["by size first and then by time", units(old, young, old), rules(1000, 200), 0, 30, 10],
    ["more by time than by size", units(old, old, young), rules(1000, 250), 0, 30, 20],
    ["without counting what is deleted", units(0, 0, 0), rules(-1, 200), 10, 30, 10],
    ["with half-deleted ones counted whole", units(0, 0, 0), rules(-1, 150), 5, 30, 10],
    ["nothing without delete in the policy", units(old, old), rules(0, 0, false), 0, 20, 0],
  ];
  test.each(table)("%s", (_what, log, limits, logStart, end, expected) => {
    expect(planRetention(log, logStart, end, limits, nowMs).logStart).toBe(expected);
  });

  test("it says which rule it was, and how much went", () => {
    const log = units(old, old, old, young);
    expect(planRetention(log, 0, 40, rules(1000, 250), nowMs)).toEqual({
      logStart: 30,
      units: 3,
      bytes: 300,
      byTime: true,
      bySize: true,
    });
  });

  test("it agrees with Kafka's three passes over random logs", () => {
    const log = fc.array(
      fc.record({ records: fc.integer({ min: 1, max: 5 }), bytes: fc.nat(50), age: fc.nat(40) }),
      { maxLength: 12 },
    );
    const limit = fc.oneof(fc.constant(-1), fc.nat(400));
    fc.assert(
      fc.property(
        fc.record({ log, ms: limit, bytes: limit, start: fc.nat(60), behind: fc.nat(6) }),
        ({ log, ms, bytes, start, behind }) => {
          let next = 0;
          const made = log.map((one) => {
            const base = next;
            next += one.records;
            const timestampMs = nowMs - one.age;
            return { base, last: next - 1, bytes: one.bytes, timestampMs };
          });
          const logStart = Math.min(start, next);
          const end = Math.max(logStart, next - behind);
          const plan = planRetention(made, logStart, end, rules(ms, bytes), nowMs);
          expect(plan.logStart).toBe(kafkaLogStart(made, logStart, end, ms, bytes));
        },
      ),
      { numRuns: 2000 },
    );
  });

  /** UnifiedLog.deleteOldSegments, pass by pass, each from the oldest segment that is left. */
  function kafkaLogStart(
    log: readonly RetentionUnit[],
    logStart: number,
    end: number,
    ms: number,
    bytes: number,
  ): number {
    let left = log.filter(({ last }) => last >= logStart);
    let start = logStart;
    const pass = (deletable: (unit: RetentionUnit) => boolean) => {
      for (const unit of [...left]) {
        if (unit.last + 1 > end || !deletable(unit)) return;
        left = left.slice(1);
        start = unit.last + 1;
      }
    };
    const size = left.reduce((sum, unit) => sum + unit.bytes, 0);
    if (bytes >= 0 && size >= bytes) {
      let diff = size - bytes;
      pass((unit) => {
        if (diff - unit.bytes < 0) return false;
        diff -= unit.bytes;
        return true;
      });
    }
    if (ms >= 0) pass((unit) => nowMs - unit.timestampMs > ms);
    return start;
  }
});

describe("the tiers as one list", () => {
  test("what is archived and still in the WAL counts once", () => {
    const entries = [segmentEntry(0, 9, { rawBytes: 70 }), segmentEntry(10, 29, { rawBytes: 150 })];
    const wal = [segment(3, 20, 29), segment(4, 30, 39, { bytes: 90, maxTimestamp: 7 })];
    expect(retentionUnits(entries, wal)).toEqual([
      { base: 0, last: 9, bytes: 70, timestampMs: 9 },
      { base: 10, last: 29, bytes: 150, timestampMs: 29 },
      { base: 30, last: 39, bytes: 90, timestampMs: 7 },
    ]);
  });

  test("records without timestamps age from their append", () => {
    const entries = [segmentEntry(0, 9, { maxTimestamp: -1, createdMs: 500 })];
    const wal = [
      segment(2, 10, 19, { maxTimestamp: -1, firstAppendMs: 600 }),
      segment(3, 20, 29, { maxTimestamp: -1, firstAppendMs: 900 }),
    ];
    // The last append to segment 2 was at 900 at the latest.
    expect(retentionUnits(entries, wal).map((unit) => unit.timestampMs)).toEqual([500, 900, 900]);
  });
});

describe("archived WAL segments", () => {
  const wal = [
    segment(1, 0, 9, { maxTimestamp: nowMs - 3000 }),
    segment(2, 10, 19, { maxTimestamp: nowMs - 2000 }),
    segment(3, 20, 29, { maxTimestamp: nowMs - 1000 }),
    segment(4, 30, 39, { maxTimestamp: nowMs, sealed: false }),
  ];
  const release = (
    archivedEnd: number,
    limits: { ms: number; bytes: number } | null,
    all = rules(-1, -1),
  ) => planLocalRelease(wal, archivedEnd, limits, all, nowMs);

  test("go at once where the topic says nothing, and never before they are archived", () => {
    expect(release(20, null)).toEqual([1, 2]);
    expect(release(0, null)).toEqual([]);
    expect(release(19, null)).toEqual([1]);
    expect(release(40, null)).toEqual([1, 2, 3]);
  });

  test("stay for local.retention.ms", () => {
    expect(release(30, { ms: 1500, bytes: -2 })).toEqual([1, 2]);
    expect(release(10, { ms: 0, bytes: -2 })).toEqual([1]);
    expect(release(30, { ms: -1, bytes: -1 })).toEqual([]);
  });

  test("stay up to local.retention.bytes, counted over the whole WAL", () => {
    expect(release(30, { ms: -1, bytes: 300 })).toEqual([1]);
    expect(release(30, { ms: -1, bytes: 301 })).toEqual([]);
    expect(release(30, { ms: -1, bytes: 0 })).toEqual([1, 2, 3]);
  });

  test("-2 follows the limits over all tiers", () => {
    expect(release(30, { ms: -2, bytes: -1 }, rules(2500, -1))).toEqual([1]);
    expect(release(30, { ms: -1, bytes: -2 }, rules(-1, 200))).toEqual([1, 2]);
  });
});

describe("retention's clock", () => {
  test("is the wall clock while that is steady, also where it is slewed", () => {
    const clock = new RetentionClock(1000, 0);
    expect(clock.read(301_000, 300_000)).toEqual({ nowMs: 301_000, lagMs: 0, jumped: false });
    expect(clock.read(602_000, 600_000)).toEqual({ nowMs: 602_000, lagMs: 0, jumped: false });
  });

  test("a jump ahead by 30 days is told once, and believed over the next 30", () => {
    const clock = new RetentionClock(0, 0);
    const ahead = 30 * dayMs;
    const first = clock.read(ahead + 300_000, 300_000);
    expect(first).toEqual({ nowMs: 600_000, lagMs: ahead - 300_000, jumped: true });
    const second = clock.read(ahead + 600_000, 600_000);
    expect(second).toMatchObject({ nowMs: 1_200_000, jumped: false });
    // Set right again: as if nothing had been.
    expect(clock.read(900_000, 900_000)).toEqual({ nowMs: 900_000, lagMs: 0, jumped: false });
    expect(clock.read(ahead + 1_200_000, 1_200_000).jumped).toBe(true);
    expect(clock.read(ahead + 31 * dayMs, 31 * dayMs)).toMatchObject({ lagMs: 0, jumped: false });
  });

  test("a machine that slept for eight hours is right again after as long", () => {
    const clock = new RetentionClock(0, 0);
    const sleptMs = 8 * 3_600_000;
    expect(clock.read(sleptMs + 1000, 1000).lagMs).toBe(sleptMs - 1000);
    expect(clock.read(2 * sleptMs, sleptMs).lagMs).toBe(0);
  });

  test("never runs ahead of the wall clock, nor faster than twice the monotonic one", () => {
    const steps = fc.array(
      fc.record({ passed: fc.nat(10 * dayMs), wall: fc.integer({ min: -dayMs, max: 60 * dayMs }) }),
    );
    fc.assert(
      fc.property(steps, (walk) => {
        let [wall, monotonic, before] = [nowMs, 0, nowMs];
        const clock = new RetentionClock(wall, monotonic);
        for (const step of walk) {
          wall += step.wall;
          monotonic += step.passed;
          const { nowMs: believed } = clock.read(wall, monotonic);
          expect(believed).toBeLessThanOrEqual(wall);
          expect(believed - before).toBeLessThanOrEqual(2 * step.passed);
          before = believed;
        }
      }),
    );
  });
});
