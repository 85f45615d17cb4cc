import type { Clock } from "./lib/clock.ts";
import type { Partitions } from "./log/partitions.ts";
import { MeteredStore } from "./store/metered-store.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { archiveLag } from "./tier/archive-lag.ts";
import type { Indexer } from "./tier/indexer.ts";
import type { TierStats } from "./tier/read/tier-stats.ts";
import type { Reaper } from "./tier/reaper.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";

/** The store with every call counted on `/metrics`. */
export function meteredStore(store: ObjectStore, clock: Clock, metrics: Metrics): ObjectStore {
  const labels = ["operation"];
  const requests = metrics.counter({
    name: "chronik_store_requests_total",
    help: "Calls of the object store by how they ended; repeated attempts are one call",
    labels: ["operation", "outcome"],
  });
  const bytes = metrics.counter({
    name: "chronik_store_bytes_total",
    help: "Payload that ranged reads gave and puts of bytes took",
    labels,
  });
  const seconds = metrics.histogram({
    name: "chronik_store_request_seconds",
    help: "Time a call of the object store took, repeated attempts included",
    labels,
  });
  return new MeteredStore(store, clock, (call) => {
    requests.inc([call.operation, call.outcome]);
    if (call.bytes > 0) bytes.inc([call.operation], call.bytes);
    seconds.observe(call.seconds, [call.operation]);
  });
}

/** Gauges of the tiers, read off whenever the metrics page is asked for. */
export function tierMetrics(
  metrics: Metrics,
  parts: {
    readonly partitions: Partitions;
    readonly registry: SegmentRegistry;
    readonly indexer: Indexer;
    readonly reaper: Reaper;
    readonly clock: Clock;
    /** What the caches of archives did, where there are some. */
    readonly tierStats?: TierStats;
  },
): void {
  const { partitions, registry, indexer, reaper, clock } = parts;
  readMetrics(metrics, partitions);
  if (parts.tierStats) coldMetrics(metrics, parts.tierStats);
  const gauge = (name: string, help: string) => metrics.gauge({ name, help });
  const segments = gauge("chronik_tier_segments", "Registered archives");
  const records = gauge("chronik_tier_records", "Records in them");
  const quarantined = gauge("chronik_tier_segments_quarantined", "Of these, found damaged");
  const retired = gauge("chronik_tier_retired_objects", "Objects waiting to be deleted");
  const retiredBytes = gauge("chronik_tier_retired_bytes", "Bytes of these");
  const deleted = gauge("chronik_tier_deleted_objects", "Objects deleted since start");
  const deletedBytes = gauge("chronik_tier_deleted_bytes", "Bytes of these");
  const lagRecords = gauge("chronik_tier_lag_records", "Records in the log and in no archive");
  const lagBytes = gauge("chronik_tier_lag_bytes", "WAL bytes of these");
  const lagSeconds = gauge("chronik_tier_lag_seconds", "Age of the oldest of these");
  const paused = gauge("chronik_indexer_paused", "1 while an operator has paused the indexer");
  metrics.onCollect(() => {
    const totals = registry.totals();
    segments.set(totals.segments);
    records.set(totals.records);
    quarantined.set(totals.quarantined);
    retired.set(totals.retired);
    retiredBytes.set(totals.retired_bytes);
    deleted.set(reaper.deleted.count);
    deletedBytes.set(reaper.deleted.bytes);
    const archivedEnd = (partition: { topicId: string; index: number }) =>
      registry.range(partition.topicId, partition.index)?.end ?? 0;
    const lag = archiveLag(partitions.all(), archivedEnd, clock.nowMs());
    lagRecords.set(lag.records);
    lagBytes.set(lag.bytes);
    lagSeconds.set(lag.seconds);
    paused.set(indexer.isPaused ? 1 : 0);
  });
}

/** Where readers' bytes came from, and how long they took where they were not in memory. */
function readMetrics(metrics: Metrics, { reads, coldPace }: Partitions): void {
  const labels = ["tier"];
  const count = metrics.gauge({
    name: "chronik_tier_reads",
    help: "Reads since start by the tier that answered: tail (memory), wal, archive",
    labels,
  });
  const bytes = metrics.gauge({ name: "chronik_tier_read_bytes", help: "Bytes of these", labels });
  const seconds = metrics.histogram({
    name: "chronik_tier_read_seconds",
    help: "Time a read of the WAL or of archives took",
    labels,
  });
  const held = metrics.gauge({
    name: "chronik_tier_reads_held",
    help: "Reads of archives since start that waited for readers of new records",
  });
  const heldSeconds = metrics.gauge({
    name: "chronik_tier_reads_held_seconds",
    help: "How long they waited, all together",
  });
  reads.onTimed = (tier, duration) => seconds.observe(duration, [tier]);
  metrics.onCollect(() => {
    for (const tier of ["tail", "wal", "archive"] as const) {
      count.set(reads[tier].count, [tier]);
      bytes.set(reads[tier].bytes, [tier]);
    }
    held.set(coldPace.held.count);
    heldSeconds.set(coldPace.held.ms / 1000);
  });
}

/** Parts of archives that readers got, by where they came from, and what that cost the store. */
function coldMetrics(metrics: Metrics, stats: TierStats): void {
  const gauge = (name: string, help: string, labels: readonly string[] = []) =>
    metrics.gauge({ name, help, labels });
  const bySource = ["source"];
  const chunks = gauge(
    "chronik_tier_chunk_reads",
    "Chunks of archives that readers got since start, by source: memory, disk, store",
    bySource,
  );
  const chunkBytes = gauge("chronik_tier_chunk_read_bytes", "Bytes of these", bySource);
  const tocs = gauge("chronik_tier_toc_reads", "Tables of contents and manifests", bySource);
  const gets = gauge("chronik_tier_store_gets", "Ranged reads of the store for readers");
  const getBytes = gauge("chronik_tier_store_get_bytes", "Bytes of these");
  const failed = gauge("chronik_tier_store_gets_failed", "Of these, failed");
  const ahead = gauge("chronik_tier_ahead_gets", "Of these, made before a reader asked");
  const unused = gauge("chronik_tier_ahead_unused", "Chunks read ahead that nobody came for");
  const written = gauge("chronik_tier_disk_cache_writes", "Ranges written to the disk cache");
  const skipped = gauge("chronik_tier_disk_cache_writes_skipped", "Not written: too much waited");
  const refused = gauge("chronik_tier_disk_cache_writes_failed", "Not written: the disk refused");
  const damaged = gauge("chronik_tier_disk_cache_damaged", "Not as written; read from the store");
  const evicted = gauge("chronik_tier_disk_cache_evicted_bytes", "Bytes that made room");
  metrics.onCollect(() => {
    for (const source of ["memory", "disk", "store"] as const) {
      chunks.set(stats.chunkReads[source].count, [source]);
      chunkBytes.set(stats.chunkReads[source].bytes, [source]);
      tocs.set(stats.tocReads[source].count, [source]);
    }
    gets.set(stats.storeGets.count);
    getBytes.set(stats.storeGets.bytes);
    failed.set(stats.storeGetsFailed);
    ahead.set(stats.aheadGets.count);
    unused.set(stats.aheadUnused.count);
    written.set(stats.diskCacheWrites.count);
    skipped.set(stats.diskCacheWritesSkipped);
    refused.set(stats.diskCacheWritesFailed);
    damaged.set(stats.diskCacheDamaged);
    evicted.set(stats.diskCacheEvictedBytes);
  });
}
