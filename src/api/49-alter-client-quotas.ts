/**
 * AlterClientQuotas, versions 0–1: each entity on its own, all or nothing, durable when answered.
 * An address must be one: names are not looked up. v1 flexible.
 */
import { planClientQuotas } from "../metadata/client-quotas.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AlterClientQuotasRequest,
  type AlterClientQuotasResponse,
  alterClientQuotasApi,
} from "../protocol/messages/49-alter-client-quotas.ts";
import type { ApiHandler } from "./context.ts";

export const alterClientQuotasHandler: ApiHandler<
  AlterClientQuotasRequest,
  AlterClientQuotasResponse
> = {
  codec: alterClientQuotasApi,
  minVersion: 0,
  maxVersion: 1,
  async handle({ services }, request) {
    const alterations = request.entries.map(({ entity, ops }) => ({
      entity: entity.map(({ entityType, entityName }) => [entityType, entityName] as const),
      operations: ops.map(({ key, value, remove }) => ({ key, value: remove ? null : value })),
    }));
    const { result, outcome } = await services.metadata.change((image) => {
      const { commands, outcomes } = planClientQuotas(
        image,
        alterations,
        services.config.limits.clientQuotasMax,
      );
      return { commands: request.validateOnly ? [] : commands, result: [...outcomes.values()] };
    });
    return {
      throttleTimeMs: 0,
      entries: result.map(({ entity, ...planned }) => ({
        ...(planned.errorCode === ErrorCode.NONE ? outcome : planned),
        entity: entity.map(([entityType, entityName]) => ({ entityType, entityName })),
      })),
    };
  },
  failure: (request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    entries: request.entries.map(({ entity }) => ({ errorCode, errorMessage, entity })),
  }),
};
