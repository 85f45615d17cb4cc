import { anyText, boolean, type ConfigCheck, ConfigType, integer, oneOf } from "./config-types.ts";

const { BOOLEAN, INT, STRING } = ConfigType;
const int32Max = 2 ** 31 - 1;

type BrokerDefinition = readonly [
  name: string,
  type: ConfigType,
  defaultValue: string,
  check: ConfigCheck,
  documentation: string,
];

function number(
  name: string,
  value: number,
  [min, max]: readonly [min: number, max: number],
  documentation: string,
): BrokerDefinition {
  return [name, INT, String(value), integer(min, max), documentation];
}

/** The broker configs of share groups (KIP-932, KIP-1191), under Kafka's names. */
export const shareBrokerConfigs: readonly BrokerDefinition[] = [
  [
    "errors.deadletterqueue.auto.create.topics.enable",
    BOOLEAN,
    "false",
    boolean,
    "Whether a dead letter queue that a group names and that does not exist is created.",
  ],
  [
    "errors.deadletterqueue.topic.name.prefix",
    STRING,
    "dlq.",
    anyText,
    "What the names of dead letter queues must begin with; empty: they may be any.",
  ],
  number(
    "group.share.session.timeout.ms",
    45_000,
    [1, int32Max],
    "Milliseconds without a heartbeat after which a member is out.",
  ),
  number(
    "group.share.min.session.timeout.ms",
    45_000,
    [1, int32Max],
    "Shortest session timeout one group may be given.",
  ),
  number(
    "group.share.max.session.timeout.ms",
    60_000,
    [1, int32Max],
    "Longest session timeout one group may be given.",
  ),
  number(
    "group.share.heartbeat.interval.ms",
    5_000,
    [1, int32Max],
    "Milliseconds between two heartbeats of a member, as it is told.",
  ),
  number(
    "group.share.min.heartbeat.interval.ms",
    5_000,
    [1, int32Max],
    "Shortest heartbeat interval one group may be given.",
  ),
  number(
    "group.share.max.heartbeat.interval.ms",
    15_000,
    [1, int32Max],
    "Longest heartbeat interval one group may be given.",
  ),
  number(
    "group.share.assignment.interval.ms",
    1_000,
    [0, int32Max],
    "A group is assigned anew at most once in this time.",
  ),
  number(
    "group.share.min.assignment.interval.ms",
    0,
    [0, int32Max],
    "Shortest assignment interval one group may be given.",
  ),
  number(
    "group.share.max.assignment.interval.ms",
    15_000,
    [0, int32Max],
    "Longest assignment interval one group may be given.",
  ),
  number("group.share.max.size", 200, [1, 1_000], "Most members of one group."),
  number(
    "group.share.record.lock.duration.ms",
    30_000,
    [1_000, 3_600_000],
    "Milliseconds a member holds records it acquired.",
  ),
  number(
    "group.share.min.record.lock.duration.ms",
    15_000,
    [1_000, 30_000],
    "Shortest lock duration one group may be given.",
  ),
  number(
    "group.share.max.record.lock.duration.ms",
    60_000,
    [30_000, 3_600_000],
    "Longest lock duration one group may be given.",
  ),
  number(
    "group.share.delivery.count.limit",
    5,
    [2, 10],
    "How often a record is delivered at most.",
  ),
  number(
    "group.share.min.delivery.count.limit",
    2,
    [2, 5],
    "Smallest delivery limit one group may be given.",
  ),
  number(
    "group.share.max.delivery.count.limit",
    10,
    [5, 25],
    "Largest delivery limit one group may be given.",
  ),
  number(
    "group.share.partition.max.record.locks",
    2_000,
    [100, 10_000],
    "Most records of one partition that a group has under way.",
  ),
  number(
    "group.share.min.partition.max.record.locks",
    100,
    [100, 2_000],
    "Smallest lock limit one group may be given.",
  ),
  number(
    "group.share.max.partition.max.record.locks",
    4_000,
    [2_000, 10_000],
    "Largest lock limit one group may be given.",
  ),
  number(
    "group.share.max.share.sessions",
    2_000,
    [1, int32Max],
    "Most share sessions of this broker.",
  ),
  number(
    "share.coordinator.state.topic.num.partitions",
    50,
    [1, 10_000],
    "Partitions of __share_group_state, fixed when it is first created.",
  ),
  number(
    "share.coordinator.snapshot.update.records.per.snapshot",
    500,
    [0, 500],
    "Updates of a share partition's state between two snapshots of it.",
  ),
];

