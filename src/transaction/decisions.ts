/**
 * What a request does to a transactional id: pure decisions, taken in one go over a `Transaction`.
 * A change that is prepared here must be written and completed (or cancelled) by the caller. Where
 * a new producer id is needed and none was brought, the caller gets one and asks again.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import type { Transaction } from "./transaction.ts";
import {
  hasPartition,
  isEpochExhausted,
  noProducerEpoch,
  noProducerId,
  type ProducerIdAndEpoch,
  producerEpochMax,
  type TopicPartition,
  type TransactionData,
  type TransactionVersion,
} from "./transaction-types.ts";

export type Decision =
  /** Answered with this ErrorCode; nothing changes. */
  | { readonly kind: "error"; readonly errorCode: number }
  /** Nothing is left to do: it was done before. */
  | ({ readonly kind: "done" } & ProducerIdAndEpoch)
  | { readonly kind: "needsProducerId" }
  | {
      readonly kind: "append";
      readonly next: TransactionData;
      /** A fence: when the append fails, `failedFence` says whether the bump stays in memory. */
      readonly failedFence: boolean;
    };

export interface InitRequest {
  readonly timeoutMs: number;
  /** What a producer that recovers believes to have; null without. */
  readonly expected: ProducerIdAndEpoch | null;
}

export interface EndRequest extends ProducerIdAndEpoch {
  readonly commit: boolean;
  /** false: the coordinator itself aborts, with the epoch it fenced with. */
  readonly isFromClient: boolean;
  readonly clientVersion: TransactionVersion;
}

/** A new producer id to use if one is needed; null: none was asked for yet. */
type FreshId = number | null;

const needsProducerId: Decision = { kind: "needsProducerId" };

/**
 * InitProducerId. An open transaction is fenced: `next` is then `PrepareEpochFence`, to be followed
 * by `decideEnd` with its epoch and the same `freshId` before anything else happens.
 */
export function decideInit(
  transaction: Transaction,
  request: InitRequest,
  freshId: FreshId,
  nowMs: number,
): Decision {
  const { timeoutMs, expected } = request;
  const { data } = transaction;
  if (transaction.pending !== null) return error(ErrorCode.CONCURRENT_TRANSACTIONS);
  if (expected !== null && !mayContinueAs(data, expected)) {
    return error(ErrorCode.PRODUCER_FENCED);
  }
  switch (data.state) {
    case "PrepareCommit":
    case "PrepareAbort":
      return error(ErrorCode.CONCURRENT_TRANSACTIONS);
    case "Ongoing":
      return decideFence(transaction, freshId);
    default:
  }
  const expectsCurrent = expected === null || expected.producerEpoch === data.producerEpoch;
  if (transaction.isProducerEpochExhausted && expectsCurrent) {
    if (freshId === null) return needsProducerId;
    return append(transaction.prepareRotation(freshId, timeoutMs, expected !== null, nowMs));
  }
  const next = transaction.prepareEpochBump(timeoutMs, expected?.producerEpoch ?? null, nowMs);
  return next === null ? error(ErrorCode.PRODUCER_FENCED) : append(next);
}

/** Fences the producer of an open transaction; to be followed as said at `decideInit`. */
export function decideFence(transaction: Transaction, freshId: FreshId): Decision {
  if (transaction.pending !== null) return error(ErrorCode.CONCURRENT_TRANSACTIONS);
  // Got beforehand: between the fence and its abort nobody may come in.
  if (transaction.isProducerEpochExhausted && freshId === null) return needsProducerId;
  return append(transaction.prepareFence());
}

/** AddPartitionsToTxn, AddOffsetsToTxn, and the partitions Produce v12+ adds on its way. */
export function decideAdd(
  transaction: Transaction,
  producer: ProducerIdAndEpoch,
  partitions: readonly TopicPartition[],
  clientVersion: TransactionVersion,
  nowMs: number,
): Decision {
  const { data } = transaction;
  // First: what is pending may be a change of the producer id that the client knows already.
  if (transaction.pending !== null) return error(ErrorCode.CONCURRENT_TRANSACTIONS);
  const refused = producerError(data, producer);
  if (refused !== ErrorCode.NONE) return error(refused);
  if (data.state === "Ongoing" && holdsAll(data, partitions)) return done(data);
  return append(transaction.prepareAdd(partitions, nowMs, clientVersion));
}

/**
 * Is the partition part of the producer's transaction? What is pending does not count: the append
 * asks once more. Resolves with an ErrorCode.
 */
export function verify(
  data: TransactionData,
  producer: ProducerIdAndEpoch,
  topic: string,
  partition: number,
): number {
  const refused = producerError(data, producer);
  if (refused !== ErrorCode.NONE) return refused;
  const isIn = hasPartition(data.partitions, topic, partition);
  return isIn ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE;
}

/** EndTxn, and the abort of what timed out or was fenced. */
export function decideEnd(
  transaction: Transaction,
  request: EndRequest,
  freshId: FreshId,
  nowMs: number,
): Decision {
  return request.clientVersion >= 2
    ? decideEndV2(transaction, request, freshId, nowMs)
    : decideEndV1(transaction, request, nowMs);
}

