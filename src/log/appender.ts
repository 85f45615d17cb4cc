import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { errorText } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { writeInt64 } from "../protocol/int64.ts";
import {
  type BatchHeader,
  isTransactional,
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
import { type AppendSink, frameHeaderBytes, type Wal } from "./ports.ts";
import type { ProducerBatch, ProducerData, ProducerMarker } from "./producer-entry.ts";
import { type ProducerProblem, producerRejection } from "./producer-rejection.ts";
import type { ProducerState } from "./producer-state.ts";
import type { Tail } from "./tail-cache.ts";
import type { WalSpace } from "./wal-space.ts";

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

/** A validated batch on its way into the log. */
export interface Submission {
  /** Copied. */
  readonly batch: Uint8Array;
  readonly header: BatchHeader;
  readonly leaderEpoch: number;
  /** Of its records; null: the broker stamps the batch with its own time. */
  readonly maxTimestamp: number | null;
  /** Asked at the moment the sequence is checked and the offset given: an ErrorCode. */
  readonly transactionCheck: (() => number) | null;
  /** Of the producer's transactions (KIP-890). */
  readonly transactionVersion: number;
  /** What the batch marks, where it is the end of a transaction. */
  readonly marker: ProducerMarker | null;
  readonly resolve: (result: AppendResult) => void;
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
  /** Booked for it under the WAL's cap. */
  readonly spaceBytes: number;
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
  /** null: the log is not under the WAL's cap. */
  readonly space: WalSpace | null;
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
  private bytesEnd = 0;
  private bytesDurable = 0;
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

  /** Bytes of the log up to its end, counted from the opening. */
  get bytesAppended(): number {
    return this.bytesEnd;
  }

  /**
   * Appends a validated batch, or answers a retry; resolves when durable. Otherwise nothing was
   * done, and it says what there is none of now.
   */
  submit(submission: Submission): "taken" | "no-memory" | "no-space" {
    const { batch, header, leaderEpoch, maxTimestamp, resolve } = submission;
    if (this.failure !== null) {
      resolve(this.rejected(storageRejection(this.failure)));
      return "taken";
    }
    if (header.producerId >= 0 && this.isSettled(submission)) return "taken";
    const spaceBytes = submission.marker === null ? batch.length + frameHeaderBytes : 0;
    if (spaceBytes > 0 && this.parts.space?.tryTake(spaceBytes) === false) return "no-space";
    if (!this.parts.budget.tryReserve(batch.length)) {
      this.parts.space?.giveBack(spaceBytes);
      return "no-memory";
    }
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
      this.parts.space?.giveBack(spaceBytes);
      this.parts.budget.release(batch.length);
      resolve(this.rejected(rejection(ErrorCode.KAFKA_STORAGE_ERROR, errorText(error))));
      return "taken";
    }
    const timestamp = stampMs ?? maxTimestamp ?? noTimestamp;
    this.record(submission, base, last, timestamp);
    this.pending.push({
      base,
      last,
      records: header.recordsCount,
      bytes: batch.length,
      spaceBytes,
      maxTimestamp: timestamp,
      logAppendTimeMs: stampMs ?? noTimestamp,
      resolve,
      retries: null,
    });
    return "taken";
  }

  appended(segmentId: number, position: number): void {
    const done = this.shift();
    this.completed(done, segmentId, position);
    this.parts.space?.giveBack(done.spaceBytes);
    // Last: room may let in the next append of this very log at once.
    this.parts.budget.release(done.bytes);
  }

  appendFailed(error: BrokerError): void {
    const done = this.shift();
    this.failure ??= error;
    this.settle(done, storageRejection(error));
    this.recover();
    this.parts.space?.giveUp(done.spaceBytes);
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
    this.bytesDurable += done.bytes;
    this.parts.events.durable(done, segmentId, position);
    this.settle(done, null);
    this.recover();
  }

  /** True when the batch is a retry or may not follow, and was answered or will be. */
  private isSettled(submission: Submission): boolean {
    const { producers, clock } = this.parts;
    const { marker, resolve } = submission;
    const nowMs = clock.monotonicMs();
    const data = dataOf(submission);
    const verdict =
      marker === null ? producers.check(data, nowMs) : producers.checkMarker(marker, nowMs);
    if (verdict.kind === "duplicate") {
      this.answerRetry(verdict.of, resolve);
      return true;
    }
    const why = refusal(submission, data, verdict);
    if (why !== null) resolve(this.rejected(why));
    return why !== null;
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

  private record(submission: Submission, base: number, last: number, timestamp: number): void {
    const { batch, header, marker } = submission;
    const position = this.bytesEnd;
    this.end = last + 1;
    this.bytesEnd += batch.length;
    if (header.producerId < 0) return;
    const { producers, clock } = this.parts;
    const nowMs = clock.monotonicMs();
    const placed = { firstOffset: base, lastOffset: last, timestamp };
    if (marker !== null) producers.appendMarker(marker, placed, this.durable, nowMs);
    else producers.append(dataOf(submission), placed, position, this.durable, nowMs);
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
    this.bytesEnd = this.bytesDurable;
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

function dataOf({ header, transactionVersion }: Submission): ProducerData {
  return {
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    baseSequence: header.baseSequence,
    lastSequence: lastSequence(header),
    isTransactional: isTransactional(header.attributes),
    transactionVersion,
  };
}

/** In Kafka's order: the epoch, then what the coordinator says, then all else. */
function refusal(
  { transactionCheck }: Submission,
  { producerId, producerEpoch, baseSequence }: ProducerData,
  verdict: { readonly kind: "accept" } | ProducerProblem,
): Rejection | null {
  const batch = { producerId, producerEpoch, baseSequence };
  if (verdict.kind === "stale-epoch") return producerRejection(verdict, batch);
  const denied = transactionCheck?.() ?? ErrorCode.NONE;
  if (denied !== ErrorCode.NONE) {
    const text = `the transaction coordinator does not let producer ${producerId} write here`;
    return rejection(denied, text);
  }
  return verdict.kind === "accept" ? null : producerRejection(verdict, batch);
}

function storageRejection(error: BrokerError | null): Rejection {
  return rejection(ErrorCode.KAFKA_STORAGE_ERROR, error?.message ?? "the append was rolled back");
}
