import type { Clock, Timer } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { RetainedPartition } from "./ports.ts";
import type { SegmentEntry, SegmentRegistry } from "./registry/segment-registry.ts";
import { planLocalRelease, planRetention, releasableEnd, retentionUnits } from "./retention.ts";
import { RetentionClock } from "./retention-clock.ts";

export interface RetainerDeps {
  readonly registry: Pick<SegmentRegistry, "segments" | "dropBefore">;
  readonly partitions: () => Iterable<RetainedPartition>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `log.initial.task.delay.ms` */
  readonly initialDelayMs: number;
  /** `log.retention.check.interval.ms` at this moment. */
  readonly intervalMs: () => number;
  /** Whether WAL segments of topics without limits of their own go from here once archived: where
   * the indexer, whose task that is, does not run. */
  readonly releasesArchived: boolean;
  /** Named kill points of the test build; does nothing in the shipped one. */
  readonly faultPoint: (name: string) => Promise<void>;
}

/** Since the start. */
export interface RetainerTotals {
  checks: number;
  errors: number;
  /** What retention itself dropped, over all tiers. */
  units: number;
  bytes: number;
}

/** Partitions looked at before other work gets its turn. */
const partitionsPerTurn = 256;

/**
 * Applies retention to user topics on an interval, and drops archives below a log start that
 * DeleteRecords moved. A crash may cut the order anywhere: the log start is durable, then the
 * registry forgets what lies below, then the WAL lets it go; the next check goes on.
 */
export class Retainer {
  private readonly deps: RetainerDeps;
  private readonly time: RetentionClock;
  private readonly moved = new Set<RetainedPartition>();
  private readonly sums: RetainerTotals = { checks: 0, errors: 0, units: 0, bytes: 0 };
  private timer: Timer | null = null;
  private working: Promise<void> | null = null;
  private isCheckDue = false;
  private started = false;
  private stopping = false;

  constructor(deps: RetainerDeps) {
    this.deps = deps;
    const { clock } = deps;
    this.time = new RetentionClock(clock.nowMs(), clock.monotonicMs());
  }

  get totals(): Readonly<RetainerTotals> {
    return this.sums;
  }

  start(): void {
    this.started = true;
    this.schedule(this.deps.initialDelayMs);
    void this.work();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.timer?.cancel();
    this.moved.clear();
    await this.working;
  }

  /** The log start of a partition moved: archives below it go soon, not at the next check. */
  logStartMoved(partition: RetainedPartition): void {
    if (this.stopping) return;
    this.moved.add(partition);
    if (this.started) void this.work();
  }

  /** Looks at every partition now; resolves when that is done. */
  async check(): Promise<void> {
    this.isCheckDue = true;
    await this.work();
  }

  private schedule(delayMs: number): void {
    this.timer = this.deps.clock.schedule(delayMs, () => {
      void this.check().finally(() => {
        if (!this.stopping) this.schedule(this.deps.intervalMs());
      });
    });
  }

  private get hasWork(): boolean {
    return !this.stopping && (this.isCheckDue || this.moved.size > 0);
  }

  /** One worker at a time; what is asked for meanwhile is done before it ends. */
  private work(): Promise<void> {
    this.working ??= this.workOff().finally(() => {
      this.working = null;
      // Asked for between the worker's last look and its end.
      return this.hasWork ? this.work() : undefined;
    });
    return this.working;
  }

  private async workOff(): Promise<void> {
    while (this.hasWork) {
      for (const partition of this.moved) {
        this.moved.delete(partition);
        await this.guarded(partition, () => this.dropDeleted(partition));
      }
      if (!this.isCheckDue) continue;
      this.isCheckDue = false;
      await this.checkAll();
    }
  }

  private async checkAll(): Promise<void> {
    const { clock, logger, partitions } = this.deps;
    const { nowMs, lagMs, jumped } = this.time.read(clock.nowMs(), clock.monotonicMs());
    if (jumped) {
      logger.warn(
        "the wall clock is ahead of the time that passed: retention follows it at double speed, " +
          "so that a clock that jumped expires nothing at once; a restart takes the clock as it is",
        { ahead_ms: Math.round(lagMs) },
      );
    }
    this.sums.checks++;
    let looked = 0;
    for (const partition of [...partitions()]) {
      if (++looked % partitionsPerTurn === 0) await this.turn();
      if (this.stopping) return;
      if (partition.internal) continue;
      await this.guarded(partition, () => this.checkOne(partition, nowMs));
    }
  }

