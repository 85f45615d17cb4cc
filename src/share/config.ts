/** Limits and delays of share groups; Kafka's own settings carry Kafka's name. */
export interface ShareConfig {
  /** group.share.record.lock.duration.ms */
  readonly recordLockDurationMs: number;
  /** group.share.delivery.count.limit */
  readonly deliveryCountMax: number;
  /** group.share.partition.max.record.locks */
  readonly recordLocksMax: number;
  /** group.share.max.share.sessions */
  readonly sessionsMax: number;
  /** Partitions one share session may hold. */
  readonly sessionPartitionsMax: number;
  /** Share partitions whose state is kept, of all groups together. */
  readonly sharePartitionsMax: number;
  /** share.coordinator.snapshot.update.records.per.snapshot */
  readonly updatesPerSnapshot: number;
  /** share.coordinator.state.topic.prune.interval.ms */
  readonly pruneIntervalMs: number;
  /** share.coordinator.state.topic.num.partitions */
  readonly statePartitions: number;
  /** Batches of dead letters copied at a time, of all groups together. */
  readonly deadLetterCopiesMax: number;
  /** Bytes of records that one batch of dead letters is made of, unless one record has more. */
  readonly deadLetterBytesMax: number;
  /** Bytes that one batch of such records may decompress to. */
  readonly decompressedBytesMax: number;
}

export const shareConfigDefaults: ShareConfig = {
  recordLockDurationMs: 30_000,
  deliveryCountMax: 5,
  recordLocksMax: 2_000,
  sessionsMax: 2_000,
  sessionPartitionsMax: 10_000,
  sharePartitionsMax: 100_000,
  updatesPerSnapshot: 500,
  pruneIntervalMs: 300_000,
  statePartitions: 50,
  deadLetterCopiesMax: 4,
  deadLetterBytesMax: 1 << 20,
  decompressedBytesMax: 256 << 20,
};

/** The `shareGroup` section of chronik's configuration, as far as it belongs here. */
export interface ShareBrokerSettings {
  readonly recordLockDurationMs: number;
  readonly deliveryCountLimit: number;
  readonly partitionMaxRecordLocks: number;
  readonly maxShareSessions: number;
  readonly snapshotUpdateRecordsPerSnapshot: number;
  readonly stateTopicNumPartitions: number;
}

export function shareConfigFrom(
  settings: ShareBrokerSettings,
  decompressedBytesMax: number,
): ShareConfig {
  return {
    ...shareConfigDefaults,
    recordLockDurationMs: settings.recordLockDurationMs,
    deliveryCountMax: settings.deliveryCountLimit,
    recordLocksMax: settings.partitionMaxRecordLocks,
    sessionsMax: settings.maxShareSessions,
    updatesPerSnapshot: settings.snapshotUpdateRecordsPerSnapshot,
    statePartitions: settings.stateTopicNumPartitions,
    decompressedBytesMax,
  };
}

/** Where a share partition without a stored start offset begins (share.auto.offset.reset). */
export type OffsetReset =
  | { readonly kind: "latest" }
  | { readonly kind: "earliest" }
  | { readonly kind: "by_duration"; readonly durationMs: number };

/** A group's own settings, or what holds where it has none. */
export interface ShareGroupSettings {
  /** share.record.lock.duration.ms */
  readonly recordLockDurationMs: number;
  /** share.delivery.count.limit */
  readonly deliveryCountMax: number;
  /** share.partition.max.record.locks */
  readonly recordLocksMax: number;
  readonly autoOffsetReset: OffsetReset;
  /** share.isolation.level */
  readonly isolation: "read_uncommitted" | "read_committed";
  /** share.renew.acknowledge.enable */
  readonly mayRenew: boolean;
  /** errors.deadletterqueue.topic.name (KIP-1191); null: the group has no dead letter queue. */
  readonly deadLetterTopic: string | null;
  /** errors.deadletterqueue.copy.record.enable: the record itself, not only where it was. */
  readonly copiesDeadLetters: boolean;
}

/** `configs`: what is set on the GROUP resource, checked when it was set. `servesDeadLetters`:
 * share.version is 2 or more. */
export function shareGroupSettings(
  configs: ReadonlyMap<string, string>,
  broker: ShareConfig,
  servesDeadLetters: boolean,
): ShareGroupSettings {
  const number = (name: string, otherwise: number): number => {
    const text = configs.get(name);
    return text === undefined ? otherwise : Number(text);
  };
  const deadLetterTopic = configs.get("errors.deadletterqueue.topic.name") ?? "";
  const copies = configs.get("errors.deadletterqueue.copy.record.enable")?.toLowerCase();
  const committed = configs.get("share.isolation.level")?.toLowerCase() === "read_committed";
  return {
    recordLockDurationMs: number("share.record.lock.duration.ms", broker.recordLockDurationMs),
    deliveryCountMax: number("share.delivery.count.limit", broker.deliveryCountMax),
    recordLocksMax: number("share.partition.max.record.locks", broker.recordLocksMax),
    autoOffsetReset: parseOffsetReset(configs.get("share.auto.offset.reset") ?? "latest") ?? {
      kind: "latest",
    },
    isolation: committed ? "read_committed" : "read_uncommitted",
    mayRenew: configs.get("share.renew.acknowledge.enable")?.toLowerCase() !== "false",
    deadLetterTopic: servesDeadLetters && deadLetterTopic !== "" ? deadLetterTopic : null,
    copiesDeadLetters: copies === "true",
  };
}

const dayMs = 86_400_000;

/** "latest", "earliest" or "by_duration:PnDTnHnMn.nS" (ISO 8601, not negative); null: neither. */
export function parseOffsetReset(text: string): OffsetReset | null {
  const lower = text.toLowerCase();
  if (lower === "latest" || lower === "earliest") return { kind: lower };
  const duration = /^by_duration:(.+)$/i.exec(text)?.[1];
  const durationMs = duration === undefined ? null : parseDurationMs(duration);
  return durationMs === null ? null : { kind: "by_duration", durationMs };
}

function parseDurationMs(text: string): number | null {
  const form = /^\+?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d{0,9}))?S)?)?$/i;
  const parts = form.exec(text);
  if (parts === null || !/\d/.test(text) || /T$/i.test(text)) return null;
  const [, days = "0", hours = "0", minutes = "0", seconds = "0", fraction = ""] = parts;
  const fractionMs = Number(`${fraction}000`.slice(0, 3));
  const clockMs = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * 1_000;
  return Number(days) * dayMs + clockMs + fractionMs;
}
