import {
  boolean,
  type ConfigCheck,
  ConfigType,
  decimal,
  int,
  integer,
  listOf,
  long,
  longMax,
  oneOf,
  type TopicConfigDefinition,
  throttledReplicas,
} from "./config-types.ts";

type BrokerName = string | { readonly name: string; readonly scale: number };

function define(
  name: string,
  type: ConfigType,
  defaultValue: string,
  check: ConfigCheck,
  brokerNames: readonly BrokerName[],
  documentation: string,
): TopicConfigDefinition {
  return {
    name,
    type,
    defaultValue,
    check,
    documentation,
    internal: name === internalSegmentBytes,
    brokerNames: brokerNames.map((at) => (typeof at === "string" ? { name: at, scale: 1 } : at)),
  };
}

const { BOOLEAN, DOUBLE, INT, LIST, LONG, STRING } = ConfigType;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** Without the size rule of `segment.bytes`. */
export const internalSegmentBytes = "internal.segment.bytes";
/** The size rule of Kafka 4.3: smaller segments only cost files. */
const segmentBytesMin = 1024 * 1024;

/**
 * Every topic config of Kafka 4.3.1, that of dead letters in 4.4, then chronik's own. Names, types
 * and bounds are Kafka's; defaults too, except `segment.bytes` (chronik's WAL rotates at 128 MiB).
 */
