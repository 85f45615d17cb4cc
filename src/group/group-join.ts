import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  completeJoinIfAllJoined,
  dropMember,
  prepareRebalance,
  rebalanceOrComplete,
} from "./group-rebalance.ts";
import { type GroupState, joinFailure, type PendingPersist } from "./group-state.ts";
import type { JoinEvent, MemberProtocol } from "./group-types.ts";
import {
  distinctProtocols,
  emptyBytes,
  type Member,
  protocolBytes,
  sameProtocols,
} from "./member.ts";

/** JoinGroup: who may join, under which id, and whether that rebalances the group. */
export function join(group: GroupState, event: JoinEvent, nowMs: number): void {
  const protocols = distinctProtocols(event.protocols);
  const errorCode = checkJoin(group, event, protocols);
  if (errorCode !== ErrorCode.NONE) {
    refuse(group, event, event.memberId, errorCode);
  } else if (!hasRoomFor(group, event)) {
    refuseForSize(group, event, nowMs);
  } else if (!group.supports(event.protocolType, protocols)) {
    refuse(group, event, event.memberId, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  } else if (event.memberId === "") {
    joinNew(group, { ...event, protocols }, nowMs);
  } else {
    joinKnown(group, { ...event, protocols }, nowMs);
  }
}

/** The write of a returning static member is durable or has failed. */
export function staticMemberPersisted(
  group: GroupState,
  pending: Extract<PendingPersist, { kind: "staticMember" }>,
  errorCode: number,
): void {
  const member = group.members.get(pending.memberId);
  if (member === undefined || member.joinRequest !== pending.request) return;
  // A rebalance began meanwhile: the request counts as its join and is answered with it.
  if (group.name !== "Stable" || group.generationId !== pending.generationId) return;
  if (errorCode !== ErrorCode.NONE) {
    const failure = group.joinResponse("", []);
    group.answerJoin(member, { ...failure, leader: pending.previousLeader, errorCode });
    putBack(group, member, pending.replaced);
    return;
  }
  const isLeader = group.leader === member.memberId;
  // An old client that is told it leads would compute an assignment nobody asked for; so it is told
  // the id the leader had before, and fetches its old assignment like any follower.
  const response = pending.canSkipAssignment
    ? {
        ...group.joinResponse(member.memberId, isLeader ? group.joinedMembers() : []),
        skipAssignment: isLeader,
      }
    : { ...group.joinResponse(member.memberId, []), leader: pending.previousLeader };
  group.answerJoin(member, response);
  group.restartSession(member);
}

function checkJoin(
  group: GroupState,
  event: JoinEvent,
  protocols: readonly MemberProtocol[],
): number {
  const { sessionTimeoutMsMin, sessionTimeoutMsMax, memberMetadataBytesMax } = group.config;
  // Stored strings have a 16-bit length, which UTF-8 may reach with a third of the characters.
  const texts = [
    event.groupInstanceId ?? "",
    event.protocolType,
    ...protocols.map((one) => one.name),
  ];
  const { textCharsMax } = group.config;
  if (texts.some((text) => text.length > textCharsMax)) return ErrorCode.INVALID_REQUEST;
  if (event.sessionTimeoutMs < sessionTimeoutMsMin) return ErrorCode.INVALID_SESSION_TIMEOUT;
  if (event.sessionTimeoutMs > sessionTimeoutMsMax) return ErrorCode.INVALID_SESSION_TIMEOUT;
  if (protocolBytes(protocols) > memberMetadataBytesMax) return ErrorCode.INVALID_REQUEST;
  return group.name === "Dead" ? ErrorCode.COORDINATOR_NOT_AVAILABLE : ErrorCode.NONE;
}

/**
 * While members gather, those already waiting count: so a group above a lowered limit sheds the
 * last ones to rejoin. Afterwards the members count.
 */
function hasRoomFor(group: GroupState, event: JoinEvent): boolean {
  const { groupSizeMax } = group.config;
  // Taking over a static member's place adds nobody.
  if (event.groupInstanceId !== null && group.staticMembers.has(event.groupInstanceId)) return true;
  switch (group.name) {
    case "Empty":
    case "Dead":
      return true;
    case "PreparingRebalance": {
      const isWaiting = (group.members.get(event.memberId)?.joinRequest ?? null) !== null;
      return isWaiting || group.awaitingJoinCount < groupSizeMax;
    }
    default:
      return group.members.has(event.memberId) || group.members.size < groupSizeMax;
  }
}

function refuseForSize(group: GroupState, event: JoinEvent, nowMs: number): void {
  const member = group.members.get(event.memberId);
  if (member !== undefined) dropMember(group, member);
  else if (group.pendingJoin.has(event.memberId)) {
    group.endSession(event.memberId);
    group.remove(event.memberId);
  }
  refuse(group, event, "", ErrorCode.GROUP_MAX_SIZE_REACHED);
  completeJoinIfAllJoined(group, nowMs);
}

function joinNew(group: GroupState, event: JoinEvent, nowMs: number): void {
  const clientId = event.clientId.slice(0, group.config.textCharsMax);
  const newId = `${event.groupInstanceId ?? clientId}-${event.uuid}`;
  if (event.groupInstanceId !== null) {
    const oldId = group.staticMembers.get(event.groupInstanceId);
    const old = oldId === undefined ? undefined : group.members.get(oldId);
    if (old === undefined) addMember(group, event, newId, nowMs);
    else replaceStatic(group, event, old, newId, nowMs);
  } else if (!event.requiresMemberId) {
    addMember(group, event, newId, nowMs);
  } else if (group.pendingJoin.size >= group.config.pendingMembersMax) {
    refuse(group, event, "", ErrorCode.GROUP_MAX_SIZE_REACHED);
  } else {
    group.addPending(newId);
    const timer = `session/${newId}`;
    group.emit({ kind: "setTimer", timer, delayMs: event.sessionTimeoutMs });
    refuse(group, event, newId, ErrorCode.MEMBER_ID_REQUIRED);
  }
}

function joinKnown(group: GroupState, event: JoinEvent, nowMs: number): void {
  const { memberId, groupInstanceId } = event;
  if (group.pendingJoin.has(memberId) && groupInstanceId === null) {
    addMember(group, event, memberId, nowMs);
    return;
  }
  const holder = groupInstanceId === null ? memberId : group.staticMembers.get(groupInstanceId);
  const member = group.members.get(memberId);
  if (holder !== undefined && holder !== memberId) {
    refuse(group, event, memberId, ErrorCode.FENCED_INSTANCE_ID);
  } else if (holder === undefined || member === undefined) {
    refuse(group, event, memberId, ErrorCode.UNKNOWN_MEMBER_ID);
  } else {
    rejoin(group, event, member, nowMs);
  }
}

function rejoin(group: GroupState, event: JoinEvent, member: Member, nowMs: number): void {
  const isSame = sameProtocols(member.protocols, event.protocols);
  const isLeader = group.leader === member.memberId;
  // The answer to its last JoinGroup got lost: repeat it.
  const isRetry = group.name === "CompletingRebalance" && isSame;
  // A follower asks again although nothing changed. A leader that asks wants a new assignment.
  const isIdle = group.name === "Stable" && isSame && !isLeader;
  if (isRetry || isIdle) {
    const members = isLeader ? group.joinedMembers() : [];
    const response = group.joinResponse(member.memberId, members);
    group.emit({ kind: "respondJoin", request: event.request, response });
    return;
  }
  group.update(member, timeoutsAndProtocols(event));
  group.parkJoin(member, event.request);
  rebalanceOrComplete(group, nowMs);
}

function addMember(group: GroupState, event: JoinEvent, memberId: string, nowMs: number): void {
  const member: Member = {
    memberId,
    groupInstanceId: event.groupInstanceId,
    clientId: event.clientId.slice(0, group.config.textCharsMax),
    clientHost: event.clientHost,
    ...timeoutsAndProtocols(event),
    assignment: emptyBytes,
    joinRequest: event.request,
    syncRequest: null,
    isNew: true,
  };
  if (group.name === "PreparingRebalance" && group.previous === "Empty") {
    group.newMemberAdded = true;
  }
  group.add(member, event.protocolType);
  group.restartSession(member, group.config.newMemberJoinTimeoutMs);
  rebalanceOrComplete(group, nowMs);
}

/** A static member came back without its id: it takes over, and the old holder is fenced. */
function replaceStatic(
  group: GroupState,
  event: JoinEvent,
  old: Member,
  newId: string,
  nowMs: number,
): void {
  assert(event.groupInstanceId !== null, "a static member has an instance id");
  const previousLeader = group.leader ?? "";
  group.failJoin(old, old.memberId, ErrorCode.FENCED_INSTANCE_ID);
  group.answerSync(old, ErrorCode.FENCED_INSTANCE_ID);
  group.endSession(old.memberId);
  const replaced = { ...old };
  const member = group.replaceStatic(old, newId);
  group.update(member, timeoutsAndProtocols(event));
  group.restartSession(member);
  group.parkJoin(member, event.request);

  if (group.name === "PreparingRebalance") {
    completeJoinIfAllJoined(group, nowMs);
  } else if (group.name === "CompletingRebalance" || !keepsProtocol(group)) {
    // The leader may be assigning to the old id right now, which nobody would get.
    prepareRebalance(group, nowMs);
  } else {
    group.refreshSubscribedTopics();
    group.persist(
      {
        kind: "staticMember",
        request: event.request,
        generationId: group.generationId,
        groupInstanceId: event.groupInstanceId,
        memberId: newId,
        replaced,
        previousLeader,
        canSkipAssignment: event.canSkipAssignment,
      },
      null,
    );
  }
}

function keepsProtocol(group: GroupState): boolean {
  return group.selectProtocol() === group.protocolName;
}

function putBack(group: GroupState, member: Member, replaced: Member): void {
  group.endSession(member.memberId);
  const old = group.replaceStatic(member, replaced.memberId);
  group.update(old, replaced);
  group.refreshSubscribedTopics();
  group.restartSession(old);
}

function timeoutsAndProtocols(
  event: JoinEvent,
): Pick<Member, "protocols" | "rebalanceTimeoutMs" | "sessionTimeoutMs"> {
  const { protocols, sessionTimeoutMs, rebalanceTimeoutMs } = event;
  return {
    protocols,
    sessionTimeoutMs,
    // −1 stands for "not given" (JoinGroup v0).
    rebalanceTimeoutMs: rebalanceTimeoutMs < 0 ? sessionTimeoutMs : rebalanceTimeoutMs,
  };
}

function refuse(group: GroupState, event: JoinEvent, memberId: string, errorCode: number): void {
  const response = joinFailure(memberId, errorCode);
  group.emit({ kind: "respondJoin", request: event.request, response });
}
