/** What a producer's batch or marker that may not follow is answered. (pure) */
import { ErrorCode } from "../protocol/error-code.ts";
import { type Rejection, rejection } from "./batch-rules.ts";
import type { ProducerVerdict } from "./producer-entry.ts";

export type ProducerProblem =
  | Exclude<ProducerVerdict, { readonly kind: "accept" | "duplicate" }>
  /** As many transactions as this partition may have are open, or as many aborts remembered. */
  | { readonly kind: "too-many" };

export function producerRejection(
  problem: ProducerProblem,
  batch: {
    readonly producerId: number;
    readonly producerEpoch: number;
    readonly baseSequence: number;
  },
): Rejection {
  const producer = `producer ${batch.producerId}`;
  switch (problem.kind) {
    case "stale-epoch": {
      const text = `${producer} has epoch ${problem.currentEpoch}, not ${batch.producerEpoch}`;
      return rejection(ErrorCode.INVALID_PRODUCER_EPOCH, text);
    }
    case "out-of-order": {
      const { expected } = problem;
      const text = `${producer} sent sequence ${batch.baseSequence} where ${expected} was expected`;
      return rejection(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, text);
    }
    case "open-transaction": {
      const text = `${producer} has a transaction open here and wrote outside of it`;
      return rejection(ErrorCode.INVALID_TXN_STATE, text);
    }
    case "stale-coordinator": {
      const text = `the transaction coordinator of ${producer} has epoch ${problem.currentEpoch}`;
      return rejection(ErrorCode.TRANSACTION_COORDINATOR_FENCED, text);
    }
    case "too-many": {
      const text =
        "this partition has too many open transactions, or more aborted ones in memory than can " +
        "be written to disk";
      return rejection(ErrorCode.REQUEST_TIMED_OUT, text);
    }
  }
}
