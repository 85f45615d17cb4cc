/**
 * OffsetCommit, v2 to v10: stores consumed positions; answered when they are durable. v2 to v4 may
 * carry a retention time, v6 brought the leader epoch, v7 static members, v9 GROUP_ID_NOT_FOUND
 * (69) for a member of an unknown group (before: ILLEGAL_GENERATION), v10 topic ids instead of
 * names.
 *
 * Generation −1 is a simple consumer or an administrator: allowed while the group has no members.
 * Topics and partitions that do not exist are refused one by one.
 */
import type { CommitPartition } from "../group/api-types.ts";
import type { CoordinatorTopics } from "../group/ports.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type OffsetCommitRequest,
  type OffsetCommitResponse,
  type OffsetCommitResponseTopic,
  offsetCommitApi,
} from "../protocol/messages/08-offset-commit.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler } from "./context.ts";

const topicIdsFrom = 10;

export const offsetCommitHandler: ApiHandler<OffsetCommitRequest, OffsetCommitResponse> = {
  codec: offsetCommitApi,
  minVersion: 2,
  maxVersion: 10,
  async handle(context, request, version) {
    const { groups } = context.services;
    const topics: OffsetCommitResponseTopic[] = [];
    const valid: CommitPartition[] = [];
    /** The answers that the commit itself decides, in the order of `valid`. */
    const open: { errorCode: number }[] = [];
    for (const topic of request.topics) {
      const found = resolve(groups.topics, topic, version >= topicIdsFrom);
      const partitions = topic.partitions.map((one) => {
        const partition = one.partitionIndex;
        const answer = { partitionIndex: partition, errorCode: errorFor(found, partition) };
        if (answer.errorCode !== ErrorCode.NONE) return answer;
        open.push(answer);
        valid.push({
          topic: found.name,
          topicId: found.id,
          partition,
          offset: one.committedOffset,
          leaderEpoch: one.committedLeaderEpoch,
          metadata: one.committedMetadata,
        });
        return answer;
      });
      topics.push({ name: found.name, topicId: topic.topicId, partitions });
    }
    if (valid.length === 0) return { topics };

    const errorCodes = await groups.commitOffsets({
      groupId: request.groupId,
      memberId: request.memberId,
      groupInstanceId: request.groupInstanceId,
      generationId: request.generationIdOrMemberEpoch,
      retentionTimeMs: request.retentionTimeMs,
      unknownGroupError: version >= 9 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION,
      apiVersion: version,
      partitions: valid,
    });
    for (const [index, answer] of open.entries()) {
      answer.errorCode = errorCodes[index] ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    }
    return { topics };
  },
  failure(request, _version, errorCode) {
    const topics = request.topics.map(({ name, topicId, partitions }) => ({
      name,
      topicId,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    }));
    return { topics };
  },
};

export interface FoundTopic {
  readonly name: string;
  readonly id: string;
  readonly errorCode: number;
  readonly partitionCount: number;
}

/** The topic of a commit, as named or by its id. */
export function resolve(
  topics: CoordinatorTopics,
  topic: { readonly name: string; readonly topicId: string },
  byId: boolean,
): FoundTopic {
  const name = byId ? topics.topicName(topic.topicId) : topic.name;
  const partitionCount = name === null ? null : topics.partitionCountOf(name);
  if (name === null || partitionCount === null) {
    const errorCode = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    return { name: topic.name, id: topic.topicId, errorCode, partitionCount: 0 };
  }
  const id = topics.topicId(name) ?? zeroUuid;
  return { name, id, errorCode: ErrorCode.NONE, partitionCount };
}

/** May offsets of this partition be committed? An ErrorCode. */
export function errorFor(topic: FoundTopic, partition: number): number {
  if (topic.errorCode !== ErrorCode.NONE) return topic.errorCode;
  const exists = partition >= 0 && partition < topic.partitionCount;
  return exists ? ErrorCode.NONE : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
}
