/**
 * DescribeConfigs, versions 1–4: topics, brokers, groups and client metrics subscriptions, with
 * every default. A null or empty list of keys means all. A broker's empty name means what was set
 * for the whole cluster at run time. A group or subscription need not exist; a broker has no
 * loggers. Other resources fail with INVALID_REQUEST.
 */
import { describeClientMetricsConfigs } from "../metadata/client-metrics-configs.ts";
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
  if (resourceType === ConfigResource.CLIENT_METRICS) {
    if (resourceName === "") {
      const text = "Client metrics subscription name must not be empty";
      return failure(ErrorCode.INVALID_REQUEST, text);
    }
    return describeClientMetricsConfigs(image.clientMetricsConfigs.get(resourceName) ?? new Map());
  }
  if (resourceType === ConfigResource.BROKER_LOGGER) return loggers(resourceName, layers.nodeId);
  if (resourceType !== ConfigResource.BROKER) {
    return failure(ErrorCode.INVALID_REQUEST, `Unsupported resource type: ${resourceType}`);
  }
  if (resourceName === "") return describeClusterConfigs(layers);
  if (resourceName === String(layers.nodeId)) return describeBrokerConfigs(layers);
  return wrongBroker(resourceName, `${layers.nodeId} or empty string,`);
}

/** Levels of log lines are set at start: there is no logger to describe. */
function loggers(resourceName: string, nodeId: number): ConfigEntry[] | Outcome {
  if (resourceName === String(nodeId)) return [];
  if (resourceName === "") return failure(ErrorCode.INVALID_REQUEST, "Broker id must not be empty");
  return wrongBroker(resourceName, `${nodeId}`);
}

function wrongBroker(name: string, expected: string): Outcome {
  const text = /^[+-]?\d{1,10}$/.test(name)
    ? `Unexpected broker id, expected ${expected} but received ${name}`
    : `Broker id must be an integer, but it is: ${name}`;
  return failure(ErrorCode.INVALID_REQUEST, text);
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
