import { unreachable } from "../lib/assert.ts";
import {
  type ConsumerMember,
  type CurrentAssignment,
  consumerMemberBytes,
  leaveEpoch,
  type MemberMetadata,
  newMember,
  noCurrent,
  type OwnedPartitions,
  regexOf,
  type TargetPartitions,
  targetBytes,
} from "./consumer-member.ts";

/** Topics a regular expression matched, when the topics were in this version. */
export interface ResolvedRegex {
  readonly topics: readonly string[];
  readonly version: number;
  readonly timestampMs: number;
}

/** One record of a consumer group, by what it changes; null is its tombstone. */
export type ConsumerChange =
  | { readonly type: "group"; readonly value: GroupEpoch | null }
  | { readonly type: "member"; readonly memberId: string; readonly value: MemberMetadata | null }
  | {
      readonly type: "current";
      readonly memberId: string;
      readonly value: CurrentAssignment | null;
    }
  | { readonly type: "target"; readonly memberId: string; readonly value: TargetPartitions | null }
  | { readonly type: "targetEpoch"; readonly value: TargetEpoch | null }
  | { readonly type: "regex"; readonly regex: string; readonly value: ResolvedRegex | null }
  /** Written before Kafka 4.1 and erased at the next chance. */
  | { readonly type: "partitionMetadata"; readonly value: true | null };

export interface GroupEpoch {
  readonly epoch: number;
  /** Of the topics the members read; 0 when there are none. */
  readonly metadataHash: bigint;
}

export interface TargetEpoch {
  readonly epoch: number;
  /** When it was computed; 0 when unknown. */
  readonly timestampMs: number;
}

/** How many members name a topic, and how many resolved expressions match it. */
export interface SubscriptionCount {
  readonly byName: number;
  readonly byRegex: number;
}

const noTarget: TargetPartitions = new Map();
/** A group's first target is for epoch 2, as in Kafka: nothing happened in this one. */
const firstEpoch: GroupEpoch = { epoch: 1, metadataHash: 0n };
const noTargetEpoch: TargetEpoch = { epoch: firstEpoch.epoch, timestampMs: 0 };

/**
 * The data of one consumer group: what its records add up to, and what can be counted from that.
 * Invariant: no partition is owned (assigned, or to be revoked) by two members.
 */
export class ConsumerState {
  readonly groupId: string;
  readonly members = new Map<string, ConsumerMember>();
  readonly targets = new Map<string, TargetPartitions>();
  readonly regexes = new Map<string, ResolvedRegex>();
  /** group.instance.id → member id. */
  readonly staticMembers = new Map<string, string>();
  readonly subscriptions = new Map<string, SubscriptionCount>();
  /** Regular expression → members that subscribe by it. */
  readonly regexCounts = new Map<string, number>();
  readonly assignorCounts = new Map<string, number>();
  /** Name of a classic protocol → classic members that offer it. */
  readonly classicProtocolCounts = new Map<string, number>();
  classicCount = 0;
  group: GroupEpoch = firstEpoch;
  targetEpoch: TargetEpoch = noTargetEpoch;
  hasPartitionMetadata = false;
  /** A target is being computed beside other work. */
  isAssigning = false;
  /** What the expressions match is being found beside other work. */
  isRefreshing = false;
  /** Names that all resolved expressions match. */
  matchCount = 0;
  /** Bytes held, roughly. */
  sizeBytes = 0;
  private readonly partitionEpochs = new Map<string, Map<number, number>>();

  constructor(groupId: string) {
    this.groupId = groupId;
  }

  /** Nothing is known of the group but its name. */
  get isFresh(): boolean {
    const hasEpochs =
      this.group.epoch !== firstEpoch.epoch || this.targetEpoch.epoch !== noTargetEpoch.epoch;
    return this.members.size === 0 && this.targets.size === 0 && !hasEpochs;
  }

  /** Epoch at which a partition is owned, or −1. */
  partitionEpoch(topicId: string, partition: number): number {
    return this.partitionEpochs.get(topicId)?.get(partition) ?? -1;
  }

  targetOf(memberId: string): TargetPartitions {
    return this.targets.get(memberId) ?? noTarget;
  }

  staticMember(instanceId: string): ConsumerMember | null {
    const memberId = this.staticMembers.get(instanceId);
    return memberId === undefined ? null : (this.members.get(memberId) ?? null);
  }

  /** Applies one change; returns the one that takes it back. */
  apply(change: ConsumerChange): ConsumerChange {
    switch (change.type) {
      case "group": {
        const { group } = this;
        this.group = change.value ?? firstEpoch;
        return { type: "group", value: group };
      }
      case "member":
        return this.applyMember(change.memberId, change.value);
      case "current":
        return this.applyCurrent(change.memberId, change.value);
      case "target":
        return this.applyTarget(change.memberId, change.value);
      case "targetEpoch": {
        const { targetEpoch } = this;
        this.targetEpoch = change.value ?? noTargetEpoch;
        return { type: "targetEpoch", value: targetEpoch };
      }
      case "regex":
        return this.applyRegex(change.regex, change.value);
      case "partitionMetadata": {
        const had = this.hasPartitionMetadata;
        this.hasPartitionMetadata = change.value !== null;
        return { type: "partitionMetadata", value: had ? true : null };
      }
      default:
        return unreachable(change);
    }
  }

