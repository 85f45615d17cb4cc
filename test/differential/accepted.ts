/** Differences that are meant, by label, with their reasons. */
export const accepted: readonly {
  readonly where: RegExp;
  readonly why: string;
  /** Only whether an error has a text may differ. */
  readonly textsOnly?: boolean;
}[] = [
  {
    where: /CreateTopics v[5-7] |DescribeConfigs v4 no keys/,
    why: "segment.bytes has another default; search.index, and dead letters of 4.4",
  },
  { where: /CreateTopics v4 consumer offsets/, why: "only with the configured partition count" },
  {
    where: /consumer-group-members: OffsetFetch v9 (member|nobody)$/,
    why: "partitions in the order of their commits",
  },
  {
    where: /consumer-group-classic: ConsumerGroupHeartbeat v1 upgrade$/,
    why: "Kafka gives free partitions to members in the order of a hash map",
  },
  {
    where: /consumer-group-configs: DescribeConfigs v4 (defaults|one set)$/,
    why: "configs by name, not in the order asked for",
  },
  { where: /DeleteTopics v\d.* (named|good|again)$/, why: "another order" },
  { where: /DeleteTopics v6 neither twice/, why: "one answer for what is asked twice" },
  { where: /DeleteTopics v6 name and id/, why: "the answer to an id carries no name" },
  { where: /Metadata v1[23] by zero id/, why: "Kafka fails with UNKNOWN_SERVER_ERROR" },
  { where: /DescribeTopicPartitions v0 bad names/, why: "Kafka fails with UNKNOWN_SERVER_ERROR" },
  { where: /Metadata v\d+ bad names, created/, why: "a topic can be used once it was created" },
  { where: /Fetch v12 (partition )?bytes -1/, why: "Kafka fails with UNKNOWN_SERVER_ERROR" },
  { where: /Fetch v12 bytes \d+/, why: "Kafka counts the part of a batch that does not fit" },
  { where: /ListOffsets v\d twice/, why: "a partition asked twice is answered twice" },
  {
    where: /Fetch v13 topic (gone|still gone|made again|there again)/,
    why: "the id of a deleted topic is unknown; Kafka's session remembers its name",
  },
  { where: /ListOffsets v11 at -6/, why: "chronik archives, Kafka here has no remote storage" },
  { where: /emptied log at -3/, why: "Kafka names an offset below the log start" },
  {
    where: /Produce v9 (internal|empty|ten bytes|wrong checksum|two batches|transactional|small)$/,
    why: "chronik says why",
  },
  {
    where: /Produce v9 (magic|length|base offset|count|delta|control|codec|gzip|too large)/,
    why: "chronik says why; INVALID_RECORD, which no client retries, for what cannot be valid",
  },
  { where: /Produce v9 null$/, why: "Kafka never answers" },
  {
    where: /Produce v9 (trailing|log append|unused|delete horizon|record delta|append time, told)/,
    why: "Kafka takes batches that break the format; later offsets of the run differ with them",
  },
  {
    where: /Produce v9 (max timestamp wrong|no timestamps|negative timestamp|partition epoch 7)/,
    why: "later offsets than above",
  },
  {
    where: /Produce v\d (in an hour|compact|after|before|1 to 2|gap|an old|new epoch|old epoch)/,
    why: "the log start is not told with an error",
  },
  { where: /Produce v9 (sequence -1|epoch -1)/, why: "chronik says why" },
  { where: /DescribeConfigs v\d synonyms/, why: "the broker's default is told as a synonym" },
  { where: /DescribeConfigs v4 (broker 1|type)/, why: "no loggers, client metrics, group configs" },
  { where: /IncrementalAlterConfigs v1 .*operation/, why: "another order of the same checks" },
  { where: /DescribeLogDirs v4/, why: "the disk fills meanwhile" },
  { where: /ApiVersions/, why: "other APIs, versions and features" },
  { where: /FindCoordinator v[36] type [12]/, why: "no transactions, no share groups" },
  { where: /ListGroups/, why: "Kafka makes a group of a refused join" },
  {
    where: /OffsetDelete v0 delete of-g|offsets: DescribeGroups/,
    why: "a group without members and offsets is gone at once",
  },
  // Of the sweeps over the definitions.
  { where: /-2 said$|all ones$/, why: "only -1 counts as null, and no bytes may follow a body" },
  {
    where: /(Fetch|ListOffsets) v\d+ (isolationLevel|sessionId)/,
    why: "Kafka fails with UNKNOWN_SERVER_ERROR; chronik reads uncommitted, without a session",
  },
  {
    where: /currentLeaderEpoch -2147483648/,
    why: "a negative epoch is none; Kafka's ListOffsets takes only -1 so",
  },
  {
    where: /(partitions|partitionData|topics|markers|partitionIndexes) (twice|none)$/,
    why: "what is asked twice is answered twice, and a topic without partitions too",
  },
  {
    where: /(AlterConfigs v\d resources|JoinGroup v\d protocols) twice/,
    why: "no answer by Kafka",
  },
  { where: /AddPartitionsToTxn v[45] transactions none/, why: "Kafka never answers" },
  { where: /IncrementalAlterConfigs v\d .*configOperation/, why: "Kafka: UNKNOWN_SERVER_ERROR" },
  {
    where: /DescribeConfigs v\d (resources.*keys|configurationKeys|include)|Keys (none|null)$/,
    why: "other words and synonyms; search.index, and dead letters of 4.4",
  },
  { where: /Produce v\d+ .*records one byte/, why: "chronik says why", textsOnly: true },
  {
    where: /DescribeQuorum v\d (plausible|topics one|topics\[\]\.partitions one|unknown tag)$/,
    why: "another log",
  },
  { where: /Metadata v\d+ topics(\[\]\.name unknown| null)/, why: "created at once" },
  { where: /(ElectLeaders|DescribeLogDirs) v\d topics?(Partitions)? null/, why: "all topics" },
  { where: /DescribeUserScramCredentials v0 users/, why: "in another order" },
  { where: /ListConfigResources v1 resourceTypes/, why: "in another order" },
  { where: /DescribeLogDirs v5/, why: "the disk fills meanwhile" },
  { where: /WriteTxnMarkers v2 .*transactionVersion/, why: "Kafka: UNKNOWN_SERVER_ERROR" },
  { where: /DescribeTransactions v0/, why: "no id and time instead of 0 with an error" },
  {
    where: /DescribeProducers v0 topics..\.name unknown/,
    why: "the code says it",
    textsOnly: true,
  },
  { where: /FindCoordinator v[456] keyType 2/, why: "chronik says why", textsOnly: true },
  { where: /DescribeLogDirs v1 two/, why: "Kafka opens the partitions a little later" },
  {
    where: /(ShareFetch|ShareAcknowledge|ShareGroupHeartbeat|ShareGroupDescribe) v\d /,
    why: "chronik says why",
    textsOnly: true,
  },
  {
    where: /(Describe|Alter)ShareGroupOffsets v\d (topics|groups).*(partition|groupId empty)/i,
    why: "Kafka never answers about partitions that are not there, or fails without a code",
  },
  { where: /ListTransactions v\d stateFilters twice/, why: "named twice, told twice" },
  { where: /JoinGroup v\d protocols\[\]\.name empty/, why: "an empty name stays a name" },
  { where: /DescribeTopicPartitions v0 cursor.partitionIndex 2147483647/, why: "Kafka overflows" },
  { where: / v\d timeoutMs [12]$/, why: "Kafka may be too slow" },
];
