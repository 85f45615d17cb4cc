import type { LogReplay, OffsetsRecord, TransactionalWriter } from "./group/ports.ts";
import { BrokerError } from "./lib/errors.ts";
import type { Partition } from "./log/partition.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import { type CoordinatorTopicForm, coordinatorTopicSpec } from "./metadata/coordinator-topics.ts";
import { crc32c } from "./protocol/crc32c.ts";
import { ErrorCode, errorName } from "./protocol/error-code.ts";
import { decodeControlRecordTypeSchema } from "./protocol/messages/data-control-record-type-schema.ts";
import { Reader } from "./protocol/reader.ts";
import {
  batchesIn,
  compressionOf,
  isControl,
  isTransactional,
  noProducerId,
  recordsPayload,
} from "./protocol/record-batch.ts";
import { buildBatch, parseRecords } from "./protocol/records.ts";

const replayBytesMax = 4 << 20;
const noHeaders: [] = [];
const controlTypes = { abort: 0, commit: 1 };

/** A topic in which a coordinator keeps its state: internal, created on first need. */
export interface CoordinatorTopic extends CoordinatorTopicForm {
  /** Of what an operator is told. */
  readonly errorCode: `CHRONIK_${string}`;
}

/** An open partition of the topic. Rejects with a BrokerError where there is none. */
export async function openCoordinatorPartition(
  topic: CoordinatorTopic,
  metadata: Metadata,
  partitions: Partitions,
  index: number,
): Promise<Partition> {
  if (!metadata.image.topicsByName.has(topic.name)) await createTopic(topic, metadata);
  const partition = partitions.get(topic.name, index);
  if (partition !== undefined) return partition;
  const text = `partition ${index} of ${topic.name} is not open; what it holds is unavailable`;
  throw new BrokerError(topic.errorCode, text);
}

async function createTopic(topic: CoordinatorTopic, metadata: Metadata): Promise<void> {
  const [outcome] = await metadata.createTopics([coordinatorTopicSpec(topic)], false);
  // Another request may have created it in between.
  if (metadata.image.topicsByName.has(topic.name)) return;
  const why = outcome?.errorMessage ?? errorName(outcome?.errorCode ?? -1);
  throw new BrokerError(topic.errorCode, `${topic.name} cannot be created: ${why}`);
}

/** Appends uncompressed records as one batch. */
export function appendRecords(
  partition: Partition,
  records: readonly OffsetsRecord[],
  writer?: TransactionalWriter,
): Promise<{ errorCode: number; baseOffset: number }> {
  const producer =
    writer === undefined
      ? {}
      : {
          producerId: writer.producerId,
          producerEpoch: writer.producerEpoch,
          isTransactional: true,
        };
  const batch = buildBatch(
    records.map((record, offsetDelta) => ({ ...record, offsetDelta, headers: noHeaders })),
    producer,
    crc32c,
  );
  const check = writer === undefined ? {} : { transactionCheck: writer.check };
  return partition.append(batch, { origin: "coordinator", ...check });
}

/** Reads all there is, from log start to the current end, in offset order. */
export async function replayRecords(
  topic: CoordinatorTopic,
  partition: Partition,
  onto: LogReplay,
): Promise<void> {
  const end = partition.highWatermark;
  for (let offset = partition.logStartOffset; offset < end; ) {
    const read = await partition.read({ offset, bytesMax: replayBytesMax, offsetLimit: end });
    if (read.errorCode !== ErrorCode.NONE || read.bytes === 0) {
      throw new BrokerError(
        topic.errorCode,
        `${topic.name}-${partition.index} cannot be read at offset ${offset}: ` +
          errorName(read.errorCode),
      );
    }
    for (const chunk of read.chunks) offset = replayChunk(topic, partition, chunk, offset, onto);
  }
}

function replayChunk(
  topic: CoordinatorTopic,
  partition: Partition,
  chunk: Uint8Array,
  from: number,
  onto: LogReplay,
): number {
  let next = from;
  for (const { position, header } of batchesIn(chunk)) {
    next = header.baseOffset + header.lastOffsetDelta + 1;
    if (compressionOf(header.attributes) !== "none") {
      throw new BrokerError(
        topic.errorCode,
        `${topic.name}-${partition.index} holds a compressed batch at offset ` +
          `${header.baseOffset}, which no coordinator wrote`,
      );
    }
    const records = parseRecords(recordsPayload(chunk, position, header), header);
    if (isControl(header.attributes)) {
      const key = records[0]?.key ?? null;
      if (key !== null) replayControl(key, header.producerId, onto);
      continue;
    }
    const producerId = isTransactional(header.attributes) ? header.producerId : noProducerId;
    for (const { key, value, offsetDelta } of records) {
      if (key !== null) onto.record(key, value, producerId, header.baseOffset + offsetDelta);
    }
  }
  return next;
}

function replayControl(key: Uint8Array, producerId: number, onto: LogReplay): void {
  const reader = new Reader(key);
  const { type } = decodeControlRecordTypeSchema(reader, reader.int16());
  if (type === controlTypes.commit || type === controlTypes.abort) {
    onto.marker(producerId, type === controlTypes.commit);
  }
}
