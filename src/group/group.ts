import { assert, unreachable } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { coordinatorErrorOf } from "./append-error.ts";
import type { GroupConfig } from "./config.ts";
import { join, staticMemberPersisted } from "./group-join.ts";
import type { CoordinatedGroup } from "./group-kinds.ts";
import {
  completeJoinIfAllJoined,
  deliverAssignments,
  dropMember,
  onJoinTimer,
  onSessionTimer,
  onSyncTimer,
  prepareRebalance,
  rebalanceOrComplete,
  resetAssignments,
  syncReceived,
} from "./group-rebalance.ts";
import { consumerProtocolType, GroupState, type PendingPersist } from "./group-state.ts";
import type {
  CommitEvent,
  GroupEffect,
  GroupEvent,
  GroupSnapshot,
  HeartbeatEvent,
  LeaveEvent,
  LeavingMember,
  SyncEvent,
} from "./group-types.ts";
import { emptyBytes } from "./member.ts";
import type { ExpiryRule } from "./offsets.ts";
import type { OffsetsRecord } from "./ports.ts";
import { encodeGroup } from "./records.ts";

/**
 * One classic consumer group: (state, event, time) → new state and effects. Pure: it reads no
 * clock, waits for nothing and touches no log. Rules as in Apache Kafka 4.3's group coordinator.
 */
export class ClassicGroup implements CoordinatedGroup {
  readonly kind = "classic";
  readonly state: GroupState;

  /** `nowMs` is wall-clock time: it is stored with the group. */
  constructor(groupId: string, config: GroupConfig, nowMs: number) {
    this.state = new GroupState(groupId, config, nowMs);
  }

  static restore(
    groupId: string,
    config: GroupConfig,
    snapshot: GroupSnapshot,
    nowMs: number,
  ): ClassicGroup {
    const group = new ClassicGroup(groupId, config, nowMs);
    group.state.restore(snapshot);
    return group;
  }

  get groupId(): string {
    return this.state.groupId;
  }

  get stateName(): string {
    return this.state.name;
  }

  get protocolType(): string {
    return this.state.protocolType ?? "";
  }

  get sizeBytes(): number {
    return this.state.sizeBytes;
  }

  get isVacant(): boolean {
    const { state } = this;
    return (
      state.name === "Empty" &&
      state.generationId === 0 &&
      state.pendingJoin.size === 0 &&
      state.pendingPersists.size === 0
    );
  }

  get isUnused(): boolean {
    const { state } = this;
    const isQuiet = state.pendingJoin.size === 0 && state.pendingPersists.size === 0;
    return state.name === "Empty" && isQuiet;
  }

  isSubscribedTo(topic: string): boolean {
    return this.state.isSubscribedTo(topic);
  }

  /**
   * A group that had members keeps its offsets until it has been empty for the retention time;
   * while it is stable, only offsets of topics it no longer reads age, from their commits. A simple
   * consumer's offsets always age from their commits.
   */
  expiryRule(): ExpiryRule | null {
    const { state } = this;
    if (state.protocolType === null) return { sinceMs: null };
    if (state.name === "Empty") {
      return { sinceMs: state.stateTimestampMs >= 0 ? state.stateTimestampMs : null };
    }
    const knowsTopics =
      state.protocolType === consumerProtocolType && state.subscribedTopics !== null;
    return state.name === "Stable" && knowsTopics ? { sinceMs: null } : null;
  }

  /** May a producer commit for this member? A group in rebalance does not matter then. */
  transactionalCommitError(member: Omit<CommitEvent, "kind" | "request">): number {
    const { state } = this;
    const isMember =
      member.generationId >= 0 || member.memberId !== "" || member.groupInstanceId !== null;
    if (!isMember || (member.generationId < 0 && state.name === "Empty")) return ErrorCode.NONE;
    const errorCode = checkMember(state, member);
    const isOutdated = member.generationId !== state.generationId;
    return errorCode === ErrorCode.NONE && isOutdated ? ErrorCode.ILLEGAL_GENERATION : errorCode;
  }

  tombstones(timestamp: number): OffsetsRecord[] {
    return [encodeGroup(this.groupId, null, timestamp)];
  }

