/**
 * ListConfigResources, versions 0–1: what DescribeConfigs can be asked about. v0 lists client
 * metrics subscriptions only. No types mean all; an unknown one fails with UNSUPPORTED_VERSION.
 */
import type { MetadataImage } from "../metadata/image.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ListConfigResourcesRequest,
  type ListConfigResourcesResponse,
  listConfigResourcesApi,
} from "../protocol/messages/74-list-config-resources.ts";
import { ConfigResource } from "./config-resource.ts";
import type { ApiHandler } from "./context.ts";

const { BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC } = ConfigResource;
const firstTypes = [CLIENT_METRICS];
const allTypes = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];

export const listConfigResourcesHandler: ApiHandler<
  ListConfigResourcesRequest,
  ListConfigResourcesResponse
> = {
  codec: listConfigResourcesApi,
  minVersion: 0,
  maxVersion: 1,
  handle(context, request, version) {
    const supported: readonly number[] = version === 0 ? firstTypes : allTypes;
    const { resourceTypes } = request;
    if (!resourceTypes.every((type) => supported.includes(type))) {
      return answer(ErrorCode.UNSUPPORTED_VERSION, []);
    }
    const wanted = supported.filter((type) => {
      return resourceTypes.length === 0 || resourceTypes.includes(type);
    });
    const { image } = context.services.metadata;
    const configResources = wanted.flatMap((resourceType) => {
      return names(image, resourceType).map((resourceName) => ({ resourceName, resourceType }));
    });
    return answer(ErrorCode.NONE, configResources);
  },
  failure: (_request, _version, errorCode) => answer(errorCode, []),
};

function answer(
  errorCode: number,
  configResources: ListConfigResourcesResponse["configResources"],
): ListConfigResourcesResponse {
  return { throttleTimeMs: 0, errorCode, configResources };
}

function names(image: MetadataImage, type: number): string[] {
  if (type === GROUP) return [...image.groupConfigs.keys()];
  if (type === CLIENT_METRICS) return [...image.clientMetricsConfigs.keys()];
  if (type === BROKER || type === BROKER_LOGGER) return [...image.brokers.keys()].map(String);
  return type === TOPIC ? [...image.topicsByName.keys()] : [];
}
