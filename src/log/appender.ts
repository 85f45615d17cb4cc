import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { errorText } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { writeInt64 } from "../protocol/int64.ts";
import {
  type BatchHeader,
  lastSequence,
  noTimestamp,
  patchBaseOffset,
  patchLeaderEpoch,
  sealBatch,
  stampLogAppendTime,
} from "../protocol/record-batch.ts";
import type { AppendBudget } from "./append-budget.ts";
import { type RecordError, type Rejection, rejection } from "./batch-rules.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { AppendSink, Wal } from "./ports.ts";
import type { ProducerBatch, ProducerState } from "./producer-state.ts";
import type { Tail } from "./tail-cache.ts";

export interface AppendResult {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  /** −1 with an error. */
  readonly baseOffset: number;
  /** −1 unless the broker stamped the batch, or this is a retry. */
  readonly logAppendTimeMs: number;
  readonly logStartOffset: number;
  readonly recordErrors: readonly RecordError[];
}

/** A batch that became durable, for who keeps the segment list. */
export interface DurableBatch {
  readonly base: number;
  readonly last: number;
  readonly records: number;
  readonly bytes: number;
  readonly maxTimestamp: number;
}

/** What the append path reports to its partition. */
export interface AppenderEvents {
  logStartOffset(): number;
  /** The durable end moved to `batch.last + 1`; told before the append's promise resolves. */
  durable(batch: DurableBatch, segmentId: number, position: number): void;
  /** The log was cut back to the durable end after `error`. */
  rolledBack(error: BrokerError): void;
  /** The engine's order was broken: nothing more may be appended. */
  broken(reason: string): void;
}

/** Of the field in a batch's header. */
const maxTimestampAt = 35;

interface Pending extends DurableBatch {
  readonly logAppendTimeMs: number;
  readonly resolve: (result: AppendResult) => void;
  /** Retries of this very batch that came before it was durable. */
  retries: (() => void)[] | null;
}

export interface AppenderParts {
  readonly wal: Wal;
  readonly log: number;
  readonly clock: Clock;
  readonly budget: AppendBudget;
  readonly tail: Tail;
  readonly producers: ProducerState;
  readonly epochs: LeaderEpochs;
  readonly events: AppenderEvents;
}

/**
 * The append path of one partition behind validation: sequence check, offset, tail, WAL — without
 * an await between — and what happens when the WAL answers. Offsets are dense: one is used only if
 * its batch was submitted, and a failure cuts the log back to the durable end before the next.
 */
export class Appender implements AppendSink {
  private readonly parts: AppenderParts;
  private pending: Pending[] = [];
  private pendingFirst = 0;
  private end: number;
  private durable: number;
  private failure: BrokerError | null = null;

  constructor(parts: AppenderParts, logEnd: number) {
    this.parts = parts;
    this.end = logEnd;
    this.durable = logEnd;
  }

  /** Next offset to be given out. */
  get logEndOffset(): number {
    return this.end;
  }

  /** Everything below was fsynced. */
  get durableEnd(): number {
    return this.durable;
  }

  get inFlight(): number {
    return this.pending.length - this.pendingFirst;
  }

  /**
   * Appends a validated batch, or answers a retry; resolves when durable. false: no memory for it
   * now, nothing was done. `batch` is copied. `maxTimestamp` is that of its records; null: the
   * broker stamps the batch with its own time.
   */
  submit(
    batch: Uint8Array,
    header: BatchHeader,
    leaderEpoch: number,
    maxTimestamp: number | null,
    resolve: (result: AppendResult) => void,
  ): boolean {
    if (this.failure !== null) {
      resolve(this.rejected(storageRejection(this.failure)));
      return true;
    }
    if (header.producerId >= 0) {
      const settled = this.checkSequence(header, resolve);
      if (settled) return true;
    }
    if (!this.parts.budget.tryReserve(batch.length)) return false;
    const base = this.end;
    const last = base + header.lastOffsetDelta;
    const stampMs = maxTimestamp === null ? this.parts.clock.nowMs() : null;
    const stored = this.parts.tail.push(batch, base, last);
    patchBaseOffset(stored, 0, base);
    patchLeaderEpoch(stored, 0, leaderEpoch);
    if (maxTimestamp !== null) correctTimestamp(stored, header, maxTimestamp);
    else if (stampMs !== null) stampLogAppendTime(stored, 0, stampMs, crc32c);
    const { wal, log } = this.parts;
    try {
      wal.append(log, base, last, header.recordsCount, leaderEpoch, stored, this);
    } catch (error) {
      this.parts.tail.truncate(base);
      this.parts.budget.release(batch.length);
      resolve(this.rejected(rejection(ErrorCode.KAFKA_STORAGE_ERROR, errorText(error))));
      return true;
    }
    const timestamp = stampMs ?? maxTimestamp ?? noTimestamp;
    this.record(header, base, last, timestamp);
    this.pending.push({
      base,
      last,
      records: header.recordsCount,
      bytes: batch.length,
      maxTimestamp: timestamp,
      logAppendTimeMs: stampMs ?? noTimestamp,
      resolve,
      retries: null,
    });
    return true;
  }

  appended(segmentId: number, position: number): void {
    const done = this.shift();
    this.completed(done, segmentId, position);
    // Last: room may let in the next append of this very log at once.
    this.parts.budget.release(done.bytes);
  }

  appendFailed(error: BrokerError): void {
    const done = this.shift();
    this.failure ??= error;
    this.settle(done, storageRejection(error));
    this.recover();
    this.parts.budget.release(done.bytes);
  }

