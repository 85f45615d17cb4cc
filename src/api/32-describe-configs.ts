/**
 * DescribeConfigs, versions 1–4: topics, brokers and groups, with every default. A null or empty
 * list of keys means all. A broker's empty name means what was set for the whole cluster at run
 * time. A group need not exist. Other resources fail with INVALID_REQUEST.
 */
import {
  type ConfigEntry,
  describeBrokerConfigs,
  describeClusterConfigs,
  describeGroupConfigs,
  describeTopicConfigs,
} from "../metadata/config-catalogue.ts";
import type { Outcome } from "../metadata/requests.ts";
import { checkTopicName } from "../metadata/topic-name.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeConfigsRequest,
  type DescribeConfigsRequestDescribeConfigsResource,
  type DescribeConfigsResponse,
  type DescribeConfigsResponseDescribeConfigsResourceResult,
  describeConfigsApi,
} from "../protocol/messages/32-describe-configs.ts";
import { ConfigResource } from "./config-resource.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

type Resource = Decoded<DescribeConfigsRequestDescribeConfigsResource>;

export const describeConfigsHandler: ApiHandler<DescribeConfigsRequest, DescribeConfigsResponse> = {
  codec: describeConfigsApi,
  minVersion: 1,
  maxVersion: 4,
  handle(context, request) {
    const results = request.resources.map((resource) => {
      const { resourceType, resourceName } = resource;
      const entries = describe(context, resource);
      if (!Array.isArray(entries)) return { ...entries, resourceType, resourceName, configs: [] };
      const configs = entries.map((entry) => show(entry, request));
      const errorCode = ErrorCode.NONE;
      return { errorCode, errorMessage: "", resourceType, resourceName, configs };
    });
    return { throttleTimeMs: 0, results };
  },
  failure: (request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    results: request.resources.map(({ resourceType, resourceName }) => {
      return { errorCode, errorMessage, resourceType, resourceName, configs: [] };
    }),
  }),
};

function describe(context: RequestContext, resource: Resource): ConfigEntry[] | Outcome {
  const entries = allEntries(context, resource);
  const keys = resource.configurationKeys;
  if (!Array.isArray(entries) || keys === null || keys.length === 0) return entries;
  const wanted = new Set(keys);
  return entries.filter(({ name }) => wanted.has(name));
}

function allEntries(context: RequestContext, resource: Resource): ConfigEntry[] | Outcome {
  const { image, layers } = context.services.metadata;
  const { resourceType, resourceName } = resource;
  if (resourceType === ConfigResource.TOPIC) {
    const invalid = checkTopicName(resourceName);
    if (invalid !== null) return failure(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid);
    const topic = image.topicsByName.get(resourceName);
    if (topic === undefined) return failure(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "");
    return describeTopicConfigs(topic.configs, layers);
  }
  if (resourceType === ConfigResource.GROUP) {
    if (resourceName === "") {
      return failure(ErrorCode.INVALID_REQUEST, "Group name must not be empty");
    }
    return describeGroupConfigs(image.groupConfigs.get(resourceName) ?? new Map(), layers);
  }
  if (resourceType !== ConfigResource.BROKER) {
    return failure(ErrorCode.INVALID_REQUEST, `Unsupported resource type: ${resourceType}`);
  }
  if (resourceName === "") return describeClusterConfigs(layers);
  if (resourceName === String(layers.nodeId)) return describeBrokerConfigs(layers);
  return failure(
    ErrorCode.INVALID_REQUEST,
    `Unexpected broker id, expected ${layers.nodeId} or empty string, but received ${resourceName}`,
  );
}

function failure(errorCode: number, errorMessage: string): Outcome {
  return { errorCode, errorMessage };
}

function show(
  entry: ConfigEntry,
  request: Decoded<DescribeConfigsRequest>,
): DescribeConfigsResponseDescribeConfigsResourceResult {
  return {
    name: entry.name,
    value: entry.value,
    readOnly: entry.readOnly,
    configSource: entry.source,
    isSensitive: entry.sensitive,
    synonyms: request.includeSynonyms ? [...entry.synonyms] : [],
    configType: entry.type,
    documentation: request.includeDocumentation ? entry.documentation : null,
  };
}
