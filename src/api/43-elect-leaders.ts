/**
 * ElectLeaders, versions 0–2. Every partition is led by its first replica and that one is always
 * there: an election is never needed (ELECTION_NOT_NEEDED). Null topics mean all; then partitions
 * that need no election are left out. A negative timeout has passed before it began.
 */
import type { MetadataImage } from "../metadata/image.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ElectLeadersRequest,
  type ElectLeadersResponse,
  type ElectLeadersResponsePartitionResult,
  electLeadersApi,
} from "../protocol/messages/43-elect-leaders.ts";
import type { ApiHandler } from "./context.ts";

/** Preferred 0, unclean 1. */
const electionTypeMax = 1;

export const electLeadersHandler: ApiHandler<ElectLeadersRequest, ElectLeadersResponse> = {
  codec: electLeadersApi,
  minVersion: 0,
  maxVersion: 2,
  handle(context, request, version) {
    const { image } = context.services.metadata;
    const { electionType } = request;
    if (request.timeoutMs < 0) return failed(request, version, ErrorCode.REQUEST_TIMED_OUT, null);
    if (electionType < 0 || electionType > electionTypeMax) {
      const text = `Value ${electionType} must be one of [0, 1]`;
      return failed(request, version, ErrorCode.INVALID_REQUEST, text);
    }
    const replicaElectionResults =
      request.topicPartitions === null
        ? [...image.topicsByName.keys()].map((topic) => ({ topic, partitionResult: [] }))
        : request.topicPartitions.map(({ topic, partitions }) => ({
            topic,
            partitionResult: partitions.map((partitionId) => elect(image, topic, partitionId)),
          }));
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, replicaElectionResults };
  },
  failure: (request, version, errorCode, message) => {
    return failed(request, version, errorCode, message);
  },
};

function failed(
  request: Decoded<ElectLeadersRequest>,
  version: number,
  errorCode: number,
  errorMessage: string | null,
): ElectLeadersResponse {
  const replicaElectionResults = (request.topicPartitions ?? []).map(({ topic, partitions }) => ({
    topic,
    partitionResult: partitions.map((partitionId) => ({ partitionId, errorCode, errorMessage })),
  }));
  const whole = version === 0 ? ErrorCode.NONE : errorCode;
  return { throttleTimeMs: 0, errorCode: whole, replicaElectionResults };
}

function elect(
  image: MetadataImage,
  topic: string,
  partitionId: number,
): ElectLeadersResponsePartitionResult {
  const known = image.topicsByName.get(topic);
  if (known !== undefined && known.partitions[partitionId] !== undefined) {
    const errorMessage = "Leader election not needed for topic partition.";
    return { partitionId, errorCode: ErrorCode.ELECTION_NOT_NEEDED, errorMessage };
  }
  const errorMessage =
    known === undefined
      ? `No such topic as ${topic}`
      : `No such partition as ${topic}-${partitionId}`;
  return { partitionId, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, errorMessage };
}
