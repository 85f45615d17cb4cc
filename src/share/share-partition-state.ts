import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type AcknowledgementBatch, acknowledgeType, typedRanges } from "./acknowledge-type.ts";
import { type AcquiredRange, type AcquireRequest, acquireFrom } from "./acquire.ts";
import {
  type Batch,
  floorIndex,
  isAcquirable,
  isolate,
  isTerminal,
  joinRuns,
  newRun,
  type RecordState,
  type Run,
  sizeOf,
  type Transition,
} from "./in-flight.ts";
import { deliveryState, type StateBatch } from "./state-batches.ts";

/** Settings of the share group at this moment. */
export interface ShareLimits {
  /** group.share.record.lock.duration.ms */
  readonly recordLockDurationMs: number;
  /** group.share.delivery.count.limit */
  readonly deliveryCountMax: number;
  /** group.share.partition.max.record.locks */
  readonly recordLocksMax: number;
  /** share.renew.acknowledge.enable */
  readonly mayRenew: boolean;
  /** Where records go that are not delivered again (KIP-1191); null: nowhere. */
  readonly deadLetterTopic: string | null;
}

/** Records that await their copy in the dead letter queue, alike but for their offsets. */
export interface DeadLetters {
  readonly first: number;
  readonly last: number;
  readonly deliveryCount: number;
  /** By a member; else they were delivered too often. */
  readonly isRejected: boolean;
}

/** What must be written before a change may be told. */
export interface Change {
  readonly transition: Transition;
  /** Empty: nothing to write (locks were renewed). */
  readonly stateBatches: readonly StateBatch[];
}

export type AcknowledgeOutcome =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly change: Change }
  | { readonly errorCode: number; readonly change: null };

/**
 * One partition of a topic as one share group sees it (KIP-932): which records are available,
 * acquired by a member under a lock that ends by itself, acknowledged, or archived.
 *
 * A pure state machine: it neither waits nor reads a clock. A change by acknowledgement or release
 * has two steps: it is made and its records are out of everybody's reach, then, once written,
 * `finish` keeps it or takes it back.
 */
export class SharePartitionState {
  private readonly limits: () => ShareLimits;
  private readonly batches: Batch[] = [];
  private start: number;
  /** False: no record between start and end can be acquired. */
  private mayHaveAvailable = false;

  private constructor(startOffset: number, limits: () => ShareLimits) {
    this.start = startOffset;
    this.limits = limits;
  }

  /** From what was persisted; null when that is not in order. */
  static restore(
    startOffset: number,
    stored: readonly StateBatch[],
    limits: () => ShareLimits,
  ): SharePartitionState | null {
    const state = new SharePartitionState(startOffset, limits);
    let next = startOffset;
    for (const { firstOffset, lastOffset, deliveryState: id, deliveryCount } of stored) {
      const recordState = stateOf(id);
      if (firstOffset < next || lastOffset < firstOffset || recordState === null) return null;
      if (firstOffset > next) {
        const gap = newRun(next, firstOffset - 1, "available");
        state.batches.push({ first: gap.first, last: gap.last, isGap: true, runs: [gap] });
      }
      const run = newRun(firstOffset, lastOffset, recordState, deliveryCount);
      // Why is not stored; as Kafka tells them apart.
      run.isRejected = recordState === "archiving" && deliveryCount < limits().deliveryCountMax;
      state.batches.push({ first: firstOffset, last: lastOffset, isGap: false, runs: [run] });
      next = lastOffset + 1;
    }
    state.mayHaveAvailable = true;
    state.advance();
    return state;
  }

  /** Every record below is finished, or no longer in the log. */
  get startOffset(): number {
    return this.start;
  }

  /** One past the last record ever acquired. */
  get endOffset(): number {
    const newest = this.batches.at(-1);
    return newest === undefined ? this.start : newest.last + 1;
  }

