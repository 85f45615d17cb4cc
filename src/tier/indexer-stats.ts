import type { RegistryTotals } from "./registry/segment-registry.ts";

/** Counters of R13; times in milliseconds, sizes in bytes. */
export interface RunTotals {
  segments_processed: number;
  /** Records archived. */
  records_indexed: number;
  /** Records indexed for search. */
  documents: number;
  bytes_read: number;
  bytes_written: number;
  indexes_created: number;
  errors: number;
  duration_ms: number;
}

export interface IndexerStats {
  enabled: boolean;
  running: boolean;
  /** Runs begin on demand only. */
  paused: boolean;
  interval_secs: number;
  /** RFC 3339, or null before the first run. */
  last_run_started_at: string | null;
  totals: { runs: number } & RunTotals;
  last_run: RunTotals | null;
  pending: { sealed_segments: number; records: number; bytes: number };
  registry: RegistryTotals;
}

export function noTotals(): RunTotals {
  return {
    segments_processed: 0,
    records_indexed: 0,
    documents: 0,
    bytes_read: 0,
    bytes_written: 0,
    indexes_created: 0,
    errors: 0,
    duration_ms: 0,
  };
}

export function addTotals(into: RunTotals, more: RunTotals): void {
  into.segments_processed += more.segments_processed;
  into.records_indexed += more.records_indexed;
  into.documents += more.documents;
  into.bytes_read += more.bytes_read;
  into.bytes_written += more.bytes_written;
  into.indexes_created += more.indexes_created;
  into.errors += more.errors;
  into.duration_ms += more.duration_ms;
}
