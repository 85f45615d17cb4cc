import { anAnswer, closed, noAnswer, saysWhy, unknownError } from "./accepted-forms.ts";
import { acceptedOfGroups } from "./accepted-groups.ts";
import { type Accepted, absent, type IntendedPair } from "./differences.ts";

/**
 * Differences that are meant: by the label of the answer, the path in it, what Kafka says and what
 * chronik says, with the reason. Whatever else differs under the same labels is reported.
 */

const produced = "responses[].partitionResponses[]";
const refused: readonly IntendedPair[] = [
  [`${produced}.errorCode`, "NONE", "INVALID_RECORD"],
  [`${produced}.baseOffset`, /^\d+$/, -1],
  saysWhy(`${produced}.errorMessage`),
];

const configDefaults = (path: string): readonly IntendedPair[] => [
  [path, /^\{"name":"min.insync.replicas","value":"1",.*"configSource":3,/, absent],
  [path, absent, /^\{"name":"min.insync.replicas","value":"1",.*"configSource":5,/],
  [path, /^\{"name":"segment.bytes","value":"1073741824",/, absent],
  [path, absent, /^\{"name":"segment.bytes","value":"134217728",/],
  [path, absent, /^\{"name":"search.index","value":"full",/],
  [path, absent, /^\{"name":"errors.deadletterqueue.group.enable","value":"false",/],
];
const configReasons =
  "other defaults, own settings, 4.4's dead letters; Kafka keeps the in-sync count";

const onlyKafkas = [17, 36, 80, 81, 83, 84, 85, 86, 87, 88, 89];
const newer: readonly (readonly [key: number, kafka: number, chronik: number])[] = [
  [18, 4, 5],
  [28, 5, 6],
  [42, 2, 3],
];
const api = (key: number, max = "\\d+") =>
  new RegExp(`^\\{"apiKey":${key},"minVersion":0,"maxVersion":${max}\\}$`);

/** Lists that may be null, in versions that say so with -1. */
const nullLists =
  /: (Metadata|OffsetFetch|CreatePartitions|ElectLeaders|Describe(Conf|Log|\w+Tok)).* -2 said$/;

const answered: readonly Accepted[] = [
  {
    where: /^cluster: ApiVersions v\d (plain|name 'ok)/,
    why: "SASL, raft voters, coordinators' own APIs and Streams groups are not served; 4.4's are",
    differs: [
      ...onlyKafkas.map((key): IntendedPair => ["apiKeys[]", api(key), absent]),
      ...newer.flatMap(([key, kafka, chronik]): IntendedPair[] => [
        ["apiKeys[]", api(key, `${kafka}`), absent],
        ["apiKeys[]", absent, api(key, `${chronik}`)],
      ]),
      ["finalizedFeatures[]", /^\{"name":"streams.version",/, absent],
      ["finalizedFeatures[]", /^\{"name":"share.version","maxVersionLevel":1,/, absent],
      ["finalizedFeatures[]", absent, /^\{"name":"share.version","maxVersionLevel":2,/],
      ["finalizedFeatures[]", /^\{"name":"eligible.leader.replicas.version",/, absent],
    ],
  },
  {
    where: /^cluster: ApiVersions v4 plain/,
    why: "share.version's dead letters are 4.4's; what has no meaning here stays at 0",
    differs: [
      ["supportedFeatures[].maxVersion", 1, 2],
      ["supportedFeatures[].maxVersion", 1, 0],
    ],
  },
  {
    where: /AddPartitionsToTxn v[45] transactions none/,
    why: "Kafka never answers",
    differs: [["answer", noAnswer, /"errorCode":"NONE","resultsByTransaction":\[\]/]],
  },
  {
    where: /JoinGroup v\d protocols twice/,
    why: "Kafka never answers",
    differs: [["answer", noAnswer, /"errorCode":"NONE","generationId":1,/]],
  },
  {
    where: /: AlterConfigs v\d resources twice/,
    why: "Kafka never answers",
    differs: [["answer", noAnswer, /"responses":\[\{"errorCode":"INVALID_REQUEST"/]],
  },
  {
    where: /^produce: Produce v9 null$/,
    why: "Kafka never answers",
    differs: [["answer", noAnswer, /"errorCode":"INVALID_RECORD","baseOffset":-1/]],
  },
  {
    where: nullLists,
    why: "only -1 counts as null",
    differs: [["answer", anAnswer, closed]],
  },
];

const topics: readonly Accepted[] = [
  {
    where: /CreateTopics v[5-7] /,
    why: configReasons,
    differs: configDefaults("topics[].configs[]"),
  },
  {
    where: /DescribeConfigs v\d (no keys|resources\[\]\.configurationKeys (none|null))$/,
    why: configReasons,
    differs: configDefaults("results[].configs[]"),
  },
  {
    where: /DescribeConfigs v\d (synonyms|includeSynonyms true)$/,
    why: "the broker's default is told as a synonym",
    differs: [
      [
        "results[].configs[].synonyms[]",
        absent,
        '{"name":"log.retention.ms","value":"604800000","source":5}',
      ],
    ],
  },
  {
    where: /DescribeConfigs v\d includeDocumentation true$/,
    why: "other words",
    differs: [["results[].configs[].documentation", /^"This configuration controls/, /^"Age from/]],
  },
  {
    where: /^describe-configs: DescribeConfigs v4 broker 1$/,
    why: "a node id that is 1 by default is no setting",
    differs: [["results[].configs[].configSource", 4, 5]],
  },
  {
    where: /^consumer-group-configs: DescribeConfigs v4 (defaults|one set)$/,
    why: "configs by name, not in the order asked for",
    differs: [["results[].configs (order)", absent, absent]],
  },
  {
    where: /IncrementalAlterConfigs v\d .*(operation 7|configOperation -?\d+)$/,
    why: "an operation that does not exist is told as such",
    differs: [
      ["responses[].errorCode", unknownError, "INVALID_REQUEST"],
      saysWhy("responses[].errorMessage"),
    ],
  },
  {
    where: /^alter-configs: IncrementalAlterConfigs v1 unknown topic, operation [23]$/,
    why: "another order of the same checks",
    differs: [["responses[].errorCode", "INVALID_CONFIG", "UNKNOWN_TOPIC_OR_PARTITION"]],
  },
  {
    where: /^alter-configs: IncrementalAlterConfigs v1 bad topic, operation [23]$/,
    why: "another order of the same checks",
    differs: [["responses[].errorCode", "INVALID_CONFIG", "INVALID_TOPIC_EXCEPTION"]],
  },
  {
    where: /^alter-configs: IncrementalAlterConfigs v1 read only, operation [123]$/,
    why: "what cannot be set cannot be removed or extended either",
    differs: [
      ["responses[].errorCode", "NONE", "INVALID_REQUEST"],
      ["responses[].errorCode", "INVALID_CONFIG", "INVALID_REQUEST"],
      saysWhy("responses[].errorMessage"),
    ],
  },
  {
    where: /^metadata: Metadata v1[23] by zero id$/,
    why: "Kafka fails",
    differs: [
      ["topics[].errorCode", unknownError, "INVALID_TOPIC_EXCEPTION"],
      ["brokers[]", absent, /^\{"nodeId":1,/],
      ["clusterId", null, "<clusterId>"],
      ["controllerId", -1, 1],
      ["errorCode", unknownError, "NONE"],
    ],
  },
  {
    where: /^metadata: Metadata v\d+ bad names, created$/,
    why: "a topic can be used once it was created",
    differs: [
      ["topics[].topicId", "<none>", /^"<topic \d+>"$/],
      ["topics[].errorCode", "UNKNOWN_TOPIC_OR_PARTITION", "NONE"],
      ["topics[].partitions[]", absent, /^\{"errorCode":"NONE","partitionIndex":0,"leaderId":1,/],
    ],
  },
  {
    where: /^sweep 35: DescribeLogDirs v\d (topics null|all ones)$/,
    why: "the broker's own topics hold other records",
    differs: [
      ["results[].topics[].partitions[].partitionSize", 0, "<bytes>"],
      ["results[].topics[].partitions[].partitionSize", "<bytes>", 0],
    ],
    sometimes: true,
  },
  {
    where: /^topic-partitions: DescribeTopicPartitions v0 bad names$/,
    why: "Kafka fails",
    differs: [
      ["topics[].errorCode", unknownError, "INVALID_TOPIC_EXCEPTION"],
      ["topics[].topicAuthorizedOperations", -2147483648, 3576],
    ],
  },
  {
    where: /DescribeTopicPartitions v0 cursor.partitionIndex 2147483647/,
    why: "Kafka's sum overflows",
    differs: [["nextCursor", '{"topicName":"sweep-75","partitionIndex":-2147483639}', null]],
  },
  {
    where: /DescribeQuorum v\d (plausible|topics one|topics\[\]\.partitions one|unknown tag)$/,
    why: "another log of other length, and no listener of its own for the controller",
    differs: [
      ["topics[].partitions[].leaderEpoch", /^\d+$/, /^\d+$/],
      ["topics[].partitions[].highWatermark", /^\d+$/, /^\d+$/],
      ["topics[].partitions[].currentVoters[].logEndOffset", /^\d+$/, /^\d+$/],
      ["nodes[].listeners[].name", "CONTROLLER", "PLAINTEXT"],
    ],
  },
];

const records: readonly Accepted[] = [
  {
    where: /Produce v9 (internal|empty|wrong checksum|transactional|small)$/,
    why: "chronik says why",
    differs: [saysWhy(`${produced}.errorMessage`)],
  },
  {
    where: /Produce v\d+ (ten bytes|two batches|.*records one byte)$/,
    why: "chronik says why, and where the log starts",
    differs: [saysWhy(`${produced}.errorMessage`), [`${produced}.logStartOffset`, -1, 0]],
  },
  {
    where: /^transaction-writes: Produce v\d+ /,
    why: "chronik says why",
    differs: [saysWhy(`${produced}.errorMessage`)],
  },
  {
    where: /^produce: Produce v9 (magic|length|base|count|delta|control|codec|gzip|too large)/,
    why: "chronik says why; INVALID_RECORD, which no client retries, for what cannot be valid",
    differs: [
      saysWhy(`${produced}.errorMessage`),
      [`${produced}.errorCode`, "CORRUPT_MESSAGE", "INVALID_RECORD"],
      [`${produced}.errorCode`, unknownError, "INVALID_RECORD"],
      [`${produced}.logStartOffset`, -1, 0],
    ],
  },
  {
    where: /^produce: Produce v9 (trailing bytes|unused|delete horizon|record delta wrong)/,
    why: "Kafka takes batches that break the format",
    differs: refused,
  },
  {
    where: /^produce: Produce v9 log append time$/,
    why: "Kafka takes batches that break the format",
    differs: [
      [`${produced}.errorCode`, "NONE", "INVALID_TIMESTAMP"],
      [`${produced}.baseOffset`, 13, -1],
      saysWhy(`${produced}.errorMessage`),
    ],
  },
  {
    where: /^produce: Produce v9 (max timestamp wrong|no timestamps|negative|partition epoch 7)/,
    why: "Kafka took eight records above",
    differs: [
      [`${produced}.baseOffset`, 20, 12],
      [`${produced}.baseOffset`, 22, 14],
      [`${produced}.baseOffset`, 23, 15],
      [`${produced}.baseOffset`, 24, 16],
    ],
  },
  {
    where: /^produce-configs: Produce v9 append time, told$/,
    why: "the batch is refused, not one of its records",
    differs: [[`${produced}.recordErrors[]`, /^\{"batchIndex":0,/, absent]],
  },
  {
    where: /^idempotent: Produce v9 (1 to 2|gap|an old|new epoch|old epoch|sequence -1|epoch -1)/,
    why: "chronik says why",
    differs: [saysWhy(`${produced}.errorMessage`)],
  },
  {
    where: /^idempotent: Produce v9 epoch -1$/,
    why: "an id without an epoch can never be valid",
    differs: [[`${produced}.errorCode`, "INVALID_PRODUCER_EPOCH", "INVALID_RECORD"]],
  },
];

const part = "responses[].partitions[]";
const reads: readonly Accepted[] = [
  {
    where: /^fetch: Fetch v12 (partition )?bytes -1$/,
    why: "Kafka fails; chronik sends one batch",
    differs: [
      [`${part}.errorCode`, unknownError, "NONE"],
      [`${part}.highWatermark`, -1, 15],
      [`${part}.lastStableOffset`, -1, 15],
      [`${part}.logStartOffset`, -1, 0],
      [`${part}.records[]`, absent, /^\{"base":0,"records":3,"bytes":391,/],
      [`${part}.records[]`, /^\{"base":0,"records":1,"bytes":70,/, absent],
    ],
  },
  {
    where: /^fetch: Fetch v12 bytes (500|1000|1900)$/,
    why: "Kafka counts the part of a batch that does not fit",
    differs: [[`${part}.records[]`, absent, /^\{"base":0,"records":1,"bytes":70,/]],
  },
  {
    where: /^fetch-session-topics: Fetch v13 topic (gone|still gone|made again|there again)$/,
    why: "the id of a deleted topic is unknown; Kafka's session remembers its name",
    differs: [
      [`${part}.errorCode`, "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID"],
      [`${part}.errorCode`, "INCONSISTENT_TOPIC_ID", "UNKNOWN_TOPIC_ID"],
      [`${part}.abortedTransactions`, null, /^\[\]$/],
    ],
  },
  {
    where: /^sweep 01: Fetch v\d+ isolationLevel -?\d+$/,
    why: "Kafka fails; chronik reads uncommitted",
    differs: [
      ["errorCode", unknownError, "NONE"],
      ["responses[]", absent, /"errorCode":"NONE","highWatermark":0,/],
      [`${part}.errorCode`, unknownError, "NONE"],
      [`${part}.highWatermark`, -1, 0],
      [`${part}.lastStableOffset`, -1, 0],
      [`${part}.logStartOffset`, -1, 0],
      [`${part}.abortedTransactions`, /^\[\]$/, null],
    ],
  },
  {
    where: /^sweep 01: Fetch v\d+ sessionId -?\d+$/,
    why: "Kafka fails where a session is left that never was; chronik reads without one",
    differs: [
      ["errorCode", unknownError, "NONE"],
      ["sessionId", -2147483648, 0],
      ["sessionId", "<session 1>", 0],
      ["responses[]", absent, /"errorCode":"NONE","highWatermark":0,/],
      [`${part}.errorCode`, unknownError, "NONE"],
      [`${part}.highWatermark`, -1, 0],
      [`${part}.lastStableOffset`, -1, 0],
      [`${part}.logStartOffset`, -1, 0],
      [`${part}.abortedTransactions`, /^\[\]$/, null],
    ],
  },
  {
    where: /^sweep 02: ListOffsets v\d+ isolationLevel -?\d+$/,
    why: "Kafka fails; chronik reads uncommitted",
    differs: [
      ["topics[].partitions[].errorCode", unknownError, "NONE"],
      ["topics[].partitions[].offset", -1, 0],
      ["topics[].partitions[].leaderEpoch", -1, 0],
    ],
  },
  {
    where: /^list-offsets: ListOffsets v11 at -6$/,
    why: "chronik archives, Kafka here has no remote storage",
    differs: [
      ["topics[].partitions[].offset", -1, 0],
      ["topics[].partitions[].leaderEpoch", -1, 0],
    ],
  },
  {
    where: /^delete-records: ListOffsets v7 offsets of an emptied log at -3$/,
    why: "Kafka names an offset below the log start",
    differs: [
      ["topics[].partitions[].timestamp", "<now>", -1],
      ["topics[].partitions[].offset", 5, -1],
      ["topics[].partitions[].leaderEpoch", 0, -1],
    ],
  },
];

export const accepted: readonly Accepted[] = [
  ...answered,
  ...topics,
  ...records,
  ...reads,
  ...acceptedOfGroups,
];
