import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Transition } from "../../src/share/in-flight.ts";
import { type ShareLimits, SharePartitionState } from "../../src/share/share-partition-state.ts";
import {
  deliveryState,
  mergeStateBatches,
  type StateBatch,
} from "../../src/share/state-batches.ts";

/**
 * Random members, acknowledgements, lost writes, expiring locks, dead letters and restarts against
 * a log; a second, simple account of every record watches: nobody acquires what another holds, the
 * start never passes a record that is not done, and in the end every record is.
 */

const members = ["a", "b", "c"];
const logEnd = 60;
const limits: ShareLimits = {
  recordLockDurationMs: 10,
  deliveryCountMax: 4,
  recordLocksMax: 25,
  mayRenew: true,
  deadLetterTopic: null,
};

type Action =
  | { readonly op: "acquire"; member: number; max: number; limit: boolean; read: number }
  | { readonly op: "acknowledge"; member: number; skip: number; count: number; types: number[] }
  | { readonly op: "release"; member: number }
  | { readonly op: "finish"; index: number; isWritten: boolean }
  | { readonly op: "wait"; ms: number }
  | { readonly op: "copy"; readonly isWritten: boolean }
  | { readonly op: "restart" }
  | { readonly op: "logStart"; by: number };

const member = fc.nat(members.length - 1);
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("acquire" as const),
      member,
      max: fc.integer({ min: 1, max: 12 }),
      limit: fc.boolean(),
      read: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("acknowledge" as const),
      member,
      skip: fc.nat(5),
      count: fc.integer({ min: 1, max: 8 }),
      types: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 8, maxLength: 8 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("release" as const), member }) },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("finish" as const),
      index: fc.nat(3),
      isWritten: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 12 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("copy" as const), isWritten: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("restart" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("logStart" as const),
      by: fc.integer({ min: 1, max: 4 }),
    }),
  },
);

interface Pending {
  readonly transition: Transition;
  readonly stateBatches: readonly StateBatch[];
}

/** The partition with what was persisted of it, and who holds what by its answers alone. */
class World {
  state: SharePartitionState;
  /** Not delivered any more, and not copied to the dead letter queue yet. */
  readonly dying = new Set<number>();
  private readonly limits: ShareLimits;
  /** Offset → holder, by what acquire and the clock said. */
  readonly holders = new Map<number, { member: string; untilMs: number }>();
  readonly done = new Set<number>();
  pending: Pending[] = [];
  stored: StateBatch[] = [];
  storedStart = 0;
  logStart = 0;
  nowMs = 0;

  constructor(limits: ShareLimits) {
    this.limits = limits;
    this.state = open(0, [], limits);
  }

  run(step: Action): void {
    switch (step.op) {
      case "acquire":
        this.acquire(members[step.member]!, step.max, step.limit, step.read);
        break;
      case "acknowledge":
        this.acknowledge(members[step.member]!, step);
        break;
      case "release":
        this.pending.push(this.state.release(members[step.member]!));
        break;
      case "finish":
        this.finish(step.index, step.isWritten);
        break;
      case "wait":
        this.wait(step.ms);
        break;
      case "copy":
        this.copy(step.isWritten);
        break;
      case "restart":
        this.restart();
        break;
      default:
        this.logStart = Math.min(logEnd, this.logStart + step.by);
        this.state.logStartMoved(this.logStart);
    }
    this.check();
  }

