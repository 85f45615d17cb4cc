/**
 * InitProducerId, v0–5. Without a transactional id always a fresh producer id of epoch 0, unique
 * over restarts. With one: its producer id with the next epoch, which fences whoever had the one
 * before; an open transaction is aborted first (CONCURRENT_TRANSACTIONS until that is done).
 * v3 the producer's own id and epoch, of a producer that recovers (KIP-360) · v4 PRODUCER_FENCED,
 * before INVALID_PRODUCER_EPOCH. v6 is two-phase commit (KIP-939), which Kafka holds back too.
 */
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type InitProducerIdRequest,
  type InitProducerIdResponse,
  initProducerIdApi,
} from "../protocol/messages/22-init-producer-id.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { fencedError } from "./transactional.ts";

const fencedFrom = 4;

export const initProducerIdHandler: ApiHandler<InitProducerIdRequest, InitProducerIdResponse> = {
  codec: initProducerIdApi,
  minVersion: 0,
  maxVersion: 5,

  async handle(context, request, version) {
    const { transactionalId, producerId, producerEpoch, transactionTimeoutMs } = request;
    // Both or neither.
    if ((producerId === -1) !== (producerEpoch === -1)) return failed(ErrorCode.INVALID_REQUEST);
    if (transactionalId === null) return await freshId(context);
    const expected = producerId === -1 ? null : { producerId, producerEpoch };
    const { errorCode, ...producer } = await context.services.transactions.initProducerId({
      transactionalId,
      timeoutMs: transactionTimeoutMs,
      expected,
    });
    if (errorCode !== ErrorCode.NONE) return failed(fencedError(errorCode, version, fencedFrom));
    return { throttleTimeMs: 0, errorCode, ...producer };
  },

  failure: (_request, _version, errorCode) => failed(errorCode),
};

async function freshId(context: RequestContext): Promise<InitProducerIdResponse> {
  try {
    const fresh = await context.services.producerIds.next();
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, ...fresh };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    context.services.logger.warn("no block of producer ids could be taken", {
      error: error.message,
    });
    return failed(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  }
}

function failed(errorCode: number): InitProducerIdResponse {
  return { throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 };
}
