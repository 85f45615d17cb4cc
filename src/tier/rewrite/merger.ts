import type { Clock, Timer } from "../../lib/clock.ts";
import { BrokerError, errorText } from "../../lib/errors.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { TierPartition } from "../ports.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import { type MergeLimits, type MergePolicy, type MergeStep, nextStep } from "./merge-plan.ts";
import type { RewriteQueue, Rewriter } from "./rewriter.ts";

export interface MergerConfig {
  readonly enabled: boolean;
  readonly intervalSecs: number;
  readonly limits: MergeLimits;
}

export interface MergerDeps {
  readonly registry: SegmentRegistry;
  readonly rewriter: Rewriter;
  readonly queue: RewriteQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly partitions: () => Iterable<TierPartition>;
  readonly policy: (partition: TierPartition) => MergePolicy;
}

/** Counters since the start; sizes in bytes. */
export interface MergeTotals {
  merges: number;
  archives_merged: number;
  indexes_added: number;
  bytes_read: number;
  bytes_written: number;
  /** Given up because archives changed or went meanwhile. */
  conflicts: number;
  errors: number;
}

/** A partition whose rewrites fail is left alone for so long, and twice as long each time more. */
const backoffMsMin = 30_000;
const backoffMsMax = 3_600_000;
/** A partition with nothing to do is looked at again when its archives change, or after this. */
const idleMsMax = 600_000;

interface Idle {
  readonly entries: readonly SegmentEntry[];
  readonly length: number;
  readonly sinceMs: number;
}

/** On an interval: merges small archives and adds the indexes that were deferred, one rewrite at a
 * time, until there is nothing left to do (D8, D18). */
export class Merger {
  private readonly config: MergerConfig;
  private readonly deps: MergerDeps;
  private readonly totals: MergeTotals = {
    merges: 0,
    archives_merged: 0,
    indexes_added: 0,
    bytes_read: 0,
    bytes_written: 0,
    conflicts: 0,
    errors: 0,
  };
  private readonly idle = new WeakMap<TierPartition, Idle>();
  private readonly failing = new WeakMap<TierPartition, { failures: number; untilMs: number }>();
  private timer: Timer | null = null;
  private current: Promise<void> | null = null;
  private stopping = false;

  constructor(config: MergerConfig, deps: MergerDeps) {
    this.config = config;
    this.deps = deps;
  }

  start(): void {
    if (this.config.enabled) this.schedule();
  }

  /** Begins nothing more; what runs is the queue's to end. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.timer?.cancel();
    this.timer = null;
    await this.current;
  }

  stats(): MergeTotals {
    return { ...this.totals };
  }

  /** Does what there is to do now, or joins those who wait for it already. */
  run(): Promise<void> {
    this.current ??= this.runOnce().finally(() => {
      this.current = null;
    });
    return this.current;
  }

  private schedule(): void {
    this.timer = this.deps.clock.schedule(this.config.intervalSecs * 1000, () => {
      this.deps.queue.wake();
      this.run().catch((error: unknown) => {
        this.deps.logger.error("planning merges failed", { error: errorText(error) });
      });
      if (!this.stopping) this.schedule();
    });
  }

  /** Round after round over the partitions that have something to do, one step each. */
  private async runOnce(): Promise<void> {
    for (let hasMore = true; hasMore && !this.stopping; ) {
      hasMore = false;
      for (const partition of this.due()) {
        if (this.stopping) return;
        if (await this.step(partition)) hasMore = true;
      }
    }
  }

  /** Those with something to do: first those that wait for an index, the longest first. */
  private due(): TierPartition[] {
    const due: { partition: TierPartition; pending: boolean; createdMs: number }[] = [];
    for (const partition of this.deps.partitions()) {
      const step = this.plan(partition);
      const oldest = step?.sources[0];
      if (!step || !oldest) continue;
      due.push({ partition, pending: step.index !== "merge", createdMs: oldest.createdMs });
    }
    due.sort((a, b) => Number(b.pending) - Number(a.pending) || a.createdMs - b.createdMs);
    return due.map(({ partition }) => partition);
  }

  private plan(partition: TierPartition): MergeStep | null {
    const { registry, clock, policy } = this.deps;
    if (partition.internal || !partition.isOpen) return null;
    const nowMs = clock.monotonicMs();
    if (nowMs < (this.failing.get(partition)?.untilMs ?? 0)) return null;
    const entries = registry.segments(partition.topicId, partition.index);
    const idle = this.idle.get(partition);
    const isSame = idle?.entries === entries && idle.length === entries.length;
    if (isSame && nowMs - idle.sinceMs < idleMsMax) return null;
    const step = nextStep(entries, policy(partition), this.config.limits, clock.nowMs());
    if (step) return step;
    this.idle.set(partition, { entries, length: entries.length, sinceMs: nowMs });
    return null;
  }

  /** One rewrite of a partition; false where there was none after all, or it failed. */
  private async step(partition: TierPartition): Promise<boolean> {
    try {
      return await this.deps.queue.run(partition.topicId, partition.index, async () => {
        // The archives may have changed while this waited.
        const step = this.plan(partition);
        if (!step) return false;
        await this.rewrite(partition, step);
        return true;
      });
    } catch (error) {
      this.failed(partition, error);
      return false;
    }
  }

  private async rewrite(partition: TierPartition, step: MergeStep): Promise<void> {
    const { rewriter, logger, clock } = this.deps;
    const startMs = clock.monotonicMs();
    const entry = await rewriter.rewrite({
      ...step,
      isWanted: () => partition.isOpen && !this.stopping,
    });
    this.failing.delete(partition);
    const { sources } = step;
    if (sources.length > 1) {
      this.totals.merges++;
      this.totals.archives_merged += sources.length;
    }
    if (step.index !== "merge") this.totals.indexes_added++;
    this.totals.bytes_read += sources.reduce((sum, source) => sum + source.bytes, 0);
    this.totals.bytes_written += entry.bytes;
    logger.info(sources.length > 1 ? "merged archives" : "added an archive's index", {
      topic: partition.topic,
      partition: partition.index,
      archives: sources.length,
      offsets: `${entry.base}-${entry.last}`,
      bytes: entry.rawBytes,
      index: entry.index,
      duration_ms: Math.round(clock.monotonicMs() - startMs),
    });
  }

  private failed(partition: TierPartition, error: unknown): void {
    const { logger, clock } = this.deps;
    const where = { topic: partition.topic, partition: partition.index };
    if (this.stopping || !partition.isOpen) {
      logger.info("a merge was given up; the archives stay as they are", where);
      return;
    }
    if (error instanceof BrokerError && error.code === "CHRONIK_REGISTRY_CONFLICT") {
      this.totals.conflicts++;
      logger.info("archives changed while they were merged", { ...where, error: error.message });
      return;
    }
    const failures = (this.failing.get(partition)?.failures ?? 0) + 1;
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (failures - 1));
    this.failing.set(partition, { failures, untilMs: clock.monotonicMs() + backoffMs });
    this.totals.errors++;
    logger.error("merging archives failed; they stay as they are and it is tried again later", {
      ...where,
      retry_secs: Math.round(backoffMs / 1000),
      error: errorText(error),
    });
  }
}
