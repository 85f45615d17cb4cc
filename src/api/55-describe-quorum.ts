/**
 * DescribeQuorum, versions 0–2. The metadata log has one partition and one voter: this broker,
 * which always leads it. Offsets count the entries applied since the cluster began.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeQuorumRequest,
  type DescribeQuorumResponse,
  type DescribeQuorumResponseNode,
  type DescribeQuorumResponsePartitionData,
  describeQuorumApi,
} from "../protocol/messages/55-describe-quorum.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

const metadataTopic = "__cluster_metadata";
const leaderEpoch = 1;

export const describeQuorumHandler: ApiHandler<DescribeQuorumRequest, DescribeQuorumResponse> = {
  codec: describeQuorumApi,
  minVersion: 0,
  maxVersion: 2,
  handle(context, request, version) {
    if (!asksForTheLog(request)) return refused(request);
    const topics = [{ topicName: metadataTopic, partitions: [describe(context)] }];
    const listeners = version >= 2 ? nodes(context) : [];
    return { errorCode: ErrorCode.NONE, errorMessage: "", topics, nodes: listeners };
  },
  failure: (_request, _version, errorCode, errorMessage) => {
    return { errorCode, errorMessage, topics: [], nodes: [] };
  },
};

function asksForTheLog({ topics }: Decoded<DescribeQuorumRequest>): boolean {
  const [topic] = topics;
  if (topics.length !== 1 || topic?.topicName !== metadataTopic) return false;
  return topic.partitions.length === 1 && topic.partitions[0]?.partitionIndex === 0;
}

function refused(request: Decoded<DescribeQuorumRequest>): DescribeQuorumResponse {
  const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const topics = request.topics.map(({ topicName, partitions }) => ({
    topicName,
    partitions: partitions.map(({ partitionIndex }) => ({
      partitionIndex,
      errorCode,
      errorMessage: "This server does not host this topic-partition.",
      leaderId: 0,
      leaderEpoch: 0,
      highWatermark: 0,
      currentVoters: [],
      observers: [],
    })),
  }));
  return { errorCode: ErrorCode.NONE, errorMessage: "", topics, nodes: [] };
}

function describe(context: RequestContext): DescribeQuorumResponsePartitionData {
  const { clock, metadata } = context.services;
  const { nodeId } = metadata.layers;
  const logEndOffset = metadata.image.version;
  const nowMs = clock.nowMs();
  const voter = {
    replicaId: nodeId,
    replicaDirectoryId: zeroUuid,
    logEndOffset,
    lastFetchTimestamp: nowMs,
    lastCaughtUpTimestamp: nowMs,
  };
  return {
    partitionIndex: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: "",
    leaderId: nodeId,
    leaderEpoch,
    highWatermark: logEndOffset,
    currentVoters: [voter],
    observers: [],
  };
}

function nodes(context: RequestContext): DescribeQuorumResponseNode[] {
  const { image } = context.services.metadata;
  return [...image.brokers.values()].map(({ id, endpoints }) => ({
    nodeId: id,
    listeners: endpoints.map(({ listener, host, port }) => ({ name: listener, host, port })),
  }));
}