/** "latest", "earliest" or "by_duration:" and a duration of ISO 8601 that is not negative. */
const offsetReset: ConfigCheck = (text) => {
  const clock = /T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:[.,]\d{0,9})?S)?/;
  const duration = new RegExp(`^by_duration:P(?!$)(?:\\d+D)?(?:${clock.source})?$`, "i");
  const isNamed = /^(?:latest|earliest)$/i.test(text);
  if (isNamed || duration.test(text)) return null;
  return "it must be latest, earliest or by_duration:<duration>";
};

const deadLetterTopic: ConfigCheck = (text) =>
  text.startsWith("__") ? "DLQ topic name must not start with '__'" : null;

/** Configs of a group that follow no broker config. */
export const shareOwnConfigs = [
  {
    name: "share.auto.offset.reset",
    type: STRING,
    defaultValue: "latest",
    check: offsetReset,
    documentation: "Where the group begins in a partition that it has not read yet.",
  },
  {
    name: "share.isolation.level",
    type: STRING,
    defaultValue: "read_uncommitted",
    check: oneOf("read_committed", "read_uncommitted"),
    documentation: "Whether records of transactions are delivered before these are committed.",
  },
  {
    name: "share.renew.acknowledge.enable",
    type: BOOLEAN,
    defaultValue: "true",
    check: oneOf("true", "false"),
    documentation: "Whether members may renew the locks of records they hold.",
  },
  {
    name: "errors.deadletterqueue.topic.name",
    type: STRING,
    defaultValue: "",
    check: deadLetterTopic,
    documentation: "Topic for records that are not delivered any more; empty: there is none.",
  },
  {
    name: "errors.deadletterqueue.copy.record.enable",
    type: BOOLEAN,
    defaultValue: "false",
    check: oneOf("true", "false"),
    documentation: "Whether that topic gets the records, or only tells which ones they are.",
  },
] as const;

/** Configs of a group that follow a broker config and lie between two others. */
export const shareBoundedConfigs: readonly (readonly [
  name: string,
  brokerName: string,
  range: readonly [min: number, max: number],
  defaultValue: number,
  documentation: string,
])[] = [
  [
    "share.session.timeout.ms",
    "group.share.session.timeout.ms",
    [1, int32Max],
    45_000,
    "Time without a heartbeat after which a member is out.",
  ],
  [
    "share.heartbeat.interval.ms",
    "group.share.heartbeat.interval.ms",
    [1, int32Max],
    5_000,
    "Time between two heartbeats of a member.",
  ],
  [
    "share.assignment.interval.ms",
    "group.share.assignment.interval.ms",
    [0, int32Max],
    1_000,
    "The group gets a new target assignment at most once in this time.",
  ],
  [
    "share.record.lock.duration.ms",
    "group.share.record.lock.duration.ms",
    [1_000, 3_600_000],
    30_000,
    "Time a member holds records it acquired.",
  ],
  [
    "share.delivery.count.limit",
    "group.share.delivery.count.limit",
    [2, 10],
    5,
    "How often a record is delivered at most.",
  ],
  [
    "share.partition.max.record.locks",
    "group.share.partition.max.record.locks",
    [100, 10_000],
    2_000,
    "Most records of one partition that the group has under way.",
  ],
];
