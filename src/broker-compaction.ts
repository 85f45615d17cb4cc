import { join } from "node:path";
import { rewriteSpec, type SummaryJson, summaryOf } from "./broker-archives.ts";
import type { RewriteParts } from "./broker-rewrites.ts";
import { removeIfThere } from "./broker-storage.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import { isInternalTopic } from "./metadata/topic-name.ts";
import type { NativeArchives } from "./native/archives.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { CompactionEngine } from "./tier/ports.ts";
import { Compaction, type CompactionSettings, type Rewrites } from "./tier/rewrite/compaction.ts";
import type { RewriteQueue, Rewriter } from "./tier/rewrite/rewriter.ts";

/** As ffi/src/jobs/compact.rs answers. */
interface CompactedJson {
  readonly archive: SummaryJson | null;
  readonly bytes_before: number;
  readonly records_before: number;
  readonly writing: readonly number[];
}

/** The native jobs of compaction in the tier room's words. `keysMax`: for tests. */
export function compactionEngine(
  archives: NativeArchives,
  clock: Clock,
  scratchDir: string,
  keysMax: number | null = null,
): CompactionEngine {
  return {
    mapKeys: (source, map, fromOffset) => archives.mapKeys(source, map, fromOffset, keysMax),
    stopBuilds: () => archives.stopBuilds(),
    async compact(request, sources, path, clean) {
      const json = await archives.compactArchive<CompactedJson>({
        sources,
        path,
        scratchDir,
        index: request.index,
        spec: rewriteSpec(request, clock.nowMs()),
        clean: {
          map: clean.map,
          now_ms: clean.nowMs,
          delete_retention_ms: clean.deleteRetentionMs,
          writing: clean.writing,
          always: clean.always,
        },
      });
      return {
        summary: json.archive === null ? null : summaryOf(json.archive),
        bytesBefore: json.bytes_before,
        recordsBefore: json.records_before,
        writing: json.writing,
      };
    },
  };
}

/** Kafka's `log.cleaner.backoff.ms`: how long the cleaner sleeps when nothing was dirty. */
const intervalMsMax = 15_000;

/** Compaction of user topics, over the shared rewriter and its queue. */
export function openCompaction(
  parts: Omit<RewriteParts, "engine" | "indexer">,
  rewriter: Rewriter,
  queue: RewriteQueue,
): Compaction {
  const { config, storage, metadata, registry, partitions, clock, logger } = parts;
  const scratchDir = join(storage.dataDir, "tmp");
  return new Compaction({
    engine: compactionEngine(storage.archives, clock, scratchDir),
    registry,
    rewrites: rewritesOf(rewriter, queue),
    partitions,
    settingsOf: (topic) => compactionSettings(metadata, topic),
    clock,
    logger: logger.child("compaction"),
    scratchDir,
    removeFile: (path) => removeIfThere(storage.files, path),
    archiveBytesMax: config.indexer.archiveBytesMax,
    intervalMs: Math.min(intervalMsMax, config.indexer.walIndexingIntervalSecs * 1000),
    enabled: config.indexer.enableWalIndexing,
  });
}

/** What compaction asks of the shared rewriter and its queue. */
export function rewritesOf(rewriter: Rewriter, queue: RewriteQueue): Rewrites {
  return {
    alone: (topicId, partition, work) => queue.run(topicId, partition, work),
    withSources: (entries, work) => rewriter.withSources(entries, work),
    rewrite: (task) => rewriter.rewriteIfChanged({ ...task, merges: 0 }),
  };
}

/** A topic's configs of compaction; null where it is not compacted, or gone. */
export function compactionSettings(metadata: Metadata, topic: string): CompactionSettings | null {
  if (isInternalTopic(topic) || !metadata.image.topicsByName.has(topic)) return null;
  const config = metadata.topicConfig(topic);
  if (!config.compact) return null;
  return {
    dirtyRatioMin: config.cleanableDirtyRatioMin,
    lagMsMin: config.compactionLagMsMin,
    lagMsMax: config.compactionLagMsMax,
    deleteRetentionMs: config.deleteRetentionMs,
  };
}

export function compactionMetrics(metrics: Metrics, { stats }: Compaction): void {
  const gauge = (name: string, help: string) =>
    metrics.gauge({ name: `chronik_compaction_${name}`, help });
  const rounds = gauge("runs_total", "Rounds of compaction since start");
  const errors = gauge("errors_total", "Rounds of compaction that were given up since start");
  const dirty = gauge("due_partitions", "Partitions that the last look found dirty enough");
  const bytes = metrics.gauge({
    name: "chronik_compaction_bytes_total",
    help: "Bytes of batches in archives that compaction read, and what it left of them",
    labels: ["side"],
  });
  const records = metrics.gauge({
    name: "chronik_compaction_records_total",
    help: "Records in archives that compaction read, and what it left of them",
    labels: ["side"],
  });
  metrics.onCollect(() => {
    rounds.set(stats.rounds);
    errors.set(stats.errors);
    dirty.set(stats.dirtyPartitions);
    bytes.set(stats.bytesBefore, ["before"]);
    bytes.set(stats.bytesAfter, ["after"]);
    records.set(stats.recordsBefore, ["before"]);
    records.set(stats.recordsAfter, ["after"]);
  });
}
