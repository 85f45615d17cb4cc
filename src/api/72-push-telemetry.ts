/**
 * PushTelemetry, version 0 (KIP-714): a client's metrics, in OTLP, perhaps compressed, go to
 * `/metrics`. What is too early, too large, unreadable or about an old subscription gets Kafka's
 * error for it; nothing of a refused push is kept.
 */
import {
  type PushTelemetryRequest,
  type PushTelemetryResponse,
  pushTelemetryApi,
} from "../protocol/messages/72-push-telemetry.ts";
import { callerOf } from "./client-peer.ts";
import type { ApiHandler } from "./context.ts";

export function pushTelemetryHandler(
  advertised: boolean,
): ApiHandler<PushTelemetryRequest, PushTelemetryResponse> {
  return {
    codec: pushTelemetryApi,
    minVersion: 0,
    maxVersion: 0,
    ...(advertised ? {} : { hidden: true as const }),
    async handle(context, request) {
      const push = { ...request, metricsBytes: request.metrics.length };
      const errorCode = await context.services.clientMetrics.push(push, callerOf(context));
      return { throttleTimeMs: 0, errorCode };
    },
    failure: (_request, _version, errorCode) => ({ throttleTimeMs: 0, errorCode }),
  };
}
