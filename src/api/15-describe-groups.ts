/**
 * DescribeGroups, v0 to v6: state, protocol and members of classic groups. v3 brought the
 * operations the client may do, v4 instance ids, v6 GROUP_ID_NOT_FOUND for what earlier versions
 * call a group in state Dead. Without an authorizer every operation is allowed.
 */
import type { DescribedGroup } from "../group/api-types.ts";
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeGroupsRequest,
  type DescribeGroupsResponse,
  type DescribeGroupsResponseDescribedGroup,
  describeGroupsApi,
} from "../protocol/messages/15-describe-groups.ts";
import { groupOperations } from "./authorized-operations.ts";
import type { ApiHandler } from "./context.ts";

export const describeGroupsHandler: ApiHandler<DescribeGroupsRequest, DescribeGroupsResponse> = {
  codec: describeGroupsApi,
  minVersion: 0,
  maxVersion: 6,
  async handle(context, request, version) {
    const { groups } = context.services;
    const described = await inBatches(request.groups, batchSizeMax, (id) =>
      groups.describeGroup(id),
    );
    const withOperations = request.includeAuthorizedOperations;
    return { groups: described.map((group) => wireGroup(group, withOperations, version)) };
  },
  failure(request, _version, errorCode) {
    const nothing = { groupState: "", protocolType: "", protocolData: "", members: [] };
    return { groups: request.groups.map((groupId) => ({ errorCode, groupId, ...nothing })) };
  },
};

function wireGroup(
  group: DescribedGroup,
  withOperations: boolean,
  version: number,
): DescribeGroupsResponseDescribedGroup {
  const isMissing = group.errorCode === ErrorCode.GROUP_ID_NOT_FOUND;
  const errorCode = isMissing && version < 6 ? ErrorCode.NONE : group.errorCode;
  const wire: DescribeGroupsResponseDescribedGroup = {
    errorCode,
    groupId: group.groupId,
    groupState: group.state,
    protocolType: group.protocolType,
    protocolData: group.protocolData,
    members: group.members.map(({ metadata, assignment, ...member }) => ({
      ...member,
      memberMetadata: metadata,
      memberAssignment: assignment,
    })),
  };
  if (isMissing && version >= 6) wire.errorMessage = `Group ${group.groupId} not found.`;
  if (withOperations && errorCode === ErrorCode.NONE) wire.authorizedOperations = groupOperations;
  return wire;
}
