import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { ConsumerDraft } from "./consumer-draft.ts";
import { allowsDowngrade, fenceMembers } from "./consumer-fence.ts";
import { refuseIfFull, replaceStaticMember } from "./consumer-heartbeat.ts";
import {
  type ClassicMetadata,
  type ConsumerMember,
  distinctNames,
  type MemberMetadata,
  MemberState,
  newMember,
  sameMetadata,
  sameNames,
} from "./consumer-member.ts";
import { downgradeOf } from "./consumer-migration.ts";
import {
  decodeSubscription,
  encodeAssignment,
  topicsById,
  versionOf,
} from "./consumer-protocol.ts";
import { memberOf, reconcileMember, updateEpoch, updateTarget } from "./consumer-rebalance.ts";
import { updateRegexes } from "./consumer-regexes.ts";
import type { ConsumerState } from "./consumer-state.ts";
import type { RecordStep } from "./group-kinds.ts";
import { consumerProtocolType, joinFailure } from "./group-state.ts";
import type {
  HeartbeatEvent,
  JoinEvent,
  JoinResponse,
  LeaveResponse,
  LeavingMember,
  SyncEvent,
  SyncResponse,
} from "./group-types.ts";
import { distinctProtocols, emptyBytes } from "./member.ts";

/**
 * Members that still speak the classic protocol inside a consumer group: their JoinGroup is
 * answered at once, their generation is their member epoch, and SyncGroup brings what the
 * coordinator assigned.
 */
export function classicJoin(
  draft: ConsumerDraft,
  event: JoinEvent,
  topicsChanged: boolean,
): RecordStep<JoinResponse> {
  const refuse = (errorCode: number, memberId = ""): RecordStep<JoinResponse> =>
    draft.refuse(joinFailure(memberId, errorCode));
  const { state, context } = draft;
  const protocols = distinctProtocols(event.protocols);
  const memberId = event.memberId === "" ? event.uuid : event.memberId;
  const isDisabled = context.config.consumer.migrationPolicy === "disabled";
  const [preferred] = protocols;
  if (isDisabled || preferred === undefined || !supports(state, event.protocolType, protocols)) {
    return refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  }
  const full = refuseIfFull(draft, memberId);
  if (full !== null) return refuse(full.errorCode);
  const mustHaveId = event.requiresMemberId && event.groupInstanceId === null;
  if (mustHaveId && event.memberId === "") return refuse(ErrorCode.MEMBER_ID_REQUIRED, memberId);
  const subscription = decodeSubscription(preferred.metadata);
  if (subscription === null) return refuse(ErrorCode.UNKNOWN_SERVER_ERROR);

  const replaced =
    event.groupInstanceId === null ? null : state.staticMember(event.groupInstanceId);
  const isLastOfItsKind =
    replaced !== null &&
    replaced.classic === null &&
    state.classicCount === state.members.size - 1 &&
    allowsDowngrade(context, state.members.size);
  const found = joiningMember(draft, event, memberId);
  if (typeof found === "number") return refuse(found);
  const classic = { sessionTimeoutMs: event.sessionTimeoutMs, protocols };
  const metadata = joinedMetadata(found, event, classic, subscription);
  const isNew = draft.member(memberId) === null;
  if (isNew || !sameMetadata(found, metadata)) draft.setMetadata(memberId, metadata);
  const regexes = updateRegexes(draft, found, metadata, null);
  const isChanged =
    !sameNames(found.topicNames, metadata.topicNames) ||
    (regexes.kind === "updated" && (regexes.changed || regexes.bumps));
  if (isChanged || topicsChanged) updateEpoch(draft, isChanged);
  const rebalances = state.targetEpoch.epoch < state.group.epoch;
  if (!isLastOfItsKind) updateTarget(draft);
  if (!isLastOfItsKind || !rebalances) {
    const reported = topicsById(subscription.ownedPartitions, context.topics);
    if (!reconcileMember(draft, memberId, isChanged, reported)) {
      return refuse(ErrorCode.UNKNOWN_MEMBER_ID);
    }
  }
  const response = joinResponse(memberOf(draft, memberId), preferred.name);
  const downgrade = isLastOfItsKind ? downgradeOf(draft, new Set(), rebalances) : null;
  if (downgrade !== null) return draft.doneAs(response, downgrade);
  draft.cancelTimer(`join/${memberId}`);
  draft.setTimer(`session/${memberId}`, event.sessionTimeoutMs);
  draft.setTimer(`sync/${memberId}`, metadata.rebalanceTimeoutMs);
  return draft.done(response);
}

