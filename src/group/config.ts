import { type ShareMembershipConfig, shareMembershipDefaults } from "./share-settings.ts";

/** Limits and delays of the group coordinator; Kafka's own settings carry Kafka's name. */
export interface GroupConfig {
  /** group.min.session.timeout.ms */
  readonly sessionTimeoutMsMin: number;
  /** group.max.session.timeout.ms */
  readonly sessionTimeoutMsMax: number;
  /** group.initial.rebalance.delay.ms */
  readonly initialRebalanceDelayMs: number;
  /** How long a member that has just got its id may wait in its first JoinGroup. */
  readonly newMemberJoinTimeoutMs: number;
  /** group.max.size: members of one group. Kafka's default is unlimited; ours is a number. */
  readonly groupSizeMax: number;
  /** Members of one group that were given an id and have not joined with it yet. */
  readonly pendingMembersMax: number;
  /** Characters in a group, instance or protocol name, and of a client id inside a member id. */
  readonly textCharsMax: number;
  /** Bytes of protocol names and metadata one member may bring. */
  readonly memberMetadataBytesMax: number;
  /** Groups this coordinator holds, simple ones included. */
  readonly groupsMax: number;
  /** Bytes of member metadata, assignments and offsets held for all groups together. */
  readonly stateBytesMax: number;
  /** Bytes of records written in one batch; larger writes become several batches. */
  readonly batchBytesMax: number;
  /** offset.metadata.max.bytes: length of the text stored with an offset. */
  readonly offsetMetadataBytesMax: number;
  /** offsets.retention.minutes, in milliseconds. */
  readonly offsetsRetentionMs: number;
  /** offsets.retention.check.interval.ms */
  readonly offsetsRetentionCheckIntervalMs: number;
  readonly consumer: ConsumerGroupConfig;
  /** Membership of share groups. */
  readonly share: ShareMembershipConfig;
}

/** `group.consumer.*`: groups of the consumer protocol (KIP-848). */
export interface ConsumerGroupConfig {
  readonly sessionTimeoutMs: number;
  readonly sessionTimeoutMsMin: number;
  readonly sessionTimeoutMsMax: number;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatIntervalMsMin: number;
  readonly heartbeatIntervalMsMax: number;
  /** A group gets a new target assignment at most once in this time. */
  readonly assignmentIntervalMs: number;
  readonly assignmentIntervalMsMin: number;
  readonly assignmentIntervalMsMax: number;
  /** Members of one group. */
  readonly maxSize: number;
  /** Names of the server-side assignors members may ask for; the first is the default. */
  readonly assignors: readonly string[];
  readonly migrationPolicy: MigrationPolicy;
  readonly regexRefreshIntervalMs: number;
  /** Different regular expressions by which the members of one group subscribe. */
  readonly regexesMax: number;
  /** Names that all those expressions may match together. */
  readonly regexMatchesMax: number;
}

export type MigrationPolicy = "bidirectional" | "upgrade" | "downgrade" | "disabled";

export const consumerGroupConfigDefaults: ConsumerGroupConfig = {
  sessionTimeoutMs: 45_000,
  sessionTimeoutMsMin: 45_000,
  sessionTimeoutMsMax: 60_000,
  heartbeatIntervalMs: 5_000,
  heartbeatIntervalMsMin: 5_000,
  heartbeatIntervalMsMax: 15_000,
  assignmentIntervalMs: 1_000,
  assignmentIntervalMsMin: 0,
  assignmentIntervalMsMax: 15_000,
  maxSize: 10_000,
  assignors: ["uniform", "range"],
  migrationPolicy: "bidirectional",
  regexRefreshIntervalMs: 600_000,
  regexesMax: 1_000,
  regexMatchesMax: 1_000_000,
};

