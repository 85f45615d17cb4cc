import { shareGroupCurrentMemberAssignmentKeyData } from "../protocol/messages/data-share-group-current-member-assignment-key.ts";
import { shareGroupCurrentMemberAssignmentValueData } from "../protocol/messages/data-share-group-current-member-assignment-value.ts";
import { shareGroupMemberMetadataKeyData } from "../protocol/messages/data-share-group-member-metadata-key.ts";
import { shareGroupMemberMetadataValueData } from "../protocol/messages/data-share-group-member-metadata-value.ts";
import { shareGroupMetadataKeyData } from "../protocol/messages/data-share-group-metadata-key.ts";
import { shareGroupMetadataValueData } from "../protocol/messages/data-share-group-metadata-value.ts";
import { shareGroupStatePartitionMetadataKeyData } from "../protocol/messages/data-share-group-state-partition-metadata-key.ts";
import { shareGroupStatePartitionMetadataValueData } from "../protocol/messages/data-share-group-state-partition-metadata-value.ts";
import { shareGroupTargetAssignmentMemberKeyData } from "../protocol/messages/data-share-group-target-assignment-member-key.ts";
import { shareGroupTargetAssignmentMemberValueData } from "../protocol/messages/data-share-group-target-assignment-member-value.ts";
import { shareGroupTargetAssignmentMetadataKeyData } from "../protocol/messages/data-share-group-target-assignment-metadata-key.ts";
import { shareGroupTargetAssignmentMetadataValueData } from "../protocol/messages/data-share-group-target-assignment-metadata-value.ts";
import { Reader } from "../protocol/reader.ts";
import { decodeValue, encodeKey, encodeValue } from "../protocol/topic-records.ts";
import type { OffsetsRecord } from "./ports.ts";
import type { SharedPartitions } from "./share-assignor.ts";
import {
  emptyShareGroup,
  firstEpoch,
  newShareMember,
  nothingAssigned,
  type ShareGroupState,
  type ShareMember,
  type ShareMemberAssignment,
  type ShareMemberMetadata,
  type StatefulTopics,
} from "./share-state.ts";

/** The records of a share group, as Kafka 4.3 writes them; a null value erases. */
export type ShareChange =
  | {
      readonly type: "member";
      readonly memberId: string;
      readonly value: ShareMemberMetadata | null;
    }
  | {
      readonly type: "current";
      readonly memberId: string;
      readonly value: ShareMemberAssignment | null;
    }
  | { readonly type: "target"; readonly memberId: string; readonly value: SharedPartitions | null }
  | {
      readonly type: "targetEpoch";
      readonly value: { readonly epoch: number; readonly timestampMs: number } | null;
    }
  | {
      readonly type: "group";
      readonly value: { readonly epoch: number; readonly metadataHash: bigint } | null;
    }
  | { readonly type: "initialized"; readonly value: StatefulTopics | null };

/** MemberState.STABLE: members of a share group have no other. */
const stable = 0;

const keys = {
  member: shareGroupMemberMetadataKeyData,
  group: shareGroupMetadataKeyData,
  targetEpoch: shareGroupTargetAssignmentMetadataKeyData,
  target: shareGroupTargetAssignmentMemberKeyData,
  current: shareGroupCurrentMemberAssignmentKeyData,
  initialized: shareGroupStatePartitionMetadataKeyData,
} as const;

export const shareRecordTypes: readonly number[] = Object.values(keys).map(
  ({ recordType }) => recordType ?? 0,
);

export function encodeShareChange(
  groupId: string,
  change: ShareChange,
  timestamp: number,
): OffsetsRecord {
  return { key: keyOf(groupId, change), value: encodedValue(change), timestamp };
}

/** Throws ProtocolError when the bytes are not what they say. `key` stands behind its type. */
export function decodeShareRecord(
  recordType: number,
  key: Uint8Array,
  value: Uint8Array | null,
): { readonly groupId: string; readonly change: ShareChange } {
  const reader = new Reader(key);
  switch (recordType) {
    case keys.member.recordType: {
      const { groupId, memberId } = keys.member.decode(reader, 0);
      const decoded = value === null ? null : decodeMember(value);
      return { groupId, change: { type: "member", memberId, value: decoded } };
    }
    case keys.group.recordType: {
      const { groupId } = keys.group.decode(reader, 0);
      const decoded = value === null ? null : decodeValue(shareGroupMetadataValueData, value);
      return { groupId, change: { type: "group", value: decoded } };
    }
    case keys.targetEpoch.recordType: {
      const { groupId } = keys.targetEpoch.decode(reader, 0);
      const decoded = value === null ? null : decodeTargetEpoch(value);
      return { groupId, change: { type: "targetEpoch", value: decoded } };
    }
    case keys.target.recordType: {
      const { groupId, memberId } = keys.target.decode(reader, 0);
      const message =
        value === null ? null : decodeValue(shareGroupTargetAssignmentMemberValueData, value);
      const decoded = message === null ? null : partitionsOf(message.topicPartitions);
      return { groupId, change: { type: "target", memberId, value: decoded } };
    }
    case keys.current.recordType: {
      const { groupId, memberId } = keys.current.decode(reader, 0);
      const decoded = value === null ? null : decodeCurrent(value);
      return { groupId, change: { type: "current", memberId, value: decoded } };
    }
    default: {
      const { groupId } = keys.initialized.decode(reader, 0);
      const decoded = value === null ? null : decodeInitialized(value);
      return { groupId, change: { type: "initialized", value: decoded } };
    }
  }
}

