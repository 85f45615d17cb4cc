import type { Clock } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import type { Partition } from "../log/partition.ts";
import type { ReadBudget } from "../log/read-budget.ts";
import { Turns } from "../log/turns.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import { buildBatch, type RecordData } from "../protocol/records.ts";
import type { ShareConfig, ShareGroupSettings } from "./config.ts";
import {
  type DeadLetter,
  type DeadLetterContext,
  type Decompress,
  deadLetterRecords,
  type Gathered,
  gather,
} from "./dead-letter-records.ts";
import type { FindDestination } from "./dead-letter-topic.ts";

/** What an operator should hear of. */
export interface DeadLetterEvents {
  /** So many records are in the dead letter queue, durably. */
  copied(records: number, isRejected: boolean): void;
  /** Records were given up without a copy: the queue is not set up for them. */
  refused(job: DeadLetterJob, records: number, reason: string): void;
  /** An attempt failed; another follows. */
  failed(job: DeadLetterJob, reason: string): void;
}

export interface DeadLetterParts {
  readonly config: ShareConfig;
  readonly clock: Clock;
  readonly readBudget: ReadBudget;
  readonly settingsOf: (groupId: string) => ShareGroupSettings;
  readonly find: FindDestination;
  readonly decompress: Decompress;
  readonly events: DeadLetterEvents;
}

/** Records [first, last] of a partition, with what is told of each. */
export interface DeadLetterJob extends DeadLetterContext {
  readonly log: Partition;
  readonly first: number;
  readonly last: number;
}

type Outcome =
  /** All up to `last` is settled. */
  | { readonly kind: "done"; readonly last: number }
  | { readonly kind: "failed"; readonly reason: string };

/** Kafka's delays between attempts. */
const backoffMs = { first: 1_000, max: 30_000 };
/** After so many attempts records that cannot be read are told of without what they hold. */
const readAttemptsMax = 5;
/** The queue's topic will not take such a batch later either. */
const finalErrors: ReadonlySet<number> = new Set([
  ErrorCode.MESSAGE_TOO_LARGE,
  ErrorCode.RECORD_LIST_TOO_LARGE,
  ErrorCode.INVALID_RECORD,
  ErrorCode.INVALID_TIMESTAMP,
  ErrorCode.INVALID_REQUIRED_ACKS,
  ErrorCode.CORRUPT_MESSAGE,
  ErrorCode.TOPIC_AUTHORIZATION_FAILED,
]);

/**
 * Copies records that share groups do not deliver any more to the groups' dead letter queues
 * (KIP-1191), a few batches at a time. A copy is durable before its records are told as settled;
 * what fails for the moment is tried again until it succeeds or nobody wants it any more.
 */
export class DeadLetters {
  private readonly parts: DeadLetterParts;
  private readonly turns: Turns;
  private isClosed = false;
  /** Ends the pauses between attempts. */
  private readonly pauses = new Set<() => void>();

  constructor(parts: DeadLetterParts) {
    this.parts = parts;
    this.turns = new Turns(parts.config.deadLetterCopiesMax);
  }

  /** Attempts under way come to their end, and no other begins. */
  close(): void {
    this.isClosed = true;
    for (const end of this.pauses) end();
  }

  /** Settles some of the job's records, from the first on; resolves with the last of them, or null
   * once `isWanted` is false. */
  async copy(job: DeadLetterJob, isWanted: () => boolean): Promise<number | null> {
    for (let attempt = 1; ; attempt++) {
      await this.turns.take();
      let outcome: Outcome;
      try {
        if (this.isClosed || !isWanted()) return null;
        outcome = await this.attempt(job, attempt);
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error;
        outcome = { kind: "failed", reason: error.message };
      } finally {
        this.turns.give();
      }
      if (outcome.kind === "done") return outcome.last;
      if (this.isClosed || !isWanted()) return null;
      this.parts.events.failed(job, outcome.reason);
      await this.pause(attempt);
    }
  }

  /** Before the next attempt at anything; false: there is to be none. */
  async pause(attempt: number): Promise<boolean> {
    if (this.isClosed) return false;
    const { clock } = this.parts;
    const delayMs = Math.min(backoffMs.max, backoffMs.first * 2 ** Math.min(attempt - 1, 10));
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.schedule(delayMs, resolve);
    this.pauses.add(resolve);
    await promise;
    this.pauses.delete(resolve);
    timer.cancel();
    return !this.isClosed;
  }

