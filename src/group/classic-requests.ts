import { ErrorCode } from "../protocol/error-code.ts";
import type { JoinRequest, LeaveRequest, MemberRequest, SyncRequest } from "./api-types.ts";
import { isClassic } from "./entry.ts";
import type { GroupShards } from "./group-shards.ts";
import { joinFailure } from "./group-state.ts";
import type { JoinResponse, LeaveResponse, SyncResponse } from "./group-types.ts";
import { emptyBytes, protocolBytes } from "./member.ts";

/** JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the requests of the classic protocol. */

/** Answered when the join phase is over, which may take the rebalance timeout. */
export async function joinGroup(
  shards: GroupShards,
  request: JoinRequest,
  newUuid: () => string,
): Promise<JoinResponse> {
  const { groupId, memberId, sessionTimeoutMs } = request;
  const { sessionTimeoutMsMin, sessionTimeoutMsMax } = shards.config;
  // The request's bytes are borrowed until the first await; what the group keeps is its own.
  const protocols = request.protocols.map((protocol) => ({
    name: protocol.name,
    metadata: new Uint8Array(protocol.metadata),
  }));
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return joinFailure(memberId, errorCode);
  if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
    return joinFailure(memberId, ErrorCode.INVALID_SESSION_TIMEOUT);
  }
  const known = shard.find(groupId);
  if (known !== null && !isClassic(known)) {
    return joinFailure(memberId, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  }
  if (known === null && memberId !== "") {
    return joinFailure(memberId, ErrorCode.UNKNOWN_MEMBER_ID);
  }
  // A member that rejoins brings what it had before; only newcomers need room.
  const isMember = known?.group.state.members.has(memberId) ?? false;
  const hasRoom = isMember || shards.hasRoomFor(protocolBytes(request.protocols));
  const entry = hasRoom ? (known ?? shard.create(groupId)) : null;
  if (entry === null || entry.isDeleting || !isClassic(entry)) {
    return joinFailure(memberId, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  }
  const uuid = newUuid();
  const answer = shard.classic.ask(entry, "respondJoin", (token) => ({
    ...request,
    protocols,
    kind: "join",
    request: token,
    uuid,
  }));
  shard.dropIfVacant(entry);
  return (await answer).response;
}

/** Answered when the leader's assignment is durable. */
export async function syncGroup(shards: GroupShards, request: SyncRequest): Promise<SyncResponse> {
  const assignments = request.assignments.map((one) => ({
    memberId: one.memberId,
    assignment: new Uint8Array(one.assignment),
  }));
  const lookup = shards.ready(request.groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return syncFailure(errorCode);
  const entry = shard.find(request.groupId);
  if (entry === null || !isClassic(entry)) return syncFailure(ErrorCode.UNKNOWN_MEMBER_ID);
  if (entry.isDeleting) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const bytes = request.assignments.reduce((sum, one) => sum + one.assignment.length, 0);
  if (!shards.hasRoomFor(bytes)) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const answer = await shard.classic.ask(entry, "respondSync", (token) => ({
    ...request,
    assignments,
    kind: "sync",
    request: token,
  }));
  return answer.response;
}

/** Resolves with an ErrorCode. */
export async function heartbeat(shards: GroupShards, request: MemberRequest): Promise<number> {
  const lookup = shards.ready(request.groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  // While the group is being read nobody's session runs out: all is well.
  if (errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) return ErrorCode.NONE;
  if (errorCode !== ErrorCode.NONE) return errorCode;
  const entry = shard.find(request.groupId);
  if (entry === null || !isClassic(entry)) return ErrorCode.UNKNOWN_MEMBER_ID;
  if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  const answer = await shard.classic.ask(entry, "respondHeartbeat", (token) => ({
    ...request,
    kind: "heartbeat",
    request: token,
  }));
  return answer.errorCode;
}

/** Answered when what the departure changes in the log is durable. */
export async function leaveGroup(
  shards: GroupShards,
  request: LeaveRequest,
): Promise<LeaveResponse> {
  const lookup = shards.ready(request.groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return { errorCode, members: [] };
  const entry = shard.find(request.groupId);
  if (entry === null || !isClassic(entry)) {
    const unknown = { errorCode: ErrorCode.UNKNOWN_MEMBER_ID };
    return { errorCode, members: request.members.map((one) => ({ ...one, ...unknown })) };
  }
  if (entry.isDeleting) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, members: [] };
  const { members } = request;
  const answer = shard.classic.ask(entry, "respondLeave", (token) => ({
    kind: "leave",
    request: token,
    members,
  }));
  shard.dropIfVacant(entry);
  return (await answer).response;
}

function syncFailure(errorCode: number): SyncResponse {
  return { errorCode, protocolType: null, protocolName: null, assignment: emptyBytes };
}
