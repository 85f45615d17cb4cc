/**
 * OffsetDelete, v0: deletes committed offsets; answered when that is durable. Refused for topics
 * the group reads now (GROUP_SUBSCRIBED_TO_TOPIC), and as a whole for a group with members that is
 * not a consumer group. Topics and partitions that do not exist are refused one by one.
 */
import type { TopicPartitions } from "../group/api-types.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type OffsetDeleteRequest,
  type OffsetDeleteResponse,
  type OffsetDeleteResponseTopic,
  offsetDeleteApi,
} from "../protocol/messages/47-offset-delete.ts";
import type { ApiHandler } from "./context.ts";

export const offsetDeleteHandler: ApiHandler<OffsetDeleteRequest, OffsetDeleteResponse> = {
  codec: offsetDeleteApi,
  minVersion: 0,
  maxVersion: 0,
  async handle(context, request) {
    const { groups } = context.services;
    /** By name: a topic that is asked for twice is answered once, with the partitions of both. */
    const topics = new Map<string, OffsetDeleteResponseTopic>();
    const valid: TopicPartitions[] = [];
    /** The answers that the deletion itself decides, in the order of `valid`. */
    const open: { errorCode: number }[] = [];
    for (const { name, partitions } of request.topics) {
      if (partitions.length === 0) continue;
      const count = groups.topics.partitionCountOf(name) ?? 0;
      const existing: number[] = [];
      const answers = partitions.map(({ partitionIndex }) => {
        const answer = {
          partitionIndex,
          errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION as number,
        };
        if (partitionIndex < 0 || partitionIndex >= count) return answer;
        existing.push(partitionIndex);
        open.push(answer);
        return answer;
      });
      if (existing.length > 0) valid.push({ topic: name, partitions: existing });
      const topic = topics.get(name) ?? { name, partitions: [] };
      topic.partitions.push(...answers);
      topics.set(name, topic);
    }
    const deleted = await groups.deleteOffsets(request.groupId, valid);
    if (deleted.errorCode !== ErrorCode.NONE) {
      return { errorCode: deleted.errorCode, throttleTimeMs: 0, topics: [] };
    }
    for (const [index, answer] of open.entries()) {
      answer.errorCode = deleted.partitions[index]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    }
    return { errorCode: ErrorCode.NONE, throttleTimeMs: 0, topics: [...topics.values()] };
  },
  failure: (_request, _version, errorCode) => ({ errorCode, throttleTimeMs: 0, topics: [] }),
};