  get inFlight(): number {
    return this.batches.length === 0 ? 0 : this.endOffset - this.start;
  }

  /** Records at or after the start whose delivery is complete (KIP-1226). */
  get deliveryCompleteCount(): number {
    let count = 0;
    for (const { runs } of this.batches) {
      for (const run of runs) if (isTerminal(run.state)) count += sizeOf(run);
    }
    return count;
  }

  /** Records that await their copy in the dead letter queue. */
  get deadLetterCount(): number {
    let count = 0;
    for (const { runs } of this.batches) {
      for (const run of runs) if (run.state === "archiving") count += sizeOf(run);
    }
    return count;
  }

  /** Where to read next: the first record that may be acquired again, else the end. */
  get nextFetchOffset(): number {
    if (this.mayHaveAvailable) {
      for (const { runs } of this.batches) {
        for (const run of runs) if (isAcquirable(run)) return run.first;
      }
      this.mayHaveAvailable = false;
    }
    return this.endOffset;
  }

  get canAcquire(): boolean {
    if (this.nextFetchOffset !== this.endOffset) return true;
    return this.inFlight < this.limits().recordLocksMax;
  }

  /** When the next acquisition lock ends, monotonic milliseconds; null without locks. */
  get nextLockEndMs(): number | null {
    let next: number | null = null;
    for (const { runs } of this.batches) {
      for (const run of runs) {
        if (run.state !== "acquired" || run.transition !== null) continue;
        if (next === null || run.lockedUntilMs < next) next = run.lockedUntilMs;
      }
    }
    return next;
  }

  /** In offset order, for tests and descriptions. */
  runs(): readonly Readonly<Run>[] {
    return this.batches.flatMap(({ runs }) => runs);
  }

  /** Locks what the read brought and nobody holds; the ranges in offset order. */
  acquire(request: AcquireRequest, nowMs: number): AcquiredRange[] {
    const { limits } = this;
    const inFlight = { batches: this.batches, start: this.start, inFlight: this.inFlight };
    const { acquired, start } = acquireFrom(inFlight, request, limits(), nowMs);
    this.start = start;
    // A batch may have been acquired in part, or stale ones archived.
    this.mayHaveAvailable = true;
    this.advance();
    return acquired;
  }

  /**
   * Records of aborted transactions among what was just acquired are not delivered: they are
   * archived. Returns what is left.
   */
  withoutAborted(
    acquired: readonly AcquiredRange[],
    aborted: readonly { readonly first: number; readonly last: number }[],
  ): AcquiredRange[] {
    let left = [...acquired];
    for (const range of aborted) {
      for (const run of this.isolateAll(range.first, range.last)) {
        if (run.state !== "acquired" || run.transition !== null) continue;
        if (left.some(({ first, last }) => run.first <= last && run.last >= first)) archive(run);
      }
      left = left.flatMap((one) => cutOut(one, range));
    }
    this.joinAll();
    this.advance();
    return left;
  }

  /** All of the request or nothing. */
  acknowledge(
    memberId: string,
    request: readonly AcknowledgementBatch[],
    nowMs: number,
  ): AcknowledgeOutcome {
    const transition: Transition = { memberId };
    for (const batch of request) {
      if (batch.lastOffset < this.start) continue;
      const errorCode = this.acknowledgeOne(transition, batch, nowMs);
      if (errorCode === ErrorCode.NONE) continue;
      this.takeBack(transition);
      this.joinAll();
      return { errorCode, change: null };
    }
    return { errorCode: ErrorCode.NONE, change: this.changeOf(transition) };
  }

  /** Gives back all records the member holds. */
  release(memberId: string): Change {
    const transition: Transition = { memberId };
    for (const { runs } of this.batches) {
      for (const run of runs) {
        const isHeld = run.state === "acquired" && run.transition === null;
        if (isHeld && run.memberId === memberId) this.begin(run, transition, "available");
      }
    }
    return this.changeOf(transition);
  }

