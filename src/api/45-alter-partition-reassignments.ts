/**
 * AlterPartitionReassignments, versions 0–1. With one broker the only valid assignment is the one
 * there is, so nothing ever moves; null replicas cancel a move (NO_REASSIGNMENT_IN_PROGRESS).
 */
import type { MetadataImage } from "../metadata/image.ts";
import type { Outcome } from "../metadata/requests.ts";
import { checkReplicas } from "../metadata/topic-plan.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AlterPartitionReassignmentsRequest,
  type AlterPartitionReassignmentsResponse,
  alterPartitionReassignmentsApi,
} from "../protocol/messages/45-alter-partition-reassignments.ts";
import type { ApiHandler } from "./context.ts";

export const alterPartitionReassignmentsHandler: ApiHandler<
  AlterPartitionReassignmentsRequest,
  AlterPartitionReassignmentsResponse
> = {
  codec: alterPartitionReassignmentsApi,
  minVersion: 0,
  maxVersion: 1,
  handle(context, request) {
    const { image } = context.services.metadata;
    return {
      throttleTimeMs: 0,
      allowReplicationFactorChange: request.allowReplicationFactorChange,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      responses: request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, replicas }) => ({
          partitionIndex,
          ...reassign(image, name, partitionIndex, replicas),
        })),
      })),
    };
  },
  failure: (_request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    errorCode,
    errorMessage,
    responses: [],
  }),
};

function reassign(
  image: MetadataImage,
  name: string,
  index: number,
  replicas: readonly number[] | null,
): Outcome {
  const topic = image.topicsByName.get(name);
  if (topic === undefined) return unknown(`Unable to find a topic named ${name}.`);
  if (topic.partitions[index] === undefined) {
    return unknown(`Unable to find partition ${name}:${index}.`);
  }
  if (replicas === null) {
    const errorMessage = "No partition reassignment is in progress.";
    return { errorCode: ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, errorMessage };
  }
  const errorMessage = checkReplicas(image, replicas, null);
  if (errorMessage === null) return { errorCode: ErrorCode.NONE, errorMessage };
  return { errorCode: ErrorCode.INVALID_REPLICA_ASSIGNMENT, errorMessage };
}

function unknown(errorMessage: string): Outcome {
  return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, errorMessage };
}
