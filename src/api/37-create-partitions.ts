/**
 * CreatePartitions, versions 0–3. `count` is the number of partitions afterwards; it can only grow
 * (INVALID_PARTITIONS). A topic named twice fails with INVALID_REQUEST.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type CreatePartitionsRequest,
  type CreatePartitionsResponse,
  createPartitionsApi,
} from "../protocol/messages/37-create-partitions.ts";
import type { ApiHandler } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

/** Over controller_mutation_rate: refused from here on, before only a wait. */
const strictFrom = 3;

export const createPartitionsHandler: ApiHandler<
  CreatePartitionsRequest,
  CreatePartitionsResponse
> = {
  codec: createPartitionsApi,
  minVersion: 0,
  maxVersion: 3,
  async handle(context, request, version) {
    if (request.timeoutMs < 0) return failed(request, ErrorCode.REQUEST_TIMED_OUT, null);
    const twice = namedTwice(request.topics.map(({ name }) => name));
    const specs = request.topics
      .filter(({ name }) => !twice.has(name))
      .map(({ name, count, assignments }) => ({
        name,
        count,
        assignments: assignments?.map(({ brokerIds }) => brokerIds) ?? null,
      }));
    const { metadata } = context.services;
    const quota = context.services.quotas.mutations(context.client, version >= strictFrom);
    const outcomes = await metadata.createPartitions(specs, request.validateOnly, quota.admit);
    context.throttle(quota.throttleMs());
    const results = specs.map(({ name }, index) => ({
      name,
      errorCode: outcomes[index]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR,
      errorMessage: outcomes[index]?.errorMessage ?? null,
    }));
    for (const name of twice) {
      const errorMessage = "Duplicate topic name.";
      results.push({ name, errorCode: ErrorCode.INVALID_REQUEST, errorMessage });
    }
    return { throttleTimeMs: 0, results };
  },
  failure: (request, _version, errorCode, message) => failed(request, errorCode, message),
};

function failed(
  request: Decoded<CreatePartitionsRequest>,
  errorCode: number,
  errorMessage: string | null,
): CreatePartitionsResponse {
  const results = request.topics.map(({ name }) => ({ name, errorCode, errorMessage }));
  return { throttleTimeMs: 0, results };
}
