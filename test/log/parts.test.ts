import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { AppendBudget } from "../../src/log/append-budget.ts";
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from "../../src/log/checkpoint.ts";
import { Deadlines } from "../../src/log/deadlines.ts";
import { LeaderEpochs } from "../../src/log/leader-epochs.ts";
import { ReadBudget, ReadGrant } from "../../src/log/read-budget.ts";
import { SegmentList } from "../../src/log/segment-list.ts";
import { TailCache } from "../../src/log/tail-cache.ts";
import { FakeClock } from "../support/fake-clock.ts";

const example: Checkpoint = {
  topicId: "AAAAAAAAAAAAAAAAAAAAAQ",
  partition: 3,
  logStart: 10,
  logEnd: 2 ** 40,
  epochs: [
    [0, 0],
    [7, 4_000_000_000],
  ],
  segmentIdNext: 12,
  producers: [
    {
      producerId: 5_000_000_000,
      producerEpoch: 1,
      coordinatorEpoch: 4,
      transactionStart: 5,
      timestamp: 1_700_000_000_001,
      batches: [
        {
          firstSequence: 0,
          lastSequence: 2_147_483_647,
          firstOffset: 5,
          lastOffset: 9,
          timestamp: 1_700_000_000_000,
        },
      ],
    },
  ],
  aborted: [{ producerId: 5_000_000_000, firstOffset: 3, lastOffset: 4, lastStableOffset: 5 }],
  abortedRuns: [
    {
      id: 4,
      blocks: 2,
      entries: 600,
      firstMarker: 12,
      lastMarker: 5_000_000_001,
      minFirstOffset: 11,
      lastStableOffset: 5_000_000_002,
    },
  ],
  archivedTo: 99,
};

test("a checkpoint reads back as it was written", () => {
  expect(decodeCheckpoint(encodeCheckpoint(example), "f")).toEqual(example);
});

test("the kept checkpoint of format 3 still reads, and is still what is written", () => {
  const file = join(import.meta.dir, "../fixtures/log/checkpoint-v3");
  const bytes = readFileSync(file);
  expect(decodeCheckpoint(bytes, file)).toEqual(example);
  expect(Buffer.from(encodeCheckpoint(example)).equals(bytes)).toBe(true);
});

test("a checkpoint of format 2 has all its aborts in itself", () => {
  const file = join(import.meta.dir, "../fixtures/log/checkpoint-v2");
  expect(decodeCheckpoint(readFileSync(file), file)).toEqual({ ...example, abortedRuns: [] });
});

test("a checkpoint of format 1 knows no transactions", () => {
  const file = join(import.meta.dir, "../fixtures/log/checkpoint-v1");
  const producers = example.producers.map((producer) => ({
    ...producer,
    coordinatorEpoch: -1,
    transactionStart: -1,
    timestamp: 1_700_000_000_000,
  }));
  const old = { ...example, producers, aborted: [], abortedRuns: [] };
  expect(decodeCheckpoint(readFileSync(file), file)).toEqual(old);
});

test("any damaged or shortened checkpoint is refused", () => {
  const good = encodeCheckpoint(example);
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bad = new Uint8Array(good);
      bad[at]! ^= flip;
      expect(() => decodeCheckpoint(bad, "f")).toThrow();
      expect(() => decodeCheckpoint(good.subarray(0, at), "f")).toThrow();
    }),
    { numRuns: 300 },
  );
});

test("a checkpoint whose version is damaged is not read as an older one", () => {
  const bad = encodeCheckpoint(example);
  for (const version of ["1", "2"]) {
    bad[bad.indexOf(" ".charCodeAt(0)) + 1] = version.charCodeAt(0);
    expect(() => decodeCheckpoint(bad, "f")).toThrow(`is not of format ${version}`);
  }
});

test("leader epochs: ends, floors, truncation at both ends", () => {
  const epochs = new LeaderEpochs([
    [0, 0],
    [2, 10],
    [5, 20],
  ]);
  expect(epochs.latest).toBe(5);
  expect(epochs.endOffsetFor(5, 33)).toEqual({ leaderEpoch: 5, endOffset: 33 });
  expect(epochs.endOffsetFor(3, 33)).toEqual({ leaderEpoch: 2, endOffset: 20 });
  expect(epochs.endOffsetFor(6, 33)).toEqual({ leaderEpoch: -1, endOffset: -1 });
  expect(epochs.endOffsetFor(-1, 33)).toEqual({ leaderEpoch: -1, endOffset: -1 });
  expect([0, 9, 10, 19, 20, 99].map((offset) => epochs.epochOf(offset))).toEqual([
    0, 0, 2, 2, 5, 5,
  ]);
  // An epoch that wrote nothing is replaced.
  epochs.assign(6, 20);
  expect(epochs.toArray()).toEqual([
    [0, 0],
    [2, 10],
    [6, 20],
  ]);
  epochs.assign(6, 40);
  epochs.assign(4, 50);
  expect(epochs.toArray().length).toBe(3);
  epochs.truncateFromStart(12);
  expect(epochs.toArray()).toEqual([
    [2, 12],
    [6, 20],
  ]);
  epochs.truncateFromEnd(15);
  expect(epochs.toArray()).toEqual([[2, 12]]);
});