  /** The change was written (or not): keeps it, or gives the records back to their holder. */
  finish(transition: Transition, isWritten: boolean): void {
    if (isWritten) {
      for (const run of this.runsOf(transition)) {
        run.transition = null;
        run.lockedUntilMs = 0;
        if (run.state === "available") this.mayHaveAvailable = true;
      }
    } else {
      this.takeBack(transition);
    }
    this.joinAll();
    this.advance();
  }

  /** Ends the locks that are due; what to write of it, which nobody has to wait for. */
  expireLocks(nowMs: number): StateBatch[] {
    const expired: StateBatch[] = [];
    for (const batch of this.batches) {
      for (const run of batch.runs) {
        if (run.state !== "acquired" || run.transition !== null) continue;
        if (run.lockedUntilMs > nowMs) continue;
        run.state = this.releasedState(run);
        run.memberId = "";
        run.lockedUntilMs = 0;
        this.mayHaveAvailable = true;
        expired.push(stateBatch(run));
      }
      joinRuns(batch);
    }
    this.advance();
    return expired;
  }

  /** The oldest records to be copied to the dead letter queue, once that they are is written. */
  nextDeadLetters(): DeadLetters | null {
    for (const { runs } of this.batches) {
      for (const { first, last, state, transition, deliveryCount, isRejected } of runs) {
        if (state !== "archiving" || transition !== null) continue;
        return { first, last, deliveryCount, isRejected };
      }
    }
    return null;
  }

  /** What is archiving within [first, last] was copied, or cannot be; what to write of it. */
  archiveDeadLetters(first: number, last: number): StateBatch[] {
    const archived: StateBatch[] = [];
    for (const run of this.isolateAll(first, last)) {
      if (run.state !== "archiving" || run.transition !== null) continue;
      archive(run);
      archived.push(stateBatch(run));
    }
    this.joinAll();
    this.advance();
    return archived;
  }

  /** The log begins at `offset` now: what lies below is out of play, whoever holds it. */
  logStartMoved(offset: number): void {
    if (offset <= this.start) return;
    this.start = offset;
    this.dropBelowStart();
    this.advance();
  }

  private acknowledgeOne(
    transition: Transition,
    batch: AcknowledgementBatch,
    nowMs: number,
  ): number {
    const errorCode = this.checkKnown(batch);
    if (errorCode !== ErrorCode.NONE) return errorCode;
    for (const { first, last, type } of typedRanges(batch)) {
      if (last < this.start) continue;
      for (const run of this.isolateAll(Math.max(first, this.start), last)) {
        const isHeld = run.state === "acquired" && run.transition === null;
        if (!isHeld || run.memberId !== transition.memberId) {
          return ErrorCode.INVALID_RECORD_STATE;
        }
        if (type === acknowledgeType.renew) {
          if (!this.limits().mayRenew) return ErrorCode.INVALID_RECORD_STATE;
          run.lockedUntilMs = nowMs + this.limits().recordLockDurationMs;
        } else {
          this.begin(run, transition, this.acknowledgedState(type));
          run.isRejected = type === acknowledgeType.reject && run.state === "archiving";
        }
      }
    }
    return ErrorCode.NONE;
  }

  /** Whether the offsets were ever acquired, as Kafka tells them apart. */
  private checkKnown({ firstOffset, lastOffset }: AcknowledgementBatch): number {
    const from = Math.max(firstOffset, this.start);
    const floor = this.batches[floorIndex(this.batches, from)];
    if (floor === undefined) return ErrorCode.INVALID_RECORD_STATE;
    const ceiling = this.batches[floorIndex(this.batches, lastOffset)];
    assert(ceiling !== undefined, "a later offset has a floor, too");
    return lastOffset > ceiling.last ? ErrorCode.INVALID_REQUEST : ErrorCode.NONE;
  }

