import { ErrorCode } from "../protocol/error-code.ts";
import type { JoinRequest, LeaveRequest, MemberRequest, SyncRequest } from "./api-types.ts";
import { ConsumerGroup } from "./consumer-group.ts";
import { type Entry, isClassic } from "./entry.ts";
import { ClassicGroup } from "./group.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";
import type { GroupShards } from "./group-shards.ts";
import { joinFailure } from "./group-state.ts";
import type { JoinEvent, JoinResponse, LeaveResponse, SyncResponse } from "./group-types.ts";
import { emptyBytes, protocolBytes } from "./member.ts";
import type { GroupShard } from "./shard.ts";

/**
 * JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the requests of the classic protocol, to classic
 * groups and from classic members of consumer groups.
 */

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
  const event = (token: number): JoinEvent => {
    return { ...request, protocols, kind: "join", request: token, uuid: newUuid() };
  };
  for (;;) {
    const known = shard.find(groupId);
    if (known === null && memberId !== "") {
      return joinFailure(memberId, ErrorCode.UNKNOWN_MEMBER_ID);
    }
    // A member that rejoins brings what it had before; only newcomers need room.
    const hasRoom = isMember(known, memberId) || shards.hasRoomFor(protocolBytes(protocols));
    const entry = hasRoom ? (known ?? shard.create(groupId)) : null;
    if (entry === null || entry.isDeleting) {
      return joinFailure(memberId, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    }
    if (isClassic(entry) && !shard.records.isBusy(entry)) {
      const answer = shard.classic.ask(entry, "respondJoin", event);
      shard.dropIfVacant(entry);
      return (await answer).response;
    }
    const asked = await ask(shard, entry, (group, context) =>
      group.isUnused ? replaceEmpty(group, context) : group.join(event(0), context),
    );
    if (asked.kind === "answer") return asked.answer;
    if (asked.kind === "error") return joinFailure(memberId, asked.errorCode);
    if (asked.kind === "other") return joinFailure("", ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  }
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
  const event = (token: number) => {
    return { ...request, assignments, kind: "sync" as const, request: token };
  };
  for (;;) {
    const entry = shard.find(request.groupId);
    if (entry === null) return syncFailure(ErrorCode.UNKNOWN_MEMBER_ID);
    if (entry.isDeleting) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const bytes = assignments.reduce((sum, one) => sum + one.assignment.length, 0);
    if (!shards.hasRoomFor(bytes)) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    if (isClassic(entry) && !shard.records.isBusy(entry)) {
      return (await shard.classic.ask(entry, "respondSync", event)).response;
    }
    const asked = await ask(shard, entry, (group, context) => group.sync(event(0), context));
    if (asked.kind === "answer") return asked.answer;
    if (asked.kind === "error") return syncFailure(asked.errorCode);
    if (asked.kind === "other") return syncFailure(ErrorCode.UNKNOWN_MEMBER_ID);
  }
}

/** Resolves with an ErrorCode. */
export async function heartbeat(shards: GroupShards, request: MemberRequest): Promise<number> {
  const lookup = shards.ready(request.groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  // While the group is being read nobody's session runs out: all is well.
  if (errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) return ErrorCode.NONE;
  if (errorCode !== ErrorCode.NONE) return errorCode;
  const event = (token: number) => ({ ...request, kind: "heartbeat" as const, request: token });
  for (;;) {
    const entry = shard.find(request.groupId);
    if (entry === null) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (isClassic(entry) && !shard.records.isBusy(entry)) {
      return (await shard.classic.ask(entry, "respondHeartbeat", event)).errorCode;
    }
    const asked = await ask(shard, entry, (group, context) =>
      group.classicHeartbeat(event(0), context),
    );
    if (asked.kind === "answer") return asked.answer;
    if (asked.kind === "error") return asked.errorCode;
    if (asked.kind === "other") return ErrorCode.UNKNOWN_MEMBER_ID;
  }
}

/** Answered when what the departure changes in the log is durable. */
export async function leaveGroup(
  shards: GroupShards,
  request: LeaveRequest,
): Promise<LeaveResponse> {
  const { groupId, members } = request;
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return { errorCode, members: [] };
  const unknown = { errorCode: ErrorCode.UNKNOWN_MEMBER_ID };
  const nobody = { errorCode, members: members.map((one) => ({ ...one, ...unknown })) };
  for (;;) {
    const entry = shard.find(groupId);
    if (entry === null) return nobody;
    if (entry.isDeleting) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, members: [] };
    if (isClassic(entry) && !shard.records.isBusy(entry)) {
      const answer = shard.classic.ask(entry, "respondLeave", (token) => {
        return { kind: "leave", request: token, members };
      });
      shard.dropIfVacant(entry);
      return (await answer).response;
    }
    const asked = await ask(shard, entry, (group, context) => group.leave(members, context));
    if (asked.kind === "answer") return asked.answer;
    if (asked.kind === "error") return { errorCode: asked.errorCode, members: [] };
    if (asked.kind === "other") return nobody;
  }
}

type Asked<Answer> =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "error"; readonly errorCode: number }
  /** It is a classic group now: ask that. */
  | { readonly kind: "moved" }
  /** It is a group of a kind that has no classic members. */
  | { readonly kind: "other" };

/** Asks a consumer group when its turn comes; a null answer: the group is another one now. */
async function ask<Answer>(
  shard: GroupShard,
  entry: Entry,
  step: (group: ConsumerGroup, context: StepContext) => RecordStep<Answer | null>,
): Promise<Asked<Answer>> {
  const { errorCode, answer } = await shard.records.run<Answer | null>(entry, (context) => {
    const { group } = entry;
    if (group instanceof ConsumerGroup) return step(group, context);
    return { answer: null, records: [], timers: [], undo: () => undefined };
  });
  if (errorCode !== ErrorCode.NONE) return { kind: "error", errorCode };
  if (answer !== null) return { kind: "answer", answer };
  return isClassic(entry) ? { kind: "moved" } : { kind: "other" };
}

/** A consumer group without members makes room for a classic one. */
function replaceEmpty(group: ConsumerGroup, context: StepContext): RecordStep<JoinResponse | null> {
  const { config, nowMs } = context;
  const undo = (): void => undefined;
  const becomes = { group: new ClassicGroup(group.groupId, config, nowMs), rebalances: false };
  return { answer: null, records: group.tombstones(nowMs), timers: [], undo, becomes };
}

/** A member that is in the group already brings what it had before. */
function isMember(entry: Entry | null, memberId: string): boolean {
  if (entry === null) return false;
  if (isClassic(entry)) return entry.group.state.members.has(memberId);
  return entry.group instanceof ConsumerGroup && entry.group.state.members.has(memberId);
}

function syncFailure(errorCode: number): SyncResponse {
  return { errorCode, protocolType: null, protocolName: null, assignment: emptyBytes };
}
