import { ErrorCode } from "../protocol/error-code.ts";
import type { GroupState } from "./group-state.ts";
import { emptyBytes, type Member } from "./member.ts";

/** The phases of a rebalance: collect the members, start a generation, hand out the assignment. */

/** Starts a rebalance if the state allows one, else looks whether the running one can go on. */
export function rebalanceOrComplete(group: GroupState, nowMs: number): void {
  if (group.canRebalance()) prepareRebalance(group, nowMs);
  else completeJoinIfAllJoined(group, nowMs);
}

export function prepareRebalance(group: GroupState, nowMs: number): void {
  if (group.name === "CompletingRebalance") {
    resetAssignments(group, ErrorCode.REBALANCE_IN_PROGRESS);
  }
  endSyncPhase(group);
  const isInitial = group.name === "Empty";
  if (isInitial) startInitialDelay(group);
  group.transitionTo("PreparingRebalance", nowMs);
  // A new group gives others time to come; the join timer ends that wait, not the last member.
  if (isInitial) return;
  if (group.hasAllMembersJoined()) completeJoin(group, nowMs);
  else setJoinTimer(group, group.rebalanceTimeoutMs());
}

export function completeJoinIfAllJoined(group: GroupState, nowMs: number): void {
  if (group.name !== "PreparingRebalance" || group.previous === "Empty") return;
  if (group.hasAllMembersJoined()) completeJoin(group, nowMs);
}

/** Ends the join phase: who has not rejoined is out, the others form the next generation. */
export function completeJoin(group: GroupState, nowMs: number): void {
  group.emit({ kind: "cancelTimer", timer: "join" });
  group.initialDelay = null;
  for (const member of [...group.members.values()]) {
    // A static member may come back under its instance id, so only its session removes it.
    if (member.joinRequest === null && member.groupInstanceId === null) dropMember(group, member);
  }
  if (group.members.size > 0 && !electJoinedLeader(group)) {
    // Only absent static members are left: wait until they return or their sessions end.
    setJoinTimer(group, group.rebalanceTimeoutMs());
    return;
  }
  startGeneration(group, nowMs);
}

/** The join timer has run out. */
export function onJoinTimer(group: GroupState, nowMs: number): void {
  if (group.name !== "PreparingRebalance") return;
  const delay = group.initialDelay;
  if (delay === null || !group.newMemberAdded || delay.remainingMs === 0) {
    completeJoin(group, nowMs);
    return;
  }
  group.newMemberAdded = false;
  const delayMs = Math.min(group.config.initialRebalanceDelayMs, delay.remainingMs);
  const remainingMs = Math.max(delay.remainingMs - delay.delayMs, 0);
  group.initialDelay = { delayMs, remainingMs };
  setJoinTimer(group, delayMs);
}

/** Members that got a generation and never asked for their assignment are out. */
export function onSyncTimer(group: GroupState, nowMs: number): void {
  if (group.name !== "CompletingRebalance" && group.name !== "Stable") return;
  if (group.pendingSync.size === 0) return;
  for (const memberId of [...group.pendingSync]) {
    const member = group.members.get(memberId);
    if (member !== undefined) dropMember(group, member);
  }
  prepareRebalance(group, nowMs);
}

/** No heartbeat in time: a pending id is forgotten, a member leaves unless it waits for us. */
export function onSessionTimer(group: GroupState, memberId: string, nowMs: number): void {
  if (group.name === "Dead") return;
  if (group.pendingJoin.has(memberId)) {
    group.remove(memberId);
    completeRunningJoin(group, nowMs);
    return;
  }
  const member = group.members.get(memberId);
  if (member === undefined) return;
  const waitsForUs = member.joinRequest !== null || member.syncRequest !== null;
  // A new member's first join is limited in time, for its client cannot send heartbeats yet.
  if (waitsForUs && !member.isNew) return;
  dropMember(group, member);
  if (group.name === "Stable" || group.name === "CompletingRebalance") {
    rebalanceOrComplete(group, nowMs);
  } else {
    completeRunningJoin(group, nowMs);
  }
}

