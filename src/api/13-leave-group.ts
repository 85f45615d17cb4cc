/**
 * LeaveGroup, v0 to v5: takes members out of a group at once. Up to v2 one member, whose error is
 * the answer's; from v3 many, each with its own, also by instance id alone (an administrator
 * removing static members). The reason (v5) is not used.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type LeaveGroupRequest,
  type LeaveGroupResponse,
  leaveGroupApi,
} from "../protocol/messages/13-leave-group.ts";
import type { ApiHandler } from "./context.ts";

export const leaveGroupHandler: ApiHandler<LeaveGroupRequest, LeaveGroupResponse> = {
  codec: leaveGroupApi,
  minVersion: 0,
  maxVersion: 5,
  async handle(context, request, version) {
    const { groups } = context.services;
    const { groupId } = request;
    if (version < 3) {
      const members = [{ memberId: request.memberId, groupInstanceId: null }];
      const left = await groups.leaveGroup({ groupId, members });
      const memberError = left.members[0]?.errorCode ?? ErrorCode.NONE;
      return { errorCode: left.errorCode === ErrorCode.NONE ? memberError : left.errorCode };
    }
    const members = request.members.map(({ memberId, groupInstanceId }) => ({
      memberId,
      groupInstanceId,
    }));
    const left = await groups.leaveGroup({ groupId, members });
    return { errorCode: left.errorCode, members: left.members.map((member) => ({ ...member })) };
  },
  failure: (_request, _version, errorCode) => ({ errorCode }),
};
