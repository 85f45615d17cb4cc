import type { AppendResult } from "../log/appender.ts";
import type { Partition } from "../log/partition.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import { parseBatchHeader } from "../protocol/record-batch.ts";
import type { RequestContext, Services } from "./context.ts";
import { produceSupport, type TransactionSupport, verificationError } from "./transactional.ts";

/** The batch was not given to the log. */
export interface Refused {
  readonly refused: number;
  readonly text: string;
}

type Outcome = AppendResult | Refused;

/** Per broker: batches whose turn has not come, by producer and partition. */
const turnsOf = new WeakMap<Services, Map<string, Promise<unknown>>>();

/**
 * Appends a batch that is part of a transaction, once the coordinator has it that the partition is
 * in it; asked again at the moment the batch gets its offset. `records` is used before the first
 * await or copied. Rejects only for a bug, which fails no batch but its own.
 */
export function appendInTransaction(
  context: RequestContext,
  partition: Partition,
  records: Uint8Array,
  { transactionalId, timeoutMs }: { readonly transactionalId: string; readonly timeoutMs: number },
  version: number,
): Promise<Outcome> {
  const header = parseBatchHeader(records);
  // What is no batch is the log's to refuse.
  if (typeof header === "string") return partition.append(records, { origin: "client", timeoutMs });
  const { transactions } = context.services;
  const support = produceSupport(version);
  const where = {
    transactionalId,
    producerId: header.producerId,
    producerEpoch: header.producerEpoch,
    topic: partition.topic,
    partition: partition.index,
  };
  const append = (batch: Uint8Array): Promise<Outcome> =>
    partition.append(batch, {
      origin: "client",
      timeoutMs,
      transactionCheck: () => transactions.appendError(where),
      transactionVersion: support.addsPartitions ? 2 : 0,
    });
  const ask = () => transactions.verifyOrAdd({ ...where, addIfMissing: support.addsPartitions });

  const turns = turnsOf.get(context.services) ?? new Map<string, Promise<unknown>>();
  turnsOf.set(context.services, turns);
  const key = `${where.producerId}/${partition.topicId}/${partition.index}`;
  const before = turns.get(key);
  const verified = before === undefined ? ask() : before.then(ask, ask);
  if (verified === ErrorCode.NONE) return append(records);
  if (typeof verified === "number") return Promise.resolve(refusal(verified, support));
  // The request's frame is reused once the handler has returned.
  const batch = new Uint8Array(records);
  const submitted = verified.then((errorCode) => ({
    outcome: errorCode === ErrorCode.NONE ? append(batch) : refusal(errorCode, support),
  }));
  turns.set(key, submitted);
  const leave = (): void => {
    if (turns.get(key) === submitted) turns.delete(key);
  };
  void submitted.then(leave, leave);
  return submitted.then(({ outcome }) => outcome);
}

function refusal(errorCode: number, support: TransactionSupport): Refused {
  return {
    refused: produceError(verificationError(errorCode, support), support),
    text: `the partition is not part of the transaction: ${errorName(errorCode)}`,
  };
}

/** Errors of a coordinator that is not there mean nothing to a producer that writes: try again. */
function produceError(errorCode: number, support: TransactionSupport): number {
  switch (errorCode) {
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
    case ErrorCode.NOT_COORDINATOR:
      return ErrorCode.NOT_ENOUGH_REPLICAS;
    case ErrorCode.CONCURRENT_TRANSACTIONS:
      return support.addsPartitions ? errorCode : ErrorCode.NOT_ENOUGH_REPLICAS;
    default:
      return errorCode;
  }
}
