import { describe, expect, test } from "bun:test";
import type { LocalRetention, WalSegment } from "../../src/tier/ports.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { Retainer } from "../../src/tier/retainer.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakePartition } from "../support/fake-tier.ts";
import { turn } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { segmentEntry } from "../support/segment-entry.ts";
import { silentLogger } from "../support/silent-logger.ts";

const startMs = 1_700_000_000_000;
const dayMs = 86_400_000;
const intervalMs = 300_000;

/** A FakeClock whose wall clock can be set apart from the time that passes. */
class JumpingClock extends FakeClock {
  aheadMs = 0;

  override nowMs(): number {
    return super.nowMs() + this.aheadMs;
  }
}

function segment(
  id: number,
  base: number,
  last: number,
  over: Partial<WalSegment> = {},
): WalSegment {
  const fields = { bytes: 100, records: last - base + 1, maxTimestamp: startMs };
  return { id, base, last, sealed: true, firstAppendMs: startMs, ...fields, ...over };
}

const weekly = { deletes: true, retentionMs: 7 * dayMs, retentionBytes: -1 };

async function world(partition: FakePartition, releasesArchived = false) {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  const clock = new JumpingClock(startMs);
  const points: string[] = [];
  const retainer = new Retainer({
    registry,
    partitions: () => [partition],
    clock,
    logger: silentLogger(),
    initialDelayMs: 30_000,
    intervalMs: () => intervalMs,
    releasesArchived,
    faultPoint: (name) => {
      points.push(`${name} ${registry.segments("id-t", 0).length}`);
      return Promise.resolve();
    },
  });
  const archive = (base: number, last: number, maxTimestamp = startMs) =>
    registry.add(segmentEntry(base, last, { maxTimestamp, rawBytes: 100 }), 0);
  const keys = () => [...registry.retiredObjects()].map(({ key }) => key.split("segment-")[1]);
  return { registry, journal, clock, retainer, points, archive, keys };
}

describe("a check", () => {
  test("moves the log start, then drops archives, then releases the WAL", async () => {
    const partition = new FakePartition({
      segments: [segment(3, 20, 29), segment(4, 30, 39, { maxTimestamp: startMs + dayMs })],
    });
    partition.retention = weekly;
    const { registry, clock, retainer, points, archive, keys } = await world(partition);
    await archive(0, 9);
    await archive(10, 19);
    clock.advance(7 * dayMs + 1);
    await retainer.check();
    expect(partition.journal).toEqual(["start 30", "release 3"]);
    expect(points).toEqual(["retention-start-moved 2"]);
    expect(registry.segments("id-t", 0)).toEqual([]);
    expect(keys()).toEqual(["0-9.tar.gz", "10-19.tar.gz"]);
    expect(retainer.totals).toEqual({ checks: 1, errors: 0, units: 3, bytes: 300 });
  });

  test("rolls an active segment that is too old, and takes it", async () => {
    const partition = new FakePartition({ segments: [segment(1, 0, 9, { sealed: false })] });
    partition.retention = weekly;
    const { clock, retainer } = await world(partition);
    clock.advance(8 * dayMs);
    await retainer.check();
    expect(partition.journal).toEqual(["seal", "start 10", "release 1"]);
  });

  test("goes on where a crash ended it: after the log start, after the registry", async () => {
    const partition = new FakePartition({ segments: [segment(3, 20, 29), segment(4, 30, 39)] });
    partition.logStartOffset = 30;
    const { registry, retainer, archive } = await world(partition);
    await archive(0, 19);
    await retainer.check();
    expect(registry.segments("id-t", 0)).toEqual([]);
    expect(partition.journal).toEqual(["release 3"]);
    await retainer.check();
    expect(partition.journal).toEqual(["release 3"]);
  });

  test("leaves internal, damaged and closed partitions alone", async () => {
    for (const over of [{ damage: {} }, { isOpen: false }, { internal: true }]) {
      const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
      Object.assign(partition, over);
      partition.retention = { deletes: true, retentionMs: 0, retentionBytes: 0 };
      const { clock, retainer } = await world(partition);
      clock.advance(dayMs);
      await retainer.check();
      expect(partition.journal).toEqual([]);
    }
  });

  test("a failure is counted, drops nothing, and the next check tries again", async () => {
    const partition = new FakePartition({ segments: [segment(2, 10, 19)] });
    partition.retention = weekly;
    const { registry, clock, retainer, archive } = await world(partition);
    await archive(0, 9);
    clock.advance(8 * dayMs);
    partition.failAdvance = true;
    await retainer.check();
    expect(retainer.totals.errors).toBe(1);
    expect(registry.segments("id-t", 0)).toHaveLength(1);
    expect(partition.wal).toHaveLength(1);
    partition.failAdvance = false;
    await retainer.check();
    expect(registry.segments("id-t", 0)).toEqual([]);
    expect(partition.wal).toEqual([]);
  });

  test("a clock that jumps ahead expires nothing; set right, all is as it was", async () => {
    const partition = new FakePartition({ segments: [segment(1, 0, 9)] });
    partition.retention = weekly;
    const { clock, retainer } = await world(partition);
    clock.advance(dayMs);
    await retainer.check();
    clock.aheadMs = 30 * dayMs;
    for (let checks = 0; checks < 12; checks++) {
      clock.advance(intervalMs);
      await retainer.check();
    }
    expect(partition.wal).toHaveLength(1);
    clock.aheadMs = 0;
    clock.advance(5 * dayMs);
    await retainer.check();
    expect(partition.wal).toHaveLength(1);
    clock.advance(2 * dayMs);
    await retainer.check();
    expect(partition.wal).toEqual([]);
  });
});

