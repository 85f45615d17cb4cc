import { ErrorCode } from "../protocol/error-code.ts";

/** Clients of versions below `fencedFrom` know no PRODUCER_FENCED. */
export function fencedError(errorCode: number, version: number, fencedFrom: number): number {
  const isUnknown = version < fencedFrom && errorCode === ErrorCode.PRODUCER_FENCED;
  return isUnknown ? ErrorCode.INVALID_PRODUCER_EPOCH : errorCode;
}

/** What a client's version can do in transactions (KIP-890). */
export interface TransactionSupport {
  /** Partitions join the transaction with their first batch or offset; it ends with a new epoch. */
  readonly addsPartitions: boolean;
  /** TRANSACTION_ABORTABLE is understood. */
  readonly knowsAbortable: boolean;
}

export function produceSupport(version: number): TransactionSupport {
  return { addsPartitions: version >= 12, knowsAbortable: version >= 11 };
}

export function offsetCommitSupport(version: number): TransactionSupport {
  return { addsPartitions: version >= 5, knowsAbortable: version >= 4 };
}

/**
 * The coordinator's answer to "may this producer write here" in the words of the API that asked:
 * fencing and, for old clients, a partition that is not in the transaction have other names there.
 */
export function verificationError(errorCode: number, support: TransactionSupport): number {
  if (errorCode === ErrorCode.PRODUCER_FENCED) return ErrorCode.INVALID_PRODUCER_EPOCH;
  const isHidden = errorCode === ErrorCode.TRANSACTION_ABORTABLE && !support.knowsAbortable;
  return isHidden ? ErrorCode.INVALID_TXN_STATE : errorCode;
}
