import type { CompressionType } from "../protocol/record-batch.ts";

/** What a topic's `compression.type` asks of every batch it stores. */
export interface TopicCompression {
  readonly codec: CompressionType;
  /** `compression.{gzip,lz4,zstd}.level`; null: the codec has none. */
  readonly level: number | null;
}

/** What the log needs to know of a topic's configuration, resolved; replaced when it changes. */
export interface PartitionLogConfig {
  /** `max.message.bytes`: of a batch as sent, and as stored. */
  readonly maxMessageBytes: number;
  /** `message.timestamp.type`. */
  readonly timestampType: "CreateTime" | "LogAppendTime";
  /** `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`. */
  readonly timestampBeforeMaxMs: number;
  readonly timestampAfterMaxMs: number;
  /** null: batches keep their producer's codec (`compression.type=producer`). */
  readonly compression: TopicCompression | null;
  /** What `cleanup.policy` names. */
  readonly compact: boolean;
  readonly delete: boolean;
  /** `min.insync.replicas`. */
  readonly minInsyncReplicas: number;
  /** `search.index` (design D6): what archives of this topic index. */
  readonly searchIndex: "full" | "text" | "keys" | "none";
  /** `segment.bytes` of the WAL; null: the engine's default. */
  readonly segmentBytesMax: number | null;
  /** `segment.ms`, and `segment.jitter.ms` that is taken off it. */
  readonly segmentMs: number;
  readonly segmentJitterMs: number;
  /** `retention.ms` and `retention.bytes`; negative: no limit. */
  readonly retentionMs: number;
  readonly retentionBytes: number;
  /** `local.retention.*` where the topic itself sets one of them; −2 follows `retention.*`. */
  readonly localRetention: { readonly ms: number; readonly bytes: number } | null;
  /** `remote.log.copy.disable`. */
  readonly copyDisabled: boolean;
}

/** Kafka's defaults. */
export const defaultPartitionLogConfig: PartitionLogConfig = {
  maxMessageBytes: 1_048_588,
  timestampType: "CreateTime",
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: 3_600_000,
  compression: null,
  compact: false,
  delete: true,
  minInsyncReplicas: 1,
  searchIndex: "full",
  segmentBytesMax: null,
  segmentMs: 604_800_000,
  segmentJitterMs: 0,
  retentionMs: 604_800_000,
  retentionBytes: -1,
  localRetention: null,
  copyDisabled: false,
};

/** Bounds shared by all partitions (design D15). */
export interface LogLimits {
  /** Memory of all tails together. */
  readonly tailCacheBytesMax: number;
  /** Batches submitted and not yet durable, in all; as many bytes again may wait for that. */
  readonly appendBytesInFlightMax: number;
  /** Of all WAL segments of user topics; 0: no cap. */
  readonly walBytesMax: number;
  /** Batches of one partition that wait for a validation or for memory. */
  readonly appendsWaitingMax: number;
  /** Records of one batch, decompressed, where they must be looked at. */
  readonly decompressedBytesMax: number;
  /** Batches compressed anew at a time, in all: what each became is held until it is appended. */
  readonly recompressionsMax: number;
  /** `producer.id.expiration.ms` at this moment: administrators may change it. */
  readonly producerIdExpirationMs: () => number;
  /** `producer.id.expiration.check.interval.ms`. */
  readonly producerIdCheckIntervalMs: number;
  /** Producer ids remembered per partition. */
  readonly producersMax: number;
  /** Transactions open at a time per partition. */
  readonly transactionsMax: number;
  /** Aborted transactions in memory per partition; beyond, none begins. */
  readonly abortedMax: number;
  /** From so many on those of a partition go to a file. */
  readonly abortedSpillMin: number;
  /** In the memory of all partitions together, 32 bytes each, beside 128 of each partition. */
  readonly abortedAllMax: number;
  /** Bytes that fetches read at a time, in all. */
  readonly readBytesMax: number;
  /** Of the event loop's time for readers of archives while others read the ends of logs. */
  readonly coldPercentBesideTails: number;
  /** Fetches parked in all. */
  readonly fetchWaitersMax: number;
}

export const defaultLogLimits: LogLimits = {
  tailCacheBytesMax: 128 << 20,
  appendBytesInFlightMax: 64 << 20,
  walBytesMax: 0,
  appendsWaitingMax: 1_000,
  decompressedBytesMax: 256 << 20,
  recompressionsMax: 32,
  producerIdExpirationMs: () => 86_400_000,
  producerIdCheckIntervalMs: 600_000,
  producersMax: 100_000,
  transactionsMax: 10_000,
  abortedMax: 100_000,
  abortedSpillMin: 8_192,
  abortedAllMax: 1_000_000,
  readBytesMax: 256 << 20,
  coldPercentBesideTails: 1,
  fetchWaitersMax: 10_000,
};