  private applyMember(memberId: string, value: MemberMetadata | null): ConsumerChange {
    const old = this.members.get(memberId);
    if (value === null) {
      if (old !== undefined) this.replace(old, null);
      return { type: "member", memberId, value: old ?? null };
    }
    this.replace(old ?? null, { ...(old ?? newMember(memberId)), ...value });
    return { type: "member", memberId, value: old ?? null };
  }

  private applyCurrent(memberId: string, value: CurrentAssignment | null): ConsumerChange {
    const old = this.members.get(memberId);
    if (value === null && old === undefined) return { type: "current", memberId, value: null };
    const gone = { ...noCurrent, epoch: leaveEpoch, previousEpoch: leaveEpoch };
    this.replace(old ?? null, { ...(old ?? newMember(memberId)), ...(value ?? gone) });
    return { type: "current", memberId, value: old ?? null };
  }

  private applyTarget(memberId: string, value: TargetPartitions | null): ConsumerChange {
    const old = this.targets.get(memberId) ?? null;
    if (old !== null) this.sizeBytes -= targetBytes(old);
    if (value === null) {
      this.targets.delete(memberId);
    } else {
      this.targets.set(memberId, value);
      this.sizeBytes += targetBytes(value);
    }
    return { type: "target", memberId, value: old };
  }

  private applyRegex(regex: string, value: ResolvedRegex | null): ConsumerChange {
    const old = this.regexes.get(regex) ?? null;
    this.regexes.delete(regex);
    this.countRegex(regex, old, -1);
    if (value !== null) this.regexes.set(regex, value);
    this.countRegex(regex, value, 1);
    return { type: "regex", regex, value: old };
  }

  private replace(old: ConsumerMember | null, next: ConsumerMember | null): void {
    if (old !== null) {
      this.members.delete(old.memberId);
      this.countMember(old, -1);
      const { instanceId } = old;
      if (instanceId !== null && this.staticMembers.get(instanceId) === old.memberId) {
        this.staticMembers.delete(instanceId);
      }
    }
    if (next === null) return;
    this.members.set(next.memberId, next);
    this.countMember(next, 1);
    if (next.instanceId !== null) this.staticMembers.set(next.instanceId, next.memberId);
  }

  private countMember(member: ConsumerMember, by: 1 | -1): void {
    this.sizeBytes += by * consumerMemberBytes(member);
    for (const name of member.topicNames) this.countTopic(name, by, 0);
    const regex = regexOf(member);
    if (regex !== null) addTo(this.regexCounts, regex, by);
    if (member.serverAssignor !== null) addTo(this.assignorCounts, member.serverAssignor, by);
    if (member.classic !== null) {
      this.classicCount += by;
      for (const { name } of member.classic.protocols) {
        addTo(this.classicProtocolCounts, name, by);
      }
    }
    for (const owned of [member.assigned, member.pendingRevocation]) {
      if (by === 1) this.takePartitions(owned, member.epoch);
      else this.freePartitions(owned, member.epoch);
    }
  }

  private countRegex(regex: string, resolved: ResolvedRegex | null, by: 1 | -1): void {
    if (resolved === null) return;
    const fixedBytes = 128;
    this.matchCount += by * resolved.topics.length;
    this.sizeBytes += by * (fixedBytes + 2 * regex.length + 64 * resolved.topics.length);
    for (const name of resolved.topics) this.countTopic(name, 0, by);
  }

  private countTopic(name: string, byName: number, byRegex: number): void {
    const old = this.subscriptions.get(name) ?? { byName: 0, byRegex: 0 };
    const count = { byName: old.byName + byName, byRegex: old.byRegex + byRegex };
    if (count.byName === 0 && count.byRegex === 0) this.subscriptions.delete(name);
    else this.subscriptions.set(name, count);
  }

  private takePartitions(owned: OwnedPartitions, epoch: number): void {
    for (const [topicId, partitions] of owned) {
      const epochs = this.partitionEpochs.get(topicId) ?? new Map<number, number>();
      this.partitionEpochs.set(topicId, epochs);
      for (const partition of partitions.keys()) {
        epochs.set(partition, Math.max(epoch, epochs.get(partition) ?? epoch));
      }
    }
  }

  private freePartitions(owned: OwnedPartitions, epoch: number): void {
    for (const [topicId, partitions] of owned) {
      const epochs = this.partitionEpochs.get(topicId);
      if (epochs === undefined) continue;
      for (const partition of partitions.keys()) {
        // Another member may have it at a later epoch already.
        if (epochs.get(partition) === epoch) epochs.delete(partition);
      }
      if (epochs.size === 0) this.partitionEpochs.delete(topicId);
    }
  }
}

function addTo(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
