import type { Clock, Timer } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Archiver, type ArchiverDeps } from "./archiver.ts";
import { addTotals, type IndexerStats, noTotals, type RunTotals } from "./indexer-stats.ts";
import type { IndexMode, TierPartition } from "./ports.ts";
import { type ArchiveTask, partitionsToSeal, pendingSegments, planArchives } from "./run-plan.ts";
import type { Timeline } from "./timeline.ts";

/** R10's settings, in their own units. */
export interface IndexerConfig {
  readonly enabled: boolean;
  readonly intervalSecs: number;
  readonly minSegmentAgeSecs: number;
  readonly segmentsPerRunMax: number;
  readonly parallel: boolean;
  readonly concurrentTasksMax: number;
  /** Raw bytes of consecutive segments joined into one archive. */
  readonly archiveBytesMax: number;
  /** Archives a second above which sealing by age is stretched (D4). */
  readonly archivesPerSecMax: number;
  /** Sealed data beyond which archives are made without an index, so that upload speed and not
   * indexing bounds the WAL (D18). */
  readonly pendingBytesMax: number;
  readonly pendingAgeSecsMax: number;
}

export interface IndexerDeps extends ArchiverDeps {
  readonly clock: Clock;
  readonly partitions: () => Iterable<TierPartition>;
  /** Is told what was sealed and what failed. */
  readonly timeline?: Pick<Timeline, "record">;
}

/** The WalIndexer: on an interval, seals what is old enough and carries sealed segments into the
 * object store. Owns the figures of `GET /admin/indexer/stats`. */
export class Indexer {
  private readonly config: IndexerConfig;
  private readonly deps: IndexerDeps;
  private readonly logger: Logger;
  private readonly archiver: Archiver;
  private readonly pendingSince = new WeakMap<TierPartition, { base: number; sinceMs: number }>();
  private readonly totals: { runs: number } & RunTotals = { runs: 0, ...noTotals() };
  private lastRun: RunTotals | null = null;
  private lastRunStartedAtMs: number | null = null;
  private timer: Timer | null = null;
  private current: Promise<RunTotals> | null = null;
  private stopping = false;
  private paused = false;
  /** The run under way begins nothing new. */
  private endRun = false;

  constructor(config: IndexerConfig, deps: IndexerDeps) {
    this.config = config;
    this.deps = deps;
    this.logger = deps.logger;
    this.archiver = new Archiver(deps);
  }

  start(): void {
    if (!this.config.enabled) return;
    this.logger.info("WAL indexer initialising", { store: this.deps.store.description });
    this.logger.info("WAL indexer started", { interval_secs: this.config.intervalSecs });
    this.scheduleTick();
  }

  /** An archive being built is given up (its WAL stays and is archived after the next start); one
   * built already is put, verified and registered to its end. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.timer?.cancel();
    this.timer = null;
    if (this.current === null) return;
    await this.deps.engine.stopBuilds();
    await this.current.catch(() => undefined);
  }

  /** A run now, or the one under way. */
  run(): Promise<RunTotals> {
    this.current ??= this.runOnce().finally(() => {
      this.current = null;
    });
    return this.current;
  }

  /** No run begins by itself any more, and one under way ends after the archives it is making.
   * Lasts until `resume` or a restart; the WAL grows meanwhile. */
  pause(): void {
    if (!this.paused) this.logger.warn("indexer paused; sealed segments stay in the WAL");
    this.paused = true;
    this.endRun = true;
  }