export function classicSync(draft: ConsumerDraft, event: SyncEvent): RecordStep<SyncResponse> {
  const { state, context } = draft;
  const refuse = (errorCode: number): RecordStep<SyncResponse> =>
    draft.done({ errorCode, protocolType: null, protocolName: null, assignment: emptyBytes });
  const member = classicMember(draft, event);
  if (typeof member === "number") return refuse(member);
  const { classic, memberId, epoch } = member;
  const [preferred] = classic.protocols;
  assert(preferred !== undefined, "a classic member offers a protocol");
  if (epoch !== event.generationId) return refuse(ErrorCode.ILLEGAL_GENERATION);
  const { protocolType, protocolName } = event;
  const isOther = protocolType !== null && protocolType !== consumerProtocolType;
  if (isOther || (protocolName !== null && protocolName !== preferred.name)) {
    return refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  }
  // One that has to revoke first has rejoined already: it gets what it may keep.
  const isRevoking = member.state === MemberState.UNREVOKED_PARTITIONS;
  if (state.targetEpoch.epoch > epoch && !isRevoking) {
    draft.startTimer(`join/${memberId}`, member.rebalanceTimeoutMs);
    return refuse(ErrorCode.REBALANCE_IN_PROGRESS);
  }
  draft.cancelTimer(`sync/${memberId}`);
  draft.setTimer(`session/${memberId}`, classic.sessionTimeoutMs);
  const version = versionOf(preferred.metadata);
  const assignment = encodeAssignment(member.assigned, version, context.topics);
  return draft.done({ errorCode: ErrorCode.NONE, protocolType, protocolName, assignment });
}

/** Answers with an ErrorCode; REBALANCE_IN_PROGRESS asks the member to join again. */
export function classicHeartbeat(draft: ConsumerDraft, event: HeartbeatEvent): RecordStep<number> {
  const { state } = draft;
  const member = classicMember(draft, event);
  if (typeof member === "number") return draft.done(member);
  const { memberId, epoch, classic } = member;
  if (epoch !== event.generationId) return draft.done(ErrorCode.ILLEGAL_GENERATION);
  draft.setTimer(`session/${memberId}`, classic.sessionTimeoutMs);
  const mustRejoin =
    epoch < state.targetEpoch.epoch ||
    member.state === MemberState.UNREVOKED_PARTITIONS ||
    (member.state === MemberState.UNRELEASED_PARTITIONS && !isWaiting(state, member));
  if (!mustRejoin) return draft.done(ErrorCode.NONE);
  draft.startTimer(`join/${memberId}`, member.rebalanceTimeoutMs);
  return draft.done(ErrorCode.REBALANCE_IN_PROGRESS);
}

/** LeaveGroup: by member id, or (an administrator) by instance id alone. */
export function classicLeave(
  draft: ConsumerDraft,
  leaving: readonly LeavingMember[],
): RecordStep<LeaveResponse> {
  const { state } = draft;
  const gone = new Map<string, ConsumerMember>();
  const members = leaving.map(({ memberId, groupInstanceId }) => {
    const errorCode = ((): number => {
      const member =
        groupInstanceId === null ? draft.member(memberId) : state.staticMember(groupInstanceId);
      if (member === null) return ErrorCode.UNKNOWN_MEMBER_ID;
      const isFenced = memberId !== "" && member.memberId !== memberId;
      if (groupInstanceId !== null && isFenced) return ErrorCode.FENCED_INSTANCE_ID;
      gone.set(member.memberId, member);
      return ErrorCode.NONE;
    })();
    return { memberId, groupInstanceId, errorCode };
  });
  return fenceMembers(draft, [...gone.values()], { errorCode: ErrorCode.NONE, members });
}