describe("archived WAL segments", () => {
  const wal = () => [
    segment(1, 0, 9),
    segment(2, 10, 19, { maxTimestamp: startMs + dayMs }),
    segment(3, 20, 29, { sealed: false }),
  ];
  const after = async (
    localRetention: LocalRetention | null,
    { releasesArchived = false, quarantined = false } = {},
  ) => {
    const partition = Object.assign(new FakePartition({ segments: wal() }), { localRetention });
    const { registry, clock, retainer, archive } = await world(partition, releasesArchived);
    await archive(0, 9);
    await archive(10, 19);
    const entry = registry.segments("id-t", 0)[0];
    if (quarantined && entry) await registry.quarantine(entry, "flipped bytes", startMs);
    clock.advance(dayMs + 1);
    await retainer.check();
    return partition.journal;
  };

  test("stay as long as the topic says, and go when that is over", async () => {
    expect(await after({ ms: dayMs, bytes: -2 })).toEqual(["checkpoint 20", "release 1"]);
    expect(await after({ ms: 0, bytes: -2 })).toEqual(["checkpoint 20", "release 1,2"]);
    expect(await after({ ms: -1, bytes: -1 })).toEqual([]);
  });

  test("of other topics go with archiving, or from here where the indexer is off", async () => {
    expect(await after(null)).toEqual([]);
    expect(await after(null, { releasesArchived: true })).toEqual(["checkpoint 20", "release 1,2"]);
  });

  test("stay where the archive that holds them is damaged", async () => {
    expect(await after({ ms: 0, bytes: -2 }, { quarantined: true })).toEqual([]);
  });

  test("are not kept by a damaged archive that the WAL does not reach back to", async () => {
    const limits = { localRetention: { ms: 0, bytes: -2 } };
    const wal = [segment(2, 10, 19), segment(3, 20, 29, { sealed: false })];
    const partition = Object.assign(new FakePartition({ segments: wal }), limits);
    const { registry, clock, retainer, archive } = await world(partition);
    await archive(0, 9);
    await archive(10, 19);
    const entry = registry.segments("id-t", 0)[0];
    if (entry) await registry.quarantine(entry, "flipped bytes", startMs);
    clock.advance(1);
    await retainer.check();
    expect(partition.journal).toEqual(["checkpoint 20", "release 2"]);
  });
});

describe("when it looks", () => {
  test("first after the initial delay, then on the interval, not after the stop", async () => {
    const partition = new FakePartition({ segments: [] });
    const { clock, retainer } = await world(partition);
    retainer.start();
    const checks = [];
    for (const ms of [29_999, 1, intervalMs - 1, 1]) {
      clock.advance(ms);
      await turn();
      checks.push(retainer.totals.checks);
    }
    expect(checks).toEqual([0, 1, 1, 2]);
    await retainer.stop();
    clock.advance(10 * intervalMs);
    await turn();
    expect(retainer.totals.checks).toBe(2);
    expect(clock.pendingTimers).toBe(0);
  });

  test("at once at a partition whose log start DeleteRecords moved", async () => {
    const partition = new FakePartition({ segments: [segment(3, 20, 29)] });
    const { registry, retainer, archive } = await world(partition);
    await archive(0, 9);
    await archive(10, 19);
    retainer.start();
    partition.logStartOffset = 15;
    retainer.logStartMoved(partition);
    await turn();
    expect(registry.segments("id-t", 0).map(({ base }) => base)).toEqual([10]);
    expect(retainer.totals.checks).toBe(0);
    await retainer.stop();
  });
});
