/** What the admin API shows; broker.ts satisfies it. Field names are the JSON's. */
export interface AdminView {
  /** The event loop answers and the engine lives. */
  isLive(): boolean;
  /** Null when clients may connect, else why not. */
  notReadyReason(): string | null;
  /** Prometheus text exposition. */
  metricsText(): string;
  walStatus(): WalPartitionView[];
  /** Registry entries, a page at a time; null where the cursor names no place any more. */
  segments(query: SegmentsQuery): SegmentsPage | null;
  /** Where a partition's offsets are; null where it is not on this broker. */
  tiers(topic: string, partition: number, query: TiersQuery): TiersView | null;
  /** The newest events of the tiers, newest first. */
  timeline(limit: number, topic: string | null): readonly unknown[];
  topics(): TopicView[];
  /** Null when the indexer is switched off. */
  runIndexer(): Promise<unknown> | null;
  indexerStats(): unknown;
  /** Whether runs begin on demand only; returns what is in force. */
  pauseIndexer(paused: boolean): boolean;
}

/** A place behind a segment: `{topic id}/{partition}` and its base offset. */
export interface SegmentCursor {
  readonly partition: string;
  readonly base: number;
}

export interface SegmentsQuery {
  /** Of one topic or partition where given. */
  readonly topic: string | null;
  readonly partition: number | null;
  readonly after: SegmentCursor | null;
  readonly limit: number;
}

export interface SegmentsPage {
  readonly segments: readonly SegmentView[];
  /** The `after` of the next page; null at the end. */
  readonly next: SegmentCursor | null;
}

export interface SegmentView {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  readonly generation: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly records: number;
  readonly min_timestamp: number;
  readonly max_timestamp: number;
  readonly key: string;
  readonly bytes: number;
  readonly raw_bytes: number;
  readonly sha256: string;
  readonly index: string;
  readonly documents: number;
  readonly created_at: string;
  /** Why it is not read; null where it is. */
  readonly quarantined: string | null;
}

export interface TiersQuery {
  /** First offset of which archives are listed. */
  readonly fromOffset: number;
  /** Most archives listed. */
  readonly limit: number;
}

interface Band {
  /** Null where there is nothing. */
  readonly start_offset: number | null;
  readonly end_offset: number | null;
  readonly segment_count: number;
  readonly bytes: number;
  readonly records: number;
}

type ArchiveView = SegmentView & { readonly age_seconds: number; readonly cached_bytes: number };

export interface TiersView {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  readonly log_start_offset: number;
  readonly log_end_offset: number;
  readonly high_watermark: number;
  readonly wal: Band & {
    readonly segments: readonly {
      readonly id: number;
      readonly state: "active" | "sealed" | "archived";
      readonly base_offset: number;
      readonly last_offset: number;
      readonly records: number;
      readonly bytes: number;
      readonly age_seconds: number;
    }[];
  };
  /** Of the archives listed, those of which something is cached here; `bytes` are those cached. */
  readonly cached: Band & { readonly segments: readonly ArchiveView[] };
  readonly object: Band & {
    readonly segments: readonly ArchiveView[];
    /** The `from_offset` of the next page; null at the end. */
    readonly next_offset: number | null;
  };
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
