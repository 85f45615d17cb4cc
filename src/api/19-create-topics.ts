/**
 * CreateTopics, versions 2–7. Answered when the topics can be used. v5+ returns the partitions,
 * the replication factor and every config of the new topic but internal ones; v7 its id. A name
 * given twice fails with INVALID_REQUEST, more replicas than brokers with
 * INVALID_REPLICATION_FACTOR.
 * Over controller_mutation_rate: THROTTLING_QUOTA_EXCEEDED from v6 on, before only a wait.
 * A negative timeout has passed before it began (REQUEST_TIMED_OUT); any other is not used: on one
 * broker nothing is waited for but the disk.
 */
import { describeTopicConfigs } from "../metadata/config-catalogue.ts";
import { clientsCoordinatorTopic } from "../metadata/coordinator-topics.ts";
import type { CreateTopicSpec, TopicOutcome } from "../metadata/requests.ts";
import { internalSegmentBytes } from "../metadata/topic-configs.ts";
import { isInternalTopic } from "../metadata/topic-name.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type CreateTopicsRequest,
  type CreateTopicsRequestCreatableTopic,
  type CreateTopicsResponse,
  type CreateTopicsResponseCreatableTopicResult,
  createTopicsApi,
} from "../protocol/messages/19-create-topics.ts";
import type { ApiHandler, RequestContext, Services } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

type Topic = Decoded<CreateTopicsRequestCreatableTopic>;

const strictFrom = 6;

const metadataTopic = "__cluster_metadata";

/**
 * What is asked of the metadata for a client; null: refused. Nobody creates Kafka's own metadata
 * topic, and the topics of coordinators are made as these would make them: offsets in a topic of
 * another partition count would be lost to every group.
 */
function specOf({ config, metadata }: Services, topic: Topic): CreateTopicSpec | null {
  const configs = topic.configs.map(({ name, value }) => [name, value] as const);
  const wanted = { ...topic, configs };
  if (topic.name === metadataTopic) return null;
  const exists = metadata.image.topicsByName.has(topic.name);
  return isInternalTopic(topic.name) && !exists ? clientsCoordinatorTopic(wanted, config) : wanted;
}

export const createTopicsHandler: ApiHandler<CreateTopicsRequest, CreateTopicsResponse> = {
  codec: createTopicsApi,
  minVersion: 2,
  maxVersion: 7,
  async handle(context, request, version) {
    if (request.timeoutMs < 0) return failed(request, ErrorCode.REQUEST_TIMED_OUT, null);
    const { metadata } = context.services;
    const twice = namedTwice(request.topics.map(({ name }) => name));
    const specs: CreateTopicSpec[] = [];
    const refused: string[] = [];
    for (const topic of request.topics.filter(({ name }) => !twice.has(name))) {
      const spec = specOf(context.services, topic);
      if (spec === null) refused.push(topic.name);
      else specs.push(spec);
    }
    const quota = context.services.quotas.mutations(context.client, version >= strictFrom);
    const outcomes = await metadata.createTopics(specs, request.validateOnly, quota.admit);
    context.throttle(quota.throttleMs());
    const topics = outcomes.map((outcome) => result(context, outcome));
    for (const name of twice) {
      topics.push(error(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."));
    }
    for (const name of refused) {
      const other = name === metadataTopic ? "" : " with other than the broker's settings for it";
      const text = `Creation of internal topic ${name}${other} is prohibited.`;
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
    configs: describeTopicConfigs(topic.configs, layers)
      .filter((entry) => entry.name !== internalSegmentBytes)
      .map((entry) => ({
        name: entry.name,
        value: entry.value,
        readOnly: entry.readOnly,
        configSource: entry.source,
        isSensitive: entry.sensitive,
      })),
  };
}
