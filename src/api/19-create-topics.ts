/**
 * CreateTopics, versions 2–7. Answered when the topics can be used. v5+ returns the partitions,
 * the replication factor and every config of the new topic; v7 its id. A name given twice fails
 * with INVALID_REQUEST, more replicas than brokers with INVALID_REPLICATION_FACTOR.
 * Over controller_mutation_rate: THROTTLING_QUOTA_EXCEEDED from v6 on, before only a wait.
 * A negative timeout has passed before it began (REQUEST_TIMED_OUT); any other is not used: on one
 * broker nothing is waited for but the disk.
 */
import { describeTopicConfigs } from "../metadata/config-catalogue.ts";
import type { TopicOutcome } from "../metadata/requests.ts";
import { isInternalTopic } from "../metadata/topic-name.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type CreateTopicsRequest,
  type CreateTopicsResponse,
  type CreateTopicsResponseCreatableTopicResult,
  createTopicsApi,
} from "../protocol/messages/19-create-topics.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

const strictFrom = 6;

/**
 * Topics no client creates: Kafka's own metadata topic, and those the broker makes with settings
 * of its own when it needs them. Offsets in a topic of another partition count would be lost to
 * every group.
 */
function isReserved(name: string): boolean {
  return name === "__cluster_metadata" || isInternalTopic(name);
}

export const createTopicsHandler: ApiHandler<CreateTopicsRequest, CreateTopicsResponse> = {
  codec: createTopicsApi,
  minVersion: 2,
  maxVersion: 7,
  async handle(context, request, version) {
    if (request.timeoutMs < 0) return failed(request, ErrorCode.REQUEST_TIMED_OUT, null);
    const { metadata } = context.services;
    const twice = namedTwice(request.topics.map(({ name }) => name));
    const wanted = request.topics.filter(({ name }) => {
      return !twice.has(name) && !isReserved(name);
    });
    const specs = wanted.map((topic) => ({
      ...topic,
      configs: topic.configs.map(({ name, value }) => [name, value] as const),
    }));
    const quota = context.services.quotas.mutations(context.client, version >= strictFrom);
    const outcomes = await metadata.createTopics(specs, request.validateOnly, quota.admit);
    context.throttle(quota.throttleMs());
    const topics = outcomes.map((outcome) => result(context, outcome));
    for (const name of twice) {
      topics.push(error(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."));
    }
    for (const { name } of request.topics) {
      if (twice.has(name) || !isReserved(name)) continue;
      const text = `Creation of internal topic ${name} is prohibited.`;
      topics.push(error(name, ErrorCode.INVALID_REQUEST, text));
    }
    return { throttleTimeMs: 0, topics };
  },
  failure: (request, _version, errorCode, message) => failed(request, errorCode, message),
};

function failed(
  request: Decoded<CreateTopicsRequest>,
  errorCode: number,
  message: string | null,
): CreateTopicsResponse {
  const topics = request.topics.map(({ name }) => error(name, errorCode, message));
  return { throttleTimeMs: 0, topics };
}

function error(
  name: string,
  errorCode: number,
  errorMessage: string | null,
): CreateTopicsResponseCreatableTopicResult {
  return { name, errorCode, errorMessage };
}

function result(
  context: RequestContext,
  outcome: TopicOutcome,
): CreateTopicsResponseCreatableTopicResult {
  const { name, topic, errorCode, errorMessage } = outcome;
  if (topic === null) return error(name, errorCode, errorMessage);
  const { layers } = context.services.metadata;
  return {
    name,
    topicId: topic.id,
    errorCode,
    errorMessage,
    numPartitions: topic.partitions.length,
    replicationFactor: topic.partitions[0]?.replicas.length ?? -1,
    configs: describeTopicConfigs(topic.configs, layers).map((entry) => ({
      name: entry.name,
      value: entry.value,
      readOnly: entry.readOnly,
      configSource: entry.source,
      isSensitive: entry.sensitive,
    })),
  };
}
