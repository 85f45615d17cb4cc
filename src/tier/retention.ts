/**
 * What may go of a partition (design D8): pure decisions, with the rules of Kafka 4.3.1
 * (UnifiedLog.deleteOldSegments, RemoteLogManager's expiration). Whole archives and whole WAL
 * segments go, oldest first; the first one that stays ends it.
 */
import type { LocalRetention, PartitionRetention, WalSegment } from "./ports.ts";
import type { SegmentEntry } from "./registry/segment-registry.ts";

/** The least that can be dropped: an archive, or a WAL segment that is not archived. */
export interface RetentionUnit {
  readonly base: number;
  readonly last: number;
  /** Of the batches; an archive counts as much as the segments it was made of. */
  readonly bytes: number;
  /** Largest timestamp of its records; the time of the append where they carry none. */
  readonly timestampMs: number;
}

export interface RetentionPlan {
  /** Where the log starts from now on; the present start where nothing goes. */
  readonly logStart: number;
  readonly units: number;
  readonly bytes: number;
  /** The rules that took part. */
  readonly byTime: boolean;
  readonly bySize: boolean;
}

/** All tiers of a partition as one list in offset order. What is both archived and still in the
 * WAL is there once, as the archive. */
export function retentionUnits(
  entries: readonly Pick<
    SegmentEntry,
    "base" | "last" | "rawBytes" | "maxTimestamp" | "createdMs"
  >[],
  segments: readonly WalSegment[],
): RetentionUnit[] {
  const units: RetentionUnit[] = entries.map((entry) => ({
    base: entry.base,
    last: entry.last,
    bytes: entry.rawBytes,
    timestampMs: agedFromMs(entry),
  }));
  const archivedEnd = archivedEndOf(entries);
  for (const [index, { base, last, bytes, maxTimestamp, firstAppendMs }] of segments.entries()) {
    if (last < archivedEnd) continue;
    // Its last append came before the first one of the next segment.
    const appendedMs = segments[index + 1]?.firstAppendMs ?? firstAppendMs;
    const timestampMs = maxTimestamp >= 0 ? maxTimestamp : appendedMs;
    units.push({ base, last, bytes, timestampMs });
  }
  return units;
}

/** What an archive's age counts from: records without timestamps are as old as the archive. */
export function agedFromMs({
  maxTimestamp,
  createdMs,
}: Pick<SegmentEntry, "maxTimestamp" | "createdMs">): number {
  return maxTimestamp >= 0 ? maxTimestamp : createdMs;
}

/**
 * Where the log starts after retention (pure). `end`: the high watermark, which it never passes.
 * A unit goes when its largest timestamp is older than `retention.ms`, or when without it the log
 * is still as large as `retention.bytes`. Timestamps ahead of `nowMs` have no age and stay.
 */
export function planRetention(
  units: readonly RetentionUnit[],
  logStart: number,
  end: number,
  rules: PartitionRetention,
  nowMs: number,
): RetentionPlan {
  const plan = { logStart, units: 0, bytes: 0, byTime: false, bySize: false };
  if (!rules.deletes) return plan;
  const { retentionMs, retentionBytes } = rules;
  const kept = units.filter(({ last }) => last >= logStart);
  let excess =
    retentionBytes < 0 ? -1 : kept.reduce((sum, { bytes }) => sum + bytes, -retentionBytes);
  for (const { last, bytes, timestampMs } of kept) {
    if (last >= end) break;
    const isOver = excess >= bytes;
    const isOld = retentionMs >= 0 && nowMs - timestampMs > retentionMs;
    if (!isOver && !isOld) break;
    excess -= bytes;
    plan.logStart = last + 1;
    plan.units++;
    plan.bytes += bytes;
    if (isOver) plan.bySize = true;
    else plan.byTime = true;
  }
  return plan;
}

/**
 * Sealed and archived WAL segments that need not stay (pure), by id, oldest first. `limits`: null
 * where they go as soon as they are archived. Kafka's local retention: −2 follows the retention
 * over all tiers, −1 is no limit; the size is that of the whole WAL of the partition.
 */
export function planLocalRelease(
  segments: readonly WalSegment[],
  archivedEnd: number,
  limits: LocalRetention | null,
  rules: PartitionRetention,
  nowMs: number,
): number[] {
  const retentionMs = limits?.ms === -2 ? rules.retentionMs : (limits?.ms ?? -1);
  const retentionBytes = limits?.bytes === -2 ? rules.retentionBytes : (limits?.bytes ?? -1);
  let excess =
    retentionBytes < 0 ? -1 : segments.reduce((sum, { bytes }) => sum + bytes, -retentionBytes);
  const ids: number[] = [];
  for (const { id, last, sealed, bytes, maxTimestamp, firstAppendMs } of segments) {
    if (!sealed || last >= archivedEnd) break;
    const isOver = excess >= bytes;
    const timestampMs = maxTimestamp >= 0 ? maxTimestamp : firstAppendMs;
    const isOld = retentionMs >= 0 && nowMs - timestampMs > retentionMs;
    if (limits !== null && !isOver && !isOld) break;
    excess -= bytes;
    ids.push(id);
  }
  return ids;
}

/**
 * Up to where (exclusive) archives may take the place of a WAL that begins at `walStart` (pure):
 * what one in quarantine cannot give back stays in the WAL if it is there, and all behind it, as
 * segments go oldest first.
 */
export function releasableEnd(
  entries: readonly Pick<SegmentEntry, "base" | "last" | "quarantined">[],
  walStart: number,
): number {
  const kept = entries.find((entry) => entry.quarantined !== undefined && entry.last >= walStart);
  return kept?.base ?? archivedEndOf(entries);
}

/** One past the last offset that these entries of a partition hold; 0 where there are none. */
export function archivedEndOf(entries: readonly { readonly last: number }[]): number {
  return (entries.at(-1)?.last ?? -1) + 1;
}