  private async attempt(job: DeadLetterJob, attempt: number): Promise<Outcome> {
    const { settingsOf, find } = this.parts;
    const { deadLetterTopic, copiesDeadLetters } = settingsOf(job.groupId);
    const destination = await find(deadLetterTopic, job.partition);
    if (destination.kind === "failed") return destination;
    if (destination.kind === "refused") {
      this.parts.events.refused(job, job.last - job.first + 1, destination.reason);
      return { kind: "done", last: job.last };
    }
    const { partition } = destination;
    const { deadLetterBytesMax } = this.parts.config;
    const bytesMax = Math.min(deadLetterBytesMax, partition.config.maxMessageBytes);
    const gathered = await this.gather(job, copiesDeadLetters, bytesMax, attempt);
    if (typeof gathered === "number") return { kind: "failed", reason: errorName(gathered) };
    const { letters, next } = gathered;
    if (letters.length === 0) return { kind: "done", last: next - 1 };
    return await this.append(job, partition, letters, bytesMax, next);
  }

  /** Appends as many as one batch takes. Where the topic will not take such a batch, the first of
   * them alone; and where that is too large, without its body. */
  private async append(
    job: DeadLetterJob,
    partition: Partition,
    letters: readonly DeadLetter[],
    bytesMax: number,
    next: number,
  ): Promise<Outcome> {
    const nowMs = this.parts.clock.nowMs();
    let records = deadLetterRecords(job, letters, bytesMax, nowMs);
    let { errorCode, errorMessage } = await appendTo(partition, records);
    if (finalErrors.has(errorCode) && records.length > 1) {
      records = deadLetterRecords(job, letters.slice(0, 1), bytesMax, nowMs);
      ({ errorCode, errorMessage } = await appendTo(partition, records));
    }
    if (errorCode === ErrorCode.MESSAGE_TOO_LARGE) {
      const told = letters.slice(0, 1).map(({ offset }) => ({ offset, body: null }));
      records = deadLetterRecords(job, told, bytesMax, nowMs);
      ({ errorCode, errorMessage } = await appendTo(partition, records));
    }
    if (errorCode === ErrorCode.NONE) {
      this.parts.events.copied(records.length, job.isRejected);
    } else {
      const why = errorMessage ?? errorName(errorCode);
      const reason = `${partition.topic} does not take them: ${why}`;
      if (!finalErrors.has(errorCode)) return { kind: "failed", reason };
      this.parts.events.refused(job, records.length, reason);
    }
    const after = letters[records.length];
    return { kind: "done", last: (after?.offset ?? next) - 1 };
  }

  /** An ErrorCode where the records cannot be read for the moment. */
  private async gather(
    job: DeadLetterJob,
    copies: boolean,
    bytesMax: number,
    attempt: number,
  ): Promise<Gathered | number> {
    const { log, last } = job;
    const first = Math.max(job.first, log.logStartOffset);
    // Deleted by an operator: there is nothing to copy, as there is nothing to deliver.
    if (first > last) return { letters: [], next: last + 1 };
    const { readBudget, decompress, config } = this.parts;
    const granted = readBudget.grant(config.deadLetterBytesMax);
    try {
      const read = await log.read({
        offset: first,
        bytesMax: granted,
        offsetLimit: log.highWatermark,
      });
      if (read.errorCode === ErrorCode.NONE && read.bytes > 0) {
        return await gather(read.chunks, { first, last, copies, bytesMax }, decompress);
      }
      if (attempt < readAttemptsMax) return read.errorCode || ErrorCode.KAFKA_STORAGE_ERROR;
      return { letters: withoutBodies(first, last), next: last + 1 };
    } finally {
      readBudget.giveBack(granted);
    }
  }
}

function withoutBodies(first: number, last: number): DeadLetter[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    offset: first + index,
    body: null,
  }));
}

/** As a client's batch: the topic's rules hold for it, and its codec. */
function appendTo(
  partition: Partition,
  records: readonly RecordData[],
): Promise<{ errorCode: number; errorMessage: string | null }> {
  return partition.append(buildBatch(records, {}, crc32c), { origin: "client" });
}
