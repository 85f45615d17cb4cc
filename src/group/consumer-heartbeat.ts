import { ErrorCode } from "../protocol/error-code.ts";
import type { ConsumerDraft } from "./consumer-draft.ts";
import { fenceMembers } from "./consumer-fence.ts";
import {
  type ConsumerMember,
  distinctNames,
  type MemberMetadata,
  newMember,
  type OwnedPartitions,
  sameMetadata,
  sameNames,
  sameOwned,
  staticLeaveEpoch,
} from "./consumer-member.ts";
import { memberOf, reconcileMember, updateEpoch, updateTarget } from "./consumer-rebalance.ts";
import { type RegexMatch, updateRegexes } from "./consumer-regexes.ts";
import { consumerSettings } from "./consumer-settings.ts";
import { type ReportedPartitions, unknownStateError } from "./current-assignment.ts";
import type { RecordStep } from "./group-kinds.ts";

/** ConsumerGroupHeartbeat, free of wire versions; its form was checked before. */
export interface ConsumerHeartbeat {
  /** Never empty: who sends none is given one. */
  readonly memberId: string;
  /** 0 joins, −1 leaves, −2 leaves for a while (static members). */
  readonly memberEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  /** −1: as before. */
  readonly rebalanceTimeoutMs: number;
  /** null: as before. */
  readonly topicNames: readonly string[] | null;
  readonly topicRegex: string | null;
  readonly serverAssignor: string | null;
  /** Partitions the member holds; null: as before. */
  readonly reported: ReportedPartitions;
  readonly clientId: string;
  readonly clientHost: string;
  /** What was found for `topicRegex` beforehand. */
  readonly match?: RegexMatch;
}

export interface ConsumerHeartbeatAnswer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly memberId: string | null;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  /** null: as before. */
  readonly assignment: OwnedPartitions | null;
}

export function heartbeatFailure(
  errorCode: number,
  errorMessage: string | null,
): ConsumerHeartbeatAnswer {
  const nobody = { memberId: null, memberEpoch: 0, heartbeatIntervalMs: 0, assignment: null };
  return { errorCode, errorMessage, ...nobody };
}

/** Why a step was refused. */
export interface Refusal {
  readonly errorCode: number;
  readonly errorMessage: string;
}

type Step = RecordStep<ConsumerHeartbeatAnswer>;

/** Joins, or goes on being a member: update it, update the target, take one step towards it. */
export function memberHeartbeat(
  draft: ConsumerDraft,
  request: ConsumerHeartbeat,
  topicsChanged: boolean,
): Step {
  const refuse = ({ errorCode, errorMessage }: Refusal): Step =>
    draft.refuse(heartbeatFailure(errorCode, errorMessage));
  const { state, context } = draft;
  const full = refuseIfFull(draft, request.memberId);
  if (full !== null) return refuse(full);
  const found =
    request.instanceId === null
      ? dynamicMember(draft, request)
      : staticMember(draft, request, request.instanceId);
  if ("errorCode" in found) return refuse(found);

  const { memberId } = request;
  const metadata = updatedMetadata(found, request);
  const isNew = draft.member(memberId) === null;
  if (isNew || !sameMetadata(found, metadata)) draft.setMetadata(memberId, metadata);
  const namesChanged = !sameNames(found.topicNames, metadata.topicNames);
  const regexes = updateRegexes(draft, found, metadata, request.match ?? null);
  if (regexes.kind === "invalid") {
    const why = `SubscribedTopicRegex \`${metadata.topicRegex}\` is not a valid regular expression`;
    const errorMessage = `${why}: ${regexes.reason}.`;
    return refuse({ errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION, errorMessage });
  }
  const mustBump = namesChanged || regexes.bumps;
  if (mustBump || topicsChanged) updateEpoch(draft, mustBump);
  updateTarget(draft);
  const hasSubscriptionChanged = namesChanged || regexes.changed;
  if (!reconcileMember(draft, memberId, hasSubscriptionChanged, request.reported)) {
    return refuse({ errorCode: unknownStateError, errorMessage: rejoinMessage });
  }
  const settings = consumerSettings(state.groupId, context);
  draft.setTimer(`session/${memberId}`, settings.sessionTimeoutMs);
  const member = memberOf(draft, memberId);
  const hasChanged = !sameOwned(found.assigned, member.assigned);
  return draft.done({
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    memberId,
    memberEpoch: member.epoch,
    heartbeatIntervalMs: settings.heartbeatIntervalMs,
    assignment: hasChanged || isFullRequest(request) ? member.assigned : null,
  });
}