  private async checkOne(partition: RetainedPartition, nowMs: number): Promise<void> {
    await this.expire(partition, nowMs);
    await this.dropDeleted(partition);
    await this.releaseArchived(partition, nowMs);
  }

  /** Moves the log start over what the topic's limits do not keep. */
  private async expire(partition: RetainedPartition, nowMs: number): Promise<void> {
    const { retention, logStartOffset, highWatermark } = partition;
    const { deletes, retentionMs, retentionBytes } = retention;
    if (!deletes || (retentionMs < 0 && retentionBytes < 0)) return;
    const segments = partition.segments();
    const units = retentionUnits(this.entries(partition), segments);
    const plan = planRetention(units, logStartOffset, highWatermark, retention, nowMs);
    if (plan.logStart <= logStartOffset) return;
    const active = segments.at(-1);
    // As Kafka rolls a segment that has expired: only sealed ones can go.
    if (active?.sealed === false && active.base < plan.logStart) await partition.seal();
    await partition.start.advance(plan.logStart);
    await this.deps.faultPoint("retention-start-moved");
    this.sums.units += plan.units;
    this.sums.bytes += plan.bytes;
    this.deps.logger.info("retention moved the log start", {
      ...where(partition),
      from: logStartOffset,
      to: plan.logStart,
      segments: plan.units,
      bytes: plan.bytes,
      ...(plan.byTime && { retention_ms: retentionMs }),
      ...(plan.bySize && { retention_bytes: retentionBytes }),
    });
  }

  /** Archives, then WAL segments below the log start; also what a crash left of them. */
  private async dropDeleted(partition: RetainedPartition): Promise<void> {
    const { topicId, index, logStartOffset } = partition;
    const first = this.entries(partition)[0];
    if (first !== undefined && first.last < logStartOffset) {
      const dropped = await this.deps.registry.dropBefore(topicId, index, logStartOffset);
      this.deps.logger.info("dropped archives below the log start", {
        ...where(partition),
        archives: dropped.length,
        bytes: dropped.reduce((sum, { bytes }) => sum + bytes, 0),
        log_start: logStartOffset,
      });
    }
    const oldest = partition.segments()[0];
    const isDeleted = oldest?.sealed === true && oldest.last < partition.logStartOffset;
    if (isDeleted) await partition.start.releaseDeleted();
  }

  /** WAL segments of topics with limits of their own for it; those of others go with archiving. */
  private async releaseArchived(partition: RetainedPartition, nowMs: number): Promise<void> {
    const limits = partition.localRetention;
    if (limits === null && !this.deps.releasesArchived) return;
    const { retention } = partition;
    const segments = partition.segments();
    const archivedEnd = releasableEnd(this.entries(partition), segments[0]?.base ?? 0);
    const ids = planLocalRelease(segments, archivedEnd, limits, retention, nowMs);
    if (ids.length === 0) return;
    await partition.checkpoint(archivedEnd);
    const bytes = await partition.releaseSegments(ids);
    this.deps.logger.info("deleted archived WAL segments past local retention", {
      ...where(partition),
      segments: ids.length,
      bytes,
    });
  }

  private entries({ topicId, index }: RetainedPartition): readonly SegmentEntry[] {
    return this.deps.registry.segments(topicId, index);
  }

  /** One partition's trouble does not keep the others; the next check tries again. */
  private async guarded(partition: RetainedPartition, work: () => Promise<void>): Promise<void> {
    if (!partition.isOpen || partition.damage !== null) return;
    try {
      await work();
    } catch (error) {
      // A topic deleted or a broker stopped meanwhile has nothing left to retain.
      if (!partition.isOpen) return;
      this.sums.errors++;
      this.deps.logger.error("retention of a partition failed; the next check tries again", {
        ...where(partition),
        error: errorText(error),
      });
    }
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => {
      this.deps.clock.schedule(0, resolve);
    });
  }
}

function where({ topic, index }: RetainedPartition): { topic: string; partition: number } {
  return { topic, partition: index };
}
