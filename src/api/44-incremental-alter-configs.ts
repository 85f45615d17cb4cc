/**
 * IncrementalAlterConfigs, versions 0–1: SET, DELETE, and APPEND and SUBTRACT for lists. Topics,
 * brokers and groups; other resources fail with INVALID_REQUEST. Of a broker only what takes
 * effect at once can be changed: the defaults of topics.
 */
import {
  type IncrementalAlterConfigsRequest,
  type IncrementalAlterConfigsResponse,
  incrementalAlterConfigsApi,
} from "../protocol/messages/44-incremental-alter-configs.ts";
import { alterResources } from "./config-resource.ts";
import type { ApiHandler } from "./context.ts";

export const incrementalAlterConfigsHandler: ApiHandler<
  IncrementalAlterConfigsRequest,
  IncrementalAlterConfigsResponse
> = {
  codec: incrementalAlterConfigsApi,
  minVersion: 0,
  maxVersion: 1,
  async handle(context, request) {
    const { resources, validateOnly } = request;
    const options = { replacesAll: false, validateOnly };
    return {
      throttleTimeMs: 0,
      responses: await alterResources(context, resources, options),
    };
  },
  failure: (request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    responses: request.resources.map(({ resourceType, resourceName }) => {
      return { errorCode, errorMessage, resourceType, resourceName };
    }),
  }),
};
