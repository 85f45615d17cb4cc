/**
 * EndTxn, v0 to v5: commits or aborts; answered when the decision is durable, while the markers are
 * still on their way. v2 PRODUCER_FENCED · v4 TRANSACTION_ABORTABLE · v5 (transaction version 2)
 * the epoch goes up with every end, and the answer brings it.
 */
import {
  type EndTxnRequest,
  type EndTxnResponse,
  endTxnApi,
} from "../protocol/messages/26-end-txn.ts";
import type { ApiHandler } from "./context.ts";
import { fencedError } from "./transactional.ts";

const fencedFrom = 2;
const epochBumpFrom = 5;

export const endTxnHandler: ApiHandler<EndTxnRequest, EndTxnResponse> = {
  codec: endTxnApi,
  minVersion: 0,
  maxVersion: 5,
  async handle(context, request, version) {
    const { committed, ...producer } = request;
    const { errorCode, ...next } = await context.services.transactions.endTransaction({
      ...producer,
      commit: committed,
      clientVersion: version >= epochBumpFrom ? 2 : 0,
    });
    const told = { throttleTimeMs: 0, errorCode: fencedError(errorCode, version, fencedFrom) };
    return version >= epochBumpFrom ? { ...told, ...next } : told;
  },
  failure: (_request, _version, errorCode) => ({ throttleTimeMs: 0, errorCode }),
};
