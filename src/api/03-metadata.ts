/**
 * Metadata, versions 0–13. v0: an empty list means all topics, v1+: null does. v4: the client may
 * forbid auto-creation. v8–10: the cluster's authorized operations. v10/v11 answer topic ids but
 * take none, v12+ take them. v13: an error for the whole request. A topic that is being created by
 * someone else shows LEADER_NOT_AVAILABLE until its partitions can be used; one created by this
 * very request is usable when the answer leaves.
 */
import type { TopicImage } from "../metadata/image.ts";
import { checkTopicName, isInternalTopic } from "../metadata/topic-name.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type MetadataRequest,
  type MetadataResponse,
  type MetadataResponseTopic,
  metadataApi,
} from "../protocol/messages/03-metadata.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import { clusterOperations, operationsNotAsked, topicOperations } from "./authorized-operations.ts";
import { clusterNodes, controllerId } from "./cluster-nodes.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

type Request = Decoded<MetadataRequest>;

export const metadataHandler: ApiHandler<MetadataRequest, MetadataResponse> = {
  codec: metadataApi,
  minVersion: 0,
  maxVersion: 13,
  async handle(context, request, version) {
    if (version < 12 && request.topics?.some(isMisnamed)) {
      return failed(request, version, ErrorCode.INVALID_REQUEST);
    }
    const { metadata } = context.services;
    const topics = await findTopics(context, request, version);
    const nodes = clusterNodes(metadata.image, context.session.listener);
    const asked = version >= 8 && version <= 10 && request.includeClusterAuthorizedOperations;
    return {
      brokers: nodes.map(({ id, host, port, rack }) => ({ nodeId: id, host, port, rack })),
      clusterId: metadata.image.clusterId,
      controllerId: controllerId(nodes),
      topics,
      clusterAuthorizedOperations: asked ? clusterOperations : operationsNotAsked,
    };
  },
  failure: failed,
};

function failed(request: Request, version: number, errorCode: number): MetadataResponse {
  const topics = (request.topics ?? []).map(({ name, topicId }) =>
    unknownTopic(version < 12 ? (name ?? "") : name, topicId, errorCode),
  );
  return { brokers: [], topics, errorCode };
}

/** Versions 10 and 11 carry ids and nullable names on the wire, but must not be asked by them. */
function isMisnamed(topic: { readonly name: string | null; readonly topicId: string }): boolean {
  return topic.name === null || topic.topicId !== zeroUuid;
}

async function findTopics(
  context: RequestContext,
  request: Request,
  version: number,
): Promise<MetadataResponseTopic[]> {
  const { metadata } = context.services;
  const operations =
    version >= 8 && request.includeTopicAuthorizedOperations ? topicOperations : operationsNotAsked;
  const show = (topic: TopicImage): MetadataResponseTopic => {
    return knownTopic(topic, metadata.isUsable(topic.id), operations);
  };
  const asked = request.topics;
  if (asked === null || (version === 0 && asked.length === 0)) {
    return [...metadata.image.topicsByName.values()].map(show);
  }
  const ids = new Set(asked.map(({ topicId }) => topicId));
  ids.delete(zeroUuid);
  if (ids.size > 0) {
    return [...ids].map((id) => {
      const topic = metadata.image.topicsById.get(id);
      return topic ? show(topic) : unknownTopic(null, id, ErrorCode.UNKNOWN_TOPIC_ID, operations);
    });
  }
  const names = [...new Set(asked.map(({ name }) => name ?? ""))];
  const errors = await createMissing(context, request, names);
  return names.map((name) => {
    const topic = metadata.image.topicsByName.get(name);
    if (topic !== undefined) return show(topic);
    const errorCode = errors.get(name) ?? whyUnknown(name);
    return unknownTopic(name, zeroUuid, errorCode, operations);
  });
}

/** Creates the topics that do not exist, if both sides want that; the errors by name. */
async function createMissing(
  context: RequestContext,
  request: Request,
  names: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const { config, metadata } = context.services;
  const errors = new Map<string, number>();
  if (!request.allowAutoTopicCreation || !config.topic.autoCreate) return errors;
  // Internal topics come into being with their own settings, when the broker needs them.
  const missing = names.filter((name) => {
    return !metadata.image.topicsByName.has(name) && !isInternalTopic(name);
  });
  if (missing.length === 0) return errors;
  const specs = missing.map((name) => ({
    name,
    numPartitions: -1,
    replicationFactor: -1,
    assignments: [],
    configs: [],
  }));
  const quota = context.services.quotas.mutations(context.client, true);
  for (const { name, errorCode } of await metadata.createTopics(specs, false, quota.admit)) {
    // Over its quota the client asks again, as for any topic that is not there yet.
    if (errorCode === ErrorCode.THROTTLING_QUOTA_EXCEEDED) continue;
    if (errorCode !== ErrorCode.NONE) errors.set(name, errorCode);
  }
  return errors;
}

function whyUnknown(name: string): number {
  return checkTopicName(name) === null
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.INVALID_TOPIC_EXCEPTION;
}

function knownTopic(
  topic: TopicImage,
  usable: boolean,
  topicAuthorizedOperations: number,
): MetadataResponseTopic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: topic.internal,
    topicAuthorizedOperations,
    partitions: topic.partitions.map(({ index, leader, leaderEpoch, replicas, isr }) => ({
      errorCode: usable ? ErrorCode.NONE : ErrorCode.LEADER_NOT_AVAILABLE,
      partitionIndex: index,
      leaderId: usable ? leader : -1,
      leaderEpoch,
      replicaNodes: [...replicas],
      isrNodes: [...isr],
      offlineReplicas: [],
    })),
  };
}

function unknownTopic(
  name: string | null,
  topicId: string,
  errorCode: number,
  topicAuthorizedOperations: number = operationsNotAsked,
): MetadataResponseTopic {
  const isInternal = name !== null && isInternalTopic(name);
  return { errorCode, name, topicId, isInternal, partitions: [], topicAuthorizedOperations };
}
