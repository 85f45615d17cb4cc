/** What a backup reads; broker-backup.ts plugs the rooms in. */
import type { ReadOptions, ReadResult } from "../log/partition-reader.ts";

/** A journal as it lies on disk. */
export interface JournalSource {
  /** First position that a replay needs, and the end of what is durable. */
  readonly liveStart: number;
  readonly durableEnd: number;
  /** What a replay would hand over up to `to`, in that order; with `from` the entries at [from, to)
   * alone. Rejects when a snapshot made them go meanwhile. */
  copy(
    from: number | null,
    to: number,
    onEntry: (entry: Uint8Array) => Promise<void>,
  ): Promise<void>;
}

export interface BackupSegment {
  readonly id: number;
  readonly base: number;
  readonly last: number;
  readonly bytes: number;
  readonly cleaned: boolean;
}

/** A partition; log/partition.ts satisfies it. */
export interface BackupPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly index: number;
  readonly internal: boolean;
  readonly isOpen: boolean;
  readonly damage: unknown;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** Of its WAL. */
  readonly bytes: number;
  segments(): readonly BackupSegment[];
  leaderEpochs(): readonly (readonly [epoch: number, startOffset: number])[];
  read(options: ReadOptions): ReadResult | Promise<ReadResult>;
}

export interface BackupSources {
  readonly registry: JournalSource;
  readonly metadata: JournalSource;
  partitions(): Iterable<BackupPartition>;
}
