import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type AcknowledgementBatch, areWellFormed } from "../share/acknowledge-type.ts";
import type { PartitionAcknowledgement } from "../share/share-groups.ts";
import type { RequestContext, Services } from "./context.ts";

/** The acknowledgements of a ShareFetch or a ShareAcknowledge. */
export interface AcknowledgeRequest {
  readonly groupId: string;
  readonly memberId: string;
  readonly isRenewAck: boolean;
  readonly topics: Decoded<
    readonly {
      readonly topicId: string;
      readonly partitions: readonly {
        readonly partitionIndex: number;
        readonly acknowledgementBatches: readonly AcknowledgementBatch[];
      }[];
    }[]
  >;
}

export interface AcknowledgeResult {
  readonly topicId: string;
  readonly partition: number;
  readonly errorCode: number;
}

const memberIdCharsMax = 36;

/**
 * What stands in `currentLeader`: zeros where clients do not read it, as from Kafka, and beside
 * errors that mean another leader that none is known.
 */
export function leaderBeside(errorCode: number): { leaderId: number; leaderEpoch: number } {
  const { NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH } = ErrorCode;
  const isRead = errorCode === NOT_LEADER_OR_FOLLOWER || errorCode === FENCED_LEADER_EPOCH;
  return isRead ? { leaderId: -1, leaderEpoch: -1 } : { leaderId: 0, leaderEpoch: 0 };
}

/** Kafka's own check: clients make their member ids, as UUIDs. */
export function isMemberIdValid(memberId: string | null): memberId is string {
  return memberId !== null && memberId.length > 0 && memberId.length <= memberIdCharsMax;
}

/** Answered when what was acknowledged is durable. Begins before it first waits. */
export async function acknowledgeAll(
  context: RequestContext,
  request: AcknowledgeRequest,
  version: number,
): Promise<AcknowledgeResult[]> {
  const { services } = context;
  const results: AcknowledgeResult[] = [];
  const wanted: PartitionAcknowledgement[] = [];
  const options = { mayRenew: version >= 2, isRenewAck: request.isRenewAck };
  for (const { topicId, partitions } of request.topics) {
    for (const { partitionIndex: partition, acknowledgementBatches: batches } of partitions) {
      if (batches.length === 0) continue;
      const errorCode = unknownError(services, topicId, partition);
      if (errorCode !== ErrorCode.NONE) results.push({ topicId, partition, errorCode });
      else if (areWellFormed(batches, options)) wanted.push({ topicId, partition, batches });
      else results.push({ topicId, partition, errorCode: ErrorCode.INVALID_REQUEST });
    }
  }
  const errorCodes = await services.shares.acknowledge(request.groupId, request.memberId, wanted);
  for (const [index, { topicId, partition }] of wanted.entries()) {
    results.push({ topicId, partition, errorCode: errorCodes[index] ?? ErrorCode.NONE });
  }
  return results;
}

function unknownError({ metadata }: Services, topicId: string, partition: number): number {
  const topic = metadata.image.topicsById.get(topicId);
  if (topic === undefined) return ErrorCode.UNKNOWN_TOPIC_ID;
  const isKnown = topic.partitions[partition] !== undefined;
  return isKnown ? ErrorCode.NONE : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
}
