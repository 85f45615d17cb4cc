/**
 * ConsumerGroupDescribe, v0 and v1 (KIP-848): epochs, assignor, and for each member what it holds
 * and what it is to hold. A group that is not there, or of another kind, is GROUP_ID_NOT_FOUND. v1
 * tells members of the classic protocol (0) from those of the consumer protocol (1).
 */
import type { ConsumerGroupDescription, NamedPartitions } from "../group/api-types.ts";
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ConsumerGroupDescribeRequest,
  type ConsumerGroupDescribeResponse,
  type ConsumerGroupDescribeResponseAssignment,
  type ConsumerGroupDescribeResponseDescribedGroup,
  consumerGroupDescribeApi,
} from "../protocol/messages/69-consumer-group-describe.ts";
import { groupOperations } from "./authorized-operations.ts";
import { servesConsumerGroups } from "./consumer-group-feature.ts";
import type { ApiHandler } from "./context.ts";

export const consumerGroupDescribeHandler: ApiHandler<
  ConsumerGroupDescribeRequest,
  ConsumerGroupDescribeResponse
> = {
  codec: consumerGroupDescribeApi,
  minVersion: 0,
  maxVersion: 1,
  async handle(context, request) {
    const { groups } = context.services;
    if (!servesConsumerGroups(context.services)) {
      return failed(request.groupIds, ErrorCode.UNSUPPORTED_VERSION, null);
    }
    const described = await inBatches(request.groupIds, batchSizeMax, (groupId) =>
      groups.describeConsumerGroup(groupId),
    );
    const withOperations = request.includeAuthorizedOperations;
    return {
      throttleTimeMs: 0,
      groups: described.map((group) => wireGroup(group, withOperations)),
    };
  },
  failure: (request, _version, errorCode, errorMessage) =>
    failed(request.groupIds, errorCode, errorMessage),
};

function failed(
  groupIds: readonly string[],
  errorCode: number,
  errorMessage: string | null,
): ConsumerGroupDescribeResponse {
  const groups = groupIds.map((groupId) => ({ ...nothing, errorCode, errorMessage, groupId }));
  return { throttleTimeMs: 0, groups };
}

const nothing = {
  groupState: "",
  groupEpoch: 0,
  assignmentEpoch: 0,
  assignorName: "",
  members: [],
};

function wireGroup(
  group: ConsumerGroupDescription,
  withOperations: boolean,
): ConsumerGroupDescribeResponseDescribedGroup {
  const wire: ConsumerGroupDescribeResponseDescribedGroup = {
    errorCode: group.errorCode,
    errorMessage: group.errorMessage,
    groupId: group.groupId,
    groupState: group.state,
    groupEpoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    assignorName: group.assignorName,
    members: group.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      rackId: member.rackId,
      memberEpoch: member.memberEpoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: [...member.topicNames],
      subscribedTopicRegex: member.topicRegex,
      assignment: wireAssignment(member.assignment),
      targetAssignment: wireAssignment(member.target),
      memberType: member.isClassic ? 0 : 1,
    })),
  };
  if (withOperations && group.errorCode === ErrorCode.NONE) {
    wire.authorizedOperations = groupOperations;
  }
  return wire;
}

function wireAssignment(
  assignment: readonly NamedPartitions[],
): ConsumerGroupDescribeResponseAssignment {
  const topicPartitions = assignment.map(({ topicId, topic, partitions }) => ({
    topicId,
    topicName: topic,
    partitions: [...partitions],
  }));
  return { topicPartitions };
}
