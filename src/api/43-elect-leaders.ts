/**
 * ElectLeaders, versions 0–2. Every partition is led by its first replica and that one is always
 * there: an election is never needed (ELECTION_NOT_NEEDED). Null topics mean all; then partitions
 * that need no election are left out.
 */
import type { MetadataImage } from "../metadata/image.ts";
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
  handle(context, request) {
    const { image } = context.services.metadata;
    if (request.electionType < 0 || request.electionType > electionTypeMax) {
      return failed(ErrorCode.INVALID_REQUEST);
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
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): ElectLeadersResponse {
  return { throttleTimeMs: 0, errorCode, replicaElectionResults: [] };
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
