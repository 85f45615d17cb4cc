import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { Partition } from "../log/partition.ts";
import type { Advancing } from "../log/waiters.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { AcknowledgementBatch } from "./acknowledge-type.ts";
import type { AcquiredRange, AcquireRequest } from "./acquire.ts";
import type { ShareGroupSettings } from "./config.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Persister } from "./persister.ts";
import type { ShareKey } from "./records.ts";
import { type Change, SharePartitionState } from "./share-partition-state.ts";
import type { StateBatch } from "./state-batches.ts";

export interface SharePartitionParts {
  readonly persister: Persister;
  readonly clock: Clock;
  /** The group's settings at this moment. */
  readonly settings: () => ShareGroupSettings;
  readonly deadLetters: DeadLetters;
  /** Dead letters were copied while perhaps nobody reads for the group any more. */
  readonly onIdle: (share: SharePartition) => void;
}

/** More than any request waits for. */
const enough = 2 ** 31;
const undecidedOffset = -1;
const nothingRead = -1;

/**
 * A share partition at work: its state, what of it is durable, the timer of its locks, and those
 * who wait for records to become available.
 */
export class SharePartition implements Advancing {
  readonly key: ShareKey;
  readonly log: Partition;
  private readonly parts: SharePartitionParts;
  private readonly listeners = new Set<(bytes: number, stableBytes: number) => void>();
  private state: SharePartitionState | null = null;
  private stateEpoch = 0;
  private loading: Promise<number> | null = null;
  private isFenced = false;
  private isReading = false;
  /** Somebody else wanted to read while one did. */
  private isWanted = false;
  private isCopying = false;
  private copying: Promise<void> = Promise.resolve();
  private timer: { readonly timer: Timer; readonly atMs: number } | null = null;
  private changeCount = 0;

  constructor(key: ShareKey, log: Partition, parts: SharePartitionParts) {
    this.key = key;
    this.log = log;
    this.parts = parts;
  }

  get isOpen(): boolean {
    return !this.isFenced && this.log.isOpen;
  }

  get isLoaded(): boolean {
    return this.state !== null;
  }

  /** Records that await their copy in the dead letter queue. */
  get deadLetterCount(): number {
    return this.state?.deadLetterCount ?? 0;
  }

  /** Dead letters are being copied: they would be copied again if this were read anew. */
  get isBusy(): boolean {
    return this.isCopying;
  }

  /** Resolves when no dead letter is under way. */
  async untilIdle(): Promise<void> {
    await this.copying;
  }

  /** Grows with each change that may make records available. */
  get changes(): number {
    return this.changeCount;
  }