const definitions: readonly TopicConfigDefinition[] = [
  define(
    "cleanup.policy",
    LIST,
    "delete",
    listOf("compact", "delete"),
    ["log.cleanup.policy"],
    "What happens to old records: delete drops them after the retention limits, compact keeps " +
      "the last record of each key, both do both, an empty list keeps everything.",
  ),
  define(
    "compression.gzip.level",
    INT,
    "-1",
    gzipLevel,
    ["compression.gzip.level"],
    "Level used when compression.type is gzip: 1 to 9, or -1 for the codec's default.",
  ),
  define(
    "compression.lz4.level",
    INT,
    "9",
    integer(1, 17),
    ["compression.lz4.level"],
    "Level used when compression.type is lz4: 1 to 17. 9 is the fast compressor, as in Kafka; " +
      "from 12 on there is nothing denser.",
  ),
  define(
    "compression.type",
    STRING,
    "producer",
    oneOf("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
    ["compression.type"],
    "Codec of stored batches. producer keeps each batch as its producer sent it; with any other " +
      "a batch that came in a different codec is compressed anew.",
  ),
  define(
    "compression.zstd.level",
    INT,
    "3",
    integer(-131_072, 22),
    ["compression.zstd.level"],
    "Level used when compression.type is zstd: -131072 to 22.",
  ),
  define(
    "delete.retention.ms",
    LONG,
    "86400000",
    long(0),
    ["log.cleaner.delete.retention.ms"],
    "How long a compacted topic keeps tombstones, so that a reader who starts at offset 0 sees " +
      "them.",
  ),
  define(
    "file.delete.delay.ms",
    LONG,
    "60000",
    long(0),
    ["log.segment.delete.delay.ms"],
    "Delay between dropping a segment from the log and removing its file. chronik removes it " +
      "when its last reader is done, whatever this says.",
  ),
  define(
    "flush.messages",
    LONG,
    longMax,
    long(1),
    ["log.flush.interval.messages"],
    "Records after which Kafka forces a flush. chronik flushes before every acknowledgement, " +
      "whatever this says.",
  ),
  define(
    "flush.ms",
    LONG,
    longMax,
    long(0),
    ["log.flush.interval.ms"],
    "Time after which Kafka forces a flush. chronik flushes before every acknowledgement, " +
      "whatever this says.",
  ),
  define(
    "follower.replication.throttled.replicas",
    LIST,
    "",
    throttledReplicas,
    [],
    "Replicas whose following side is throttled: partition:broker pairs, or * for all.",
  ),
  define(
    "index.interval.bytes",
    INT,
    "4096",
    int(0),
    ["log.index.interval.bytes"],
    "How many bytes of log lie between two entries of the offset index. chronik's index is in " +
      "memory and spaced by itself.",
  ),
  define(
    internalSegmentBytes,
    INT,
    "1024",
    int(1024),
    [],
    "Size at which a log file is closed, in place of segment.bytes. For tests only.",
  ),
  define(
    "leader.replication.throttled.replicas",
    LIST,
    "",
    throttledReplicas,
    [],
    "Replicas whose leading side is throttled: partition:broker pairs, or * for all.",
  ),
  define(
    "local.retention.bytes",
    LONG,
    "-2",
    long(-2),
    ["log.local.retention.bytes"],
    "How much of a partition stays in the local log once archived, where the topic sets it: " +
      "-2 follows retention.bytes, -1 is no limit. A topic that sets neither this nor " +
      "local.retention.ms leaves nothing archived in the local log.",
  ),
  define(
    "local.retention.ms",
    LONG,
    "-2",
    long(-2),
    ["log.local.retention.ms"],
    "How long records stay in the local log once archived, where the topic sets it: -2 follows " +
      "retention.ms, -1 is no limit.",
  ),
  define(
    "max.compaction.lag.ms",
    LONG,
    longMax,
    long(1),
    ["log.cleaner.max.compaction.lag.ms"],
    "Longest time a record may stay uncompacted.",
  ),
  define(
    "max.message.bytes",
    INT,
    "1048588",
    int(0),
    ["message.max.bytes"],
    "Largest record batch taken, after compression.",
  ),
  define(
    "message.timestamp.after.max.ms",
    LONG,
    "3600000",
    long(0),
    ["log.message.timestamp.after.max.ms"],
    "How far a record's timestamp may lie ahead of the broker's clock (CreateTime only).",
  ),
  define(
    "message.timestamp.before.max.ms",
    LONG,
    longMax,
    long(0),
    ["log.message.timestamp.before.max.ms"],
    "How far a record's timestamp may lie behind the broker's clock (CreateTime only).",
  ),
  define(
    "message.timestamp.type",
    STRING,
    "CreateTime",
    oneOf("CreateTime", "LogAppendTime"),
    ["log.message.timestamp.type"],
    "Whether records carry the producer's time or the time of the append.",
  ),
  define(
    "min.cleanable.dirty.ratio",
    DOUBLE,
    "0.5",
    decimal(0, 1),
    ["log.cleaner.min.cleanable.ratio"],
    "Share of uncompacted bytes from which on a log is worth compacting.",
  ),
  define(
    "min.compaction.lag.ms",
    LONG,
    "0",
    long(0),
    ["log.cleaner.min.compaction.lag.ms"],
    "Shortest time a record stays uncompacted.",
  ),
  define(
    "min.insync.replicas",
    INT,
    "1",
    int(1),
    ["min.insync.replicas"],
    "Replicas that must be in sync for a write with acks=all to be taken.",
  ),
  define(
    "preallocate",
    BOOLEAN,
    "false",
    boolean,
    ["log.preallocate"],
    "Whether files are allocated in full when created. chronik preallocates in steps by itself.",
  ),
  define(
    "remote.log.copy.disable",
    BOOLEAN,
    "false",
    boolean,
    [],
    "Whether the topic's log is archived no more. What is archived stays readable until " +
      "retention drops it.",
  ),
  define(
    "remote.log.delete.on.disable",
    BOOLEAN,
    "false",
    boolean,
    [],
    "Whether switching remote storage off deletes what was copied. chronik cannot switch it off; " +
      "DeleteRecords deletes archives.",
  ),
  define(
    "remote.storage.enable",
    BOOLEAN,
    "false",
    boolean,
    [],
    "Kafka's switch for tiered storage. chronik tiers every topic, whatever this says; true asks " +
      "for Kafka's checks of the local limits, and stays.",
  ),
  define(
    "retention.bytes",
    LONG,
    "-1",
    long(Number.MIN_SAFE_INTEGER),
    ["log.retention.bytes"],
    "Size of a partition over all tiers from which on its oldest segments are dropped; -1 is " +
      "no limit.",
  ),
  define(
    "retention.ms",
    LONG,
    "604800000",
    long(-1),
    [
      "log.retention.ms",
      { name: "log.retention.minutes", scale: minuteMs },
      { name: "log.retention.hours", scale: hourMs },
    ],
    "Age from which on segments are dropped, over all tiers; -1 keeps them for ever.",
  ),
  define(
    "segment.bytes",
    INT,
    "134217728",
    int(segmentBytesMin),
    ["log.segment.bytes"],
    "Size at which a log file is closed and the next one begun, from the next append on.",
  ),
  define(
    "segment.index.bytes",
    INT,
    "10485760",
    int(4),
    ["log.index.size.max.bytes"],
    "Largest offset index of a segment. chronik's index is in memory and bounded by itself.",
  ),
  define(
    "segment.jitter.ms",
    LONG,
    "0",
    long(0),
    ["log.roll.jitter.ms", { name: "log.roll.jitter.hours", scale: hourMs }],
    "Random part taken off segment.ms, so that not all segments roll at once.",
  ),
  define(
    "segment.ms",
    LONG,
    "604800000",
    long(1),
    ["log.roll.ms", { name: "log.roll.hours", scale: hourMs }],
    "Age of its first append at which a log file is closed even if it is not full. Looked at " +
      "every minute at most; the indexer closes files sooner.",
  ),
  define(
    "unclean.leader.election.enable",
    BOOLEAN,
    "false",
    boolean,
    ["unclean.leader.election.enable"],
    "Whether a replica that is not in sync may become leader, at the price of lost records.",
  ),
  define(
    "errors.deadletterqueue.group.enable",
    BOOLEAN,
    "false",
    boolean,
    [],
    "Whether share groups may use the topic as their dead letter queue (KIP-1191).",
  ),
  define(
    "search.index",
    STRING,
    "full",
    oneOf("full", "text", "keys", "none"),
    [],
    "What chronik indexes for search: full (key, value, fields, headers), text (key and " +
      "value), keys, or none.",
  ),
];

function gzipLevel(text: string): string | null {
  return text.trim() === "-1" ? null : integer(1, 9)(text);
}

/** By name, in the order of the names. */
export const topicConfigs: ReadonlyMap<string, TopicConfigDefinition> = new Map(
  [...definitions]
    .sort((left, right) => (left.name < right.name ? -1 : 1))
    .map((definition) => [definition.name, definition]),
);