  rejected(why: Rejection): AppendResult {
    return {
      errorCode: why.errorCode,
      errorMessage: why.errorMessage,
      baseOffset: -1,
      logAppendTimeMs: noTimestamp,
      logStartOffset: this.parts.events.logStartOffset(),
      recordErrors: why.recordErrors,
    };
  }

  private completed(done: Pending, segmentId: number, position: number): void {
    if (done.base !== this.durable) {
      // A frame behind a gap would be an acknowledged hole: refuse everything from here on.
      const reason = `the WAL took offset ${done.base} while ${this.durable} was next`;
      this.parts.events.broken(reason);
      this.settle(done, rejection(ErrorCode.KAFKA_STORAGE_ERROR, reason));
      return;
    }
    this.durable = done.last + 1;
    this.parts.events.durable(done, segmentId, position);
    this.settle(done, null);
    this.recover();
  }

  /** True when the batch is a retry or out of sequence, and was answered or will be. */
  private checkSequence(header: BatchHeader, resolve: (result: AppendResult) => void): boolean {
    const { producerId, producerEpoch, baseSequence } = header;
    const last = lastSequence(header);
    const nowMs = this.parts.clock.monotonicMs();
    const verdict = this.parts.producers.check(
      producerId,
      producerEpoch,
      baseSequence,
      last,
      nowMs,
    );
    switch (verdict.kind) {
      case "accept":
        return false;
      case "duplicate":
        this.answerRetry(verdict.of, resolve);
        return true;
      case "stale-epoch": {
        const { currentEpoch } = verdict;
        const text = `producer ${producerId} has epoch ${currentEpoch}, not ${producerEpoch}`;
        resolve(this.rejected(rejection(ErrorCode.INVALID_PRODUCER_EPOCH, text)));
        return true;
      }
      case "out-of-order": {
        const text =
          `producer ${producerId} sent sequence ${baseSequence} ` +
          `where ${verdict.expected} was expected`;
        resolve(this.rejected(rejection(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, text)));
        return true;
      }
    }
  }

  /** A retry is answered like its original, and not before that is durable. */
  private answerRetry(of: ProducerBatch, resolve: (result: AppendResult) => void): void {
    const answer = () => {
      // After a rollback the original is gone; so is this retry of it.
      if (of.lastOffset < this.durable) resolve(this.accepted(of.firstOffset, of.timestamp));
      else resolve(this.rejected(storageRejection(this.failure)));
    };
    if (of.lastOffset < this.durable) {
      answer();
      return;
    }
    const original = this.find(of.firstOffset);
    original.retries ??= [];
    original.retries.push(answer);
  }

  private find(base: number): Pending {
    for (let index = this.pendingFirst; index < this.pending.length; index++) {
      const pending = this.pending[index];
      if (pending?.base === base) return pending;
    }
    assert(false, "a batch that is not durable is in flight");
  }

  private record(header: BatchHeader, base: number, last: number, timestamp: number): void {
    this.end = last + 1;
    if (header.producerId < 0) return;
    const batch: ProducerBatch = {
      producerEpoch: header.producerEpoch,
      firstSequence: header.baseSequence,
      lastSequence: lastSequence(header),
      firstOffset: base,
      lastOffset: last,
      timestamp,
    };
    const nowMs = this.parts.clock.monotonicMs();
    this.parts.producers.add(header.producerId, batch, this.durable, nowMs);
  }

  private settle(done: Pending, why: Rejection | null): void {
    if (why === null) done.resolve(this.accepted(done.base, done.logAppendTimeMs));
    else done.resolve(this.rejected(why));
    if (done.retries === null) return;
    for (const answer of done.retries) answer();
  }

  /** Once nothing is in flight after a failure: back to the durable end, ready for the next. */
  private recover(): void {
    const { failure, durable } = this;
    if (failure === null || this.inFlight > 0) return;
    this.end = durable;
    this.parts.tail.truncate(durable);
    this.parts.producers.rollBack(durable);
    const { epochs } = this.parts;
    const { latest } = epochs;
    epochs.truncateFromEnd(durable);
    // An epoch that began in what was cut goes on writing, from here.
    epochs.assign(latest, durable);
    this.failure = null;
    this.parts.events.rolledBack(failure);
  }

  private accepted(baseOffset: number, logAppendTimeMs: number): AppendResult {
    return {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      baseOffset,
      logAppendTimeMs,
      logStartOffset: this.parts.events.logStartOffset(),
      recordErrors: [],
    };
  }

  private shift(): Pending {
    const done = this.pending[this.pendingFirst];
    assert(done !== undefined, "the WAL answers what was submitted");
    this.pendingFirst++;
    if (this.pendingFirst === this.pending.length) {
      this.pending.length = 0;
      this.pendingFirst = 0;
    } else if (this.pendingFirst >= 1024) {
      this.pending = this.pending.slice(this.pendingFirst);
      this.pendingFirst = 0;
    }
    return done;
  }
}

/** As Kafka does where a producer's header does not say what its records say: searches by time
 * would miss them. An honest batch stays as it came. */
function correctTimestamp(batch: Uint8Array, header: BatchHeader, maxTimestamp: number): void {
  if (maxTimestamp === header.maxTimestamp) return;
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
  writeInt64(view, maxTimestampAt, maxTimestamp);
  sealBatch(batch, 0, crc32c);
}

function storageRejection(error: BrokerError | null): Rejection {
  return rejection(ErrorCode.KAFKA_STORAGE_ERROR, error?.message ?? "the append was rolled back");
}