export const groupConfigDefaults: GroupConfig = {
  sessionTimeoutMsMin: 6_000,
  sessionTimeoutMsMax: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  newMemberJoinTimeoutMs: 300_000,
  groupSizeMax: 10_000,
  pendingMembersMax: 10_000,
  textCharsMax: 8_192,
  memberMetadataBytesMax: 1_048_576,
  groupsMax: 100_000,
  stateBytesMax: 536_870_912,
  batchBytesMax: 524_288,
  offsetMetadataBytesMax: 4_096,
  offsetsRetentionMs: 10_080 * 60_000,
  offsetsRetentionCheckIntervalMs: 600_000,
  consumer: consumerGroupConfigDefaults,
  share: shareMembershipDefaults,
};

/** The settings of the `group` section of chronik's configuration. */
export interface GroupSettings {
  readonly offsetsRetentionMinutes: number;
  readonly offsetsRetentionCheckIntervalMs: number;
  readonly offsetMetadataBytesMax: number;
  readonly initialRebalanceDelayMs: number;
  readonly minSessionTimeoutMs: number;
  readonly maxSessionTimeoutMs: number;
  readonly maxSize: number;
}

/** The settings of the `limits` section that bound the coordinator. */
export interface GroupLimits {
  readonly groupsMax: number;
  readonly groupStateBytesMax: number;
}

/** The settings of the `consumer_group` section. */
export interface ConsumerGroupSettings {
  readonly sessionTimeoutMs: number;
  readonly minSessionTimeoutMs: number;
  readonly maxSessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly minHeartbeatIntervalMs: number;
  readonly maxHeartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
  readonly minAssignmentIntervalMs: number;
  readonly maxAssignmentIntervalMs: number;
  readonly maxSize: number;
  /** Names with commas between them. */
  readonly assignors: string;
  readonly migrationPolicy: MigrationPolicy;
  readonly regexRefreshIntervalMs: number;
}

export function consumerConfigFrom(settings: ConsumerGroupSettings): ConsumerGroupConfig {
  return {
    sessionTimeoutMs: settings.sessionTimeoutMs,
    sessionTimeoutMsMin: settings.minSessionTimeoutMs,
    sessionTimeoutMsMax: settings.maxSessionTimeoutMs,
    heartbeatIntervalMs: settings.heartbeatIntervalMs,
    heartbeatIntervalMsMin: settings.minHeartbeatIntervalMs,
    heartbeatIntervalMsMax: settings.maxHeartbeatIntervalMs,
    assignmentIntervalMs: settings.assignmentIntervalMs,
    assignmentIntervalMsMin: settings.minAssignmentIntervalMs,
    assignmentIntervalMsMax: settings.maxAssignmentIntervalMs,
    maxSize: settings.maxSize,
    assignors: settings.assignors.split(",").map((name) => name.trim()),
    migrationPolicy: settings.migrationPolicy,
    regexRefreshIntervalMs: settings.regexRefreshIntervalMs,
    regexesMax: consumerGroupConfigDefaults.regexesMax,
    regexMatchesMax: consumerGroupConfigDefaults.regexMatchesMax,
  };
}

/** What old clients can be sent: their strings hold 32,767 bytes, three a character at worst. */
const offsetMetadataBytesCap = 10_922;

/** The coordinator's limits under these settings. */
export function groupConfigFrom(
  settings: GroupSettings,
  limits: GroupLimits,
  consumer: ConsumerGroupConfig = consumerGroupConfigDefaults,
): GroupConfig {
  return {
    ...groupConfigDefaults,
    groupsMax: limits.groupsMax,
    stateBytesMax: limits.groupStateBytesMax,
    consumer,
    sessionTimeoutMsMin: settings.minSessionTimeoutMs,
    sessionTimeoutMsMax: settings.maxSessionTimeoutMs,
    initialRebalanceDelayMs: settings.initialRebalanceDelayMs,
    groupSizeMax: settings.maxSize,
    offsetMetadataBytesMax: Math.min(settings.offsetMetadataBytesMax, offsetMetadataBytesCap),
    offsetsRetentionMs: settings.offsetsRetentionMinutes * 60_000,
    offsetsRetentionCheckIntervalMs: settings.offsetsRetentionCheckIntervalMs,
  };
}
