import {
  anyText,
  type BrokerConfigDefinition,
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
} from "./config-types.ts";
import {
  foreignConfigs,
  foreignDocumentation,
  foreignDynamicConfigs,
} from "./foreign-broker-configs.ts";
import { consumerGroupConfigs } from "./group-configs.ts";
import { shareBrokerConfigs } from "./share-configs.ts";
import { topicConfigs } from "./topic-configs.ts";

const { BOOLEAN, DOUBLE, INT, LIST, LONG, SHORT, STRING } = ConfigType;

function define(
  name: string,
  type: ConfigType,
  defaultValue: string | null,
  check: ConfigCheck,
  documentation: string,
): BrokerConfigDefinition {
  const dynamic = topicDefaults.has(name) || otherDynamic.has(name);
  return { name, type, defaultValue, check, documentation, dynamic, sensitive: false };
}

/** Broker configs that give topics their defaults take effect at once when changed; of the ones in
 * several units only the first, in milliseconds, as in Kafka. */
const topicDefaults: ReadonlySet<string> = new Set(
  [...topicConfigs.values()].flatMap(({ brokerNames }) => {
    return brokerNames.slice(0, 1).map(({ name }) => name);
  }),
);

/** What else takes effect at once when changed, as in Kafka. */
const otherDynamic: ReadonlySet<string> = new Set([
  "errors.deadletterqueue.auto.create.topics.enable",
  "errors.deadletterqueue.topic.name.prefix",
  "group.consumer.assignment.interval.ms",
  "group.share.assignment.interval.ms",
  "producer.id.expiration.ms",
]);

/**
 * The broker configs that mean something here, under Kafka's names. What gives topics their
 * default may be changed while the broker runs, and little else; the rest is set at start.
 */
