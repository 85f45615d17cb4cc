/**
 * GetTelemetrySubscriptions, version 0 (KIP-714): which metrics the operator wants of this client,
 * and how often. A client without an id gets one. Asking again within the interval is
 * THROTTLING_QUOTA_EXCEEDED, unless the last push was told to ask.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type GetTelemetrySubscriptionsRequest,
  type GetTelemetrySubscriptionsResponse,
  getTelemetrySubscriptionsApi,
} from "../protocol/messages/71-get-telemetry-subscriptions.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import { callerOf } from "./client-peer.ts";
import type { ApiHandler } from "./context.ts";

/** zstd, lz4, gzip, snappy: the one liked best first. */
const acceptedCompressionTypes = [4, 3, 1, 2];

export function getTelemetrySubscriptionsHandler(
  advertised: boolean,
): ApiHandler<GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse> {
  return {
    codec: getTelemetrySubscriptionsApi,
    minVersion: 0,
    maxVersion: 0,
    ...(advertised ? {} : { hidden: true as const }),
    handle(context, request) {
      const { clientMetrics, config } = context.services;
      const caller = callerOf(context);
      const { errorCode, instance } = clientMetrics.ask(request.clientInstanceId, caller);
      if (errorCode !== ErrorCode.NONE) return refused(errorCode);
      return {
        throttleTimeMs: 0,
        errorCode,
        clientInstanceId: instance.id,
        subscriptionId: instance.subscriptionId,
        acceptedCompressionTypes,
        pushIntervalMs: instance.intervalMs,
        telemetryMaxBytes: config.telemetry.bytesMax,
        deltaTemporality: true,
        requestedMetrics: [...instance.metrics],
      };
    },
    failure: (_request, _version, errorCode) => refused(errorCode),
  };
}

function refused(errorCode: number): GetTelemetrySubscriptionsResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    clientInstanceId: zeroUuid,
    subscriptionId: 0,
    acceptedCompressionTypes: [],
    pushIntervalMs: 0,
    telemetryMaxBytes: 0,
    deltaTemporality: false,
    requestedMetrics: [],
  };
}
