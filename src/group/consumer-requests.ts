import { ErrorCode } from "../protocol/error-code.ts";
import type { ConsumerGroupDescription, DescribedConsumerMember } from "./api-types.ts";
import { allowsUpgrade } from "./consumer-fence.ts";
import { ConsumerGroup } from "./consumer-group.ts";
import {
  type ConsumerHeartbeat,
  type ConsumerHeartbeatAnswer,
  heartbeatFailure,
} from "./consumer-heartbeat.ts";
import type { OwnedPartitions, TargetPartitions } from "./consumer-member.ts";
import { upgraded } from "./consumer-migration.ts";
import { assignorName } from "./consumer-rebalance.ts";
import { encodeConsumerChange } from "./consumer-records.ts";
import { matchTopics, type RegexMatch, topicNamesOf } from "./consumer-regexes.ts";
import { ConsumerState } from "./consumer-state.ts";
import { type ClassicEntry, type Entry, isClassic } from "./entry.ts";
import { ClassicGroup } from "./group.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";
import type { GroupShards } from "./group-shards.ts";
import { consumerProtocolType } from "./group-state.ts";
import type { OffsetsRecord } from "./ports.ts";
import type { GroupShard } from "./shard.ts";

/** ConsumerGroupHeartbeat and ConsumerGroupDescribe: the requests of KIP-848. */

/** Answered when what the heartbeat changed is durable. */
export async function consumerHeartbeat(
  shards: GroupShards,
  groupId: string,
  request: ConsumerHeartbeat,
): Promise<ConsumerHeartbeatAnswer> {
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return heartbeatFailure(errorCode, null);
  const joins = request.memberEpoch === 0;
  const more = moreBytes(shard.find(groupId), request);
  if (more > 0 && !shards.hasRoomFor(more)) return noRoom();
  // A classic group that waits for the log is left in peace until it has its answer.
  const before = shard.find(groupId);
  if (
    joins &&
    before !== null &&
    isClassic(before) &&
    before.group.state.pendingPersists.size > 0
  ) {
    await shard.drained();
  }
  const matching = matchNewRegex(shards, shard.find(groupId), request.topicRegex);
  const match = matching instanceof Promise ? await matching : matching;
  // It may have come, gone or become another meanwhile: what is found is used at once.
  const known = shard.find(groupId);
  if (known === null && !joins) return notFound(groupId);
  const entry = known ?? shard.create(groupId, new ConsumerGroup(new ConsumerState(groupId)));
  if (entry === null || entry.isDeleting) return noRoom();
  const outcome = await shard.records.run(entry, (context) =>
    heartbeatStep(shard, entry, match === null ? request : { ...request, match }, context),
  );
  return outcome.answer ?? heartbeatFailure(outcome.errorCode, null);
}

export async function describeConsumerGroup(
  shards: GroupShards,
  groupId: string,
): Promise<ConsumerGroupDescription> {
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return undescribed(groupId, errorCode, null);
  const entry = shard.find(groupId);
  if (entry === null) {
    const message = `Group ${groupId} not found.`;
    return undescribed(groupId, ErrorCode.GROUP_ID_NOT_FOUND, message);
  }
  // What is being written is not the truth yet.
  if (shard.records.isBusy(entry)) await shard.records.settled(entry);
  const { group } = entry;
  if (!(group instanceof ConsumerGroup)) {
    const message = `Group ${groupId} is not a consumer group.`;
    return undescribed(groupId, ErrorCode.GROUP_ID_NOT_FOUND, message);
  }
  return description(group, shards);
}

function heartbeatStep(
  shard: GroupShard,
  entry: Entry,
  request: ConsumerHeartbeat,
  context: StepContext,
): RecordStep<ConsumerHeartbeatAnswer> {
  const { group, groupId } = entry;
  if (group instanceof ConsumerGroup) return group.heartbeat(request, context);
  if (!isClassic(entry) || request.memberEpoch !== 0) {
    return refusal(notFound(groupId, `Group ${groupId} is not a consumer group.`));
  }
  const upgrade = upgradeOf(entry, context);
  if (typeof upgrade === "string") {
    const message = `Cannot upgrade classic group ${groupId} to consumer group ${upgrade}`;
    return refusal(notFound(groupId, message));
  }
  const step = upgrade.group.heartbeat(request, context);
  // A member that is not let in does not change the group's kind.
  if (step.answer.errorCode !== ErrorCode.NONE) return step;
  const undoSwap = swap(shard, entry, upgrade.group, context);
  const timers = [...upgrade.group.restartTimers(context), ...step.timers];
  const undo = (): void => {
    step.undo(0);
    undoSwap();
  };
  // Half of a conversion is no group of either kind: all or nothing.
  const records = [...upgrade.records, ...step.records];
  return { ...step, records, breaks: [], timers, undo };
}

/** The consumer group that takes a classic group's place, or why there cannot be one. */
function upgradeOf(
  entry: ClassicEntry,
  context: StepContext,
): { readonly group: ConsumerGroup; readonly records: readonly OffsetsRecord[] } | string {
  const { group, groupId } = entry;
  const { members, protocolType } = group.state;
  if (group.state.pendingPersists.size > 0) return "because it is being written.";
  const tombstones = group.tombstones(context.nowMs);
  if (members.size === 0) {
    return { group: new ConsumerGroup(new ConsumerState(groupId)), records: tombstones };
  }
  if (protocolType !== consumerProtocolType) {
    return "because the group does not use the consumer embedded protocol.";
  }
  if (!allowsUpgrade(context, members.size)) {
    const isTooLarge = members.size > context.config.consumer.maxSize;
    return isTooLarge
      ? "because the group size exceeds the consumer group maximum size."
      : "because online upgrade is disabled.";
  }
  const upgrade = upgraded(group, context);
  if (typeof upgrade === "string") return upgrade;
  const records = upgrade.changes.map((one) => encodeConsumerChange(groupId, one, context.nowMs));
  return { group: new ConsumerGroup(upgrade.state), records: [...tombstones, ...records] };
}

