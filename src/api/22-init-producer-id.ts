/**
 * InitProducerId, v0–5: without a transactional id always a fresh producer id of epoch 0, unique
 * over restarts. v3 the producer's own id and epoch · v4 PRODUCER_FENCED.
 * Omitted: transactions. A transactional id is answered TRANSACTIONAL_ID_AUTHORIZATION_FAILED, on
 * which clients give up at once instead of retrying for ever.
 */
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type InitProducerIdRequest,
  type InitProducerIdResponse,
  initProducerIdApi,
} from "../protocol/messages/22-init-producer-id.ts";
import type { ApiHandler } from "./context.ts";

export const initProducerIdHandler: ApiHandler<InitProducerIdRequest, InitProducerIdResponse> = {
  codec: initProducerIdApi,
  minVersion: 0,
  maxVersion: 5,

  async handle(context, request) {
    const { transactionalId, producerId, producerEpoch } = request;
    if (transactionalId === "") return failed(ErrorCode.INVALID_REQUEST);
    if (transactionalId !== null) return failed(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    // Both or neither.
    if (producerId < 0 !== producerEpoch < 0) return failed(ErrorCode.INVALID_REQUEST);
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
  },

  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): InitProducerIdResponse {
  return { throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 };
}