  acquire(memberId: string, maxRecords: number, isLimit: boolean, read: number): number {
    if (!this.state.canAcquire) return 0;
    const fetchOffset = this.state.nextFetchOffset;
    // Batches of five records.
    const logBatches = [];
    const end = Math.min(logEnd, fetchOffset + read);
    for (let base = fetchOffset - (fetchOffset % 5); base < end; base += 5) {
      logBatches.push({ base, last: base + 4 });
    }
    const mode = isLimit ? ("record_limit" as const) : ("batch_optimized" as const);
    const request = { memberId, mode, batchSize: 10, maxRecords, fetchOffset, logBatches };
    const ranges = this.state.acquire(request, this.nowMs);
    let count = 0;
    let before = -1;
    for (const { first, last, deliveryCount } of ranges) {
      expect(first).toBeGreaterThan(before);
      expect(deliveryCount).toBeLessThanOrEqual(limits.deliveryCountMax);
      for (let offset = first; offset <= last; offset++, count++) {
        const holder = this.holders.get(offset);
        expect(holder === undefined || holder.untilMs <= this.nowMs).toBe(true);
        expect(this.done.has(offset) || this.dying.has(offset)).toBe(false);
        expect(offset).toBeGreaterThanOrEqual(this.logStart);
        const untilMs = this.nowMs + limits.recordLockDurationMs;
        this.holders.set(offset, { member: memberId, untilMs });
      }
      before = last;
    }
    if (isLimit) expect(count).toBeLessThanOrEqual(maxRecords);
    return count;
  }

  private acknowledge(
    memberId: string,
    { skip, count, types }: Extract<Action, { op: "acknowledge" }>,
  ): void {
    const held = this.state.runs().filter((run) => run.memberId === memberId);
    const run = held[Math.min(skip, held.length - 1)];
    if (run === undefined) return;
    const lastOffset = Math.min(run.last, run.first + count - 1);
    const acknowledgeTypes = types.slice(0, lastOffset - run.first + 1);
    const request = [{ firstOffset: run.first, lastOffset, acknowledgeTypes }];
    const { change } = this.state.acknowledge(memberId, request, this.nowMs);
    if (change === null) return;
    for (const [index, type] of acknowledgeTypes.entries()) {
      const untilMs = this.nowMs + limits.recordLockDurationMs;
      if (type === 4) this.holders.set(run.first + index, { member: memberId, untilMs });
    }
    this.pending.push(change);
  }

  private finish(index: number, isWritten: boolean): void {
    const [change] = this.pending.splice(Math.min(index, this.pending.length - 1), 1);
    if (change === undefined) return;
    if (isWritten) this.persist(change.stateBatches);
    this.state.finish(change.transition, isWritten);
    if (!isWritten) return;
    for (const { firstOffset, lastOffset, deliveryState: state } of change.stateBatches) {
      for (let offset = firstOffset; offset <= lastOffset; offset++) {
        this.holders.delete(offset);
        this.settled(offset, state);
      }
    }
  }

  private wait(ms: number): void {
    this.nowMs += ms;
    const expired = this.state.expireLocks(this.nowMs);
    this.persist(expired);
    for (const { firstOffset, lastOffset, deliveryState: state } of expired) {
      for (let offset = firstOffset; offset <= lastOffset; offset++) {
        expect(this.holders.get(offset)?.untilMs).toBeLessThanOrEqual(this.nowMs);
        this.holders.delete(offset);
        this.settled(offset, state);
      }
    }
  }

  private settled(offset: number, state: number): void {
    if (state === deliveryState.archiving) this.dying.add(offset);
    else if (state !== deliveryState.available) this.done.add(offset);
  }

  /** A copy is durable; that its records are archived may be lost in a crash. */
  private copy(isWritten: boolean): void {
    const letters = this.state.nextDeadLetters();
    if (letters === null) return;
    for (let offset = letters.first; offset <= letters.last; offset++) {
      expect(this.dying.has(offset) || offset < this.logStart).toBe(true);
      this.done.add(offset);
    }
    const archived = this.state.archiveDeadLetters(letters.first, letters.last);
    if (isWritten) this.persist(archived);
  }

  /** As after kill -9: only what was persisted is there, and nobody holds anything. */
  private restart(): void {
    this.pending = [];
    this.holders.clear();
    this.state = open(this.storedStart, this.stored, this.limits);
    this.state.logStartMoved(this.logStart);
  }