type ClassicConsumerMember = ConsumerMember & { readonly classic: ClassicMetadata };

/** The member, or why there is none that speaks the classic protocol under this name. */
function classicMember(
  { state }: ConsumerDraft,
  { memberId, groupInstanceId }: LeavingMember,
): ClassicConsumerMember | number {
  const member =
    groupInstanceId === null
      ? (state.members.get(memberId) ?? null)
      : state.staticMember(groupInstanceId);
  if (member === null) return ErrorCode.UNKNOWN_MEMBER_ID;
  if (member.memberId !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
  const { classic } = member;
  return classic === null ? ErrorCode.UNKNOWN_MEMBER_ID : { ...member, classic };
}

function joiningMember(
  draft: ConsumerDraft,
  event: JoinEvent,
  memberId: string,
): ConsumerMember | number {
  const { groupInstanceId } = event;
  if (groupInstanceId === null) return draft.member(memberId) ?? newMember(memberId);
  const holder = draft.state.staticMember(groupInstanceId);
  if (event.memberId !== "") {
    if (holder === null) return ErrorCode.UNKNOWN_MEMBER_ID;
    return holder.memberId === memberId ? holder : ErrorCode.FENCED_INSTANCE_ID;
  }
  return holder === null ? newMember(memberId) : replaceStaticMember(draft, holder, memberId);
}

function joinedMetadata(
  member: ConsumerMember,
  event: JoinEvent,
  classic: ClassicMetadata,
  subscription: { readonly topics: readonly string[]; readonly rackId: string | null },
): MemberMetadata {
  const { rackId } = subscription;
  const { rebalanceTimeoutMs, sessionTimeoutMs } = event;
  return {
    instanceId: event.groupInstanceId ?? member.instanceId,
    rackId: rackId === null || rackId === "" ? member.rackId : rackId,
    clientId: event.clientId,
    clientHost: event.clientHost,
    topicNames: distinctNames(subscription.topics),
    topicRegex: "",
    // −1 stands for "not given" (JoinGroup v0).
    rebalanceTimeoutMs: rebalanceTimeoutMs < 0 ? sessionTimeoutMs : rebalanceTimeoutMs,
    serverAssignor: member.serverAssignor,
    classic,
  };
}

/** May a member with these protocols be beside the classic members that are here? */
function supports(
  state: ConsumerState,
  protocolType: string,
  protocols: readonly { readonly name: string }[],
): boolean {
  if (protocolType !== consumerProtocolType) return false;
  return protocols.some(
    ({ name }) => (state.classicProtocolCounts.get(name) ?? 0) === state.classicCount,
  );
}

function joinResponse(member: ConsumerMember, protocolName: string): JoinResponse {
  return {
    errorCode: ErrorCode.NONE,
    memberId: member.memberId,
    generationId: member.epoch,
    protocolType: consumerProtocolType,
    protocolName,
    // Nobody leads: the coordinator assigns.
    leader: "",
    skipAssignment: false,
    members: [],
  };
}

/** Does someone else still hold a partition the member is to get? */
function isWaiting(state: ConsumerState, member: ConsumerMember): boolean {
  for (const [topicId, partitions] of state.targetOf(member.memberId)) {
    const assigned = member.assigned.get(topicId);
    for (const partition of partitions) {
      const isMissing = !assigned?.has(partition);
      if (isMissing && state.partitionEpoch(topicId, partition) !== -1) return true;
    }
  }
  return false;
}
