import { join } from "node:path";
import { compactionMetrics, compactionSettings, openCompaction } from "./broker-compaction.ts";
import { faultPoints, removeIfThere, type Storage } from "./broker-storage.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { Indexer } from "./tier/indexer.ts";
import type { ArchiveEngine, TierPartition } from "./tier/ports.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";
import type { Compaction } from "./tier/rewrite/compaction.ts";
import type { MergePolicy } from "./tier/rewrite/merge-plan.ts";
import { Merger } from "./tier/rewrite/merger.ts";
import { RewriteQueue, Rewriter } from "./tier/rewrite/rewriter.ts";

export interface RewriteParts {
  readonly config: Config;
  readonly storage: Storage;
  readonly metadata: Metadata;
  readonly registry: SegmentRegistry;
  readonly store: ObjectStore;
  readonly engine: ArchiveEngine;
  readonly indexer: Indexer;
  readonly partitions: () => Iterable<TierPartition>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What makes new archives of registered ones. */
export interface Rewrites {
  readonly rewriter: Rewriter;
  readonly queue: RewriteQueue;
  readonly merger: Merger;
  readonly compaction: Compaction;
  /** Ends the rewrites under way soon: what they were made of stays. */
  stop(): Promise<void>;
}

/** Rewrites waiting at a time; their loops ask for one each. */
const waitingMax = 64;
/** Archives of one merge: so many indexes are open at once. */
const sourcesMax = 64;
/** As the archives that the indexer makes. */
const abortedMax = 100_000;

export function openRewrites(parts: RewriteParts): Rewrites {
  const { config, storage, registry, engine, indexer, clock, logger } = parts;
  const rewriter = new Rewriter({
    engine,
    store: parts.store,
    registry,
    logger: logger.child("rewriter"),
    nowMs: () => clock.nowMs(),
    scratchDir: join(storage.dataDir, "tmp"),
    removeFile: (path) => removeIfThere(storage.files, path),
    faultPoint: faultPoints(storage),
  });
  const mayBegin = () => !indexer.isPaused && !indexer.isBusy;
  const queue = new RewriteQueue({ runningMax: 1, waitingMax, mayBegin });
  const limits = { targetBytes: config.indexer.archiveBytesMax, sourcesMax, abortedMax };
  const merger = new Merger(
    {
      enabled: config.indexer.enableWalIndexing && config.indexer.mergeArchives,
      intervalSecs: config.indexer.walIndexingIntervalSecs,
      limits,
    },
    {
      registry,
      rewriter,
      queue,
      clock,
      logger: logger.child("merger"),
      partitions: parts.partitions,
      policy: (partition) => mergePolicy(parts.metadata, partition),
    },
  );
  const compaction = openCompaction(parts, rewriter, queue);
  compactionMetrics(parts.metrics, compaction);
  rewriteMetrics(parts.metrics, registry, merger);
  return {
    rewriter,
    queue,
    merger,
    compaction,
    async stop() {
      const merging = Promise.all([merger.stop(), compaction.stop()]);
      const { running } = queue.depth;
      const queued = queue.stop();
      if (running > 0) await engine.stopBuilds();
      await queued;
      await merging;
    },
  };
}

/** Gauges of merging and of deferred indexes, read off whenever the metrics page is asked for. */
function rewriteMetrics(metrics: Metrics, registry: SegmentRegistry, merger: Merger): void {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help });
  const pending = gauge("chronik_tier_index_pending_segments", "Archives that wait for an index");
  const bytes = gauge("chronik_tier_index_pending_bytes", "Bytes of batches in these");
  const merges = gauge("chronik_tier_merges", "Merges of archives since start");
  const merged = gauge("chronik_tier_segments_merged", "Archives that these took");
  const added = gauge("chronik_tier_indexes_added", "Deferred indexes made since start");
  const read = gauge("chronik_tier_rewrite_read_bytes", "Bytes of archives read for both");
  const written = gauge("chronik_tier_rewrite_written_bytes", "Bytes of archives they wrote");
  const errors = gauge("chronik_tier_rewrite_errors", "Rewrites that failed since start");
  metrics.onCollect(() => {
    const totals = registry.totals();
    const stats = merger.stats();
    pending.set(totals.index_pending);
    bytes.set(totals.index_pending_bytes);
    merges.set(stats.merges);
    merged.set(stats.archives_merged);
    added.set(stats.indexes_added);
    read.set(stats.bytes_read);
    written.set(stats.bytes_written);
    errors.set(stats.errors);
  });
}

function mergePolicy(metadata: Metadata, partition: TierPartition): MergePolicy {
  const config = metadata.topicConfig(partition.topic);
  const compaction = compactionSettings(metadata, partition.topic);
  return {
    merges: compaction === null,
    ...(compaction === null ? {} : { compaction }),
    searchIndex: config.searchIndex,
    retentionMs: config.deletes ? config.retentionMs : -1,
    retentionBytes: config.deletes ? config.retentionBytes : -1,
  };
}