  private persist(changes: readonly StateBatch[]): void {
    this.storedStart = Math.max(this.storedStart, this.state.startOffset);
    this.stored = mergeStateBatches(this.stored, changes, this.storedStart);
  }

  private check(): void {
    const { state } = this;
    for (let offset = this.logStart; offset < state.startOffset; offset++) {
      if (!this.done.has(offset)) throw new Error(`the start passed ${offset}, which is not done`);
    }
    const runs = state.runs();
    for (const [index, run] of runs.entries()) {
      const next = runs[index + 1];
      if (next !== undefined) expect(next.first).toBeGreaterThan(run.last);
      expect(run.first).toBeGreaterThanOrEqual(state.startOffset);
      expect(run.state === "acquired").toBe(run.memberId !== "");
    }
  }

  /** Writes what is pending, then one member accepts all there is. */
  drain(): void {
    while (this.pending.length > 0) this.finish(0, true);
    this.wait(limits.recordLockDurationMs);
    for (let turn = 0; turn < 1_000 && this.state.startOffset < logEnd; turn++) {
      this.acquire("z", 50, false, 20);
      for (const run of this.state.runs().filter(({ memberId }) => memberId === "z")) {
        const batch = { firstOffset: run.first, lastOffset: run.last, acknowledgeTypes: [1] };
        const { change } = this.state.acknowledge("z", [batch], this.nowMs);
        if (change !== null) this.pending.push(change);
      }
      while (this.pending.length > 0) this.finish(0, true);
      while (this.state.nextDeadLetters() !== null) this.copy(true);
      this.check();
    }
    expect(this.state.startOffset).toBe(logEnd);
    expect(this.state.runs()).toEqual([]);
  }
}

function open(
  start: number,
  stored: readonly StateBatch[],
  limits: ShareLimits,
): SharePartitionState {
  const state = SharePartitionState.restore(start, stored, () => limits);
  if (state === null) throw new Error("what was persisted is not in order");
  return state;
}

describe("share partition", () => {
  test.each([null, "dlq"])(
    "one holder a record, none passed over, all done in the end; letters to %p",
    (queue) => {
      fc.assert(
        fc.property(fc.array(action, { maxLength: 80 }), (steps) => {
          const world = new World({ ...limits, deadLetterTopic: queue });
          for (const step of steps) world.run(step);
          world.drain();
        }),
        { numRuns: 400 },
      );
    },
  );
});

describe("state batches", () => {
  const batch = fc
    .record({ first: fc.nat(40), length: fc.integer({ min: 1, max: 12 }), count: fc.nat(3) })
    .map(({ first, length, count }) => ({
      firstOffset: first,
      lastOffset: first + length - 1,
      deliveryState: count % 2 === 0 ? 0 : 2,
      deliveryCount: count,
    }));

  test("the newest word about an offset holds", () => {
    fc.assert(
      fc.property(
        fc.array(batch, { maxLength: 12 }),
        fc.integer({ min: -1, max: 20 }),
        (all, start) => {
          const wanted = new Map<number, string>();
          for (const { firstOffset, lastOffset, deliveryState, deliveryCount } of all) {
            for (let offset = firstOffset; offset <= lastOffset; offset++) {
              if (offset >= start) wanted.set(offset, `${deliveryState}/${deliveryCount}`);
            }
          }
          const merged = mergeStateBatches([], all, start);
          const found = new Map<number, string>();
          let next = -1;
          for (const { firstOffset, lastOffset, deliveryState, deliveryCount } of merged) {
            expect(firstOffset).toBeGreaterThanOrEqual(next);
            next = lastOffset + 1;
            for (let offset = firstOffset; offset <= lastOffset; offset++) {
              found.set(offset, `${deliveryState}/${deliveryCount}`);
            }
          }
          expect([...found].sort()).toEqual([...wanted].sort());
        },
      ),
    );
  });
});
