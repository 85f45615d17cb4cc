/**
 * Heartbeat, v0 to v4: keeps a member's session alive and tells it of a rebalance
 * (REBALANCE_IN_PROGRESS). v3 brought static members.
 */
import {
  type HeartbeatRequest,
  type HeartbeatResponse,
  heartbeatApi,
} from "../protocol/messages/12-heartbeat.ts";
import type { ApiHandler } from "./context.ts";

export const heartbeatHandler: ApiHandler<HeartbeatRequest, HeartbeatResponse> = {
  codec: heartbeatApi,
  minVersion: 0,
  maxVersion: 4,
  async handle(context, request) {
    const { groupId, memberId, groupInstanceId, generationId } = request;
    const member = { groupId, memberId, groupInstanceId, generationId };
    return { errorCode: await context.services.groups.heartbeat(member) };
  },
  failure: (_request, _version, errorCode) => ({ errorCode }),
};