/** Leaves for good, or (static members, −2) keeps its partitions until it is back. */
export function memberLeaves(draft: ConsumerDraft, request: ConsumerHeartbeat): Step {
  const { memberId, instanceId, memberEpoch } = request;
  const answer = { ...heartbeatFailure(ErrorCode.NONE, null), memberId, memberEpoch };
  const { state } = draft;
  let member: ConsumerMember | null;
  if (instanceId === null) {
    member = draft.member(memberId);
    if (member === null) return refused(draft, unknownMember(draft, memberId));
  } else {
    member = state.staticMember(instanceId);
    if (member === null) return refused(draft, unknownInstance(instanceId));
    if (member.memberId !== memberId) return refused(draft, fencedInstance(request, member));
  }
  if (instanceId === null || memberEpoch !== staticLeaveEpoch) {
    return fenceMembers(draft, [member], answer);
  }
  const assigned = new Map<string, ReadonlyMap<number, number>>();
  for (const [topicId, partitions] of member.assigned) {
    assigned.set(topicId, new Map([...partitions.keys()].map((partition) => [partition, 0])));
  }
  draft.setCurrent(memberId, {
    epoch: staticLeaveEpoch,
    previousEpoch: member.previousEpoch,
    state: member.state,
    assigned,
    pendingRevocation: new Map(),
  });
  return draft.done(answer);
}

export function refuseIfFull(draft: ConsumerDraft, memberId: string): Refusal | null {
  const { members } = draft.state;
  const { maxSize } = draft.context.config.consumer;
  if (members.size < maxSize || members.has(memberId)) return null;
  const errorMessage = `The consumer group has reached its maximum capacity of ${maxSize} members.`;
  return { errorCode: ErrorCode.GROUP_MAX_SIZE_REACHED, errorMessage };
}

/** A copy of a static member under a new id takes its place, its target and its partitions. */
export function replaceStaticMember(
  draft: ConsumerDraft,
  old: ConsumerMember,
  memberId: string,
): ConsumerMember {
  const target = draft.state.targetOf(old.memberId);
  const member = { ...old, memberId, epoch: 0, previousEpoch: 0 };
  draft.removeMember(old.memberId);
  draft.cancelTimers(old.memberId);
  draft.setMetadata(memberId, member);
  draft.change({ type: "target", memberId, value: target });
  draft.setCurrent(memberId, member);
  return memberOf(draft, memberId);
}

export function unknownMember({ state }: ConsumerDraft, memberId: string): Refusal {
  const errorMessage = `Member ${memberId} is not a member of group ${state.groupId}.`;
  return { errorCode: ErrorCode.UNKNOWN_MEMBER_ID, errorMessage };
}

function unknownInstance(instanceId: string): Refusal {
  const errorMessage = `Instance id ${instanceId} is unknown.`;
  return { errorCode: ErrorCode.UNKNOWN_MEMBER_ID, errorMessage };
}

function fencedInstance(
  { memberId, instanceId }: Pick<ConsumerHeartbeat, "memberId" | "instanceId">,
  holder: ConsumerMember,
): Refusal {
  const errorMessage =
    `Static member ${memberId} with instance id ${instanceId} was fenced by member ` +
    `${holder.memberId}.`;
  return { errorCode: ErrorCode.FENCED_INSTANCE_ID, errorMessage };
}

