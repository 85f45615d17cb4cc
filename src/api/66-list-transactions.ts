/**
 * ListTransactions, v0 to v2 (KIP-664): the ids the coordinator holds, by state and producer id.
 * v1 only what runs for longer than so many milliseconds · v2 only ids that a regular expression
 * matches as a whole (KIP-1152), in RE2's syntax; ids that are not ASCII match none.
 */
import { compileRegex } from "../lib/linear-regex.ts";
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
  maxVersion: 2,
  handle(context, request) {
    const pattern = request.transactionalIdPattern ?? "";
    const regex = pattern === "" ? null : compileRegex(pattern);
    if (typeof regex === "string") return failed(ErrorCode.INVALID_REGULAR_EXPRESSION);
    const { errorCode, unknownStates, transactions } = context.services.transactions.list({
      producerIds: request.producerIdFilters,
      states: request.stateFilters,
      durationMs: request.durationFilter,
    });
    if (errorCode !== ErrorCode.NONE) return failed(errorCode);
    const ids = transactions.map(({ transactionalId }) => transactionalId);
    const matching = regex === null ? ids : regex.matching(ids);
    if (matching === null) return failed(ErrorCode.INVALID_REGULAR_EXPRESSION);
    const wanted = new Set(matching);
    const transactionStates = transactions
      .filter(({ transactionalId }) => wanted.has(transactionalId))
      .map(({ transactionalId, producerId, state }) => ({
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