/** Removes a member, answers what it waits for (its id is unknown now) and ends its session. */
export function dropMember(group: GroupState, member: Member): void {
  group.failJoin(member, "", ErrorCode.UNKNOWN_MEMBER_ID);
  group.answerSync(member, ErrorCode.UNKNOWN_MEMBER_ID);
  group.endSession(member.memberId);
  group.remove(member.memberId);
}

/** The leader's assignment is durable: everyone who asked gets its part. */
export function deliverAssignments(
  group: GroupState,
  assignments: ReadonlyMap<string, Uint8Array>,
  nowMs: number,
): void {
  for (const member of group.members.values()) {
    group.setAssignment(member, assignments.get(member.memberId) ?? emptyBytes);
  }
  answerSyncs(group, ErrorCode.NONE);
  group.transitionTo("Stable", nowMs);
}

export function resetAssignments(group: GroupState, errorCode: number): void {
  for (const member of group.members.values()) group.setAssignment(member, emptyBytes);
  answerSyncs(group, errorCode);
}

/** A member has sent SyncGroup; when all have, nobody needs to be chased. */
export function syncReceived(group: GroupState, memberId: string): void {
  group.pendingSync.delete(memberId);
  if (group.pendingSync.size === 0) group.emit({ kind: "cancelTimer", timer: "sync" });
}

/** Joining went on without the one that has just gone. Ends an initial delay too, as Kafka does. */
function completeRunningJoin(group: GroupState, nowMs: number): void {
  if (group.name === "PreparingRebalance" && group.hasAllMembersJoined()) {
    completeJoin(group, nowMs);
  }
}

function startGeneration(group: GroupState, nowMs: number): void {
  group.generationId++;
  endSyncPhase(group);
  if (group.members.size === 0) {
    group.protocolName = null;
    group.refreshSubscribedTopics();
    group.transitionTo("Empty", nowMs);
    group.persist({ kind: "empty" }, null);
    return;
  }
  group.protocolName = group.selectProtocol();
  group.refreshSubscribedTopics();
  group.transitionTo("CompletingRebalance", nowMs);
  const joined = group.joinedMembers();
  for (const member of group.members.values()) {
    const isLeader = group.leader === member.memberId;
    group.answerJoin(member, group.joinResponse(member.memberId, isLeader ? joined : []));
    group.restartSession(member);
    member.isNew = false;
    group.pendingSync.add(member.memberId);
  }
  group.emit({ kind: "setTimer", timer: "sync", delayMs: group.rebalanceTimeoutMs() });
}

/** Keeps the leader if it rejoined, else takes the first member that did. */
function electJoinedLeader(group: GroupState): boolean {
  const leader = group.leader === null ? undefined : group.members.get(group.leader);
  if (leader !== undefined && leader.joinRequest !== null) return true;
  for (const member of group.members.values()) {
    if (member.joinRequest !== null) {
      group.leader = member.memberId;
      return true;
    }
  }
  return false;
}

function answerSyncs(group: GroupState, errorCode: number): void {
  for (const member of group.members.values()) {
    // The session stood still while the member waited for us.
    if (group.answerSync(member, errorCode)) group.restartSession(member);
  }
}

function startInitialDelay(group: GroupState): void {
  const delayMs = group.config.initialRebalanceDelayMs;
  const remainingMs = Math.max(group.rebalanceTimeoutMs() - delayMs, 0);
  group.newMemberAdded = false;
  group.initialDelay = { delayMs, remainingMs };
  setJoinTimer(group, delayMs);
}

function setJoinTimer(group: GroupState, delayMs: number): void {
  group.emit({ kind: "setTimer", timer: "join", delayMs });
}

function endSyncPhase(group: GroupState): void {
  if (group.pendingSync.size === 0) return;
  group.pendingSync.clear();
  group.emit({ kind: "cancelTimer", timer: "sync" });
}
