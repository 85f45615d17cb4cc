/**
 * ShareGroupHeartbeat, v1 (KIP-932): keeps a member in its share group, and tells it which
 * partitions to read. Epoch 0 joins, −1 leaves.
 */
import type { ShareHeartbeatAnswer } from "../group/share-group.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type ShareGroupHeartbeatRequest,
  type ShareGroupHeartbeatResponse,
  shareGroupHeartbeatApi,
} from "../protocol/messages/76-share-group-heartbeat.ts";
import type { ApiHandler } from "./context.ts";
import { isMemberIdValid } from "./share-acknowledgements.ts";
import { servesShareGroups } from "./share-session.ts";

const leaveEpoch = -1;

export const shareGroupHeartbeatHandler: ApiHandler<
  ShareGroupHeartbeatRequest,
  ShareGroupHeartbeatResponse
> = {
  codec: shareGroupHeartbeatApi,
  minVersion: 1,
  maxVersion: 1,
  async handle({ services, session }, request) {
    if (!servesShareGroups(services)) return failed(ErrorCode.UNSUPPORTED_VERSION);
    const problem = check(request);
    if (problem !== null) return failed(ErrorCode.INVALID_REQUEST, problem);
    const { share } = services.groups;
    const { groupId, memberId, memberEpoch, rackId, subscribedTopicNames } = request;
    if (memberEpoch === leaveEpoch) {
      const errorCode = await share.leave(groupId, memberId);
      if (errorCode !== ErrorCode.NONE) return failed(errorCode);
      return { throttleTimeMs: 0, errorCode, memberId, memberEpoch, heartbeatIntervalMs: 0 };
    }
    const { clientId, clientHost } = session;
    const answer = await share.heartbeat({
      groupId,
      memberId,
      memberEpoch,
      rackId,
      topicNames: subscribedTopicNames,
      clientId,
      clientHost,
    });
    return wireAnswer(answer);
  },
  failure: (_request, _version, errorCode, message) => failed(errorCode, message),
};

function check(request: Decoded<ShareGroupHeartbeatRequest>): string | null {
  const { groupId, memberId, memberEpoch, rackId, subscribedTopicNames } = request;
  if (!isMemberIdValid(memberId)) return "Invalid member id in the request.";
  if (groupId.trim() === "") return "GroupId can't be empty.";
  if (rackId?.trim() === "") return "RackId can't be empty.";
  if (memberEpoch === 0 && (subscribedTopicNames ?? []).length === 0) {
    return "SubscribedTopicNames must be set in first request.";
  }
  return memberEpoch < leaveEpoch ? "MemberEpoch is invalid." : null;
}

function wireAnswer(answer: ShareHeartbeatAnswer): ShareGroupHeartbeatResponse {
  if (answer.memberId === null) return failed(answer.errorCode, answer.message);
  const { memberId, memberEpoch, heartbeatIntervalMs, assignment } = answer;
  const response = { throttleTimeMs: 0, errorCode: ErrorCode.NONE };
  const member = { memberId, memberEpoch, heartbeatIntervalMs };
  if (assignment === null) return { ...response, ...member };
  const topicPartitions = [...assignment].map(([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions].sort((left, right) => left - right),
  }));
  return { ...response, ...member, assignment: { topicPartitions } };
}

function failed(errorCode: number, message?: string): ShareGroupHeartbeatResponse {
  const errorMessage = message || (errorInfos.get(errorCode)?.message ?? null);
  const nothing = { memberEpoch: 0, heartbeatIntervalMs: 0 };
  return { throttleTimeMs: 0, errorCode, errorMessage, ...nothing };
}