  /** Takes one event; the effects are to be carried out in order. */
  step(event: GroupEvent, nowMs: number): GroupEffect[] {
    const { state } = this;
    switch (event.kind) {
      case "join":
        join(state, event, nowMs);
        break;
      case "sync":
        sync(state, event);
        break;
      case "heartbeat":
        heartbeat(state, event);
        break;
      case "leave":
        leave(state, event, nowMs);
        break;
      case "commit":
        commit(state, event);
        break;
      case "timer":
        onTimer(state, event.timer, nowMs);
        break;
      case "persisted":
        onPersisted(state, event.token, event.errorCode, nowMs);
        break;
      case "loaded":
        onLoaded(state, event.rebalances ?? false, nowMs);
        break;
      case "unload":
        unload(state, event.errorCode ?? ErrorCode.NOT_COORDINATOR, nowMs);
        break;
      default:
        unreachable(event);
    }
    return state.takeEffects();
  }
}

function sync(group: GroupState, event: SyncEvent): void {
  const errorCode = checkSync(group, event);
  if (errorCode !== ErrorCode.NONE) {
    refuseSync(group, event, errorCode);
    return;
  }
  const member = group.members.get(event.memberId);
  assert(member !== undefined, "checked above");
  syncReceived(group, event.memberId);
  group.parkSync(member, event.request);
  if (group.name === "Stable") {
    group.answerSync(member, ErrorCode.NONE);
    return;
  }
  if (group.leader !== event.memberId) return;
  const assignments = new Map<string, Uint8Array>();
  const given = new Map(event.assignments.map((one) => [one.memberId, one.assignment]));
  // Members the leader forgot get an empty assignment; ids it invented are dropped.
  for (const memberId of group.members.keys()) {
    assignments.set(memberId, given.get(memberId) ?? emptyBytes);
  }
  const { generationId } = group;
  group.persist({ kind: "assignment", generationId, assignments }, assignments);
}

