import { unreachable } from "../lib/assert.ts";
import type { DataCodec } from "../protocol/api-codec.ts";
import { consumerGroupCurrentMemberAssignmentKeyData as currentKey } from "../protocol/messages/data-consumer-group-current-member-assignment-key.ts";
import {
  consumerGroupCurrentMemberAssignmentValueData as currentValue,
  type ConsumerGroupCurrentMemberAssignmentValueTopicPartitions as StoredPartitions,
} from "../protocol/messages/data-consumer-group-current-member-assignment-value.ts";
import { consumerGroupMemberMetadataKeyData as memberKey } from "../protocol/messages/data-consumer-group-member-metadata-key.ts";
import { consumerGroupMemberMetadataValueData as memberValue } from "../protocol/messages/data-consumer-group-member-metadata-value.ts";
import { consumerGroupMetadataKeyData as groupKey } from "../protocol/messages/data-consumer-group-metadata-key.ts";
import { consumerGroupMetadataValueData as groupValue } from "../protocol/messages/data-consumer-group-metadata-value.ts";
import { consumerGroupPartitionMetadataKeyData as partitionMetadataKey } from "../protocol/messages/data-consumer-group-partition-metadata-key.ts";
import { consumerGroupRegularExpressionKeyData as regexKey } from "../protocol/messages/data-consumer-group-regular-expression-key.ts";
import { consumerGroupRegularExpressionValueData as regexValue } from "../protocol/messages/data-consumer-group-regular-expression-value.ts";
import { consumerGroupTargetAssignmentMemberKeyData as targetKey } from "../protocol/messages/data-consumer-group-target-assignment-member-key.ts";
import { consumerGroupTargetAssignmentMemberValueData as targetValue } from "../protocol/messages/data-consumer-group-target-assignment-member-value.ts";
import { consumerGroupTargetAssignmentMetadataKeyData as targetEpochKey } from "../protocol/messages/data-consumer-group-target-assignment-metadata-key.ts";
import { consumerGroupTargetAssignmentMetadataValueData as targetEpochValue } from "../protocol/messages/data-consumer-group-target-assignment-metadata-value.ts";
import { Reader } from "../protocol/reader.ts";
import { decodeValue, encodeKey, encodeValue } from "../protocol/topic-records.ts";
import {
  type CurrentAssignment,
  distinctNames,
  type MemberMetadata,
  MemberState,
  type OwnedPartitions,
  type TargetPartitions,
} from "./consumer-member.ts";
import type { ConsumerChange } from "./consumer-state.ts";
import type { OffsetsRecord } from "./ports.ts";

/**
 * The records of consumer groups (types 3 to 8 and 16), as Kafka 4.3 writes them. Type 4 was
 * written before 4.1 (KIP-1101); it is only recognised, to be erased.
 */
export const consumerRecordTypes: readonly number[] = [
  groupKey,
  partitionMetadataKey,
  memberKey,
  targetEpochKey,
  targetKey,
  currentKey,
  regexKey,
].map((codec) => codec.recordType ?? -1);

export function encodeConsumerChange(
  groupId: string,
  change: ConsumerChange,
  timestamp: number,
): OffsetsRecord {
  const record = (key: Uint8Array, value: Uint8Array | null) => ({ key, value, timestamp });
  switch (change.type) {
    case "group": {
      const key = encodeKey(groupKey, { groupId });
      return record(key, change.value && encodeValue(groupValue, change.value, 0));
    }
    case "member": {
      const key = encodeKey(memberKey, { groupId, memberId: change.memberId });
      return record(key, change.value && encodeMember(change.value));
    }
    case "current": {
      const key = encodeKey(currentKey, { groupId, memberId: change.memberId });
      return record(key, change.value && encodeCurrent(change.value));
    }
    case "target": {
      const key = encodeKey(targetKey, { groupId, memberId: change.memberId });
      return record(key, change.value && encodeTarget(change.value));
    }
    case "targetEpoch": {
      const key = encodeKey(targetEpochKey, { groupId });
      if (change.value === null) return record(key, null);
      const { epoch: assignmentEpoch, timestampMs: assignmentTimestamp } = change.value;
      const message = { assignmentEpoch, assignmentTimestamp };
      return record(key, encodeValue(targetEpochValue, message, 0));
    }
    case "regex": {
      const key = encodeKey(regexKey, { groupId, regularExpression: change.regex });
      if (change.value === null) return record(key, null);
      const { topics, version, timestampMs: timestamp } = change.value;
      return record(key, encodeValue(regexValue, { topics: [...topics], version, timestamp }, 0));
    }
    case "partitionMetadata":
      return record(encodeKey(partitionMetadataKey, { groupId }), null);
    default:
      return unreachable(change);
  }
}

