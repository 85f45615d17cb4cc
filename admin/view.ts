/** What the admin API shows; broker.ts satisfies it. Field names are the JSON's. */
export interface AdminView {
  /** The event loop answers and the engine lives. */
  isLive(): boolean;
  /** Null when clients may connect, else why not. */
  notReadyReason(): string | null;
  /** Prometheus text exposition. */
  metricsText(): string;
  walStatus(): WalPartitionView[];
  /** Registry entries, of one topic or partition where given. */
  segments(topic: string | null, partition: number | null): unknown[];
  topics(): TopicView[];
  /** Null when the indexer is switched off. */
  runIndexer(): Promise<unknown> | null;
  indexerStats(): unknown;
  /** How old the newest backup of this run is, and what failed. */
  backup(): unknown;
}

export interface WalPartitionView {
  topic: string;
  topic_id: string;
  partition: number;
  log_start_offset: number;
  durable_offset: number;
  log_end_offset: number;
  high_watermark: number;
  leader_epoch: number;
  bytes: number;
  damage: unknown;
  segments: {
    id: number;
    state: "active" | "sealed" | "archived";
    base_offset: number;
    last_offset: number;
    records: number;
    bytes: number;
    first_append_ms: number;
  }[];
}

export interface TopicView {
  name: string;
  topic_id: string;
  internal: boolean;
  partitions: {
    partition: number;
    leader: number;
    leader_epoch: number;
    log_start_offset: number;
    high_watermark: number;
    wal_bytes: number;
    archived: { start_offset: number; end_offset: number } | null;
  }[];
  configs: Record<string, string>;
}