function decideEndV1(transaction: Transaction, request: EndRequest, nowMs: number): Decision {
  const { data, pending } = transaction;
  const { producerEpoch, commit, isFromClient, clientVersion } = request;
  if (data.producerId !== request.producerId) return error(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  if ((isFromClient && producerEpoch !== data.producerEpoch) || producerEpoch < data.producerEpoch)
    return error(ErrorCode.PRODUCER_FENCED);
  const isFence = pending === "PrepareEpochFence";
  if (pending !== null && !isFence) return error(ErrorCode.CONCURRENT_TRANSACTIONS);
  if (data.state !== "Ongoing") return repeatedEnd(data, commit);
  if (isFence) transaction.dropFence(producerEpoch);
  const state = commit ? "PrepareCommit" : "PrepareAbort";
  const next = transaction.prepareEnd(state, clientVersion, noProducerId, false, nowMs);
  return append(next, isFence);
}

/**
 * Version 2 bumps the epoch with every end, so a retry comes with the epoch before: the same epoch
 * asks for the next end, which without a transaction only an abort may do (KIP-890).
 */
function decideEndV2(
  transaction: Transaction,
  request: EndRequest,
  freshId: FreshId,
  nowMs: number,
): Decision {
  const { data, pending } = transaction;
  const { commit, clientVersion } = request;
  const isFence = pending === "PrepareEpochFence";
  const overflowed =
    !isFence &&
    data.prevProducerId === request.producerId &&
    request.producerEpoch === producerEpochMax - 1 &&
    data.producerEpoch === 0;
  const bumped = !isFence && data.producerEpoch === request.producerEpoch + 1;
  if (pending !== null && !isFence) return error(ErrorCode.CONCURRENT_TRANSACTIONS);
  if (data.producerId !== request.producerId && !overflowed) {
    return error(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  }
  const holds = isFence
    ? isFenceEpoch(data, request)
    : isEndEpoch(data, request.producerEpoch, bumped, overflowed);
  if (!holds) return error(ErrorCode.PRODUCER_FENCED);

  const isRetry = bumped || overflowed;
  const isOpen = data.state === "Ongoing";
  if (!isOpen) {
    const isPreparing = data.state === "PrepareCommit" || data.state === "PrepareAbort";
    if (isRetry || isPreparing) return repeatedEnd(data, commit);
    if (commit) return error(ErrorCode.INVALID_TXN_STATE);
  }
  if (transaction.isProducerEpochExhausted && freshId === null) return needsProducerId;
  if (isFence) transaction.dropFence(null);
  const nextId = transaction.isProducerEpochExhausted && freshId !== null ? freshId : noProducerId;
  const state = commit ? "PrepareCommit" : "PrepareAbort";
  return append(transaction.prepareEnd(state, clientVersion, nextId, !isOpen, nowMs));
}

/** The answer to an end of what has ended, or is ending. */
function repeatedEnd(data: TransactionData, commit: boolean): Decision {
  const ended = commit ? "CompleteCommit" : "CompleteAbort";
  const ending = commit ? "PrepareCommit" : "PrepareAbort";
  if (data.state === ended) return done(data);
  const isEnding = data.state === ending;
  return error(isEnding ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.INVALID_TXN_STATE);
}

function isFenceEpoch(data: TransactionData, request: EndRequest): boolean {
  const { producerEpoch, isFromClient } = request;
  const isCurrent = producerEpoch === data.producerEpoch;
  return isCurrent || (!isFromClient && producerEpoch > data.producerEpoch);
}

function isEndEpoch(
  data: TransactionData,
  producerEpoch: number,
  bumped: boolean,
  overflowed: boolean,
): boolean {
  switch (data.state) {
    case "PrepareCommit":
    case "PrepareAbort":
      return bumped;
    case "CompleteCommit":
    case "CompleteAbort":
      // A fence came to the last epoch; whoever went on with it could not be fenced any more.
      if (data.producerEpoch === producerEpochMax) return false;
      return bumped || overflowed || producerEpoch === data.producerEpoch;
    default:
      return producerEpoch === data.producerEpoch;
  }
}

/**
 * May a producer that says what it had go on? Yes if the id is new here, if it is its own, or if it
 * is the one before and its epochs ran out: the answer with the next id was lost then.
 */
function mayContinueAs(data: TransactionData, expected: ProducerIdAndEpoch): boolean {
  return (
    data.producerEpoch === noProducerEpoch ||
    expected.producerId === data.producerId ||
    (expected.producerId === data.prevProducerId && isEpochExhausted(expected.producerEpoch))
  );
}

function producerError(data: TransactionData, producer: ProducerIdAndEpoch): number {
  if (data.producerId !== producer.producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
  if (data.producerEpoch !== producer.producerEpoch) return ErrorCode.PRODUCER_FENCED;
  const isEnding = data.state === "PrepareCommit" || data.state === "PrepareAbort";
  return isEnding ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.NONE;
}

function holdsAll(data: TransactionData, partitions: readonly TopicPartition[]): boolean {
  return partitions.every(({ topic, partition }) =>
    hasPartition(data.partitions, topic, partition),
  );
}

function error(errorCode: number): Decision {
  return { kind: "error", errorCode };
}

function done({ producerId, producerEpoch }: TransactionData): Decision {
  return { kind: "done", producerId, producerEpoch };
}

function append(next: TransactionData, failedFence = false): Decision {
  return { kind: "append", next, failedFence };
}
