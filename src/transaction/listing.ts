import { ErrorCode } from "../protocol/error-code.ts";
import type { DescribedTransaction, TransactionFilter, TransactionList } from "./api-types.ts";
import type { IdEntry, TransactionShard } from "./shard.ts";
import { noPartitions, transactionStateNames } from "./transaction-types.ts";

/** A transactional id as DescribeTransactions shows it. */
export function describeEntry(
  transactionalId: string,
  entry: IdEntry | null,
): DescribedTransaction {
  if (entry === null || entry.transaction.pending === "Dead") {
    return undescribed(transactionalId, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
  }
  const { state, producerId, producerEpoch, timeoutMs, startMs, partitions } =
    entry.transaction.data;
  const errorCode = ErrorCode.NONE;
  return {
    errorCode,
    transactionalId,
    state,
    producerId,
    producerEpoch,
    timeoutMs,
    startMs,
    partitions,
  };
}

/** As Kafka leaves it: every number is 0. */
export function undescribed(transactionalId: string, errorCode: number): DescribedTransaction {
  return {
    errorCode,
    transactionalId,
    state: "",
    producerId: 0,
    producerEpoch: 0,
    timeoutMs: 0,
    startMs: 0,
    partitions: noPartitions,
  };
}

/** A list that silently lacks a partition's ids would pass for the whole truth: then none. */
export function listEntries(
  shards: readonly TransactionShard[],
  filter: TransactionFilter,
  isClosed: boolean,
  nowMs: number,
): TransactionList {
  const refused = (errorCode: number) => ({ errorCode, unknownStates: [], transactions: [] });
  if (isClosed) return refused(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  if (shards.some((shard) => shard.isLoading)) {
    return refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  }
  if (shards.some((shard) => shard.hasFailed)) return refused(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const known: ReadonlySet<string> = new Set(transactionStateNames);
  const states = new Set(filter.states);
  const producerIds = new Set(filter.producerIds);
  const transactions: TransactionList["transactions"][number][] = [];
  for (const shard of shards) {
    for (const { id, transaction } of shard.all()) {
      const { state, producerId, startMs } = transaction.data;
      if (transaction.data.producerEpoch < 0 && transaction.pending === null) continue;
      if (producerIds.size > 0 && !producerIds.has(producerId)) continue;
      if (states.size > 0 && !states.has(state)) continue;
      if (filter.durationMs >= 0 && nowMs - startMs <= filter.durationMs) continue;
      transactions.push({ transactionalId: id, producerId, state });
    }
  }
  const unknownStates = [...states].filter((state) => !known.has(state));
  return { errorCode: ErrorCode.NONE, unknownStates, transactions };
}