  onAdvance(listener: (bytes: number, stableBytes: number) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Reads the state once; resolves with an ErrorCode. */
  load(): Promise<number> {
    if (this.state !== null) return Promise.resolve(ErrorCode.NONE);
    this.loading ??= this.loadNow().finally(() => {
      this.loading = null;
    });
    return this.loading;
  }

  /** What the state was read for is over: whoever waits is sent away, nothing is acquired. */
  fence(): void {
    if (this.isFenced) return;
    this.isFenced = true;
    this.timer?.timer.cancel();
    this.timer = null;
    this.notify(0);
    this.listeners.clear();
  }

  /**
   * Where to read now, below `limit`, with the right to do so until `endRead`; null: there is
   * nothing to acquire, or another one is reading.
   */
  beginRead(limit: number): number | null {
    const { state } = this;
    if (state === null || !this.isOpen) return null;
    state.logStartMoved(this.log.logStartOffset);
    if (!state.canAcquire || state.nextFetchOffset >= limit) return null;
    if (this.isReading) {
      this.isWanted = true;
      return null;
    }
    this.isReading = true;
    return state.nextFetchOffset;
  }

  endRead(): void {
    assert(this.isReading, "who ends a read has begun it");
    this.isReading = false;
    if (!this.isWanted) return;
    this.isWanted = false;
    this.changed();
  }

  /** For the one who reads: what it brought, locked for the member. */
  acquire(
    request: AcquireRequest,
    aborted: readonly { readonly first: number; readonly last: number }[],
  ): AcquiredRange[] {
    assert(this.isReading, "only a reader acquires");
    const { state } = this;
    if (state === null || !this.isOpen) return [];
    const acquired = state.acquire(request, this.parts.clock.monotonicMs());
    const left = aborted.length === 0 ? acquired : state.withoutAborted(acquired, aborted);
    this.armTimer();
    // Nothing of what was read is to be delivered: what lies behind it may be.
    if (left.length === 0 && state.nextFetchOffset !== request.fetchOffset) this.changed();
    return left;
  }

  /** Resolves with an ErrorCode, once what it changed is durable. */
  acknowledge(memberId: string, batches: readonly AcknowledgementBatch[]): Promise<number> {
    const { state } = this;
    if (state === null || this.isFenced) return Promise.resolve(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    const outcome = state.acknowledge(memberId, batches, this.parts.clock.monotonicMs());
    if (outcome.change === null) return Promise.resolve(outcome.errorCode);
    return this.settle(state, outcome.change);
  }

  /** Gives back what the member holds; resolves with an ErrorCode, once that is durable. */
  release(memberId: string): Promise<number> {
    const { state } = this;
    if (state === null) return Promise.resolve(ErrorCode.NONE);
    return this.settle(state, state.release(memberId));
  }

  private async settle(state: SharePartitionState, change: Change): Promise<number> {
    const { transition, stateBatches } = change;
    if (stateBatches.length === 0) {
      this.armTimer();
      return ErrorCode.NONE;
    }
    const errorCode = await this.write(state, stateBatches);
    state.finish(transition, errorCode === ErrorCode.NONE);
    this.armTimer();
    this.changed();
    this.copyDeadLetters(state);
    return errorCode;
  }

  private copyDeadLetters(state: SharePartitionState): void {
    if (this.isCopying || state.nextDeadLetters() === null) return;
    this.isCopying = true;
    this.copying = this.copyAll(state);
  }

  /**
   * Copies what is archiving to the dead letter queue, one batch after the other, and archives it
   * when its copy is durable. A crash in between copies it again: archiving is written, too.
   */
  private async copyAll(state: SharePartitionState): Promise<void> {
    const { groupId, partition } = this.key;
    while (this.isOpen) {
      const letters = state.nextDeadLetters();
      if (letters === null) break;
      const where = { groupId, topic: this.log.topic, partition, log: this.log };
      const job = { ...where, ...letters };
      const last = await this.parts.deadLetters.copy(job, () => this.isOpen);
      if (last === null || !this.isOpen) break;
      const archived = state.archiveDeadLetters(letters.first, last);
      this.changed();
      if (archived.length > 0) await this.writeArchived(state, archived);
    }
    this.isCopying = false;
    this.parts.onIdle(this);
  }

  /** Until that is written a restart would copy the records again. */
  private async writeArchived(
    state: SharePartitionState,
    archived: readonly StateBatch[],
  ): Promise<void> {
    const { deadLetters } = this.parts;
    for (let attempt = 1; ; attempt++) {
      const errorCode = await this.write(state, archived);
      if (errorCode !== ErrorCode.COORDINATOR_NOT_AVAILABLE) return;
      if (!this.isOpen || !(await deadLetters.pause(attempt))) return;
    }
  }

  private async write(
    state: SharePartitionState,
    stateBatches: readonly StateBatch[],
  ): Promise<number> {
    const { startOffset, deliveryCompleteCount } = state;
    return await this.writeMarks({ startOffset, deliveryCompleteCount }, stateBatches);
  }

  private async writeMarks(
    marks: { readonly startOffset: number; readonly deliveryCompleteCount: number },
    stateBatches: readonly StateBatch[],
  ): Promise<number> {
    const epochs = { stateEpoch: this.stateEpoch, leaderEpoch: this.log.leaderEpoch };
    const write = { ...epochs, ...marks, stateBatches };
    return clientError(await this.parts.persister.write(this.key, write));
  }

  private armTimer(): void {
    const atMs = this.isFenced ? null : (this.state?.nextLockEndMs ?? null);
    if (atMs === null || (this.timer !== null && this.timer.atMs <= atMs)) return;
    this.timer?.timer.cancel();
    const { clock } = this.parts;
    const timer = clock.schedule(Math.max(0, atMs - clock.monotonicMs()), () => this.expire());
    this.timer = { timer, atMs };
  }

  private expire(): void {
    this.timer = null;
    const { state } = this;
    if (state === null || this.isFenced) return;
    const expired = state.expireLocks(this.parts.clock.monotonicMs());
    this.armTimer();
    if (expired.length === 0) return;
    // The locks have ended whether or not that can be written: nobody could give them back.
    void this.write(state, expired).then(() => this.copyDeadLetters(state));
    this.changed();
  }

  private async loadNow(): Promise<number> {
    const { persister, settings } = this.parts;
    const read = await persister.read(this.key);
    if (read.state === null) return clientError(read.errorCode);
    const { stateEpoch, stateBatches, startOffset: stored } = read.state;
    this.stateEpoch = stateEpoch;
    const start = stored === undecidedOffset ? await this.initialOffset() : stored;
    const limits = () => settings();
    const state = SharePartitionState.restore(start, stateBatches, limits);
    if (state === null) return ErrorCode.UNKNOWN_SERVER_ERROR;
    if (stored === undecidedOffset) {
      // Decided once: records that come while the broker is away are not to be missed. Until a
      // delivery changes the state it counts none, and administrators see it as not begun.
      const marks = { startOffset: start, deliveryCompleteCount: nothingRead };
      const errorCode = await this.writeMarks(marks, []);
      if (errorCode !== ErrorCode.NONE) return errorCode;
    }
    if (this.isFenced) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    state.logStartMoved(this.log.logStartOffset);
    this.state = state;
    this.changed();
    this.copyDeadLetters(state);
    return ErrorCode.NONE;
  }

  private async initialOffset(): Promise<number> {
    const { log } = this;
    const reset = this.parts.settings().autoOffsetReset;
    if (reset.kind === "earliest") return log.logStartOffset;
    const latest = log.highWatermark;
    if (reset.kind === "latest") return latest;
    const timestamp = Math.max(0, this.parts.clock.nowMs() - reset.durationMs);
    const found = await log.offsetForTimestamp(timestamp, "read_uncommitted");
    return found.errorCode === ErrorCode.NONE && found.offset >= 0 ? found.offset : latest;
  }

  private changed(): void {
    this.changeCount++;
    this.notify(enough);
  }

  private notify(bytes: number): void {
    for (const listener of [...this.listeners]) listener(bytes, bytes);
  }
}

/** What a client is told of an error of the persister. */
function clientError(errorCode: number): number {
  switch (errorCode) {
    case ErrorCode.NONE:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      return errorCode;
    case ErrorCode.FENCED_STATE_EPOCH:
      return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    default:
      return ErrorCode.UNKNOWN_SERVER_ERROR;
  }
}
