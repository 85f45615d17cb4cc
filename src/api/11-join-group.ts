/**
 * JoinGroup, v0 to v9: joins a classic group and waits for the generation to start. v1 brought the
 * rebalance timeout (before it, the session timeout counts), v4 the two steps (MEMBER_ID_REQUIRED),
 * v5 static members, v7 the protocol type in the answer and a null protocol name, v9 the hint that
 * a returning static leader need not assign. The reason (v8) is not used.
 */
import {
  type JoinGroupRequest,
  type JoinGroupResponse,
  joinGroupApi,
} from "../protocol/messages/11-join-group.ts";
import type { ApiHandler } from "./context.ts";

export const joinGroupHandler: ApiHandler<JoinGroupRequest, JoinGroupResponse> = {
  codec: joinGroupApi,
  minVersion: 0,
  maxVersion: 9,
  async handle(context, request, version) {
    const { groups } = context.services;
    const { rebalanceTimeoutMs, sessionTimeoutMs } = request;
    const joined = await groups.joinGroup({
      groupId: request.groupId,
      memberId: request.memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: context.session.clientId,
      clientHost: context.session.clientHost,
      sessionTimeoutMs,
      rebalanceTimeoutMs: version === 0 ? sessionTimeoutMs : rebalanceTimeoutMs,
      protocolType: request.protocolType,
      protocols: request.protocols,
      requiresMemberId: version >= 4,
      canSkipAssignment: version >= 9,
    });
    return {
      errorCode: joined.errorCode,
      generationId: joined.generationId,
      protocolType: joined.protocolType,
      // Before v7 the name cannot be null on the wire.
      protocolName: joined.protocolName ?? (version < 7 ? "" : null),
      leader: joined.leader,
      skipAssignment: joined.skipAssignment,
      memberId: joined.memberId,
      members: joined.members.map((member) => ({ ...member })),
    };
  },
  failure(request, version, errorCode) {
    const protocolName = version < 7 ? "" : null;
    return { errorCode, protocolName, leader: "", memberId: request.memberId, members: [] };
  },
};
