/**
 * ListTransactions, v0 to v1 (KIP-664): the ids the coordinator holds, by state and producer id.
 * v1 only what runs for longer than so many milliseconds.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ListTransactionsRequest,
  type ListTransactionsResponse,
  listTransactionsApi,
} from "../protocol/messages/66-list-transactions.ts";
import type { ApiHandler } from "./context.ts";

export const listTransactionsHandler: ApiHandler<
  ListTransactionsRequest,
  ListTransactionsResponse
> = {
  codec: listTransactionsApi,
  minVersion: 0,
  maxVersion: 1,
  handle(context, request) {
    const { errorCode, unknownStates, transactions } = context.services.transactions.list({
      producerIds: request.producerIdFilters,
      states: request.stateFilters,
      durationMs: request.durationFilter,
      matchesId: () => true,
    });
    if (errorCode !== ErrorCode.NONE) return failed(errorCode);
    const transactionStates = transactions.map(({ transactionalId, producerId, state }) => ({
      transactionalId,
      producerId,
      transactionState: state,
    }));
    return {
      throttleTimeMs: 0,
      errorCode,
      unknownStateFilters: [...unknownStates],
      transactionStates,
    };
  },
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): ListTransactionsResponse {
  return { throttleTimeMs: 0, errorCode, unknownStateFilters: [], transactionStates: [] };
}
