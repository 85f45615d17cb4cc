import { ProtocolError } from "../lib/errors.ts";
import { transactionLogKeyData } from "../protocol/messages/data-transaction-log-key.ts";
import { transactionLogValueData } from "../protocol/messages/data-transaction-log-value.ts";
import { Reader } from "../protocol/reader.ts";
import { Writer } from "../protocol/writer.ts";
import type { StateRecord } from "./ports.ts";
import {
  noPartitions,
  noProducerEpoch,
  type TopicPartitionSet,
  type TransactionData,
  type TransactionVersion,
  transactionStateNames,
} from "./transaction-types.ts";

/**
 * The records of `__transaction_state`, as Kafka 4.3 writes and its tools read them. Version 1 of
 * the value (transaction.version 1 and up) adds the ids around a rotation and the client's version.
 */
export type DecodedState =
  | { readonly kind: "state"; readonly id: string; readonly data: TransactionData | null }
  /** Written by a later release; nothing here depends on it. */
  | { readonly kind: "unknown" };

/** As many as a broker may be configured to hold: what was written can be read. */
const partitionLimit = 10_000_000;

export function encodeState(
  id: string,
  data: TransactionData | null,
  version: TransactionVersion,
  timestamp: number,
): StateRecord {
  const key = new Writer(64);
  key.int16(transactionLogKeyData.recordType ?? 0);
  transactionLogKeyData.encode(key, { transactionalId: id }, 0);
  const keyBytes = key.bytesWritten();
  if (data === null) return { key: keyBytes, value: null, timestamp };
  return { key: keyBytes, value: encodeValue(data, version), timestamp };
}

/** Throws ProtocolError when the bytes are not what they say. */
export function decodeState(key: Uint8Array, value: Uint8Array | null): DecodedState {
  const reader = new Reader(key);
  if (reader.int16() !== transactionLogKeyData.recordType) return { kind: "unknown" };
  const id = transactionLogKeyData.decode(reader, 0).transactionalId;
  if (value === null) return { kind: "state", id, data: null };
  return { kind: "state", id, data: decodeValue(value) };
}

function encodeValue(data: TransactionData, transactionVersion: TransactionVersion): Uint8Array {
  const version = transactionVersion >= 1 ? 1 : 0;
  const writer = new Writer(128);
  writer.int16(version);
  const partitions = [...data.partitions].map(([topic, ids]) => ({
    topic,
    partitionIds: [...ids],
  }));
  transactionLogValueData.encode(
    writer,
    {
      producerId: data.producerId,
      producerEpoch: data.producerEpoch,
      transactionTimeoutMs: data.timeoutMs,
      transactionStatus: transactionStateNames.indexOf(data.state),
      transactionPartitions: data.state === "Empty" ? null : partitions,
      transactionLastUpdateTimestampMs: data.lastUpdateMs,
      transactionStartTimestampMs: data.startMs,
      ...(version === 0
        ? {}
        : {
            previousProducerId: data.prevProducerId,
            nextProducerId: data.nextProducerId,
            clientTransactionVersion: data.clientVersion,
          }),
    },
    version,
  );
  return writer.bytesWritten();
}

function decodeValue(bytes: Uint8Array): TransactionData {
  const reader = new Reader(bytes);
  const version = reader.int16();
  const { minVersion, maxVersion } = transactionLogValueData;
  if (version < minVersion || version > maxVersion) {
    throw new ProtocolError(`transaction state in version ${version}, which is not known`);
  }
  const value = transactionLogValueData.decode(reader, version);
  const state = transactionStateNames[value.transactionStatus];
  if (state === undefined || state === "Dead" || state === "PrepareEpochFence") {
    throw new ProtocolError(`a transaction in state ${value.transactionStatus} cannot be stored`);
  }
  return {
    state,
    producerId: value.producerId,
    prevProducerId: value.previousProducerId,
    nextProducerId: value.nextProducerId,
    producerEpoch: value.producerEpoch,
    lastProducerEpoch: noProducerEpoch,
    timeoutMs: value.transactionTimeoutMs,
    partitions: state === "Empty" ? noPartitions : partitionsOf(value.transactionPartitions ?? []),
    startMs: value.transactionStartTimestampMs,
    lastUpdateMs: value.transactionLastUpdateTimestampMs,
    clientVersion: clientVersionOf(value.clientTransactionVersion),
  };
}

function partitionsOf(
  stored: readonly { readonly topic: string; readonly partitionIds: readonly number[] }[],
): TopicPartitionSet {
  const set = new Map<string, ReadonlySet<number>>();
  let count = 0;
  for (const { topic, partitionIds } of stored) {
    count += partitionIds.length;
    if (count > partitionLimit) throw new ProtocolError("a transaction with too many partitions");
    set.set(topic, new Set([...(set.get(topic) ?? []), ...partitionIds]));
  }
  return set;
}

function clientVersionOf(stored: number): TransactionVersion {
  if (stored === 0 || stored === 1 || stored === 2) return stored;
  throw new ProtocolError(`client transaction version ${stored} is not known`);
}
