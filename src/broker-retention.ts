import { faultPoints, type Storage } from "./broker-storage.ts";
import type { LoadedConfig } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { RetainedPartition } from "./tier/ports.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";
import { Retainer, type RetainerTotals } from "./tier/retainer.ts";

interface RetentionParts {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly logger: Logger;
}

const dayMs = 86_400_000;

export function openRetention(
  { loaded, clock, logger }: RetentionParts,
  storage: Storage,
  metadata: Metadata,
  registry: SegmentRegistry,
  partitions: () => Iterable<RetainedPartition>,
): Retainer {
  const { config } = loaded;
  return new Retainer({
    registry,
    partitions,
    clock,
    logger: logger.child("retention"),
    initialDelayMs: config.retention.initialDelayMs,
    intervalMs: () => metadata.brokerNumber("log.retention.check.interval.ms"),
    releasesArchived: config.indexer.deleteAfterIndex && !config.indexer.enableWalIndexing,
    faultPoint: faultPoints(storage),
  });
}

/** What goes by itself, and how to keep it (design D8): said at every start. */
export function logRetention(logger: Logger, metadata: Metadata): void {
  const { retentionMs, retentionBytes } = metadata.topicConfig("");
  const own = [...metadata.image.topicsById.values()].filter(
    ({ configs }) => configs.has("retention.ms") || configs.has("retention.bytes"),
  );
  const limits = [
    retentionMs < 0 ? null : `older than ${retentionMs / dayMs} days`,
    retentionBytes < 0 ? null : `beyond ${retentionBytes} bytes of a partition`,
  ].filter((limit) => limit !== null);
  const rule =
    limits.length === 0
      ? "retention: records are kept for ever, unless their topic says otherwise"
      : `retention: records ${limits.join(", or ")}, over all tiers, are deleted; to keep them ` +
        "for ever set retention.ms=-1 and retention.bytes=-1 on a topic, or " +
        "topic.retention_ms=-1 and topic.retention_bytes=-1 for all topics";
  logger.info(rule, {
    retention_ms: retentionMs,
    retention_bytes: retentionBytes,
    topics_with_their_own: own.length,
  });
}

export function retentionMetrics(metrics: Metrics, retainer: Retainer): void {
  const counter = (name: string, help: string) => metrics.counter({ name, help }).bind([]);
  const checks = counter("chronik_retention_checks_total", "Rounds of retention");
  const errors = counter("chronik_retention_errors_total", "Partitions where one failed");
  const bytes = counter("chronik_retention_bytes_total", "Bytes it dropped, over all tiers");
  let told: RetainerTotals = { checks: 0, errors: 0, units: 0, bytes: 0 };
  metrics.onCollect(() => {
    const totals = { ...retainer.totals };
    checks(totals.checks - told.checks);
    errors(totals.errors - told.errors);
    bytes(totals.bytes - told.bytes);
    told = totals;
  });
}
