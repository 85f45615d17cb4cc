import { consumerGroupSettings } from "./config-consumer-groups.ts";
import { shareGroupSettings } from "./config-share-groups.ts";
import { bytes, integer } from "./config-values.ts";

const int32Max = 2 ** 31 - 1;

/** Settings of groups of every kind. */
const MiB = 1024 * 1024;

export const groupSettings = {
  "group.offsetsTopicNumPartitions": integer({
    kafka: ["offsets.topic.num.partitions"],
    default: 50,
    min: 1,
    max: 10_000,
    doc: "Partitions of __consumer_offsets, fixed when it is first created",
  }),
  "group.offsetsRetentionMinutes": integer({
    kafka: ["offsets.retention.minutes"],
    default: 10_080,
    min: 1,
    max: int32Max,
    doc: "Minutes the offsets of an empty group are kept",
  }),
  "group.offsetsRetentionCheckIntervalMs": integer({
    kafka: ["offsets.retention.check.interval.ms"],
    default: 600_000,
    min: 1_000,
    doc: "Milliseconds between two checks for offsets to drop",
  }),
  "group.offsetMetadataBytesMax": integer({
    kafka: ["offset.metadata.max.bytes"],
    default: 4_096,
    min: 0,
    max: int32Max,
    doc: "Most bytes of text stored with a committed offset",
  }),
  "group.initialRebalanceDelayMs": integer({
    kafka: ["group.initial.rebalance.delay.ms"],
    default: 3_000,
    min: 0,
    max: 600_000,
    doc: "Milliseconds a new group waits for more members before its first rebalance",
  }),
  "group.minSessionTimeoutMs": integer({
    kafka: ["group.min.session.timeout.ms"],
    default: 6_000,
    min: 0,
    max: int32Max,
    doc: "Shortest session timeout a consumer may ask for, in milliseconds",
  }),
  "group.maxSessionTimeoutMs": integer({
    kafka: ["group.max.session.timeout.ms"],
    default: 1_800_000,
    min: 1,
    max: int32Max,
    doc: "Longest session timeout a consumer may ask for, in milliseconds",
  }),
  "group.maxSize": integer({
    kafka: ["group.max.size"],
    default: int32Max,
    min: 1,
    max: int32Max,
    doc: "Most members of one group",
  }),
  "limits.groupsMax": integer({
    default: 100_000,
    min: 1,
    max: 10_000_000,
    doc: "Groups kept, those included that only have offsets; a new one is told to come back",
  }),
  "limits.groupStateBytesMax": bytes({
    default: 512 * MiB,
    min: 65_536,
    doc: "Memory for members, assignments and offsets of all groups together",
  }),
  ...consumerGroupSettings,
  ...shareGroupSettings,
} as const;
