import type { CoordinatorTopics, OffsetsLog } from "./group/ports.ts";
import { BrokerError } from "./lib/errors.ts";
import type { Partition } from "./log/partition.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { CreateTopicSpec } from "./metadata/requests.ts";
import { crc32c } from "./protocol/crc32c.ts";
import { errorName } from "./protocol/error-code.ts";
import { batchesIn, compressionOf, isControl, recordsPayload } from "./protocol/record-batch.ts";
import { buildBatch, parseRecords } from "./protocol/records.ts";

export const offsetsTopic = "__consumer_offsets";

const replayBytesMax = 4 << 20;
const noHeaders: [] = [];

/** The coordinator's view of topics, and of `__consumer_offsets` as a log of records. */
export function coordinatorTopics(
  metadata: Metadata,
  partitions: Partitions,
  partitionCount: number,
): CoordinatorTopics {
  const image = () => metadata.image;
  let topics = image().topicsByName;
  let topicsVersion = image().version;
  const existing = image().topicsByName.get(offsetsTopic);
  return {
    partitionCount: existing?.partitions.length ?? partitionCount,
    topicExists: (name) => image().topicsByName.has(name),
    topicId: (name) => image().topicsByName.get(name)?.id ?? null,
    topicName: (id) => image().topicsById.get(id)?.name ?? null,
    topicNames: () => image().topicsByName.keys(),
    get topicsVersion() {
      // The image gets a new map whenever a topic comes, goes or changes.
      if (image().topicsByName !== topics) {
        topics = image().topicsByName;
        topicsVersion = image().version;
      }
      return topicsVersion;
    },
    groupConfig: (groupId) => image().groupConfigs.get(groupId) ?? null,
    partitionCountOf: (topic) => image().topicsByName.get(topic)?.partitions.length ?? null,
    async offsetsLog(index) {
      if (!image().topicsByName.has(offsetsTopic))
        await createOffsetsTopic(metadata, partitionCount);
      const partition = partitions.get(offsetsTopic, index);
      if (!partition) {
        throw new BrokerError(
          "CHRONIK_OFFSETS_TOPIC",
          `partition ${index} of ${offsetsTopic} is not open; its groups are unavailable`,
        );
      }
      return new PartitionOffsetsLog(partition);
    },
  };
}

async function createOffsetsTopic(metadata: Metadata, partitionCount: number): Promise<void> {
  const spec: CreateTopicSpec = {
    name: offsetsTopic,
    numPartitions: partitionCount,
    replicationFactor: 1,
    assignments: [],
    configs: [
      ["cleanup.policy", "compact"],
      ["compression.type", "producer"],
      ["segment.bytes", String(100 << 20)],
    ],
  };
  const [outcome] = await metadata.createTopics([spec], false);
  // Another request may have created it in between.
  if (!metadata.image.topicsByName.has(offsetsTopic)) {
    throw new BrokerError(
      "CHRONIK_OFFSETS_TOPIC",
      `${offsetsTopic} cannot be created: ` +
        (outcome?.errorMessage ?? errorName(outcome?.errorCode ?? -1)),
    );
  }
}

/** One partition of an internal topic as a log of records. */
export class PartitionOffsetsLog implements OffsetsLog {
  protected readonly partition: Partition;

  constructor(partition: Partition) {
    this.partition = partition;
  }

  append(
    records: readonly { key: Uint8Array; value: Uint8Array | null; timestamp: number }[],
  ): Promise<{ errorCode: number; baseOffset: number }> {
    const batch = buildBatch(
      records.map((record, offsetDelta) => ({ ...record, offsetDelta, headers: noHeaders })),
      {},
      crc32c,
    );
    return this.partition.append(batch, { origin: "coordinator" });
  }

  async replay(
    onRecord: (
      key: Uint8Array,
      value: Uint8Array | null,
      offset: number,
      timestamp: number,
    ) => void,
  ): Promise<void> {
    const end = this.partition.highWatermark;
    for (let offset = this.partition.logStartOffset; offset < end; ) {
      const read = await this.partition.read({
        offset,
        bytesMax: replayBytesMax,
        offsetLimit: end,
      });
      if (read.errorCode !== 0 || read.bytes === 0) {
        throw new BrokerError(
          "CHRONIK_OFFSETS_TOPIC",
          `${this.partition.topic}-${this.partition.index} cannot be read at offset ${offset}: ` +
            errorName(read.errorCode),
        );
      }
      for (const chunk of read.chunks) offset = this.replayChunk(chunk, offset, onRecord);
    }
  }

  private replayChunk(
    chunk: Uint8Array,
    from: number,
    onRecord: (
      key: Uint8Array,
      value: Uint8Array | null,
      offset: number,
      timestamp: number,
    ) => void,
  ): number {
    let next = from;
    for (const { position, header } of batchesIn(chunk)) {
      next = header.baseOffset + header.lastOffsetDelta + 1;
      if (isControl(header.attributes)) continue;
      if (compressionOf(header.attributes) !== "none") {
        throw new BrokerError(
          "CHRONIK_OFFSETS_TOPIC",
          `${this.partition.topic}-${this.partition.index} holds a compressed batch at offset ` +
            `${header.baseOffset}, which no coordinator wrote`,
        );
      }
      for (const record of parseRecords(recordsPayload(chunk, position, header), header)) {
        if (record.key === null) continue;
        const offset = header.baseOffset + record.offsetDelta;
        onRecord(record.key, record.value, offset, record.timestamp);
      }
    }
    return next;
  }
}