const definitions: readonly BrokerConfigDefinition[] = [
  define(
    "advertised.listeners",
    STRING,
    null,
    anyText,
    "Addresses that clients are told to connect to.",
  ),
  define(
    "auto.create.topics.enable",
    BOOLEAN,
    "true",
    boolean,
    "Whether naming an unknown topic creates it.",
  ),
  define("broker.id", INT, "-1", integer(-1, 2 ** 31 - 1), "Number of this broker."),
  define("broker.rack", STRING, null, anyText, "Rack of this broker."),
  define(
    "compression.gzip.level",
    INT,
    "-1",
    topicCheck("compression.gzip.level"),
    "Default of compression.gzip.level for topics.",
  ),
  define(
    "compression.lz4.level",
    INT,
    "9",
    topicCheck("compression.lz4.level"),
    "Default of compression.lz4.level for topics.",
  ),
  define(
    "compression.type",
    STRING,
    "producer",
    topicCheck("compression.type"),
    "Default of compression.type for topics.",
  ),
  define(
    "compression.zstd.level",
    INT,
    "3",
    topicCheck("compression.zstd.level"),
    "Default of compression.zstd.level for topics.",
  ),
  define(
    "connections.max.idle.ms",
    LONG,
    "600000",
    long(0),
    "How long a silent connection is kept.",
  ),
  define(
    "default.replication.factor",
    INT,
    "1",
    int(1),
    "Replicas of a topic whose creation names none.",
  ),
  define("delete.topic.enable", BOOLEAN, "true", boolean, "Whether topics can be deleted."),
  define("telemetry.max.bytes", INT, "1048576", int(1), "Largest push of client metrics."),
  define("fetch.max.bytes", INT, "57671680", int(1024), "Largest fetch response."),
  define("max.incremental.fetch.session.cache.slots", INT, "1000", int(0), "Fetch sessions kept."),
  define("quota.window.num", INT, "11", int(1), "Windows of a client's rate."),
  define("quota.window.size.seconds", INT, "1", int(1), "Length of such a window."),
  define("controller.quota.window.num", INT, "11", int(1), "Windows of mutations saved up."),
  define("controller.quota.window.size.seconds", INT, "1", int(1), "Length of such a window."),
  ...[...consumerGroupConfigs, ...shareBrokerConfigs].map(
    ([name, type, value, check, documentation]) => define(name, type, value, check, documentation),
  ),
  define(
    "group.initial.rebalance.delay.ms",
    INT,
    "3000",
    int(0),
    "How long a new group waits for more members before its first rebalance.",
  ),
  define(
    "group.max.session.timeout.ms",
    INT,
    "1800000",
    int(1),
    "Longest session timeout a group member may ask for.",
  ),
  define("group.max.size", INT, "2147483647", int(1), "Most members of one group."),
  define(
    "group.min.session.timeout.ms",
    INT,
    "6000",
    int(0),
    "Shortest session timeout a group member may ask for.",
  ),
  define("listeners", STRING, null, anyText, "Addresses this broker listens on."),
  define(
    "log.cleaner.delete.retention.ms",
    LONG,
    "86400000",
    long(0),
    "Default of delete.retention.ms for topics.",
  ),
  define(
    "log.cleaner.max.compaction.lag.ms",
    LONG,
    longMax,
    long(1),
    "Default of max.compaction.lag.ms for topics.",
  ),
  define(
    "log.cleaner.min.cleanable.ratio",
    DOUBLE,
    "0.5",
    decimal(0, 1),
    "Default of min.cleanable.dirty.ratio for topics.",
  ),
  define(
    "log.cleaner.min.compaction.lag.ms",
    LONG,
    "0",
    long(0),
    "Default of min.compaction.lag.ms for topics.",
  ),
  define(
    "log.cleanup.policy",
    LIST,
    "delete",
    listOf("compact", "delete"),
    "Default of cleanup.policy for topics.",
  ),
  define("log.dirs", STRING, null, anyText, "Folder that holds the data."),
  define(
    "log.flush.interval.messages",
    LONG,
    longMax,
    long(1),
    "Default of flush.messages for topics.",
  ),
  define("log.flush.interval.ms", LONG, null, long(0), "Default of flush.ms for topics."),
  define(
    "log.index.interval.bytes",
    INT,
    "4096",
    int(0),
    "Default of index.interval.bytes for topics.",
  ),
  define(
    "log.index.size.max.bytes",
    INT,
    "10485760",
    int(4),
    "Default of segment.index.bytes for topics.",
  ),
  define(
    "log.local.retention.bytes",
    LONG,
    "-2",
    long(-2),
    "Default of local.retention.bytes for topics.",
  ),
  define(
    "log.local.retention.ms",
    LONG,
    "-2",
    long(-2),
    "Default of local.retention.ms for topics.",
  ),
  define(
    "log.message.timestamp.after.max.ms",
    LONG,
    "3600000",
    long(0),
    "Default of message.timestamp.after.max.ms for topics.",
  ),
  define(
    "log.message.timestamp.before.max.ms",
    LONG,
    longMax,
    long(0),
    "Default of message.timestamp.before.max.ms for topics.",
  ),
  define(
    "log.message.timestamp.type",
    STRING,
    "CreateTime",
    oneOf("CreateTime", "LogAppendTime"),
    "Default of message.timestamp.type for topics.",
  ),
  define("log.preallocate", BOOLEAN, "false", boolean, "Default of preallocate for topics."),
  define("log.retention.bytes", LONG, "-1", long(-1), "Default of retention.bytes for topics."),
  define(
    "log.retention.check.interval.ms",
    LONG,
    "300000",
    long(1),
    "How often the retention limits are applied.",
  ),
  define(
    "log.retention.hours",
    INT,
    "168",
    int(-1),
    "Default of retention.ms for topics, in hours; log.retention.minutes and .ms win over it.",
  ),
  define(
    "log.retention.minutes",
    INT,
    null,
    int(-1),
    "Default of retention.ms for topics, in minutes; log.retention.ms wins over it.",
  ),
  define("log.retention.ms", LONG, null, long(-1), "Default of retention.ms for topics."),
  define(
    "log.roll.hours",
    INT,
    "168",
    int(1),
    "Default of segment.ms for topics, in hours; log.roll.ms wins over it.",
  ),
  define(
    "log.roll.jitter.hours",
    INT,
    "0",
    int(0),
    "Default of segment.jitter.ms for topics, in hours; log.roll.jitter.ms wins over it.",
  ),
  define("log.roll.jitter.ms", LONG, null, long(0), "Default of segment.jitter.ms for topics."),
  define("log.roll.ms", LONG, null, long(1), "Default of segment.ms for topics."),
  define(
    "log.segment.bytes",
    INT,
    "134217728",
    topicCheck("segment.bytes"),
    "Default of segment.bytes for topics.",
  ),
  define(
    "log.segment.delete.delay.ms",
    LONG,
    "60000",
    long(0),
    "Default of file.delete.delay.ms for topics.",
  ),
  define("max.connections", INT, "10000", int(1), "Most connections at a time."),
  define("message.max.bytes", INT, "1048588", int(0), "Default of max.message.bytes for topics."),
  define("min.insync.replicas", INT, "1", int(1), "Default of min.insync.replicas for topics."),
  define("node.id", INT, null, integer(0, 2 ** 31 - 1), "Number of this broker."),
  define("num.partitions", INT, "1", int(1), "Partitions of a topic whose creation names none."),
  define(
    "offset.metadata.max.bytes",
    INT,
    "4096",
    int(0),
    "Longest text stored with a committed offset.",
  ),
  define(
    "offsets.retention.check.interval.ms",
    LONG,
    "600000",
    long(1),
    "How often expired offsets are looked for.",
  ),
  define(
    "offsets.retention.minutes",
    INT,
    "10080",
    int(1),
    "How long the offsets of an empty group are kept.",
  ),
  define(
    "offsets.topic.num.partitions",
    INT,
    "50",
    int(1),
    "Partitions of __consumer_offsets when it is created.",
  ),
  define(
    "offsets.topic.replication.factor",
    SHORT,
    "1",
    integer(1, 32_767),
    "Replicas of __consumer_offsets when it is created.",
  ),
  define(
    "process.roles",
    LIST,
    "broker,controller",
    listOf("broker", "controller"),
    "Roles of this process.",
  ),
  define(
    "producer.id.expiration.ms",
    INT,
    "86400000",
    int(1),
    "How long an idle producer's sequence numbers are remembered.",
  ),
  define(
    "queued.max.request.bytes",
    LONG,
    "-1",
    long(-1),
    "Bytes of requests held by all connections together.",
  ),
  define(
    "replica.lag.time.max.ms",
    LONG,
    "30000",
    long(0),
    "How long a replica may lag before it leaves the in-sync set.",
  ),
  define("socket.request.max.bytes", INT, "104857600", int(1), "Largest request taken."),
  define(
    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
    INT,
    "10000",
    int(1),
    "How often transactions that timed out are aborted.",
  ),
  define(
    "transaction.max.timeout.ms",
    INT,
    "900000",
    int(1),
    "Longest transaction timeout a producer may ask for.",
  ),
  define(
    "transaction.remove.expired.transaction.cleanup.interval.ms",
    INT,
    "3600000",
    int(1),
    "How often unused transactional ids are looked for.",
  ),
  define(
    "transaction.state.log.num.partitions",
    INT,
    "50",
    int(1),
    "Partitions of __transaction_state when it is created.",
  ),
  define(
    "transaction.state.log.segment.bytes",
    INT,
    "104857600",
    int(1),
    "Size of a segment of __transaction_state.",
  ),
  define(
    "transactional.id.expiration.ms",
    INT,
    "604800000",
    int(1),
    "How long an unused transactional id is kept.",
  ),
  define(
    "unclean.leader.election.enable",
    BOOLEAN,
    "false",
    boolean,
    "Default of unclean.leader.election.enable for topics.",
  ),
];

