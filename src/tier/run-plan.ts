import type { TierPartition, WalSegment } from "./ports.ts";

/** Consecutive sealed segments of one partition that become one archive. */
export interface ArchiveTask {
  readonly partition: TierPartition;
  readonly segments: readonly WalSegment[];
}

/** Partitions that may be due at one tick whatever its length (D4). */
const duePartitionsMin = 300;

/** Which partitions to seal at this tick (pure): those whose first unsealed record is old enough,
 * oldest first, and no more than `archivesPerSecMax` would need: above it the age is stretched. */
export function partitionsToSeal(
  partitions: Iterable<TierPartition>,
  minAgeMs: number,
  intervalMs: number,
  archivesPerSecMax: number,
): TierPartition[] {
  const due: { partition: TierPartition; ageMs: number }[] = [];
  for (const partition of partitions) {
    const ageMs = partition.unsealedAgeMs();
    if (ageMs !== null && ageMs >= minAgeMs) due.push({ partition, ageMs });
  }
  due.sort((a, b) => b.ageMs - a.ageMs);
  const most = Math.max(duePartitionsMin, Math.floor((archivesPerSecMax * intervalMs) / 1000));
  return due.slice(0, most).map((entry) => entry.partition);
}

/** Which partitions to seal so that no more than `bytesMax` stay in active segments (pure): the
 * largest first. */
export function partitionsToRelieve(
  partitions: Iterable<TierPartition>,
  bytesMax: number,
): TierPartition[] {
  const active: { partition: TierPartition; bytes: number }[] = [];
  let total = 0;
  for (const partition of partitions) {
    const bytes = partition
      .segments()
      .reduce((sum, segment) => sum + (segment.sealed ? 0 : segment.bytes), 0);
    if (bytes > 0) active.push({ partition, bytes });
    total += bytes;
  }
  active.sort((a, b) => b.bytes - a.bytes);
  const due: TierPartition[] = [];
  for (const { partition, bytes } of active) {
    if (total <= bytesMax) break;
    due.push(partition);
    total -= bytes;
  }
  return due;
}

/**
 * Sealed segments ready for archiving (pure): below the archivable end, not archived yet, joined
 * up to `archiveBytesMax` (a larger segment still makes one archive), at most `segmentsMax` in
 * all, oldest data first. `begunLast`: where an archive ends that was begun and did not succeed;
 * its object may be stored already, and is found again only under the same offsets.
 */
export function planArchives(
  partitions: Iterable<TierPartition>,
  archivedEnd: (partition: TierPartition) => number,
  segmentsMax: number,
  archiveBytesMax: number,
  begunLast: (partition: TierPartition) => number | null = () => null,
): { tasks: ArchiveTask[]; more: boolean } {
  const groups = [...partitions].flatMap((partition) =>
    archiveGroups(
      pendingSegments(partition, archivedEnd(partition)),
      partition,
      archiveBytesMax,
      begunLast(partition),
    ),
  );
  groups.sort((a, b) => firstAppend(a) - firstAppend(b));
  const tasks: ArchiveTask[] = [];
  let left = segmentsMax;
  for (const group of groups) {
    if (left <= 0) break;
    const segments = group.segments.slice(0, left);
    left -= segments.length;
    tasks.push({ partition: group.partition, segments });
  }
  const planned = tasks.reduce((sum, task) => sum + task.segments.length, 0);
  const waiting = groups.reduce((sum, group) => sum + group.segments.length, 0);
  return { tasks, more: waiting > planned };
}

/** Segments that are sealed, archivable, and neither archived nor deleted, in offset order. */
export function pendingSegments(partition: TierPartition, archivedEnd: number): WalSegment[] {
  const { archivableEnd, logStartOffset } = partition;
  return partition
    .segments()
    .filter((s) => s.sealed && s.base >= archivedEnd && s.last < archivableEnd)
    .filter((s) => s.last >= logStartOffset);
}

/** Whether a first archive that was begun is one of the next (pure): its segments are the first
 * that are neither archived nor deleted, or lie where the WAL does not reach yet. */
export function goesOn(
  partition: TierPartition,
  archivedEnd: number,
  { base, last }: { readonly base: number; readonly last: number },
): boolean {
  const segments = partition.segments();
  if (base < archivedEnd || last < partition.logStartOffset) return false;
  if (last > (segments[segments.length - 1]?.last ?? -1)) return true;
  const left = segments.filter((s) => s.base >= archivedEnd && s.last >= partition.logStartOffset);
  return left[0]?.base === base && left.some((s) => s.sealed && s.last === last);
}

function archiveGroups(
  pending: readonly WalSegment[],
  partition: TierPartition,
  bytesMax: number,
  begunLast: number | null,
): ArchiveTask[] {
  const groups: ArchiveTask[] = [];
  let group: WalSegment[] = [];
  let bytes = 0;
  const begunAt = pending.findIndex(({ last }) => last === begunLast);
  for (const [at, segment] of pending.entries()) {
    const isFull = at > begunAt ? bytes + segment.bytes > bytesMax : false;
    if (group.length > 0 && (isFull || at === begunAt + 1)) {
      groups.push({ partition, segments: group });
      group = [];
      bytes = 0;
    }
    group.push(segment);
    bytes += segment.bytes;
  }
  if (group.length > 0) groups.push({ partition, segments: group });
  return groups;
}

function firstAppend(task: ArchiveTask): number {
  return task.segments[0]?.firstAppendMs ?? 0;
}
