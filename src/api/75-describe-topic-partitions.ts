/**
 * DescribeTopicPartitions, version 0: topics in the order of their names, at most 2,000 partitions
 * an answer; a cursor says where the next one goes on. An empty list means all topics. Eligible
 * leader replicas are not tracked: their lists are empty.
 */
import type { TopicImage } from "../metadata/image.ts";
import { checkTopicName, isInternalTopic } from "../metadata/topic-name.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeTopicPartitionsRequest,
  type DescribeTopicPartitionsResponse,
  type DescribeTopicPartitionsResponseTopic,
  describeTopicPartitionsApi,
} from "../protocol/messages/75-describe-topic-partitions.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import { operationsNotAsked, topicOperations } from "./authorized-operations.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

type Request = Decoded<DescribeTopicPartitionsRequest>;

/** Kafka's `max.request.partition.size.limit`. */
const partitionsMax = 2000;

export const describeTopicPartitionsHandler: ApiHandler<
  DescribeTopicPartitionsRequest,
  DescribeTopicPartitionsResponse
> = {
  codec: describeTopicPartitionsApi,
  minVersion: 0,
  maxVersion: 0,
  handle(context, request) {
    const { cursor } = request;
    const names = namesFrom(context, request);
    const outside =
      cursor !== null && request.topics.length > 0 && !names.includes(cursor.topicName);
    if (outside || (cursor !== null && cursor.partitionIndex < 0)) {
      return failed(request, ErrorCode.INVALID_REQUEST);
    }
    return page(context, request, names);
  },
  failure: (request, _version, errorCode) => failed(request, errorCode),
};

function failed(request: Request, errorCode: number): DescribeTopicPartitionsResponse {
  return {
    throttleTimeMs: 0,
    topics: request.topics.map(({ name }) => unknownTopic(name, errorCode)),
  };
}

/** The names to answer, sorted, from the cursor's on. */
function namesFrom(context: RequestContext, request: Request): string[] {
  const { topicsByName } = context.services.metadata.image;
  const asked = request.topics.map(({ name }) => name);
  const names = asked.length === 0 ? [...topicsByName.keys()] : [...new Set(asked)];
  const first = request.cursor?.topicName ?? "";
  return names.filter((name) => name >= first).sort();
}

function page(
  context: RequestContext,
  request: Request,
  names: readonly string[],
): DescribeTopicPartitionsResponse {
  const { metadata } = context.services;
  const topics: DescribeTopicPartitionsResponseTopic[] = [];
  const { cursor } = request;
  let left = Math.max(1, Math.min(partitionsMax, request.responsePartitionLimit));
  for (const name of names) {
    if (left === 0) {
      return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: 0 } };
    }
    const topic = metadata.image.topicsByName.get(name);
    if (topic === undefined) {
      const known = checkTopicName(name) === null;
      const { UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION } = ErrorCode;
      const errorCode = known ? UNKNOWN_TOPIC_OR_PARTITION : INVALID_TOPIC_EXCEPTION;
      if (request.topics.length > 0) topics.push(unknownTopic(name, errorCode, topicOperations));
      continue;
    }
    const first = cursor?.topicName === name ? cursor.partitionIndex : 0;
    const end = Math.min(topic.partitions.length, first + left);
    topics.push(knownTopic(topic, first, end, metadata.isUsable(topic.id)));
    if (end < topic.partitions.length) {
      return { throttleTimeMs: 0, topics, nextCursor: { topicName: name, partitionIndex: end } };
    }
    left -= Math.max(0, end - first);
  }
  return { throttleTimeMs: 0, topics, nextCursor: null };
}

function knownTopic(
  topic: TopicImage,
  first: number,
  end: number,
  usable: boolean,
): DescribeTopicPartitionsResponseTopic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: topic.internal,
    topicAuthorizedOperations: topicOperations,
    partitions: topic.partitions.slice(first, end).map((partition) => ({
      errorCode: usable ? ErrorCode.NONE : ErrorCode.LEADER_NOT_AVAILABLE,
      partitionIndex: partition.index,
      leaderId: usable ? partition.leader : -1,
      leaderEpoch: partition.leaderEpoch,
      replicaNodes: [...partition.replicas],
      isrNodes: [...partition.isr],
      eligibleLeaderReplicas: [],
      lastKnownElr: [],
      offlineReplicas: [],
    })),
  };
}

function unknownTopic(
  name: string,
  errorCode: number,
  topicAuthorizedOperations: number = operationsNotAsked,
): DescribeTopicPartitionsResponseTopic {
  const isInternal = isInternalTopic(name);
  return {
    errorCode,
    name,
    topicId: zeroUuid,
    isInternal,
    topicAuthorizedOperations,
    partitions: [],
  };
}
