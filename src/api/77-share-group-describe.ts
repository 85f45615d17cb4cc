/**
 * ShareGroupDescribe, v1 (KIP-932): state, epochs, members and assignments of share groups.
 * Without an authorizer every operation is allowed.
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import type { DescribedShareGroup } from "../group/share-membership.ts";
import type { ShareMember } from "../group/share-state.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type ShareGroupDescribeRequest,
  type ShareGroupDescribeResponse,
  type ShareGroupDescribeResponseDescribedGroup,
  type ShareGroupDescribeResponseMember,
  shareGroupDescribeApi,
} from "../protocol/messages/77-share-group-describe.ts";
import { groupOperations, operationsNotAsked } from "./authorized-operations.ts";
import type { ApiHandler, Services } from "./context.ts";
import { servesShareGroups } from "./share-session.ts";

/** Groups that are not there have no assignor either. */
const nothing = {
  groupState: "",
  groupEpoch: 0,
  assignmentEpoch: 0,
  assignorName: "",
  members: [],
};

export const shareGroupDescribeHandler: ApiHandler<
  ShareGroupDescribeRequest,
  ShareGroupDescribeResponse
> = {
  codec: shareGroupDescribeApi,
  minVersion: 1,
  maxVersion: 1,
  async handle({ services }, request) {
    if (!servesShareGroups(services)) return failed(request, ErrorCode.UNSUPPORTED_VERSION);
    const operations = request.includeAuthorizedOperations ? groupOperations : operationsNotAsked;
    const groups = await inBatches(request.groupIds, batchSizeMax, async (groupId) => {
      const described = await services.groups.share.describe(groupId);
      return wireGroup(services, described, operations);
    });
    return { throttleTimeMs: 0, groups };
  },
  failure: (request, _version, errorCode) => failed(request, errorCode),
};

function failed(
  request: Decoded<ShareGroupDescribeRequest>,
  errorCode: number,
): ShareGroupDescribeResponse {
  const groups = request.groupIds.map((groupId) => ({ errorCode, groupId, ...nothing }));
  return { throttleTimeMs: 0, groups };
}

function wireGroup(
  services: Services,
  group: DescribedShareGroup,
  authorizedOperations: number,
): ShareGroupDescribeResponseDescribedGroup {
  const { errorCode, groupId } = group;
  if (errorCode !== ErrorCode.NONE) {
    const isMissing = errorCode === ErrorCode.GROUP_ID_NOT_FOUND;
    const text = isMissing ? `Group ${groupId} not found.` : errorInfos.get(errorCode)?.message;
    return { errorCode, errorMessage: text ?? null, groupId, ...nothing };
  }
  return {
    errorCode,
    groupId,
    groupState: group.state,
    groupEpoch: group.epoch,
    assignmentEpoch: group.assignmentEpoch,
    assignorName: "simple",
    members: group.members.map((member) => wireMember(services, member)),
    authorizedOperations,
  };
}

function wireMember(services: Services, member: ShareMember): ShareGroupDescribeResponseMember {
  const { memberId, rackId, epoch, clientId, clientHost, topicNames, assigned } = member;
  const topicPartitions = [...assigned].flatMap(([topicId, partitions]) => {
    // A topic that is gone is nobody's.
    const topicName = services.metadata.image.topicsById.get(topicId)?.name;
    if (topicName === undefined) return [];
    return [{ topicId, topicName, partitions: [...partitions].sort((a, b) => a - b) }];
  });
  return {
    memberId,
    rackId,
    memberEpoch: epoch,
    clientId,
    clientHost,
    subscribedTopicNames: [...topicNames],
    assignment: { topicPartitions },
  };
}