  private begin(run: Run, transition: Transition, state: RecordState): void {
    run.state = state === "available" ? this.releasedState(run) : state;
    run.transition = transition;
    run.memberId = "";
  }

  private acknowledgedState(type: number): RecordState {
    if (type === acknowledgeType.accept) return "acknowledged";
    if (type === acknowledgeType.release) return "available";
    // A gap has no record to deliver, a rejected one must not be delivered again.
    const isDeadLetter = type === acknowledgeType.reject && this.limits().deadLetterTopic !== null;
    return isDeadLetter ? "archiving" : "archived";
  }

  /** A record that was delivered as often as it may be is not made available again. */
  private releasedState(run: Run): RecordState {
    if (run.last < this.start) return "archived";
    const { deliveryCountMax, deadLetterTopic } = this.limits();
    if (run.deliveryCount < deliveryCountMax) return "available";
    return deadLetterTopic === null ? "archived" : "archiving";
  }

  private takeBack(transition: Transition): void {
    for (const run of this.runsOf(transition)) {
      run.state = "acquired";
      run.memberId = transition.memberId;
      run.transition = null;
      run.isRejected = false;
    }
  }

  private changeOf(transition: Transition): Change {
    this.joinAll();
    return { transition, stateBatches: this.runsOf(transition).map(stateBatch) };
  }

  private runsOf(transition: Transition): Run[] {
    return this.batches.flatMap(({ runs }) => runs.filter((run) => run.transition === transition));
  }

  /** The runs within [first, last], cut where they cross its borders. */
  private isolateAll(first: number, last: number): Run[] {
    const found: Run[] = [];
    let index = Math.max(0, floorIndex(this.batches, first));
    for (; index < this.batches.length; index++) {
      const batch = this.batches[index];
      if (batch === undefined || batch.first > last) break;
      found.push(...isolate(batch, first, last));
    }
    return found;
  }

  private joinAll(): void {
    for (const batch of this.batches) joinRuns(batch);
  }

  /** Moves the start over finished records; natural holes in the log go with them. */
  private advance(): void {
    for (const batch of this.batches) {
      const open = batch.runs.find((run) => !isTerminal(run.state) || run.transition !== null);
      if (open !== undefined) {
        this.start = Math.max(this.start, open.first);
        break;
      }
      this.start = Math.max(this.start, batch.last + 1);
    }
    this.dropBelowStart();
  }

  private dropBelowStart(): void {
    let gone = 0;
    for (const batch of this.batches) {
      if (batch.last >= this.start) break;
      gone++;
    }
    this.batches.splice(0, gone);
    const [oldest] = this.batches;
    if (oldest === undefined || (oldest.runs[0]?.first ?? this.start) >= this.start) return;
    oldest.runs = isolate(oldest, this.start, oldest.last);
  }
}

function stateOf(id: number): RecordState | null {
  switch (id) {
    case deliveryState.available:
      return "available";
    case deliveryState.acknowledged:
      return "acknowledged";
    case deliveryState.archiving:
      return "archiving";
    case deliveryState.archived:
      return "archived";
    default:
      return null;
  }
}

function stateBatch(run: Run): StateBatch {
  assert(run.state !== "acquired", "acquired is never persisted");
  return {
    firstOffset: run.first,
    lastOffset: run.last,
    deliveryState: deliveryState[run.state],
    deliveryCount: run.deliveryCount,
  };
}

function archive(run: Run): void {
  run.state = "archived";
  run.memberId = "";
  run.lockedUntilMs = 0;
  run.isRejected = false;
}

function cutOut(
  range: AcquiredRange,
  hole: { readonly first: number; readonly last: number },
): AcquiredRange[] {
  if (hole.last < range.first || hole.first > range.last) return [range];
  const rest: AcquiredRange[] = [];
  if (range.first < hole.first) rest.push({ ...range, last: hole.first - 1 });
  if (range.last > hole.last) rest.push({ ...range, first: hole.last + 1 });
  return rest;
}