/** Throws ProtocolError when the bytes are not what they say. Results share no memory with them. */
export function decodeConsumerChange(
  recordType: number,
  key: Uint8Array,
  bytes: Uint8Array | null,
): { readonly groupId: string; readonly change: ConsumerChange } {
  const keyOf = <Key>(codec: DataCodec<Key>) => codec.decode(new Reader(key), 0);
  switch (recordType) {
    case groupKey.recordType: {
      const { groupId } = keyOf(groupKey);
      const value = bytes && decodeValue(groupValue, bytes);
      return { groupId, change: { type: "group", value } };
    }
    case memberKey.recordType: {
      const { groupId, memberId } = keyOf(memberKey);
      return { groupId, change: { type: "member", memberId, value: bytes && decodeMember(bytes) } };
    }
    case currentKey.recordType: {
      const { groupId, memberId } = keyOf(currentKey);
      const value = bytes && decodeCurrent(bytes);
      return { groupId, change: { type: "current", memberId, value } };
    }
    case targetKey.recordType: {
      const { groupId, memberId } = keyOf(targetKey);
      return { groupId, change: { type: "target", memberId, value: bytes && decodeTarget(bytes) } };
    }
    case targetEpochKey.recordType: {
      const { groupId } = keyOf(targetEpochKey);
      const message = bytes && decodeValue(targetEpochValue, bytes);
      const value = message && {
        epoch: message.assignmentEpoch,
        timestampMs: message.assignmentTimestamp,
      };
      return { groupId, change: { type: "targetEpoch", value } };
    }
    case regexKey.recordType: {
      const { groupId, regularExpression: regex } = keyOf(regexKey);
      const message = bytes && decodeValue(regexValue, bytes);
      const value = message && {
        topics: message.topics,
        version: message.version,
        timestampMs: message.timestamp,
      };
      return { groupId, change: { type: "regex", regex, value } };
    }
    default: {
      const { groupId } = keyOf(partitionMetadataKey);
      return {
        groupId,
        change: { type: "partitionMetadata", value: bytes === null ? null : true },
      };
    }
  }
}

function encodeMember(member: MemberMetadata): Uint8Array {
  const { classic } = member;
  const message = {
    instanceId: member.instanceId,
    rackId: member.rackId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    subscribedTopicNames: [...member.topicNames],
    subscribedTopicRegex: member.topicRegex,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    serverAssignor: member.serverAssignor,
    classicMemberMetadata: classic && {
      sessionTimeoutMs: classic.sessionTimeoutMs,
      supportedProtocols: classic.protocols.map(({ name, metadata }) => ({ name, metadata })),
    },
  };
  return encodeValue(memberValue, message, 0);
}

function decodeMember(bytes: Uint8Array): MemberMetadata {
  const message = decodeValue(memberValue, bytes);
  const classic = message.classicMemberMetadata;
  return {
    instanceId: message.instanceId,
    rackId: message.rackId,
    clientId: message.clientId,
    clientHost: message.clientHost,
    topicNames: distinctNames(message.subscribedTopicNames),
    topicRegex: message.subscribedTopicRegex,
    rebalanceTimeoutMs: message.rebalanceTimeoutMs,
    serverAssignor: message.serverAssignor,
    classic: classic && {
      sessionTimeoutMs: classic.sessionTimeoutMs,
      protocols: classic.supportedProtocols.map(({ name, metadata }) => ({
        name,
        metadata: new Uint8Array(metadata),
      })),
    },
  };
}

function encodeCurrent(current: CurrentAssignment): Uint8Array {
  const message = {
    memberEpoch: current.epoch,
    previousMemberEpoch: current.previousEpoch,
    state: current.state,
    assignedPartitions: storedPartitions(current.assigned),
    partitionsPendingRevocation: storedPartitions(current.pendingRevocation),
  };
  return encodeValue(currentValue, message, 0);
}

function decodeCurrent(bytes: Uint8Array): CurrentAssignment {
  const message = decodeValue(currentValue, bytes);
  const { memberEpoch: epoch, state } = message;
  const isKnown = state >= MemberState.STABLE && state <= MemberState.UNRELEASED_PARTITIONS;
  return {
    epoch,
    previousEpoch: message.previousMemberEpoch,
    state: isKnown ? state : MemberState.UNKNOWN,
    assigned: ownedPartitions(message.assignedPartitions, epoch),
    pendingRevocation: ownedPartitions(message.partitionsPendingRevocation, epoch),
  };
}

function encodeTarget(target: TargetPartitions): Uint8Array {
  const topicPartitions = [...target].map(([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions],
  }));
  return encodeValue(targetValue, { topicPartitions }, 0);
}

function decodeTarget(bytes: Uint8Array): TargetPartitions {
  const { topicPartitions } = decodeValue(targetValue, bytes);
  return new Map(
    topicPartitions.map(({ topicId, partitions }) => [
      topicId,
      [...partitions].sort((left, right) => left - right),
    ]),
  );
}

function storedPartitions(owned: OwnedPartitions): StoredPartitions[] {
  return [...owned].map(([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions.keys()],
    assignmentEpochs: [...partitions.values()],
  }));
}

/** Records from before Kafka 4.3 have no epochs: the member's own stands in. */
function ownedPartitions(
  stored: readonly { topicId: string; partitions: number[]; assignmentEpochs: number[] | null }[],
  memberEpoch: number,
): OwnedPartitions {
  return new Map(
    stored.map(({ topicId, partitions, assignmentEpochs }) => [
      topicId,
      new Map(
        partitions.map((partition, index) => [partition, assignmentEpochs?.[index] ?? memberEpoch]),
      ),
    ]),
  );
}
