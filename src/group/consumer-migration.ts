import type { ConsumerDraft, Downgrade } from "./consumer-draft.ts";
import {
  type ConsumerMember,
  distinctNames,
  type MemberMetadata,
  MemberState,
  type OwnedPartitions,
  type TargetPartitions,
} from "./consumer-member.ts";
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  versionOf,
} from "./consumer-protocol.ts";
import { encodeConsumerChange } from "./consumer-records.ts";
import { type ConsumerChange, ConsumerState } from "./consumer-state.ts";
import { metadataHash } from "./consumer-topics.ts";
import type { ClassicGroup } from "./group.ts";
import { ClassicGroup as Classic } from "./group.ts";
import type { StepContext } from "./group-kinds.ts";
import { consumerProtocolType } from "./group-state.ts";
import type { GroupSnapshot, MemberSnapshot } from "./group-types.ts";
import { type Member, metadataOf } from "./member.ts";
import type { OffsetsRecord } from "./ports.ts";
import { encodeGroup } from "./records.ts";

/** Classic groups that become consumer groups while their members run, and the way back. */

/**
 * A consumer group in the place of a classic one: everyone keeps what the last assignment gave, in
 * the epoch of the last generation. A text when that cannot be: why, as Kafka says it.
 */
export function upgraded(
  group: ClassicGroup,
  context: StepContext,
): { readonly state: ConsumerState; readonly changes: readonly ConsumerChange[] } | string {
  const { state: classic } = group;
  const { topics } = context;
  const epoch = classic.generationId;
  const state = new ConsumerState(group.groupId);
  const members: { memberId: string; metadata: MemberMetadata; target: TargetPartitions }[] = [];
  const protocolName = classic.protocolName ?? classic.selectProtocol();
  for (const member of classic.members.values()) {
    const subscription = decodeSubscription(metadataOf(member, protocolName));
    const isFresh = member.assignment.length === 0;
    const assignment = isFresh ? null : decodeAssignment(member.assignment, topics);
    if (subscription === null || (assignment === null && !isFresh)) {
      return "because the embedded consumer protocol is malformed.";
    }
    if (assignment?.hasUserData) {
      return (
        "because an unsupported custom assignor is in use. Please refer to the documentation or " +
        "switch to a default assignor before re-attempting the upgrade."
      );
    }
    members.push({
      memberId: member.memberId,
      metadata: classicMetadata(member, subscription.topics, subscription.rackId),
      target: assignment?.partitions ?? new Map(),
    });
  }
  const changes: ConsumerChange[] = [];
  const change = (one: ConsumerChange): void => {
    state.apply(one);
    changes.push(one);
  };
  for (const { memberId, metadata: value } of members) change({ type: "member", memberId, value });
  const hash = metadataHash(state.subscriptions, topics);
  change({ type: "group", value: { epoch, metadataHash: hash } });
  for (const { memberId, target: value } of members) change({ type: "target", memberId, value });
  change({ type: "targetEpoch", value: { epoch, timestampMs: 0 } });
  for (const { memberId, target } of members) {
    const value = {
      epoch,
      previousEpoch: epoch,
      state: MemberState.STABLE,
      assigned: ownedSince(target, epoch),
      pendingRevocation: new Map(),
    };
    change({ type: "current", memberId, value });
  }
  return { state, changes };
}

/** The classic group of the members that stay; null when one of them cannot be understood. */
export function downgradeOf(
  draft: ConsumerDraft,
  leaving: ReadonlySet<string>,
  rebalances: boolean,
): Downgrade | null {
  const { state, context } = draft;
  const members = [...state.members.values()].filter(({ memberId }) => !leaving.has(memberId));
  const protocolName = sharedProtocol(members);
  if (protocolName === null) return null;
  const stored: MemberSnapshot[] = [];
  for (const member of members) {
    const subscription = member.classic?.protocols.find(({ name }) => name === protocolName);
    if (subscription === undefined || member.classic === null) return null;
    const version = versionOf(subscription.metadata);
    stored.push({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeoutMs,
      sessionTimeoutMs: member.classic.sessionTimeoutMs,
      subscription: subscription.metadata,
      assignment: encodeAssignment(state.targetOf(member.memberId), version, context.topics),
    });
  }
  const snapshot: GroupSnapshot = {
    protocolType: consumerProtocolType,
    generationId: state.group.epoch,
    protocolName,
    leader: stored[0]?.memberId ?? null,
    stateTimestampMs: context.nowMs,
    members: stored,
  };
  const group = Classic.restore(state.groupId, context.config, snapshot, context.nowMs);
  const records = [
    ...consumerTombstones(state, context.nowMs),
    encodeGroup(state.groupId, snapshot, context.nowMs),
  ];
  return { group, rebalances, records };
}

/** Erases every record of the group. */
export function consumerTombstones(state: ConsumerState, timestamp: number): OffsetsRecord[] {
  const changes: ConsumerChange[] = [];
  const memberIds = [...state.members.keys()];
  const targetIds = new Set([...memberIds, ...state.targets.keys()]);
  for (const memberId of memberIds) changes.push({ type: "current", memberId, value: null });
  for (const memberId of targetIds) changes.push({ type: "target", memberId, value: null });
  changes.push({ type: "targetEpoch", value: null });
  for (const memberId of memberIds) changes.push({ type: "member", memberId, value: null });
  for (const regex of state.regexes.keys()) changes.push({ type: "regex", regex, value: null });
  changes.push({ type: "partitionMetadata", value: null });
  changes.push({ type: "group", value: null });
  return changes.map((change) => encodeConsumerChange(state.groupId, change, timestamp));
}

export function ownedSince(target: TargetPartitions, epoch: number): OwnedPartitions {
  const owned = new Map<string, ReadonlyMap<number, number>>();
  for (const [topicId, partitions] of target) {
    if (partitions.length > 0) owned.set(topicId, new Map(partitions.map((one) => [one, epoch])));
  }
  return owned;
}

function classicMetadata(
  member: Member,
  topicNames: readonly string[],
  rackId: string | null,
): MemberMetadata {
  const { groupInstanceId: instanceId, clientId, clientHost, rebalanceTimeoutMs } = member;
  return {
    instanceId,
    rackId: rackId === "" ? null : rackId,
    clientId,
    clientHost,
    topicNames: distinctNames(topicNames),
    topicRegex: "",
    rebalanceTimeoutMs,
    serverAssignor: null,
    classic: { sessionTimeoutMs: member.sessionTimeoutMs, protocols: member.protocols },
  };
}

/** The protocol that most members prefer among those all of them offer. */
function sharedProtocol(members: readonly ConsumerMember[]): string | null {
  const offered = new Map<string, number>();
  for (const { classic } of members) {
    for (const { name } of classic?.protocols ?? []) {
      offered.set(name, (offered.get(name) ?? 0) + 1);
    }
  }
  const votes = new Map<string, number>();
  for (const { classic } of members) {
    const choice = classic?.protocols.find(({ name }) => offered.get(name) === members.length);
    if (choice !== undefined) votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1);
  }
  let winner: string | null = null;
  for (const [name, count] of votes) {
    if (winner === null || count > (votes.get(winner) ?? 0)) winner = name;
  }
  return winner;
}