/** The state after the change. */
export function applyShareChange(state: ShareGroupState, change: ShareChange): ShareGroupState {
  switch (change.type) {
    case "group":
      return { ...state, ...(change.value ?? { epoch: firstEpoch, metadataHash: 0n }) };
    case "targetEpoch": {
      const { epoch, timestampMs } = change.value ?? { epoch: firstEpoch, timestampMs: 0 };
      return { ...state, targetEpoch: epoch, targetTimestampMs: timestampMs };
    }
    case "initialized":
      return { ...state, initialized: change.value ?? emptyShareGroup.initialized };
    case "target": {
      const targets = new Map(state.targets);
      if (change.value === null) targets.delete(change.memberId);
      else targets.set(change.memberId, change.value);
      return { ...state, targets };
    }
    default: {
      const members = new Map(state.members);
      const member = changedMember(members.get(change.memberId), change);
      if (member === null) members.delete(change.memberId);
      else members.set(change.memberId, member);
      return { ...state, members };
    }
  }
}

function changedMember(
  known: ShareMember | undefined,
  change: Extract<ShareChange, { readonly type: "member" | "current" }>,
): ShareMember | null {
  if (change.type === "member") {
    return change.value && { ...(known ?? newShareMember(change.memberId)), ...change.value };
  }
  // An assignment without a member is what is left of one that went.
  if (known === undefined) return null;
  const nothing = { epoch: 0, previousEpoch: -1, assigned: nothingAssigned };
  return { ...known, ...(change.value ?? nothing) };
}

function keyOf(groupId: string, change: ShareChange): Uint8Array {
  switch (change.type) {
    case "member":
    case "target":
    case "current":
      return encodeKey(keys[change.type], { groupId, memberId: change.memberId });
    default:
      return encodeKey(keys[change.type], { groupId });
  }
}

function encodedValue(change: ShareChange): Uint8Array | null {
  if (change.value === null) return null;
  switch (change.type) {
    case "member": {
      const { rackId, clientId, clientHost, topicNames } = change.value;
      const message = { rackId, clientId, clientHost, subscribedTopicNames: [...topicNames] };
      return encodeValue(shareGroupMemberMetadataValueData, message);
    }
    case "group": {
      const { epoch, metadataHash } = change.value;
      return encodeValue(shareGroupMetadataValueData, { epoch, metadataHash });
    }
    case "targetEpoch":
      return encodeValue(shareGroupTargetAssignmentMetadataValueData, {
        assignmentEpoch: change.value.epoch,
        assignmentTimestamp: change.value.timestampMs,
      });
    case "target":
      return encodeValue(shareGroupTargetAssignmentMemberValueData, {
        topicPartitions: topicsOf(change.value),
      });
    case "current":
      return encodeValue(shareGroupCurrentMemberAssignmentValueData, {
        memberEpoch: change.value.epoch,
        previousMemberEpoch: change.value.previousEpoch,
        state: stable,
        assignedPartitions: topicsOf(change.value.assigned),
      });
    case "initialized":
      return encodeValue(shareGroupStatePartitionMetadataValueData, {
        initializingTopics: [],
        initializedTopics: [...change.value].map(([topicId, { name, partitions }]) => ({
          topicId,
          topicName: name,
          partitions: [...partitions],
        })),
        deletingTopics: [],
      });
    default:
      return change satisfies never;
  }
}

function decodeMember(bytes: Uint8Array): ShareMemberMetadata {
  const { rackId, clientId, clientHost, subscribedTopicNames } = decodeValue(
    shareGroupMemberMetadataValueData,
    bytes,
  );
  return { rackId, clientId, clientHost, topicNames: subscribedTopicNames };
}

function decodeTargetEpoch(bytes: Uint8Array): { epoch: number; timestampMs: number } {
  const message = decodeValue(shareGroupTargetAssignmentMetadataValueData, bytes);
  return { epoch: message.assignmentEpoch, timestampMs: message.assignmentTimestamp };
}

function decodeCurrent(bytes: Uint8Array): ShareMemberAssignment {
  const message = decodeValue(shareGroupCurrentMemberAssignmentValueData, bytes);
  return {
    epoch: message.memberEpoch,
    previousEpoch: message.previousMemberEpoch,
    assigned: partitionsOf(message.assignedPartitions),
  };
}

/** What is being initialized or deleted counts as not there: both are done again when needed. */
function decodeInitialized(bytes: Uint8Array): StatefulTopics {
  const { initializedTopics } = decodeValue(shareGroupStatePartitionMetadataValueData, bytes);
  return new Map(
    initializedTopics.map(({ topicId, topicName, partitions }) => [
      topicId,
      { name: topicName, partitions: new Set(partitions) },
    ]),
  );
}

function topicsOf(partitions: SharedPartitions): { topicId: string; partitions: number[] }[] {
  return [...partitions].map(([topicId, ofTopic]) => ({ topicId, partitions: [...ofTopic] }));
}

function partitionsOf(
  topics: readonly { readonly topicId: string; readonly partitions: readonly number[] }[],
): SharedPartitions {
  return new Map(topics.map(({ topicId, partitions }) => [topicId, new Set(partitions)]));
}
