import { faultPoints, type Storage } from "./broker-storage.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import type { Partitions } from "./log/partitions.ts";
import { MeteredStore } from "./store/metered-store.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { archiveLag } from "./tier/archive-lag.ts";
import type { Indexer } from "./tier/indexer.ts";
import { Reaper } from "./tier/reaper.ts";
import { SegmentRegistry } from "./tier/segment-registry.ts";
import { Timeline } from "./tier/timeline.ts";

/** What the tiers keep beside archives and reads: who deletes, and what is told of them. */
export interface TierKeeping {
  readonly reaper: Reaper;
  readonly timeline: Timeline;
}

/** Events that `GET /admin/indexer/timeline` remembers. */
const timelineEventsMax = 1_000;

export function openRegistry(
  { registryJournal }: Storage,
  clock: Clock,
  logger: Logger,
): Promise<SegmentRegistry> {
  return SegmentRegistry.open(
    registryJournal,
    (message, error) => logger.child("registry").warn(message, { error: errorText(error) }),
    () => clock.nowMs(),
  );
}

/** `gate` holds deletions back until a backup knows of them; there is none without a backup. */
export function openTierKeeping(parts: {
  readonly storage: Storage;
  readonly registry: SegmentRegistry;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gate?: () => Promise<void>;
}): TierKeeping {
  const { storage, registry, store, clock, logger, gate } = parts;
  const timeline = new Timeline(() => clock.nowMs(), timelineEventsMax);
  registry.subscribe((change) => timeline.registryChanged(change));
  const reaper = new Reaper({
    ...{ registry, store, clock },
    logger: logger.child("reaper"),
    gate: gate ?? (() => Promise.resolve()),
    faultPoint: faultPoints(storage),
  });
  return { reaper, timeline };
}

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
  },
): void {
  const { partitions, registry, indexer, reaper, clock } = parts;
  readMetrics(metrics, partitions);
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
function readMetrics(metrics: Metrics, { reads }: Partitions): void {
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
  reads.onTimed = (tier, duration) => seconds.observe(duration, [tier]);
  metrics.onCollect(() => {
    for (const tier of ["tail", "wal", "archive"] as const) {
      count.set(reads[tier].count, [tier]);
      bytes.set(reads[tier].bytes, [tier]);
    }
  });
}
