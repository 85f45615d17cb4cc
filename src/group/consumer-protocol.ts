import { ProtocolError } from "../lib/errors.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { consumerProtocolAssignmentData as assignmentData } from "../protocol/messages/data-consumer-protocol-assignment.ts";
import {
  type ConsumerProtocolSubscription,
  consumerProtocolSubscriptionData as subscriptionData,
} from "../protocol/messages/data-consumer-protocol-subscription.ts";
import { Reader } from "../protocol/reader.ts";
import { encodeValue } from "../protocol/topic-records.ts";
import type { OwnedPartitions, TargetPartitions } from "./consumer-member.ts";
import type { CoordinatorTopics } from "./ports.ts";

/** The bytes classic consumers put into JoinGroup and SyncGroup, as far as a broker reads them. */

export type Subscription = Decoded<ConsumerProtocolSubscription>;

/** Null when the bytes are no subscription. A newer version is read as the newest known one. */
export function decodeSubscription(bytes: Uint8Array): Subscription | null {
  return decodeWith(bytes, subscriptionData.maxVersion, (reader, version) =>
    subscriptionData.decode(reader, version),
  );
}

/** Version of the bytes, for an answer in the same. Bytes too short to tell count as version 0. */
export function versionOf(bytes: Uint8Array): number {
  if (bytes.length < 2) return 0;
  const version = new Reader(bytes).int16();
  return Math.min(Math.max(version, 0), assignmentData.maxVersion);
}

/** Null when the bytes are no assignment; `userData` tells of an assignor of the client's own. */
export function decodeAssignment(
  bytes: Uint8Array,
  topics: CoordinatorTopics,
): { readonly partitions: TargetPartitions; readonly hasUserData: boolean } | null {
  const message = decodeWith(bytes, assignmentData.maxVersion, (reader, version) =>
    assignmentData.decode(reader, version),
  );
  if (message === null) return null;
  const partitions = topicsById(message.assignedPartitions, topics);
  return { partitions, hasUserData: (message.userData?.length ?? 0) > 0 };
}

export function encodeAssignment(
  partitions: TargetPartitions | OwnedPartitions,
  version: number,
  topics: CoordinatorTopics,
): Uint8Array {
  const assignedPartitions: { topic: string; partitions: number[] }[] = [];
  for (const [topicId, list] of partitions) {
    const topic = topics.topicName(topicId);
    if (topic !== null) assignedPartitions.push({ topic, partitions: [...list.keys()] });
  }
  return encodeValue(assignmentData, { assignedPartitions, userData: null }, version);
}

/** Names become ids; topics that do not exist are left out. */
export function topicsById(
  named: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
  topics: CoordinatorTopics,
): TargetPartitions {
  const found = new Map<string, readonly number[]>();
  for (const { topic, partitions } of named) {
    const topicId = topics.topicId(topic);
    if (topicId === null) continue;
    found.set(
      topicId,
      [...new Set(partitions)].sort((left, right) => left - right),
    );
  }
  return found;
}

function decodeWith<Message>(
  bytes: Uint8Array,
  maxVersion: number,
  decode: (reader: Reader, version: number) => Message,
): Message | null {
  try {
    const reader = new Reader(bytes);
    const version = reader.int16();
    return version < 0 ? null : decode(reader, Math.min(version, maxVersion));
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}
