/**
 * UnregisterBroker, version 0: for brokers that will not come back. The one that answers is not
 * such a broker and refuses (INVALID_REQUEST); Kafka would unregister itself and be of no use
 * until its next start. Unknown ids fail with BROKER_ID_NOT_REGISTERED.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type UnregisterBrokerRequest,
  type UnregisterBrokerResponse,
  unregisterBrokerApi,
} from "../protocol/messages/64-unregister-broker.ts";
import type { ApiHandler } from "./context.ts";

export const unregisterBrokerHandler: ApiHandler<
  UnregisterBrokerRequest,
  UnregisterBrokerResponse
> = {
  codec: unregisterBrokerApi,
  minVersion: 0,
  maxVersion: 0,
  handle(context, { brokerId }) {
    if (!context.services.metadata.image.brokers.has(brokerId)) {
      const text = `Broker ID ${brokerId} is not currently registered`;
      return failed(ErrorCode.BROKER_ID_NOT_REGISTERED, text);
    }
    const text = `Broker ${brokerId} is running: stop a broker before it is unregistered.`;
    return failed(ErrorCode.INVALID_REQUEST, text);
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function failed(errorCode: number, errorMessage: string): UnregisterBrokerResponse {
  return { throttleTimeMs: 0, errorCode, errorMessage };
}
