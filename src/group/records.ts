import { ProtocolError } from "../lib/errors.ts";
import {
  type GroupMetadataKey,
  groupMetadataKeyData,
} from "../protocol/messages/data-group-metadata-key.ts";
import {
  type GroupMetadataValue,
  groupMetadataValueData,
} from "../protocol/messages/data-group-metadata-value.ts";
import { legacyOffsetCommitKeyData } from "../protocol/messages/data-legacy-offset-commit-key.ts";
import {
  type OffsetCommitKey,
  offsetCommitKeyData,
} from "../protocol/messages/data-offset-commit-key.ts";
import {
  type OffsetCommitValue,
  offsetCommitValueData,
} from "../protocol/messages/data-offset-commit-value.ts";
import { Reader } from "../protocol/reader.ts";
import { decodeValue, encodeKey, encodeValue } from "../protocol/topic-records.ts";
import type { GroupSnapshot, MemberSnapshot } from "./group-types.ts";
import type { CommittedOffset } from "./offsets.ts";
import type { OffsetsRecord } from "./ports.ts";

/**
 * The records of `__consumer_offsets`, as Kafka 4.3 writes and its tools read them: an int16 record
 * type and the key message; an int16 version and the value message; no value deletes the key.
 */
export type DecodedRecord =
  | {
      readonly kind: "offset";
      readonly groupId: string;
      readonly topic: string;
      readonly partition: number;
      readonly value: CommittedOffset | null;
    }
  | { readonly kind: "group"; readonly groupId: string; readonly value: GroupSnapshot | null }
  /** A type that belongs to a later kind of group; nothing here depends on it. */
  | { readonly kind: "other"; readonly recordType: number };

/** Kafka writes group metadata in version 3, offsets in 4, or in 1 when they carry an expiry. */
const groupValueVersion = 3;
const offsetValueVersion = 4;
const offsetValueVersionWithExpiry = 1;

export function encodeGroup(
  groupId: string,
  snapshot: GroupSnapshot | null,
  timestamp: number,
): OffsetsRecord {
  const key = encodeKey<GroupMetadataKey>(groupMetadataKeyData, { group: groupId });
  if (snapshot === null) return { key, value: null, timestamp };
  const message: GroupMetadataValue = {
    protocolType: snapshot.protocolType,
    generation: snapshot.generationId,
    protocol: snapshot.protocolName,
    leader: snapshot.leader,
    currentStateTimestamp: snapshot.stateTimestampMs,
    members: snapshot.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeout: member.rebalanceTimeoutMs,
      sessionTimeout: member.sessionTimeoutMs,
      subscription: member.subscription,
      assignment: member.assignment,
    })),
  };
  return { key, value: encodeValue(groupMetadataValueData, message, groupValueVersion), timestamp };
}

export function encodeOffset(
  groupId: string,
  topic: string,
  partition: number,
  committed: CommittedOffset | null,
  timestamp: number,
): OffsetsRecord {
  const key = encodeKey<OffsetCommitKey>(offsetCommitKeyData, { group: groupId, topic, partition });
  if (committed === null) return { key, value: null, timestamp };
  const hasExpiry = committed.expireTimestampMs >= 0;
  const version = hasExpiry ? offsetValueVersionWithExpiry : offsetValueVersion;
  const message: OffsetCommitValue = {
    offset: committed.offset,
    leaderEpoch: committed.leaderEpoch,
    metadata: committed.metadata,
    commitTimestamp: committed.commitTimestampMs,
    expireTimestamp: committed.expireTimestampMs,
    topicId: committed.topicId,
  };
  return { key, value: encodeValue(offsetCommitValueData, message, version), timestamp };
}

/** Throws ProtocolError when the bytes are not what they say. Results share no memory with them. */
export function decodeRecord(key: Uint8Array, value: Uint8Array | null): DecodedRecord {
  const reader = new Reader(key);
  const recordType = reader.int16();
  switch (recordType) {
    // Type 0 is the oldest form of an offset's key, alike in all but the number.
    case legacyOffsetCommitKeyData.recordType:
    case offsetCommitKeyData.recordType: {
      const { group, topic, partition } = offsetCommitKeyData.decode(reader, 0);
      const offset = value === null ? null : decodeOffsetValue(value);
      return { kind: "offset", groupId: group, topic, partition, value: offset };
    }
    case groupMetadataKeyData.recordType: {
      const { group } = groupMetadataKeyData.decode(reader, 0);
      const snapshot = value === null ? null : decodeGroupValue(value);
      return { kind: "group", groupId: group, value: snapshot };
    }
    default:
      return { kind: "other", recordType };
  }
}

/** The int16 every key begins with. */
export function recordTypeOf(key: Uint8Array): number {
  return new Reader(key).int16();
}

function decodeOffsetValue(bytes: Uint8Array): CommittedOffset {
  const message = decodeValue(offsetCommitValueData, bytes);
  return {
    offset: message.offset,
    leaderEpoch: message.leaderEpoch,
    metadata: message.metadata,
    commitTimestampMs: message.commitTimestamp,
    expireTimestampMs: message.expireTimestamp,
    topicId: message.topicId,
  };
}

function decodeGroupValue(bytes: Uint8Array): GroupSnapshot {
  const message = decodeValue(groupMetadataValueData, bytes);
  if (message.members.length > 0 && message.protocol === null) {
    throw new ProtocolError("group metadata with members names no protocol");
  }
  const members = message.members.map(
    (member): MemberSnapshot => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs:
        member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
      sessionTimeoutMs: member.sessionTimeout,
      subscription: new Uint8Array(member.subscription),
      assignment: new Uint8Array(member.assignment),
    }),
  );
  return {
    protocolType: message.protocolType,
    generationId: message.generation,
    protocolName: message.protocol,
    leader: message.leader,
    stateTimestampMs: message.currentStateTimestamp,
    members,
  };
}
