/**
 * DescribeClientQuotas, versions 0–1: what was set for users, client ids and addresses, as far as
 * the filter names it. v1 flexible.
 */
import { describeClientQuotas } from "../metadata/client-quotas.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeClientQuotasRequest,
  type DescribeClientQuotasResponse,
  describeClientQuotasApi,
} from "../protocol/messages/48-describe-client-quotas.ts";
import type { ApiHandler } from "./context.ts";

export const describeClientQuotasHandler: ApiHandler<
  DescribeClientQuotasRequest,
  DescribeClientQuotasResponse
> = {
  codec: describeClientQuotasApi,
  minVersion: 0,
  maxVersion: 1,
  handle(context, request) {
    const found = describeClientQuotas(context.services.metadata.image, request);
    if ("errorCode" in found) return { throttleTimeMs: 0, ...found, entries: null };
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      // Kafka's own default, which is not null.
      errorMessage: "",
      entries: found.map(({ entity, values }) => ({
        entity: entity.map(([entityType, entityName]) => ({ entityType, entityName })),
        values: [...values].map(([key, value]) => ({ key, value })),
      })),
    };
  },
  failure: (_request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    errorCode,
    errorMessage,
    entries: null,
  }),
};
