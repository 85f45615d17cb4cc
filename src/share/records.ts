import { shareSnapshotKeyData } from "../protocol/messages/data-share-snapshot-key.ts";
import { shareSnapshotValueData } from "../protocol/messages/data-share-snapshot-value.ts";
import { shareUpdateKeyData } from "../protocol/messages/data-share-update-key.ts";
import { shareUpdateValueData } from "../protocol/messages/data-share-update-value.ts";
import { Reader } from "../protocol/reader.ts";
import { decodeValue, encodeKey, encodeValue } from "../protocol/topic-records.ts";
import type { StateRecord } from "./ports.ts";
import type { StateBatch } from "./state-batches.ts";

/** Whose state it is. */
export interface ShareKey {
  readonly groupId: string;
  readonly topicId: string;
  readonly partition: number;
}

/** Everything that is durable about one share partition. */
export interface ShareState {
  readonly snapshotEpoch: number;
  readonly stateEpoch: number;
  readonly leaderEpoch: number;
  /** −1: not decided yet; share.auto.offset.reset says where to begin. */
  readonly startOffset: number;
  /** Records from the start on whose delivery is complete; −1: nothing was ever read. */
  readonly deliveryCompleteCount: number;
  readonly createTimestampMs: number;
  readonly writeTimestampMs: number;
  readonly stateBatches: readonly StateBatch[];
}

/** What an update record changes. */
export type ShareUpdate = Pick<
  ShareState,
  "snapshotEpoch" | "leaderEpoch" | "startOffset" | "deliveryCompleteCount" | "stateBatches"
>;

/** A record of `__share_group_state`, as Kafka 4.3 writes it. */
export type DecodedRecord =
  | { readonly kind: "snapshot"; readonly key: ShareKey; readonly state: ShareState | null }
  | { readonly kind: "update"; readonly key: ShareKey; readonly update: ShareUpdate }
  /** A type of a later version; nothing here depends on it. */
  | { readonly kind: "other" };

/** Kafka's name of a share partition: its share coordinator's key. */
export function stateKey({ groupId, topicId, partition }: ShareKey): string {
  return `${groupId}:${topicId}:${partition}`;
}

export function encodeSnapshot(
  key: ShareKey,
  state: ShareState | null,
  timestamp: number,
): StateRecord {
  const keyBytes = encodeKey(shareSnapshotKeyData, key);
  if (state === null) return { key: keyBytes, value: null, timestamp };
  const value = encodeValue(shareSnapshotValueData, {
    snapshotEpoch: state.snapshotEpoch,
    stateEpoch: state.stateEpoch,
    leaderEpoch: state.leaderEpoch,
    startOffset: state.startOffset,
    deliveryCompleteCount: state.deliveryCompleteCount,
    createTimestamp: state.createTimestampMs,
    writeTimestamp: state.writeTimestampMs,
    stateBatches: [...state.stateBatches],
  });
  return { key: keyBytes, value, timestamp };
}

export function encodeUpdate(key: ShareKey, update: ShareUpdate, timestamp: number): StateRecord {
  const value = encodeValue(shareUpdateValueData, {
    snapshotEpoch: update.snapshotEpoch,
    leaderEpoch: update.leaderEpoch,
    startOffset: update.startOffset,
    deliveryCompleteCount: update.deliveryCompleteCount,
    stateBatches: [...update.stateBatches],
  });
  return { key: encodeKey(shareUpdateKeyData, key), value, timestamp };
}

/** Throws ProtocolError when the bytes are not what they say. Results share no memory with them. */
export function decodeRecord(key: Uint8Array, value: Uint8Array | null): DecodedRecord {
  const reader = new Reader(key);
  const recordType = reader.int16();
  switch (recordType) {
    case shareSnapshotKeyData.recordType: {
      const decoded = shareSnapshotKeyData.decode(reader, 0);
      return { kind: "snapshot", key: decoded, state: value === null ? null : snapshotOf(value) };
    }
    case shareUpdateKeyData.recordType: {
      const decoded = shareUpdateKeyData.decode(reader, 0);
      // Kafka deletes a state by a snapshot without a value only.
      if (value === null) return { kind: "other" };
      const message = decodeValue(shareUpdateValueData, value);
      return { kind: "update", key: decoded, update: message };
    }
    default:
      return { kind: "other" };
  }
}

function snapshotOf(bytes: Uint8Array): ShareState {
  const { createTimestamp, writeTimestamp, ...rest } = decodeValue(shareSnapshotValueData, bytes);
  return { ...rest, createTimestampMs: createTimestamp, writeTimestampMs: writeTimestamp };
}