function refused(draft: ConsumerDraft, { errorCode, errorMessage }: Refusal): Step {
  return draft.refuse(heartbeatFailure(errorCode, errorMessage));
}

function dynamicMember(draft: ConsumerDraft, request: ConsumerHeartbeat): ConsumerMember | Refusal {
  const member = draft.member(request.memberId);
  if (member !== null) return checkEpoch(member, request) ?? member;
  if (request.memberEpoch === 0) return newMember(request.memberId);
  return unknownMember(draft, request.memberId);
}

function staticMember(
  draft: ConsumerDraft,
  request: ConsumerHeartbeat,
  instanceId: string,
): ConsumerMember | Refusal {
  const { memberId } = request;
  const holder = draft.state.staticMember(instanceId);
  if (request.memberEpoch !== 0) {
    if (holder === null) return unknownInstance(instanceId);
    if (holder.memberId !== memberId) return fencedInstance(request, holder);
    return checkEpoch(holder, request) ?? holder;
  }
  if (holder === null) return draft.member(memberId) ?? newMember(memberId);
  if (holder.classic === null && holder.epoch !== staticLeaveEpoch) {
    const errorMessage =
      `Static member ${memberId} with instance id ${instanceId} cannot join the group because ` +
      `the instance id is owned by ${holder.memberId} member.`;
    return { errorCode: ErrorCode.UNRELEASED_INSTANCE_ID, errorMessage };
  }
  return replaceStaticMember(draft, holder, memberId);
}

const rejoinMessage = "The member must abandon all its partitions and rejoin.";

/** A member one epoch behind, with nothing it should not have, did not get the last answer. */
function checkEpoch(member: ConsumerMember, request: ConsumerHeartbeat): Refusal | null {
  const { memberEpoch, reported } = request;
  if (memberEpoch === 0 || memberEpoch === member.epoch) return null;
  const isBehind = memberEpoch < member.epoch;
  const lostAnswer = isBehind && memberEpoch === member.previousEpoch;
  if (lostAnswer && holdsOnly(reported, member.assigned)) return null;
  const errorMessage =
    `The consumer group member has a ${isBehind ? "smaller" : "greater"} member epoch ` +
    `(${memberEpoch}) than the one known by the group coordinator (${member.epoch}). ` +
    rejoinMessage;
  return { errorCode: ErrorCode.FENCED_MEMBER_EPOCH, errorMessage };
}

function holdsOnly(reported: ReportedPartitions, assigned: OwnedPartitions): boolean {
  if (reported === null) return false;
  for (const [topicId, partitions] of reported) {
    const mine = assigned.get(topicId);
    if (mine === undefined || !partitions.every((one) => mine.has(one))) return false;
  }
  return true;
}

function updatedMetadata(member: ConsumerMember, request: ConsumerHeartbeat): MemberMetadata {
  const { rebalanceTimeoutMs, topicNames } = request;
  return {
    instanceId: request.instanceId ?? member.instanceId,
    rackId: request.rackId ?? member.rackId,
    clientId: request.clientId,
    clientHost: request.clientHost,
    topicNames: topicNames === null ? member.topicNames : distinctNames(topicNames),
    topicRegex: request.topicRegex ?? member.topicRegex,
    rebalanceTimeoutMs: rebalanceTimeoutMs < 0 ? member.rebalanceTimeoutMs : rebalanceTimeoutMs,
    serverAssignor: request.serverAssignor ?? member.serverAssignor,
    classic: null,
  };
}

/** A member that joins or is not sure of its state sends all there is to say. */
function isFullRequest(request: ConsumerHeartbeat): boolean {
  if (request.memberEpoch === 0) return true;
  const subscribes = request.topicNames !== null || request.topicRegex !== null;
  return request.rebalanceTimeoutMs !== -1 && subscribes && request.reported !== null;
}
