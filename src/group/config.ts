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
  /** Membership of share groups. */
  readonly share: ShareMembershipConfig;
}

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

/** What old clients can be sent: their strings hold 32,767 bytes, three a character at worst. */
const offsetMetadataBytesCap = 10_922;

/** The coordinator's limits under these settings. */
export function groupConfigFrom(settings: GroupSettings): GroupConfig {
  return {
    ...groupConfigDefaults,
    sessionTimeoutMsMin: settings.minSessionTimeoutMs,
    sessionTimeoutMsMax: settings.maxSessionTimeoutMs,
    initialRebalanceDelayMs: settings.initialRebalanceDelayMs,
    groupSizeMax: settings.maxSize,
    offsetMetadataBytesMax: Math.min(settings.offsetMetadataBytesMax, offsetMetadataBytesCap),
    offsetsRetentionMs: settings.offsetsRetentionMinutes * 60_000,
    offsetsRetentionCheckIntervalMs: settings.offsetsRetentionCheckIntervalMs,
  };
}
