import type {
  SegmentsPage,
  SegmentsQuery,
  SegmentView,
  TiersQuery,
  TiersView,
} from "../admin/view.ts";
import type { Partition } from "./log/partition.ts";
import type { SegmentEntry, SegmentRegistry } from "./tier/registry/segment-registry.ts";

export function segmentView(segment: SegmentEntry): SegmentView {
  return {
    topic: segment.topic,
    topic_id: segment.topicId,
    partition: segment.partition,
    generation: segment.generation,
    base_offset: segment.base,
    last_offset: segment.last,
    records: segment.records,
    min_timestamp: segment.minTimestamp,
    max_timestamp: segment.maxTimestamp,
    key: segment.key,
    bytes: segment.bytes,
    raw_bytes: segment.rawBytes,
    sha256: segment.sha256,
    index: segment.index,
    documents: segment.documents,
    created_at: new Date(segment.createdMs).toISOString(),
    quarantined: segment.quarantined?.reason ?? null,
  };
}

/** One page of the registry, partition by partition; null where the cursor's partition is gone. */
export function segmentsPage(registry: SegmentRegistry, query: SegmentsQuery): SegmentsPage | null {
  const { topic, partition, after, limit } = query;
  const segments: SegmentView[] = [];
  let isBehindCursor = after === null;
  for (const list of registry.lists()) {
    const first = list[0];
    if (!first) continue;
    let from = 0;
    if (!isBehindCursor) {
      if (cursorOf(first, 0).partition !== after?.partition) continue;
      isBehindCursor = true;
      from = list.findIndex((segment) => segment.base > after.base);
      if (from < 0) continue;
    }
    if (topic !== null && first.topic !== topic) continue;
    if (partition !== null && first.partition !== partition) continue;
    const taken = list.slice(from, from + limit - segments.length);
    for (const segment of taken) segments.push(segmentView(segment));
    const last = taken[taken.length - 1];
    if (last && segments.length >= limit) return { segments, next: cursorOf(last, last.base) };
  }
  return isBehindCursor ? { segments, next: null } : null;
}

function cursorOf({ topicId, partition }: SegmentEntry, base: number) {
  return { partition: `${topicId}/${partition}`, base };
}

/** Where the offsets of a partition are: in the WAL, in archives, and how much of those is cached
 * here. Archives a page at a time. */
export function tiersView(
  partition: Partition,
  registry: SegmentRegistry,
  cachedBytes: (segment: SegmentEntry) => number,
  { fromOffset, limit }: TiersQuery,
  nowMs: number,
): TiersView {
  const { topicId, index } = partition;
  const all = registry.segments(topicId, index);
  const first = all.findIndex((segment) => segment.last >= fromOffset);
  const entries = first < 0 ? [] : all.slice(first, first + limit);
  const behind = first < 0 ? undefined : all[first + limit];
  const archives = entries.map((segment) => ({
    ...segmentView(segment),
    age_seconds: ageSeconds(segment.createdMs, nowMs),
    cached_bytes: cachedBytes(segment),
  }));
  const archivedEnd = registry.range(topicId, index)?.end ?? 0;
  return {
    topic: partition.topic,
    topic_id: topicId,
    partition: index,
    log_start_offset: partition.logStartOffset,
    log_end_offset: partition.logEndOffset,
    high_watermark: partition.highWatermark,
    wal: {
      ...band(partition.segments()),
      segments: partition.segments().map((segment) => ({
        id: segment.id,
        state: !segment.sealed ? "active" : segment.last < archivedEnd ? "archived" : "sealed",
        base_offset: segment.base,
        last_offset: segment.last,
        records: segment.records,
        bytes: segment.bytes,
        age_seconds: ageSeconds(segment.firstAppendMs, nowMs),
      })),
    },
    cached: {
      ...band(entries.filter((entry) => cachedBytes(entry) > 0)),
      bytes: archives.reduce((sum, segment) => sum + segment.cached_bytes, 0),
      segments: archives.filter((segment) => segment.cached_bytes > 0),
    },
    object: { ...band(all), segments: archives, next_offset: behind?.base ?? null },
  };
}

/** Sums of a list in offset order; offsets null where it is empty. */
function band(list: readonly { base: number; last: number; bytes: number; records: number }[]) {
  return {
    start_offset: list[0]?.base ?? null,
    end_offset: (list[list.length - 1]?.last ?? -1) + 1 || null,
    segment_count: list.length,
    bytes: list.reduce((sum, segment) => sum + segment.bytes, 0),
    records: list.reduce((sum, segment) => sum + segment.records, 0),
  };
}

function ageSeconds(sinceMs: number, nowMs: number): number {
  return Math.max(0, Math.round((nowMs - sinceMs) / 1000));
}
