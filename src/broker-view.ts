import type { AdminView, TopicView, WalPartitionView } from "../admin/view.ts";
import type { Backup } from "./backup/backup.ts";
import { backupView } from "./broker-backup.ts";
import { integrityView } from "./broker-integrity-view.ts";
import { segmentsPage, tiersView } from "./broker-tier-view.ts";
import type { Clock } from "./lib/clock.ts";
import type { Partition } from "./log/partition.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { Scrub } from "./tier/check/scrub.ts";
import type { Indexer } from "./tier/indexer.ts";
import type { ArchiveChunks } from "./tier/read/archive-chunks.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";
import type { Merger } from "./tier/rewrite/merger.ts";
import type { Timeline } from "./tier/timeline.ts";

export interface ViewParts {
  readonly metrics: Metrics;
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly registry: SegmentRegistry;
  readonly indexer: Indexer;
  readonly merger: Merger;
  readonly timeline: Timeline;
  readonly clock: Clock;
  readonly chunks: Pick<ArchiveChunks, "cachedBytes">;
  readonly scrub: Scrub;
  readonly backup: Backup;
  readonly indexingEnabled: boolean;
  readonly isLive: () => boolean;
  readonly notReadyReason: () => string | null;
}

/** What the admin API shows, read off the rooms at the moment of asking. */
export function adminView(parts: ViewParts): AdminView {
  const { partitions, registry, metadata } = parts;
  return {
    isLive: parts.isLive,
    notReadyReason: parts.notReadyReason,
    metricsText: () => parts.metrics.text(),
    walStatus: () =>
      [...partitions.all()].map((partition) => walView(partition, registry)).sort(byTopic),
    segments: (query) => segmentsPage(registry, query),
    tiers(topic, index, query) {
      const partition = partitions.get(topic, index);
      if (!partition) return null;
      const cached = parts.chunks.cachedBytes();
      return tiersView(partition, registry, cached, query, parts.clock.nowMs());
    },
    timeline: (limit, topic) => parts.timeline.newest(limit, topic),
    topics: () => topicViews(metadata, partitions, registry),
    runIndexer: () => (parts.indexingEnabled ? parts.indexer.run() : null),
    indexerStats: () => ({ ...parts.indexer.stats(), merging: parts.merger.stats() }),
    pauseIndexer(paused) {
      if (paused) parts.indexer.pause();
      else parts.indexer.resume();
      return parts.indexer.isPaused;
    },
    integrity: () => integrityView(parts.scrub),
    runIntegrity: (deep) => parts.scrub.request(deep ? "deep" : "shallow") !== null,
    backup: () => backupView(parts.backup),
  };
}

function byTopic(a: WalPartitionView, b: WalPartitionView): number {
  return a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition;
}

function walView(partition: Partition, registry: SegmentRegistry): WalPartitionView {
  const archivedEnd = registry.range(partition.topicId, partition.index)?.end ?? 0;
  return {
    topic: partition.topic,
    topic_id: partition.topicId,
    partition: partition.index,
    log_start_offset: partition.logStartOffset,
    durable_offset: partition.highWatermark,
    log_end_offset: partition.logEndOffset,
    high_watermark: partition.highWatermark,
    leader_epoch: partition.leaderEpoch,
    bytes: partition.bytes,
    damage: partition.damage,
    segments: partition.segments().map((s) => ({
      id: s.id,
      state: !s.sealed ? "active" : s.last < archivedEnd ? "archived" : "sealed",
      base_offset: s.base,
      last_offset: s.last,
      records: s.records,
      bytes: s.bytes,
      first_append_ms: s.firstAppendMs,
    })),
  };
}

function topicViews(
  metadata: Metadata,
  partitions: Partitions,
  registry: SegmentRegistry,
): TopicView[] {
  return [...metadata.image.topicsByName.values()].map((topic) => ({
    name: topic.name,
    topic_id: topic.id,
    internal: topic.internal,
    partitions: topic.partitions.map(({ index, leader, leaderEpoch }) => {
      const partition = partitions.get(topic.name, index);
      const range = registry.range(topic.id, index);
      return {
        partition: index,
        leader,
        leader_epoch: leaderEpoch,
        log_start_offset: partition?.logStartOffset ?? -1,
        high_watermark: partition?.highWatermark ?? -1,
        wal_bytes: partition?.bytes ?? 0,
        archived: range && { start_offset: range.start, end_offset: range.end },
      };
    }),
    configs: Object.fromEntries(topic.configs),
  }));
}
