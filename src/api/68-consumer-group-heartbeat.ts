/**
 * ConsumerGroupHeartbeat, v0 and v1 (KIP-848): a member joins (epoch 0), stays, or leaves (−1; −2
 * for a static member that will be back), says what it reads and holds, and is told what to hold.
 * v1 brought regular expressions, and member ids made by the client. A field that is null has not
 * changed since the last heartbeat. Answered when what the heartbeat changed is durable.
 */
import { type ConsumerHeartbeatAnswer, heartbeatFailure } from "../group/consumer-heartbeat.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
  consumerGroupHeartbeatApi,
} from "../protocol/messages/68-consumer-group-heartbeat.ts";
import { newUuid } from "../protocol/uuid.ts";
import { servesConsumerGroups } from "./consumer-group-feature.ts";
import type { ApiHandler } from "./context.ts";

type Request = Decoded<ConsumerGroupHeartbeatRequest>;

const memberIdRequiredFrom = 1;

export const consumerGroupHeartbeatHandler: ApiHandler<
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponse
> = {
  codec: consumerGroupHeartbeatApi,
  minVersion: 0,
  maxVersion: 1,
  async handle(context, request, version) {
    const { groups } = context.services;
    const { groupId, topicPartitions } = request;
    if (!servesConsumerGroups(context.services)) {
      return wireAnswer(heartbeatFailure(ErrorCode.UNSUPPORTED_VERSION, null));
    }
    const refused = refusal(request, version, groups.config.consumer.assignors);
    if (refused !== null) return wireAnswer(refused);
    const reported =
      topicPartitions && new Map(topicPartitions.map((one) => [one.topicId, one.partitions]));
    const answer = await groups.consumerHeartbeat(groupId, {
      memberId: request.memberId === "" ? newUuid() : request.memberId,
      memberEpoch: request.memberEpoch,
      instanceId: request.instanceId,
      rackId: request.rackId,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      topicNames: request.subscribedTopicNames,
      topicRegex: request.subscribedTopicRegex,
      serverAssignor: request.serverAssignor,
      reported,
      clientId: context.session.clientId,
      clientHost: context.session.clientHost,
    });
    return wireAnswer(answer);
  },
  failure: (_request, _version, errorCode, message) =>
    wireAnswer(heartbeatFailure(errorCode, message)),
};

/** What is wrong with the request in itself. */
function refusal(
  request: Request,
  version: number,
  assignors: readonly string[],
): ConsumerHeartbeatAnswer | null {
  const reason = invalidReason(request, version);
  if (reason !== null) return heartbeatFailure(ErrorCode.INVALID_REQUEST, reason);
  const { serverAssignor } = request;
  if (serverAssignor === null || assignors.includes(serverAssignor)) return null;
  const supported = `Supported assignors: ${assignors.join(", ")}.`;
  const message = `ServerAssignor ${serverAssignor} is not supported. ${supported}`;
  return heartbeatFailure(ErrorCode.UNSUPPORTED_ASSIGNOR, message);
}

function invalidReason(request: Request, version: number): string | null {
  const { memberEpoch, memberId, topicPartitions } = request;
  const needsId = version >= memberIdRequiredFrom || memberEpoch > 0 || memberEpoch === -1;
  const isBlank = (text: string | null): boolean => text !== null && text.trim() === "";
  if (needsId && isBlank(memberId)) return "MemberId can't be empty.";
  if (isBlank(request.groupId)) return "GroupId can't be empty.";
  if (isBlank(request.instanceId)) return "InstanceId can't be empty.";
  if (isBlank(request.rackId)) return "RackId can't be empty.";
  if (memberEpoch < -2) return "MemberEpoch is invalid.";
  if (memberEpoch === -2 && request.instanceId === null) return "InstanceId can't be null.";
  if (memberEpoch !== 0) return null;
  if (request.rebalanceTimeoutMs === -1) {
    return "RebalanceTimeoutMs must be provided in first request.";
  }
  if (topicPartitions === null || topicPartitions.length > 0) {
    return "TopicPartitions must be empty when (re-)joining.";
  }
  if (request.subscribedTopicNames === null && request.subscribedTopicRegex === null) {
    const fields = "SubscribedTopicNames or SubscribedTopicRegex";
    return `Either ${fields} must be non-null when (re-)joining.`;
  }
  return null;
}

function wireAnswer(answer: ConsumerHeartbeatAnswer): ConsumerGroupHeartbeatResponse {
  const { errorCode, errorMessage, memberId, memberEpoch, heartbeatIntervalMs } = answer;
  const assignment = answer.assignment && {
    topicPartitions: [...answer.assignment].map(([topicId, partitions]) => ({
      topicId,
      partitions: [...partitions.keys()],
    })),
  };
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage,
    memberId,
    memberEpoch,
    heartbeatIntervalMs,
    assignment,
  };
}