/** Lets the classic group go; who waits in it joins anew. Returns how to take that back. */
function swap(
  shard: GroupShard,
  entry: ClassicEntry,
  group: ConsumerGroup,
  context: StepContext,
): () => void {
  const { state } = entry.group;
  const snapshot = state.protocolName === null ? null : state.snapshot(null);
  shard.classic.step(entry, { kind: "unload", errorCode: ErrorCode.REBALANCE_IN_PROGRESS });
  entry.timers.cancelAll();
  const mutable: Entry = entry;
  mutable.group = group;
  return () => {
    // As after a restart: the log still has the classic group.
    const { groupId } = entry;
    const { config, nowMs } = context;
    entry.timers.cancelAll();
    entry.group =
      snapshot === null
        ? new ClassicGroup(groupId, config, nowMs)
        : ClassicGroup.restore(groupId, config, snapshot, nowMs);
    shard.classic.step(entry, { kind: "loaded" });
  };
}

/**
 * What an expression matches that the group does not know yet: with many topics that is too much
 * for one step. At once where little is to be done.
 */
function matchNewRegex(
  { context, topics }: GroupShards,
  entry: Entry | null,
  regex: string | null,
): RegexMatch | Promise<RegexMatch> | null {
  if (regex === null || regex === "") return null;
  const { group } = entry ?? {};
  if (group instanceof ConsumerGroup && group.state.regexes.has(regex)) return null;
  let found: RegexMatch | null = null;
  const { promise, resolve } = Promise.withResolvers<RegexMatch>();
  context.expressions.run(matchTopics(regex, topicNamesOf(topics)), (match) => {
    found = match;
    resolve(match);
  });
  return found ?? promise;
}

/** What the member's subscription takes beyond what it brought before. */
function moreBytes(entry: Entry | null, request: ConsumerHeartbeat): number {
  const { memberId, memberEpoch, topicNames, topicRegex } = request;
  const group = entry?.group;
  const known = group instanceof ConsumerGroup ? group.state.members.get(memberId) : undefined;
  if (memberEpoch < 0 || (memberEpoch > 0 && known === undefined)) return 0;
  const added = (names: readonly string[] | null, before: readonly string[]): number =>
    names === null ? 0 : charsOf(names) - charsOf(before);
  const regex = topicRegex === null ? null : [topicRegex];
  const more = added(topicNames, known?.topicNames ?? []) + added(regex, [known?.topicRegex ?? ""]);
  return known === undefined ? Math.max(1, 2 * more) : 2 * more;
}

function charsOf(names: readonly string[]): number {
  return names.reduce((sum, name) => sum + name.length, 0);
}

function refusal(answer: ConsumerHeartbeatAnswer): RecordStep<ConsumerHeartbeatAnswer> {
  return { answer, records: [], timers: [], undo: () => undefined };
}

function notFound(groupId: string, message?: string): ConsumerHeartbeatAnswer {
  const text = message ?? `Consumer group ${groupId} not found.`;
  return heartbeatFailure(ErrorCode.GROUP_ID_NOT_FOUND, text);
}

function noRoom(): ConsumerHeartbeatAnswer {
  return heartbeatFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE, null);
}

function undescribed(
  groupId: string,
  errorCode: number,
  errorMessage: string | null,
): ConsumerGroupDescription {
  const nothing = { state: "", groupEpoch: 0, assignmentEpoch: 0, assignorName: "", members: [] };
  return { errorCode, errorMessage, groupId, ...nothing };
}

function description(group: ConsumerGroup, shards: GroupShards): ConsumerGroupDescription {
  const { state } = group;
  const { config, topics } = shards;
  const named = (owned: readonly (OwnedPartitions | TargetPartitions)[]) => {
    const found = new Map<string, { topicId: string; topic: string; partitions: number[] }>();
    for (const partitionsById of owned) {
      for (const [topicId, partitions] of partitionsById) {
        const topic = topics.topicName(topicId);
        if (topic === null) continue;
        const one = found.get(topicId) ?? { topicId, topic, partitions: [] };
        found.set(topicId, one);
        const list = Array.isArray(partitions) ? partitions : partitions.keys();
        one.partitions.push(...list);
      }
    }
    return [...found.values()];
  };
  const members = [...state.members.values()].map(
    (member): DescribedConsumerMember => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      rackId: member.rackId,
      memberEpoch: member.epoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      topicNames: member.topicNames,
      topicRegex: member.topicRegex,
      // It answers for what it is to give up until it has.
      assignment: named([member.assigned, member.pendingRevocation]),
      target: named([state.targetOf(member.memberId)]),
      isClassic: member.classic !== null,
    }),
  );
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    groupId: group.groupId,
    state: group.stateName,
    groupEpoch: state.group.epoch,
    assignmentEpoch: state.targetEpoch.epoch,
    assignorName: assignorName({ state, context: { config } }),
    members,
  };
}