test("all tails share one budget; what was used longest ago goes first", () => {
  const cache = new TailCache(40_000);
  const tails = [cache.openTail(), cache.openTail(), cache.openTail()];
  const bytes = new Uint8Array(1000);
  for (let offset = 0; offset < 12; offset++) {
    for (const tail of tails) tail.push(bytes, offset, offset);
    tails[0]!.read(0, offset + 1, 1);
  }
  expect(cache.bytes).toBeLessThanOrEqual(40_000);
  for (let offset = 12; offset < 60; offset++) tails[1]!.push(bytes, offset, offset);
  expect(cache.bytes).toBeLessThanOrEqual(40_000 + 256 * 1024);
  expect(tails[2]!.start).toBe(Number.POSITIVE_INFINITY);
  for (const tail of tails) tail.clear();
  expect(cache.bytes).toBe(0);
});

test("a tail truncates at batch borders and goes on", () => {
  const tail = new TailCache(1 << 20).openTail();
  for (let n = 0; n < 30; n++) tail.push(new Uint8Array(500).fill(n), n * 2, n * 2 + 1);
  tail.truncate(14);
  tail.push(new Uint8Array(500).fill(99), 14, 14);
  const read = tail.read(0, 15, 1 << 20)!;
  const whole = Buffer.concat(read.chunks);
  expect([...whole].filter((_, at) => at % 500 === 0)).toEqual([0, 1, 2, 3, 4, 5, 6, 99]);
  expect(read.nextOffset).toBe(15);
  tail.truncate(0);
  expect(tail.start).toBe(Number.POSITIVE_INFINITY);
});

test("bytes that a reader was given never change", () => {
  const cache = new TailCache(1 << 20);
  const tail = cache.openTail();
  for (let n = 0; n < 10; n++) tail.push(new Uint8Array(300).fill(n), n, n);
  const before = Buffer.concat(tail.read(0, 5, 1 << 20)!.chunks);
  const held = tail.read(0, 5, 1 << 20)!.chunks;
  tail.truncate(5);
  for (let n = 5; n < 40; n++) tail.push(new Uint8Array(300).fill(200), n, n);
  tail.clear();
  expect(Buffer.concat(held).equals(before)).toBe(true);
});

test("the append budget always takes something, bounds what waits, and wakes once", () => {
  const budget = new AppendBudget(100);
  expect(budget.tryReserve(500)).toBe(true);
  expect(budget.tryReserve(1)).toBe(false);
  let woken = 0;
  budget.wait(() => woken++);
  expect([budget.tryQueue(90), budget.tryQueue(20), budget.tryQueue(10)]).toEqual([
    true,
    false,
    true,
  ]);
  budget.release(500);
  budget.tryReserve(5);
  budget.release(5);
  expect(woken).toBe(1);
  expect(budget.bytes).toBe(0);
  expect(() => budget.release(1)).toThrow();
});

test("the read budget shrinks grants, never to nothing", () => {
  const budget = new ReadBudget(1 << 20);
  const first = budget.grant(1 << 20);
  expect(first).toBe(1 << 20);
  expect(budget.grant(1 << 20)).toBe(64 << 10);
  budget.giveBack(first);
  expect(budget.bytes).toBe(64 << 10);
});

test("who waits lends what was granted, and gets on however little comes back", async () => {
  const budget = new ReadBudget(1 << 20);
  const grant = new ReadGrant(budget, 1 << 20);
  const { promise, resolve } = Promise.withResolvers<string>();
  const reading = grant.during(promise, 1_000);
  expect([grant.bytes, budget.bytes]).toEqual([1_000, 1_000]);
  const other = budget.grant(1 << 20);
  expect(other).toBe((1 << 20) - 1_000);
  resolve("read");
  expect(await reading).toBe("read");
  expect(grant.bytes).toBe(1_000 + (64 << 10));
  budget.giveBack(other);
  await expect(grant.during(Promise.reject(new Error("gone")), 0)).rejects.toThrow("gone");
  expect(budget.bytes).toBe(1_000 + (64 << 10));
  // More is kept than was granted.
  expect(await grant.during(Promise.resolve("more"), 1 << 20)).toBe("more");
  grant.end();
  expect([grant.bytes, budget.bytes]).toEqual([0, 0]);
});

test("deadlines share one timer, and leave none behind", () => {
  const clock = new FakeClock();
  const deadlines = new Deadlines(clock);
  const fired: string[] = [];
  deadlines.add(500, () => fired.push("a"));
  const gone = deadlines.add(500, () => fired.push("gone"));
  deadlines.add(2500, () => fired.push("b"));
  deadlines.remove(gone);
  clock.advance(1000);
  expect(fired).toEqual(["a"]);
  clock.advance(2000);
  expect(fired).toEqual(["a", "b"]);
  expect(deadlines.size).toBe(0);
  deadlines.add(10, () => fired.push("c"));
  clock.advance(1000);
  expect(fired.at(-1)).toBe("c");
});

test("the segment list follows completions and takes the engine's exact word", () => {
  const list = new SegmentList([], 0);
  const item = (base: number) => ({
    base,
    last: base + 1,
    records: 2,
    bytes: 100,
    maxTimestamp: base,
  });
  expect(list.appended(4, 0, item(0), 50, 5)).toBe(false);
  expect(list.appended(4, 180, item(2), 60, 6)).toBe(false);
  expect(list.appended(5, 0, item(4), 70, 7)).toBe(true);
  expect(list.list().map(({ id, base, last, sealed }) => [id, base, last, sealed])).toEqual([
    [4, 0, 3, true],
    [5, 4, 5, false],
  ]);
  expect(list.active?.firstAppendMonotonicMs).toBe(7);
  const [first] = list.list();
  list.sealed([{ ...first!, bytes: 999 }]);
  expect(list.bytes).toBe(999 + 180);
  list.released([4]);
  expect([list.start, list.bytes, list.nextId]).toEqual([4, 180, 6]);
});
