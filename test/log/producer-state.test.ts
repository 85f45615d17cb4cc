import { expect, test } from "bun:test";
import fc from "fast-check";
import { AbortedIndex } from "../../src/log/aborted-index.ts";
import { ProducerState } from "../../src/log/producer-state.ts";

const options = {
  expirationMs: () => 1000,
  producersMax: 3,
  transactionsMax: 2,
  hasRoom: () => true,
};
const all = Number.MAX_SAFE_INTEGER;
const plain = { isTransactional: false, transactionVersion: 0 };

/** Batches of a producer without transactions. */
class Batches extends ProducerState {
  add(producerId: number, batch: ReturnType<typeof one>, durableEnd: number, nowMs: number): void {
    this.settle(durableEnd);
    const { producerEpoch, firstSequence: baseSequence, lastSequence } = batch;
    const data = { producerId, producerEpoch, baseSequence, lastSequence, ...plain };
    this.append(data, batch, 0, durableEnd, nowMs);
  }

  ask(producerId: number, producerEpoch: number, first: number, last: number, nowMs: number) {
    const data = { producerId, producerEpoch, baseSequence: first, lastSequence: last, ...plain };
    return this.check(data, nowMs);
  }
}

function one(epoch: number, first: number, last: number, offset: number) {
  return {
    producerEpoch: epoch,
    firstSequence: first,
    lastSequence: last,
    firstOffset: offset,
    lastOffset: offset + (last - first),
    timestamp: 5,
  };
}

test("the last five batches are retries, older ones are out of order", () => {
  const state = new Batches(options);
  for (let n = 0; n < 7; n++) state.add(1, one(0, n, n, n), all, 0);
  const kinds = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => state.ask(1, 0, n, n, 0).kind);
  expect(kinds).toEqual([
    ...Array(2).fill("out-of-order"),
    ...Array(5).fill("duplicate"),
    "accept",
    "out-of-order",
  ]);
  // The same start with another end is another batch.
  expect(state.ask(1, 0, 6, 7, 0).kind).toBe("out-of-order");
});

test("sequences wrap from 2^31 − 1 to 0", () => {
  const state = new Batches(options);
  state.add(1, one(0, 0x7fff_ffff, 0x7fff_ffff, 0), all, 0);
  expect(state.ask(1, 0, 0, 0, 0).kind).toBe("accept");
  expect(state.ask(1, 0, 1, 1, 0)).toEqual({ kind: "out-of-order", expected: 0 });
});

test("an epoch change clears the window; the older epoch is stale", () => {
  const state = new Batches(options);
  state.add(1, one(2, 0, 4, 0), all, 0);
  expect(state.ask(1, 3, 5, 5, 0)).toEqual({ kind: "out-of-order", expected: 0 });
  state.add(1, one(3, 0, 0, 5), all, 0);
  expect(state.ask(1, 3, 0, 4, 0).kind).toBe("out-of-order");
  expect(state.ask(1, 2, 0, 4, 0)).toEqual({ kind: "stale-epoch", currentEpoch: 3 });
});

test("a rollback gives back the window that pending batches pushed out, epochs included", () => {
  const state = new Batches(options);
  for (let n = 0; n < 5; n++) state.add(1, one(0, n, n, n), 5, 0);
  for (let n = 5; n < 9; n++) state.add(1, one(0, n, n, n), 5, 0);
  state.add(1, one(1, 0, 0, 9), 5, 0);
  expect(state.ask(1, 0, 8, 8, 0).kind).toBe("stale-epoch");
  state.rollBack(5);
  expect(state.ask(1, 0, 0, 0, 0).kind).toBe("duplicate");
  expect(state.ask(1, 0, 5, 5, 0).kind).toBe("accept");
  const fresh = new Batches(options);
  fresh.add(1, one(0, 0, 0, 0), 0, 0);
  fresh.rollBack(0);
  expect(fresh.size).toBe(0);
});

test("a snapshot holds durable batches only and restores to the same answers", () => {
  const state = new Batches(options);
  for (let n = 0; n < 8; n++) state.add(1, one(0, n, n, n), Math.min(n, 6), 0);
  const snapshot = state.snapshot(6);
  expect(snapshot[0]!.batches.map((batch) => batch.firstSequence)).toEqual([1, 2, 3, 4, 5]);
  const restored = new Batches(options);
  restored.restore(snapshot, () => 0, 0);
  expect(restored.ask(1, 0, 1, 1, 0).kind).toBe("duplicate");
  expect(restored.ask(1, 0, 6, 6, 0).kind).toBe("accept");
  // Nothing of this one is durable yet.
  state.add(2, one(0, 0, 0, 8), 6, 0);
  expect(state.snapshot(6).map(({ producerId }) => producerId)).toEqual([1]);
  expect(state.snapshot(9).map(({ producerId }) => producerId)).toEqual([1, 2]);
});

