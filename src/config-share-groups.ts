import { boolean, integer, pattern } from "./config-values.ts";

const int32Max = 2 ** 31 - 1;

function setting(kafka: string, value: number, min: number, max: number, doc: string) {
  return integer({ kafka: [kafka], default: value, min, max, doc });
}

/** Settings of share groups: Kafka's `group.share.*` and `share.coordinator.*` (KIP-932), and
 * `errors.deadletterqueue.*` (KIP-1191). */
export const shareGroupSettings = {
  "shareGroup.deadLetterAutoCreateTopics": boolean({
    kafka: ["errors.deadletterqueue.auto.create.topics.enable"],
    default: false,
    doc: "Create a dead letter queue that a share group names and that does not exist",
  }),
  "shareGroup.deadLetterTopicPrefix": pattern({
    kafka: ["errors.deadletterqueue.topic.name.prefix"],
    default: "dlq.",
    form: /^[a-zA-Z0-9._-]*$/,
    accepts: "letters, digits, dots, dashes and underscores",
    doc: "What the names of dead letter queues must begin with",
  }),
  "shareGroup.sessionTimeoutMs": setting(
    "group.share.session.timeout.ms",
    45_000,
    1,
    int32Max,
    "Milliseconds without a heartbeat after which a member is out",
  ),
  "shareGroup.minSessionTimeoutMs": setting(
    "group.share.min.session.timeout.ms",
    45_000,
    1,
    int32Max,
    "Shortest session timeout one group may be given",
  ),
  "shareGroup.maxSessionTimeoutMs": setting(
    "group.share.max.session.timeout.ms",
    60_000,
    1,
    int32Max,
    "Longest session timeout one group may be given",
  ),
  "shareGroup.heartbeatIntervalMs": setting(
    "group.share.heartbeat.interval.ms",
    5_000,
    1,
    int32Max,
    "Milliseconds between two heartbeats of a member, as it is told",
  ),
  "shareGroup.minHeartbeatIntervalMs": setting(
    "group.share.min.heartbeat.interval.ms",
    5_000,
    1,
    int32Max,
    "Shortest heartbeat interval one group may be given",
  ),
  "shareGroup.maxHeartbeatIntervalMs": setting(
    "group.share.max.heartbeat.interval.ms",
    15_000,
    1,
    int32Max,
    "Longest heartbeat interval one group may be given",
  ),
  "shareGroup.assignmentIntervalMs": setting(
    "group.share.assignment.interval.ms",
    1_000,
    0,
    int32Max,
    "A group is assigned anew at most once in this time",
  ),
  "shareGroup.minAssignmentIntervalMs": setting(
    "group.share.min.assignment.interval.ms",
    0,
    0,
    int32Max,
    "Shortest assignment interval one group may be given",
  ),
  "shareGroup.maxAssignmentIntervalMs": setting(
    "group.share.max.assignment.interval.ms",
    15_000,
    0,
    int32Max,
    "Longest assignment interval one group may be given",
  ),
  "shareGroup.maxSize": setting("group.share.max.size", 200, 1, 1_000, "Most members of one group"),
  "shareGroup.recordLockDurationMs": setting(
    "group.share.record.lock.duration.ms",
    30_000,
    1_000,
    3_600_000,
    "Milliseconds a member holds records it acquired",
  ),
  "shareGroup.minRecordLockDurationMs": setting(
    "group.share.min.record.lock.duration.ms",
    15_000,
    1_000,
    30_000,
    "Shortest lock duration one group may be given",
  ),
  "shareGroup.maxRecordLockDurationMs": setting(
    "group.share.max.record.lock.duration.ms",
    60_000,
    30_000,
    3_600_000,
    "Longest lock duration one group may be given",
  ),
  "shareGroup.deliveryCountLimit": setting(
    "group.share.delivery.count.limit",
    5,
    2,
    10,
    "How often a record is delivered at most",
  ),
  "shareGroup.minDeliveryCountLimit": setting(
    "group.share.min.delivery.count.limit",
    2,
    2,
    5,
    "Smallest delivery limit one group may be given",
  ),
  "shareGroup.maxDeliveryCountLimit": setting(
    "group.share.max.delivery.count.limit",
    10,
    5,
    25,
    "Largest delivery limit one group may be given",
  ),
  "shareGroup.partitionMaxRecordLocks": setting(
    "group.share.partition.max.record.locks",
    2_000,
    100,
    10_000,
    "Most records of one partition that a group has under way",
  ),
  "shareGroup.minPartitionMaxRecordLocks": setting(
    "group.share.min.partition.max.record.locks",
    100,
    100,
    2_000,
    "Smallest lock limit one group may be given",
  ),
  "shareGroup.maxPartitionMaxRecordLocks": setting(
    "group.share.max.partition.max.record.locks",
    4_000,
    2_000,
    10_000,
    "Largest lock limit one group may be given",
  ),
  "shareGroup.maxShareSessions": setting(
    "group.share.max.share.sessions",
    2_000,
    1,
    int32Max,
    "Most share sessions of this broker",
  ),
  "shareGroup.stateTopicNumPartitions": setting(
    "share.coordinator.state.topic.num.partitions",
    50,
    1,
    10_000,
    "Partitions of __share_group_state, fixed when it is first created",
  ),
  "shareGroup.snapshotUpdateRecordsPerSnapshot": setting(
    "share.coordinator.snapshot.update.records.per.snapshot",
    500,
    0,
    500,
    "Updates of a share partition's state between two snapshots of it",
  ),
} as const;