function topicCheck(name: string): ConfigCheck {
  return topicConfigs.get(name)?.check ?? anyText;
}

/** What moving replicas may cost: tools set these before a move. One broker moves nothing. */
const throttles: readonly BrokerConfigDefinition[] = [
  "follower.replication.throttled.rate",
  "leader.replication.throttled.rate",
  "replica.alter.log.dirs.io.max.bytes.per.second",
].map((name) => ({
  ...define(name, LONG, null, long(0), "Bytes a second for moving replicas; one broker has none."),
  dynamic: true,
}));

/** Without effect here, so that almost none can be set; told by DescribeConfigs. */
const foreign: readonly BrokerConfigDefinition[] = foreignConfigs.map(([name, type, value]) => ({
  name,
  type,
  defaultValue: value,
  check: foreignDynamicConfigs.get(name) ?? anyText,
  documentation: foreignDocumentation(name),
  dynamic: foreignDynamicConfigs.has(name),
  sensitive: type === ConfigType.PASSWORD,
}));

/** By name, in the order of the names. */
export const brokerConfigs: ReadonlyMap<string, BrokerConfigDefinition> = new Map(
  [
    ...new Map([...foreign, ...throttles, ...definitions].map((one) => [one.name, one])).entries(),
  ].sort(([left], [right]) => (left < right ? -1 : 1)),
);
