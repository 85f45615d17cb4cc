import { backupSettings } from "./config-backup.ts";
import { clientSettings } from "./config-clients.ts";
import { groupSettings } from "./config-groups.ts";
import { integritySettings } from "./config-integrity.ts";
import { objectStoreSettings } from "./config-object-store.ts";
import { retentionSettings } from "./config-retention.ts";
import { telemetrySettings } from "./config-telemetry.ts";
import { transactionSettings } from "./config-transactions.ts";
import {
  address,
  addresses,
  boolean,
  bytes,
  choice,
  integer,
  optionalText,
  pattern,
  type Setting,
  text,
} from "./config-values.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const int32Max = 2 ** 31 - 1;

/**
 * Every setting there is, by its place in `Config`. The key in a file is the path in snake_case
 * (`wal.segment_bytes_max`) unless `key` says otherwise, and the environment variable is the key in
 * capitals with `CHRONIK_` before it (`CHRONIK_WAL_SEGMENT_BYTES_MAX`).
 */
export const settings = {
  "node.id": integer({
    flag: "--node-id <id>",
    kafka: ["node.id", "broker.id"],
    default: 1,
    min: 0,
    max: int32Max,
    doc: "Number of this broker, unique in its cluster",
  }),
  "cluster.id": optionalText({
    default: null,
    doc: "Identity of the cluster; generated at the first start and kept in the metadata",
  }),
  dataDir: text({
    flag: "--data-dir <dir>",
    kafka: ["log.dirs", "log.dir"],
    default: "./data",
    doc: "Folder that holds everything this broker stores",
  }),
  bind: addresses({
    flag: "--bind <host:port>",
    kafka: ["listeners"],
    portDefault: 9092,
    default: [
      { host: "127.0.0.1", port: 9092 },
      { host: "::1", port: 9092 },
    ],
    doc: "Where Kafka clients connect",
  }),
  advertisedAddr: optionalText({
    flag: "--advertised-addr <host[:port]>",
    kafka: ["advertised.listeners"],
    default: null,
    doc: "Address that clients are told to use; localhost when bound to this machine only",
  }),
  adminBind: address({
    flag: "--admin-bind <host:port>",
    portDefault: 6092,
    default: { host: "127.0.0.1", port: 6092 },
    doc: "Where the admin API listens; loopback only",
  }),

  "indexer.enableWalIndexing": boolean({
    key: "enable_wal_indexing",
    default: true,
    doc: "Whether sealed WAL segments are archived and indexed in the background",
  }),
  "indexer.walIndexingIntervalSecs": integer({
    key: "wal_indexing_interval_secs",
    flag: "--wal-indexing-interval <seconds>",
    default: 30,
    min: 1,
    max: 86_400,
    doc: "Seconds between two runs of the indexer",
  }),
  "indexer.minSegmentAgeSecs": integer({
    key: "min_segment_age_secs",
    default: 10,
    min: 0,
    max: 604_800,
    doc: "Age of its first record in seconds at which a WAL segment is sealed and archived",
  }),
  "indexer.maxSegmentsPerRun": integer({
    key: "max_segments_per_run",
    default: 100,
    min: 1,
    max: 100_000,
    doc: "Most WAL segments one run takes; a run that reaches it is followed by the next at once",
  }),
  "indexer.deleteAfterIndex": boolean({
    key: "delete_after_index",
    default: true,
    doc: "Whether a WAL segment is released once its archive is verified and registered",
  }),
  "indexer.indexBasePath": text({
    key: "index_base_path",
    variables: ["LOCAL_STORAGE_PATH"],
    default: "{data_dir}/tantivy_indexes",
    doc: "Folder under which the local store keeps archives",
  }),
  "indexer.parallelIndexing": boolean({
    key: "parallel_indexing",
    default: false,
    doc: "Whether several archives are built at a time",
  }),
  "indexer.maxConcurrentTasks": integer({
    key: "max_concurrent_tasks",
    default: 4,
    min: 1,
    max: 64,
    doc: "Most archives built at a time when parallel_indexing is on",
  }),
  "indexer.archiveBytesMax": bytes({
    default: 256 * MiB,
    min: MiB,
    max: 4 * GiB,
    doc: "Raw bytes of consecutive segments that are joined into one archive",
  }),
  "indexer.archivesPerSecMax": integer({
    default: 10,
    min: 1,
    max: 1_000,
    doc: "Archives a second above which sealing by age is stretched",
  }),
  "indexer.pendingBytesMax": bytes({
    default: 4 * GiB,
    min: MiB,
    doc: "Sealed bytes that wait for the indexer before segments are archived without an index",
  }),
  "indexer.pendingAgeSecsMax": integer({
    default: 300,
    min: 1,
    doc: "Seconds that sealed data waits before segments are archived without an index",
  }),
  "indexer.mergeArchives": boolean({
    default: true,
    doc: "Whether small archives are merged, and missing indexes added, in the background",
  }),
  ...objectStoreSettings,
  "cache.maxBytes": bytes({
    default: GiB,
    min: 0,
    doc:
      "Disk under {data_dir}/cache that holds parts of archives read from a bucket; " +
      "0 keeps none, a local store needs none",
  }),
  ...backupSettings,

  "wal.commitProfile": choice({
    values: ["low", "medium", "high", "ultra"],
    default: "low",
    doc: "How long a commit group may gather before its fsync; low never waits on purpose",
  }),
  "wal.segmentBytesMax": bytes({
    kafka: ["log.segment.bytes"],
    default: 128 * MiB,
    min: MiB,
    max: 2 * GiB - 1,
    doc: "Size at which a WAL segment is sealed and the next one begun",
  }),
  "wal.maxBytes": bytes({
    default: 0,
    min: 0,
    doc: "Bytes of user topics' WAL beyond which producers are slowed, then refused; 0 sets no cap",
  }),
  "wal.segmentAgeMsMax": integer({
    kafka: ["log.roll.ms", { name: "log.roll.hours", scale: hourMs }],
    default: 7 * dayMs,
    min: 1_000,
    doc: "Age in milliseconds at which a WAL segment is sealed where the indexer does not do it",
  }),
  "wal.committerThreads": integer({
    default: 4,
    min: 1,
    max: 64,
    doc: "Threads that write and fsync",
  }),
  "wal.queueBytesMax": bytes({
    default: 64 * MiB,
    min: MiB,
    max: 4 * GiB,
    doc: "Bytes that may wait for a commit before producers are paused",
  }),
  "wal.queueAppendsMax": integer({
    default: 8_192,
    min: 16,
    max: 1_048_576,
    doc: "Appends that may wait for a commit before producers are paused",
  }),
  "wal.openFilesMax": integer({
    default: 4_096,
    min: 64,
    max: 1_048_576,
    doc: "WAL files kept open at a time",
  }),

  "limits.frameBytesMax": bytes({
    kafka: ["socket.request.max.bytes"],
    default: 100 * MiB,
    min: 64 * KiB,
    max: 2 * GiB - 1,
    doc: "Largest request accepted",
  }),
  "limits.inFlightBytesPerConnectionMax": bytes({
    default: 16 * MiB,
    min: 64 * KiB,
    max: 2 * GiB - 1,
    doc: "Request and response bytes one connection may have in flight before it is not read from",
  }),
  "limits.inFlightBytesMax": bytes({
    kafka: ["queued.max.request.bytes"],
    default: 512 * MiB,
    min: MiB,
    doc: "Request and response bytes of all connections before none is read from",
  }),
  "limits.connectionsMax": integer({
    kafka: ["max.connections"],
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: "Client connections at a time",
  }),
  "limits.connectionIdleMsMax": integer({
    kafka: ["connections.max.idle.ms"],
    default: 600_000,
    min: 1_000,
    doc: "Milliseconds after which a silent connection is closed",
  }),
  "limits.tailCacheBytesMax": bytes({
    default: 64 * MiB,
    min: 0,
    doc: "Memory that holds the newest batches of all partitions together",
  }),
  "limits.chunkCacheBytesMax": bytes({
    default: 32 * MiB,
    min: 0,
    doc: "Memory that holds chunks read from archives",
  }),
  "limits.decompressedBytesMax": bytes({
    default: 128 * MiB,
    min: MiB,
    max: 2 * GiB - 1,
    doc: "Most bytes that one compressed batch may unpack to",
  }),
  "limits.readBytesMax": bytes({
    default: 256 * MiB,
    min: MiB,
    doc: "Bytes that fetches of all connections read, or wait with for slow readers, at a time",
  }),
  "limits.coldPercentBesideTails": integer({
    default: 1,
    min: 1,
    max: 100,
    doc: "Percent of the event loop for reading archives beside readers of new records; 100: all",
  }),
  "limits.inFlightRequestsPerConnectionMax": integer({
    default: 64,
    min: 1,
    max: 10_000,
    doc: "Requests one connection may have in flight before it is not read from",
  }),
  "limits.frameMsMax": integer({
    default: 60_000,
    min: 1_000,
    doc: "Milliseconds one request may take to arrive once its first byte is there",
  }),
  ...clientSettings,
  "limits.partitionsPerTopicMax": integer({
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: "Partitions one topic may have",
  }),
  "limits.partitionsMax": integer({
    default: 100_000,
    min: 1,
    max: 10_000_000,
    doc: "Partitions of all topics together",
  }),
  "limits.producersPerPartitionMax": integer({
    default: 10_000,
    min: 1,
    doc: "Idempotent producers remembered for one partition; the longest silent goes first",
  }),
  "limits.metricPartitionsMax": integer({
    default: 2_000,
    min: 0,
    doc: "Partitions that have metrics of their own",
  }),
  "limits.loopSilenceMsMax": integer({
    default: 30_000,
    min: 1_000,
    doc: "Milliseconds without a turn of the event loop after which the process ends itself",
  }),

  "topic.numPartitions": integer({
    kafka: ["num.partitions"],
    default: 1,
    min: 1,
    max: 10_000,
    doc: "Partitions of a topic created without a number",
  }),
  "topic.autoCreate": boolean({
    kafka: ["auto.create.topics.enable"],
    default: true,
    doc: "Whether a topic is created when a client first names it",
  }),
  "topic.deleteEnabled": boolean({
    kafka: ["delete.topic.enable"],
    default: true,
    doc: "Whether topics can be deleted",
  }),
  "topic.replicationFactor": integer({
    kafka: ["default.replication.factor"],
    default: 1,
    min: 1,
    max: 32_767,
    doc: "Replicas of a topic created without a number",
  }),
  "topic.minInsyncReplicas": integer({
    kafka: ["min.insync.replicas"],
    default: 1,
    min: 1,
    max: 32_767,
    doc: "In-sync replicas that acks=all asks for",
  }),
  "topic.retentionMs": integer({
    kafka: [
      "log.retention.ms",
      { name: "log.retention.minutes", scale: 60_000 },
      { name: "log.retention.hours", scale: hourMs },
    ],
    default: 7 * dayMs,
    min: -1,
    doc: "Milliseconds records are kept over all tiers; -1 keeps them for ever",
  }),
  "topic.retentionBytes": integer({
    kafka: ["log.retention.bytes"],
    default: -1,
    min: -1,
    doc: "Bytes of one partition kept over all tiers; -1 sets no limit",
  }),
  "topic.cleanupPolicy": choice({
    kafka: ["log.cleanup.policy"],
    values: ["delete", "compact", "compact,delete"],
    default: "delete",
    doc: "What happens to old records of a topic that does not say",
  }),
  "topic.compressionType": choice({
    kafka: ["compression.type"],
    values: ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"],
    default: "producer",
    doc: "Codec of stored batches; producer keeps what was sent, others compress it anew",
  }),
  "topic.compressionGzipLevel": pattern({
    kafka: ["compression.gzip.level"],
    default: "-1",
    form: /^(-1|[1-9])$/,
    accepts: "1 to 9, or -1 for the codec's default",
    doc: "Level of topics that are stored in gzip",
  }),
  "topic.compressionLz4Level": integer({
    kafka: ["compression.lz4.level"],
    default: 9,
    min: 1,
    max: 17,
    doc: "Level of topics that are stored in lz4; 9 is the fast compressor",
  }),
  "topic.compressionZstdLevel": integer({
    kafka: ["compression.zstd.level"],
    default: 3,
    min: -131_072,
    max: 22,
    doc: "Level of topics that are stored in zstd",
  }),
  "topic.messageBytesMax": integer({
    kafka: ["message.max.bytes"],
    default: 1_048_588,
    min: 0,
    max: int32Max,
    doc: "Largest record batch accepted",
  }),
  "topic.timestampType": choice({
    kafka: ["log.message.timestamp.type"],
    values: ["CreateTime", "LogAppendTime"],
    default: "CreateTime",
    doc: "Whether a record keeps its producer's time or gets the broker's",
  }),
  "topic.timestampBeforeMsMax": integer({
    kafka: ["log.message.timestamp.before.max.ms"],
    default: Number.MAX_SAFE_INTEGER,
    min: 0,
    doc: "Milliseconds a record's time may lie in the past; the largest number sets no limit",
  }),
  "topic.timestampAfterMsMax": integer({
    kafka: ["log.message.timestamp.after.max.ms"],
    default: hourMs,
    min: 0,
    doc: "Milliseconds a record's time may lie in the future",
  }),

  ...retentionSettings,
  ...groupSettings,
  ...transactionSettings,
  ...telemetrySettings,
  ...integritySettings,

  "logging.level": pattern({
    key: "log_level",
    flag: "--log-level <level>",
    default: "info",
    form: /^(debug|info|warn|error)(,[\w-]+=(debug|info|warn|error))*$/,
    accepts: "debug, info, warn or error; components apart as in info,indexer=debug",
    doc: "Least severe log lines to write, for all and for components of their own",
  }),
  "logging.format": choice({
    key: "log_format",
    flag: "--log-format <format>",
    values: ["text", "json"],
    default: "text",
    doc: "Form of the log on standard error",
  }),
  "shutdown.timeoutMs": integer({
    default: 30_000,
    min: 0,
    max: 600_000,
    doc: "Milliseconds that a stop waits for requests in flight",
  }),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingPath = keyof typeof settings;

type Section = SettingPath extends infer P ? (P extends `${infer S}.${string}` ? S : never) : never;
type ValueOf<P extends SettingPath> = (typeof settings)[P]["default"];

/** Settings as given or by default, each checked on its own; `Config` adds what follows. */
export type Values = {
  readonly [P in SettingPath as P extends `${string}.${string}` ? never : P]: ValueOf<P>;
} & {
  readonly [S in Section]: {
    readonly [P in SettingPath as P extends `${S}.${infer Name}` ? Name : never]: ValueOf<P>;
  };
};

/** The key of a setting in files and for `-X`. */
export function keyOf(path: SettingPath): string {
  const setting: Setting<unknown> = settings[path];
  return setting.key ?? path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The environment variable of a setting. */
export function variableOf(path: SettingPath): string {
  return variableOfKey(keyOf(path));
}

/** `wal.segment_bytes_max` → `CHRONIK_WAL_SEGMENT_BYTES_MAX`. */
export function variableOfKey(key: string): string {
  return `CHRONIK_${key.replaceAll(/[.-]/g, "_").toUpperCase()}`;
}

/** The name of a setting's flag without dashes, such as `data-dir`. */
export function flagOf(path: SettingPath): string | undefined {
  const setting: Setting<unknown> = settings[path];
  return setting.flag && /^--([\w-]+)/.exec(setting.flag)?.[1];
}

export const paths = Object.keys(settings) as SettingPath[];
