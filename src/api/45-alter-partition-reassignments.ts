/**
 * AlterPartitionReassignments, versions 0–1. With one broker the only valid assignment is the one
 * there is, so nothing ever moves; null replicas cancel a move (NO_REASSIGNMENT_IN_PROGRESS).
 */
import type { MetadataImage } from "../metadata/image.ts";
import type { Outcome } from "../metadata/requests.ts";
import { checkReplicas } from "../metadata/topic-plan.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AlterPartitionReassignmentsRequest,
  type AlterPartitionReassignmentsRequestReassignablePartition,
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
    if (request.timeoutMs < 0) {
      return answer(request, timedOut, () => timedOut);
    }
    // Kafka's broker answers an empty request itself.
    const errorMessage = request.topics.length === 0 ? "" : null;
    const whole = { errorCode: ErrorCode.NONE, errorMessage };
    return answer(request, whole, (name, { partitionIndex, replicas }) => {
      return reassign(image, name, partitionIndex, replicas);
    });
  },
  failure: (request, _version, errorCode, errorMessage) => {
    const outcome = { errorCode, errorMessage };
    return answer(request, outcome, () => outcome);
  },
};

const timedOut: Outcome = { errorCode: ErrorCode.REQUEST_TIMED_OUT, errorMessage: null };

type Partition = Decoded<AlterPartitionReassignmentsRequestReassignablePartition>;

function answer(
  request: Decoded<AlterPartitionReassignmentsRequest>,
  whole: Outcome,
  outcomeOf: (topic: string, partition: Partition) => Outcome,
): AlterPartitionReassignmentsResponse {
  return {
    throttleTimeMs: 0,
    allowReplicationFactorChange: request.allowReplicationFactorChange,
    ...whole,
    responses: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map((partition) => ({
        partitionIndex: partition.partitionIndex,
        ...outcomeOf(name, partition),
      })),
    })),
  };
}

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
    return { errorCode: ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, errorMessage: null };
  }
  const errorMessage = checkReplicas(image, replicas, null);
  if (errorMessage === null) return { errorCode: ErrorCode.NONE, errorMessage };
  return { errorCode: ErrorCode.INVALID_REPLICA_ASSIGNMENT, errorMessage };
}

function unknown(errorMessage: string): Outcome {
  return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, errorMessage };
}
