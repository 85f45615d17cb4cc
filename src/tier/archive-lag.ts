import type { TierPartition } from "./ports.ts";

/** How far the archives are behind the log: what waits, and for how long its oldest record has. */
export interface ArchiveLag {
  readonly records: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** Lag of all partitions together; `archivedEnd` is where a partition's archives end. Ages by the
 * wall clock, never negative. */
export function archiveLag(
  partitions: Iterable<TierPartition>,
  archivedEnd: (partition: TierPartition) => number,
  nowMs: number,
): ArchiveLag {
  let records = 0;
  let bytes = 0;
  let oldestMs = nowMs;
  for (const partition of partitions) {
    if (partition.internal || partition.damage !== null) continue;
    const end = archivedEnd(partition);
    for (const segment of partition.segments()) {
      // An active segment without records ends before it begins.
      if (segment.last < end || segment.last < segment.base) continue;
      records += segment.records;
      bytes += segment.bytes;
      oldestMs = Math.min(oldestMs, segment.firstAppendMs);
    }
  }
  return { records, bytes, seconds: Math.max(0, nowMs - oldestMs) / 1000 };
}
