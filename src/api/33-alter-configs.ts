/**
 * AlterConfigs, versions 0–2: the old API, which replaces everything that was set for a resource.
 * Topics and brokers; other resources fail with INVALID_REQUEST.
 */
import {
  type AlterConfigsRequest,
  type AlterConfigsResponse,
  alterConfigsApi,
} from "../protocol/messages/33-alter-configs.ts";
import { alterResources } from "./config-resource.ts";
import type { ApiHandler } from "./context.ts";

const set = 0;

export const alterConfigsHandler: ApiHandler<AlterConfigsRequest, AlterConfigsResponse> = {
  codec: alterConfigsApi,
  minVersion: 0,
  maxVersion: 2,
  async handle(context, request) {
    const resources = request.resources.map((resource) => ({
      ...resource,
      configs: resource.configs.map((config) => ({ ...config, configOperation: set })),
    }));
    const { validateOnly } = request;
    const responses = await alterResources(context, resources, { replacesAll: true, validateOnly });
    return { throttleTimeMs: 0, responses };
  },
  failure: (request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    responses: request.resources.map(({ resourceType, resourceName }) => {
      return { errorCode, errorMessage, resourceType, resourceName };
    }),
  }),
};
