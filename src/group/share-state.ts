import type { SharedPartitions } from "./share-assignor.ts";

/** What a member said of itself. */
export interface ShareMemberMetadata {
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topicNames: readonly string[];
}

/** What a member was told last. */
export interface ShareMemberAssignment {
  readonly epoch: number;
  readonly previousEpoch: number;
  readonly assigned: SharedPartitions;
}

export interface ShareMember extends ShareMemberMetadata, ShareMemberAssignment {
  readonly memberId: string;
}

/** A topic whose partitions have a share state. */
export interface StatefulTopic {
  readonly name: string;
  readonly partitions: ReadonlySet<number>;
}

/** Topic id → topic. */
export type StatefulTopics = ReadonlyMap<string, StatefulTopic>;

/** Everything about a share group's membership; never changed in place. */
export interface ShareGroupState {
  readonly epoch: number;
  /** Of the topics the members read, see `topicsHash`. */
  readonly metadataHash: bigint;
  readonly members: ReadonlyMap<string, ShareMember>;
  readonly targets: ReadonlyMap<string, SharedPartitions>;
  readonly targetEpoch: number;
  /** When the targets were computed, wall clock. */
  readonly targetTimestampMs: number;
  /** Partitions whose share state exists; only these can be assigned. */
  readonly initialized: StatefulTopics;
}

/** A group's first target is for epoch 2, as in Kafka: nothing happened in this one. */
export const firstEpoch = 1;

export const emptyShareGroup: ShareGroupState = {
  epoch: firstEpoch,
  metadataHash: 0n,
  members: new Map(),
  targets: new Map(),
  targetEpoch: firstEpoch,
  targetTimestampMs: 0,
  initialized: new Map(),
};

export const nothingAssigned: SharedPartitions = new Map();

export function newShareMember(memberId: string): ShareMember {
  return {
    memberId,
    rackId: null,
    clientId: "",
    clientHost: "",
    topicNames: [],
    epoch: 0,
    previousEpoch: -1,
    assigned: nothingAssigned,
  };
}

export function subscribedNames(state: ShareGroupState): Set<string> {
  return new Set([...state.members.values()].flatMap(({ topicNames }) => topicNames));
}

export function samePartitions(left: SharedPartitions, right: SharedPartitions): boolean {
  if (left === right) return true;
  if (left.size !== right.size) return false;
  for (const [topicId, partitions] of left) {
    const others = right.get(topicId);
    if (others?.size !== partitions.size) return false;
    for (const partition of partitions) if (!others.has(partition)) return false;
  }
  return true;
}

/** Roughly what the group takes in memory. */
export function shareGroupBytes(state: ShareGroupState): number {
  let bytes = 256;
  for (const member of state.members.values()) {
    bytes += 256 + member.memberId.length + member.clientId.length;
    for (const name of member.topicNames) bytes += 16 + name.length;
    bytes += partitionsBytes(member.assigned);
  }
  for (const target of state.targets.values()) bytes += partitionsBytes(target);
  for (const { name, partitions } of state.initialized.values()) {
    bytes += 96 + name.length + 8 * partitions.size;
  }
  return bytes;
}

function partitionsBytes(partitions: SharedPartitions): number {
  let bytes = 64;
  for (const ofTopic of partitions.values()) bytes += 64 + 8 * ofTopic.size;
  return bytes;
}
