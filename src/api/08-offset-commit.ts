/**
 * OffsetCommit, v2 to v10: stores consumed positions; answered when they are durable. v2 to v4 may
 * carry a retention time, v6 brought the leader epoch, v7 static members, v9 GROUP_ID_NOT_FOUND
 * (69) for a member of an unknown group (before: ILLEGAL_GENERATION), v10 topic ids instead of
 * names.
 *
 * Generation −1 is a simple consumer or an administrator: allowed while the group has no members.
 * Topics and partitions that do not exist are refused one by one.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type OffsetCommitRequest,
  type OffsetCommitResponse,
  offsetCommitApi,
} from "../protocol/messages/08-offset-commit.ts";
import type { ApiHandler } from "./context.ts";
import { commitFailure, commitTopics } from "./offset-commit-topics.ts";

const topicIdsFrom = 10;

export const offsetCommitHandler: ApiHandler<OffsetCommitRequest, OffsetCommitResponse> = {
  codec: offsetCommitApi,
  minVersion: 2,
  maxVersion: 10,
  async handle(context, request, version) {
    const { groups } = context.services;
    const { topics, valid, settle } = commitTopics(
      groups.topics,
      request.topics,
      version >= topicIdsFrom,
    );
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
    settle(errorCodes);
    return { topics };
  },
  failure: (request, _version, errorCode) => ({
    topics: commitFailure(request.topics, errorCode),
  }),
};