  resume(): void {
    if (this.paused) this.logger.info("indexer resumed");
    this.paused = false;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  stats(): IndexerStats {
    const pending = { sealed_segments: 0, records: 0, bytes: 0 };
    for (const partition of this.eligible()) {
      for (const segment of partition.segments()) {
        if (!segment.sealed || segment.base < this.archivedEnd(partition)) continue;
        pending.sealed_segments++;
        pending.records += segment.records;
        pending.bytes += segment.bytes;
      }
    }
    return {
      enabled: this.config.enabled,
      running: this.current !== null,
      paused: this.paused,
      interval_secs: this.config.intervalSecs,
      last_run_started_at:
        this.lastRunStartedAtMs === null ? null : new Date(this.lastRunStartedAtMs).toISOString(),
      totals: { ...this.totals },
      last_run: this.lastRun,
      pending,
      registry: this.deps.registry.totals(),
    };
  }

  private get isEnding(): boolean {
    return this.stopping || this.endRun;
  }

  private scheduleTick(): void {
    this.timer = this.deps.clock.schedule(this.config.intervalSecs * 1000, () => {
      this.logger.debug("indexer tick");
      (this.paused ? Promise.resolve() : this.run())
        .catch((error: unknown) => {
          this.logger.error("indexer run failed; it is repeated at the next tick", {
            error: errorText(error),
          });
        })
        .finally(() => {
          if (!this.stopping) this.scheduleTick();
        });
    });
  }

  private async runOnce(): Promise<RunTotals> {
    const run = noTotals();
    const startMs = this.deps.clock.monotonicMs();
    this.lastRunStartedAtMs = this.deps.clock.nowMs();
    this.endRun = false;
    await this.finishReleases(run);
    await this.sealDue(run);
    // A run that hit its limit is followed at once by the next (D4).
    for (;;) {
      const plan = planArchives(
        this.eligible(),
        (partition) => this.archivedEnd(partition),
        this.config.segmentsPerRunMax,
        this.config.archiveBytesMax,
      );
      const errorsBefore = run.errors;
      await this.runTasks(plan.tasks, run);
      if (!plan.more || this.isEnding || run.errors > errorsBefore) break;
    }
    run.duration_ms = Math.round(this.deps.clock.monotonicMs() - startMs);
    this.lastRun = run;
    this.totals.runs++;
    addTotals(this.totals, run);
    if (run.segments_processed > 0 || run.errors > 0) {
      this.logger.info("indexer run finished", { ...run });
    }
    return run;
  }

  private async sealDue(run: RunTotals): Promise<void> {
    const due = partitionsToSeal(
      this.eligible(),
      this.config.minSegmentAgeSecs * 1000,
      this.config.intervalSecs * 1000,
      this.config.archivesPerSecMax,
    );
    for (const partition of due) {
      if (this.isEnding) return;
      await this.guard(run, partition, "seal", () => this.seal(partition));
    }
  }

  private async seal(partition: TierPartition): Promise<void> {
    await partition.seal();
    const sealed = partition.segments().findLast((segment) => segment.sealed);
    if (!sealed) return;
    this.deps.timeline?.record({
      type: "sealed",
      topic: partition.topic,
      partition: partition.index,
      baseOffset: sealed.base,
      lastOffset: sealed.last,
      bytes: sealed.bytes,
    });
  }

  /** What a crash left between register and release: archived segments still in the WAL. */
  private async finishReleases(run: RunTotals): Promise<void> {
    if (!this.deps.deleteAfterIndex) return;
    for (const partition of this.eligible()) {
      const end = this.archivedEnd(partition);
      const segments = partition.segments().filter((s) => s.sealed && s.last < end);
      if (segments.length === 0) continue;
      await this.guard(run, partition, "release", () =>
        this.archiver.release({ partition, segments }, end - 1),
      );
    }
  }

  private async runTasks(tasks: readonly ArchiveTask[], run: RunTotals): Promise<void> {
    if (tasks.length === 0) return;
    const found = tasks.reduce((sum, task) => sum + task.segments.length, 0);
    this.logger.info("indexer found sealed segments", { segments: found, archives: tasks.length });
    const indexing = !this.isBehind();
    const queue = [...tasks];
    // Archives of one partition must be made in offset order: each worker takes whole partitions.
    const byPartition = Map.groupBy(queue, (task) => task.partition);
    const lanes = [...byPartition.values()];
    const workers = this.config.parallel ? this.config.concurrentTasksMax : 1;
    const work = async () => {
      for (let lane = lanes.shift(); lane && !this.isEnding; lane = lanes.shift()) {
        for (const task of lane) {
          if (this.isEnding || !(await this.runTask(task, indexing, run))) break;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(workers, lanes.length) }, work));
  }

  private runTask(task: ArchiveTask, indexing: boolean, run: RunTotals): Promise<boolean> {
    const { partition, segments } = task;
    return this.guard(run, partition, "archive", async () => {
      const mode: IndexMode = indexing ? partition.searchIndexMode() : "pending";
      this.logger.info("archiving segments", {
        topic: partition.topic,
        partition: partition.index,
        segments: segments.map((segment) => segment.id).join(","),
        records: segments.reduce((sum, segment) => sum + segment.records, 0),
        offsets: `${segments[0]?.base}-${segments[segments.length - 1]?.last}`,
        index: mode,
      });
      // An archive may take fewer; the others come before what lies behind them.
      for (let rest = segments; rest.length > 0; ) {
        const outcome = await this.archiver.archive({ partition, segments: rest }, mode);
        rest = rest.slice(outcome.segments);
        run.segments_processed += outcome.segments;
        run.records_indexed += outcome.records;
        run.documents += outcome.documents;
        run.bytes_read += outcome.bytesRead;
        run.bytes_written += outcome.bytesWritten;
        if (outcome.indexed) run.indexes_created++;
      }
    });
  }

  /** One partition's trouble is counted and logged; its WAL stays and the others go on (R17). */
  private async guard(
    run: RunTotals,
    partition: TierPartition,
    step: string,
    work: () => Promise<void>,
  ): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (this.stopping) {
        this.logger.info("indexer step given up for the stop; the WAL is kept", {
          step,
          topic: partition.topic,
          partition: partition.index,
        });
        return false;
      }
      run.errors++;
      this.deps.timeline?.record({
        type: "failed",
        topic: partition.topic,
        partition: partition.index,
        baseOffset: this.archivedEnd(partition),
        lastOffset: -1,
        bytes: 0,
        detail: `${step}: ${errorText(error)}`,
      });
      this.logger.error("indexer step failed; the WAL is kept and it is retried at the next tick", {
        step,
        topic: partition.topic,
        partition: partition.index,
        error: errorText(error),
      });
      return false;
    }
  }

  /** Whether archiving needs every hand: nothing else is to be built meanwhile (D18). */
  get isBusy(): boolean {
    return this.isBehind();
  }

  /** Whether sealed data waits beyond D18's limits. Waiting counts from the first run that saw the
   * partition's data pending: neither time the broker was down nor a clock jump is a backlog. */
  private isBehind(): boolean {
    const nowMs = this.deps.clock.monotonicMs();
    let bytes = 0;
    let waitedMs = 0;
    for (const partition of this.eligible()) {
      const segments = pendingSegments(partition, this.archivedEnd(partition));
      const oldest = segments[0];
      if (!oldest) {
        this.pendingSince.delete(partition);
        continue;
      }
      bytes += segments.reduce((sum, segment) => sum + segment.bytes, 0);
      const seen = this.pendingSince.get(partition);
      if (seen?.base === oldest.base) waitedMs = Math.max(waitedMs, nowMs - seen.sinceMs);
      else this.pendingSince.set(partition, { base: oldest.base, sinceMs: nowMs });
    }
    const { pendingBytesMax, pendingAgeSecsMax } = this.config;
    return bytes > pendingBytesMax || waitedMs > pendingAgeSecsMax * 1000;
  }

  private *eligible(): Generator<TierPartition> {
    for (const partition of this.deps.partitions()) {
      if (!partition.internal && partition.damage === null) yield partition;
    }
  }

  private archivedEnd(partition: TierPartition): number {
    return this.deps.registry.range(partition.topicId, partition.index)?.end ?? 0;
  }
}