test("the number of producers is bounded: the longest unseen goes, never a pending one", () => {
  const state = new Batches(options);
  state.add(1, one(0, 0, 0, 0), 1, 10);
  state.add(2, one(0, 0, 0, 1), 1, 5);
  state.add(3, one(0, 0, 0, 2), 4, 20);
  state.add(4, one(0, 0, 0, 3), 4, 30);
  expect(state.size).toBe(3);
  // 2 is the oldest and durable by now.
  expect(state.ask(2, 0, 9, 9, 30).kind).toBe("accept");
  expect(state.ask(1, 0, 9, 9, 30).kind).toBe("out-of-order");
});

test("against a model: whatever commits, the answers are those of Kafka's rules", () => {
  const step = fc.record({
    epochUp: fc.boolean(),
    count: fc.integer({ min: 1, max: 3 }),
    durableLag: fc.integer({ min: 0, max: 6 }),
    rollBack: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const state = new Batches({
        expirationMs: () => all,
        producersMax: 10,
        transactionsMax: 2,
        hasRoom: () => true,
      });
      let log: ReturnType<typeof one>[] = [];
      let durable = 0;
      for (const { epochUp, count, durableLag, rollBack } of steps) {
        const last = log.at(-1);
        const epoch = (last?.producerEpoch ?? 0) + (epochUp ? 1 : 0);
        const first = last === undefined || epochUp ? 0 : last.lastSequence + 1;
        const offset = (last?.lastOffset ?? -1) + 1;
        const entry = one(epoch, first, first + count - 1, offset);
        expect(state.ask(1, epoch, first, entry.lastSequence, 0).kind).toBe("accept");
        state.add(1, entry, durable, 0);
        log.push(entry);
        const target = log[log.length - 1 - durableLag];
        if (target !== undefined) durable = Math.max(durable, target.lastOffset + 1);
        if (rollBack) {
          state.rollBack(durable);
          log = log.filter((batch) => batch.lastOffset < durable);
        }
        const now = log.at(-1);
        const window = log.filter((batch) => batch.producerEpoch === now?.producerEpoch).slice(-5);
        for (const batch of log.slice(-12)) {
          const { kind } = state.ask(
            1,
            batch.producerEpoch,
            batch.firstSequence,
            batch.lastSequence,
            0,
          );
          const expected = window.includes(batch)
            ? "duplicate"
            : batch.producerEpoch < (now?.producerEpoch ?? 0)
              ? "stale-epoch"
              : "out-of-order";
          expect(kind).toBe(expected);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("version 2: the last epoch there is can be ended by its own marker", () => {
  const state = new ProducerState(options);
  const data = {
    producerId: 1,
    producerEpoch: 32_767,
    baseSequence: 0,
    lastSequence: 0,
    isTransactional: true,
    transactionVersion: 2,
  };
  const marker = { ...data, coordinatorEpoch: 0, commit: false };
  const placed = { firstOffset: 0, lastOffset: 0, timestamp: 0 };
  expect(state.check(data, 0).kind).toBe("accept");
  expect(state.check({ ...data, baseSequence: 1, lastSequence: 1 }, 0)).toEqual({
    kind: "out-of-order",
    expected: 0,
  });
  state.append({ ...data, producerEpoch: 32_766 }, placed, 0, 0, 0);
  expect(state.checkMarker({ ...marker, producerEpoch: 32_766 }, 0).kind).toBe("stale-epoch");
  state.append(data, { ...placed, firstOffset: 1, lastOffset: 1 }, 0, 0, 0);
  expect(state.checkMarker(marker, 0).kind).toBe("accept");
});

test("an abort that overlaps a read is found, whatever was decided around it", () => {
  // Of three producers: 1 from 0 to 10, 2 from 4 to 6, 3 from 12 to 14.
  const index = new AbortedIndex();
  index.add([
    { producerId: 2, firstOffset: 4, lastOffset: 6, lastStableOffset: 0 },
    { producerId: 1, firstOffset: 0, lastOffset: 10, lastStableOffset: 11 },
    { producerId: 3, firstOffset: 12, lastOffset: 14, lastStableOffset: 15 },
  ]);
  const who = (from: number, to: number) =>
    index.overlapping(from, to).map(({ producerId }) => producerId);
  expect(who(0, 1)).toEqual([1]);
  expect(who(0, 4)).toEqual([1]);
  expect(who(0, 5)).toEqual([2, 1]);
  expect(who(6, 7)).toEqual([2, 1]);
  expect(who(7, 12)).toEqual([1]);
  expect(who(7, 13)).toEqual([1, 3]);
  expect(who(11, 12)).toEqual([]);
  expect(who(14, 99)).toEqual([3]);
  expect(who(15, 99)).toEqual([]);
  expect(who(5, 5)).toEqual([]);
  expect(index.from(10).map(({ producerId }) => producerId)).toEqual([1, 3]);
  index.forgetBelow(6);
  expect(index.size).toBe(3);
  index.forgetBelow(11);
  expect(who(0, 99)).toEqual([3]);
});
