/**
 * SyncGroup, v0 to v5: the leader brings the assignment, everyone gets their part once it is
 * durable. v3 brought static members; from v5 the client must name protocol type and protocol.
 */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type SyncGroupRequest,
  type SyncGroupResponse,
  syncGroupApi,
} from "../protocol/messages/14-sync-group.ts";
import type { ApiHandler } from "./context.ts";

const noAssignment = new Uint8Array(0);

export const syncGroupHandler: ApiHandler<SyncGroupRequest, SyncGroupResponse> = {
  codec: syncGroupApi,
  minVersion: 0,
  maxVersion: 5,
  async handle(context, request, version) {
    const { protocolType, protocolName } = request;
    if (version >= 5 && (protocolType === null || protocolName === null)) {
      return { errorCode: ErrorCode.INCONSISTENT_GROUP_PROTOCOL, assignment: noAssignment };
    }
    const { groupId, memberId, groupInstanceId, generationId, assignments } = request;
    const member = { groupId, memberId, groupInstanceId, generationId };
    const protocol = { protocolType, protocolName };
    return await context.services.groups.syncGroup({ ...member, ...protocol, assignments });
  },
  failure: (_request, _version, errorCode) => ({ errorCode, assignment: noAssignment }),
};