function checkSync(group: GroupState, event: SyncEvent): number {
  if (group.name === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  if (group.name === "Empty") return ErrorCode.UNKNOWN_MEMBER_ID;
  const errorCode = checkMember(group, event);
  if (errorCode !== ErrorCode.NONE) return errorCode;
  if (event.generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION;
  const differs = (mine: string | null, theirs: string | null): boolean =>
    mine !== null && theirs !== null && mine !== theirs;
  if (
    differs(group.protocolType, event.protocolType) ||
    differs(group.protocolName, event.protocolName)
  ) {
    return ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
  }
  return group.name === "PreparingRebalance" ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
}

function refuseSync(group: GroupState, event: SyncEvent, errorCode: number): void {
  group.emit({
    kind: "respondSync",
    request: event.request,
    response: { errorCode, protocolType: null, protocolName: null, assignment: emptyBytes },
  });
}

function heartbeat(group: GroupState, event: HeartbeatEvent): void {
  group.emit({
    kind: "respondHeartbeat",
    request: event.request,
    errorCode: heartbeatResult(group, event),
  });
}

function heartbeatResult(group: GroupState, event: HeartbeatEvent): number {
  if (group.name === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  const errorCode = checkMember(group, event);
  if (errorCode !== ErrorCode.NONE) return errorCode;
  if (event.generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION;
  keepAlive(group, event.memberId);
  return group.name === "PreparingRebalance" ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
}

function leave(group: GroupState, event: LeaveEvent, nowMs: number): void {
  if (group.name === "Dead") {
    const response = { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, members: [] };
    group.emit({ kind: "respondLeave", request: event.request, response });
    return;
  }
  const members = event.members.map((member) => ({
    memberId: member.memberId,
    groupInstanceId: member.groupInstanceId,
    errorCode: leaveOne(group, member),
  }));
  if (members.some((member) => member.errorCode === ErrorCode.NONE)) {
    if (group.name === "PreparingRebalance") completeJoinIfAllJoined(group, nowMs);
    else if (group.name !== "Empty") rebalanceOrComplete(group, nowMs);
  }
  const response = { errorCode: ErrorCode.NONE, members };
  group.emit({ kind: "respondLeave", request: event.request, response });
}

function leaveOne(group: GroupState, leaving: LeavingMember): number {
  if (group.pendingJoin.has(leaving.memberId)) {
    group.endSession(leaving.memberId);
    group.remove(leaving.memberId);
    return ErrorCode.NONE;
  }
  // An administrator removes a static member by its instance id alone.
  const byInstance = leaving.memberId === "" && leaving.groupInstanceId !== null;
  const memberId = byInstance
    ? (group.staticMembers.get(leaving.groupInstanceId ?? "") ?? "")
    : leaving.memberId;
  const errorCode = checkMember(group, { memberId, groupInstanceId: leaving.groupInstanceId });
  const member = group.members.get(memberId);
  if (errorCode !== ErrorCode.NONE || member === undefined) return errorCode;
  dropMember(group, member);
  return ErrorCode.NONE;
}

function commit(group: GroupState, event: CommitEvent): void {
  const errorCode = commitResult(group, event);
  group.emit({ kind: "respondCommit", request: event.request, errorCode });
}

function commitResult(group: GroupState, event: CommitEvent): number {
  if (group.name === "Dead") return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  // A simple consumer or an administrator: allowed while nobody else owns the offsets.
  if (event.generationId < 0 && group.name === "Empty") return ErrorCode.NONE;
  const isMember =
    event.generationId >= 0 || event.memberId !== "" || event.groupInstanceId !== null;
  if (!isMember) return ErrorCode.UNKNOWN_MEMBER_ID;
  const errorCode = checkMember(group, event);
  if (errorCode !== ErrorCode.NONE) return errorCode;
  if (event.generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION;
  // The member has its new generation, not yet its assignment: it must not commit for the old one.
  if (group.name === "CompletingRebalance") return ErrorCode.REBALANCE_IN_PROGRESS;
  keepAlive(group, event.memberId);
  return ErrorCode.NONE;
}

/** Is this a member, and, for a static one, still the holder of its instance id? */
function checkMember(group: GroupState, member: LeavingMember): number {
  if (member.groupInstanceId !== null) {
    const holder = group.staticMembers.get(member.groupInstanceId);
    if (holder === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (holder !== member.memberId) return ErrorCode.FENCED_INSTANCE_ID;
  }
  return group.members.has(member.memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID;
}

function keepAlive(group: GroupState, memberId: string): void {
  const member = group.members.get(memberId);
  assert(member !== undefined, "only a checked member is kept alive");
  group.restartSession(member);
}

function onTimer(group: GroupState, timer: string, nowMs: number): void {
  if (timer === "join") {
    onJoinTimer(group, nowMs);
  } else if (timer === "sync") {
    onSyncTimer(group, nowMs);
  } else {
    const prefix = "session/";
    assert(timer.startsWith(prefix), `no such timer: ${timer}`);
    onSessionTimer(group, timer.slice(prefix.length), nowMs);
  }
}

function onPersisted(group: GroupState, token: number, appendError: number, nowMs: number): void {
  const pending = group.pendingPersists.get(token);
  assert(pending !== undefined, `no such write: ${token}`);
  group.pendingPersists.delete(token);
  const errorCode = coordinatorErrorOf(appendError);
  switch (pending.kind) {
    case "empty":
      // Should the write be lost, the old members come back at the next start and time out.
      break;
    case "assignment":
      assignmentPersisted(group, pending, errorCode, nowMs);
      break;
    case "staticMember":
      staticMemberPersisted(group, pending, errorCode);
      break;
    default:
      unreachable(pending);
  }
}

function assignmentPersisted(
  group: GroupState,
  pending: Extract<PendingPersist, { kind: "assignment" }>,
  errorCode: number,
  nowMs: number,
): void {
  // A rebalance may have begun while the write was under way; then nobody waits for it any more.
  if (group.name !== "CompletingRebalance" || group.generationId !== pending.generationId) return;
  if (errorCode === ErrorCode.NONE) {
    deliverAssignments(group, pending.assignments, nowMs);
    return;
  }
  resetAssignments(group, errorCode);
  rebalanceOrComplete(group, nowMs);
}

function onLoaded(group: GroupState, rebalances: boolean, nowMs: number): void {
  for (const member of group.members.values()) group.restartSession(member);
  // The limit may have been lowered since the group was stored.
  const isTooLarge = group.members.size > group.config.groupSizeMax;
  if (isTooLarge || rebalances) prepareRebalance(group, nowMs);
}

function unload(group: GroupState, errorCode: number, nowMs: number): void {
  for (const member of group.members.values()) {
    group.failJoin(member, member.memberId, errorCode);
    group.answerSync(member, errorCode);
    group.endSession(member.memberId);
  }
  for (const memberId of group.pendingJoin) group.endSession(memberId);
  group.emit({ kind: "cancelTimer", timer: "join" });
  group.emit({ kind: "cancelTimer", timer: "sync" });
  group.transitionTo("Dead", nowMs);
}
