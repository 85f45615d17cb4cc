import type { Clock, Timer } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type ArchiveOutcome, Archiver, type ArchiverDeps } from "./archiver.ts";
import { addTotals, type IndexerStats, noTotals, type RunTotals } from "./indexer-stats.ts";
import type { IndexMode, TierPartition, WalSegment } from "./ports.ts";
import {
  type ArchiveTask,
  goesOn,
  partitionsToRelieve,
  partitionsToSeal,
  pendingSegments,
  planArchives,
} from "./run-plan.ts";
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
  /** The WAL's cap; log/wal-space.ts. */
  readonly walSpace: {
    /** 0: none. */
    readonly bytesMax: number;
    /** More than half of it is used: nothing waits for the tick. */
    readonly isPressed: boolean;
    /** More than three quarters: archives are made without an index. */
    readonly isStrained: boolean;
  };
}

/** Shares of the WAL's cap: of an archive made while it is pressed, since room comes back by the
 * archive, and of what may stay in segments that are still written to. */
const relievingArchiveShare = 1 / 8;
const activeShare = 1 / 8;
/** A run that failed while the WAL is pressed is repeated sooner than at the regular tick. */
const pressedIntervalMs = 5_000;

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
    if (this.deps.walSpace.isPressed) this.relieve();
  }

  /** The WAL nears its cap: a run at once, unless one is under way, which sees it itself. */
  relieve(): void {
    if (this.timer === null || this.stopping || this.paused || this.current !== null) return;
    this.logger.debug("the WAL is half full: archiving starts before its time");
    this.runAndSchedule();
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
    for (const partition of this.archivable()) {
      for (const segment of partition.segments()) {
        if (!segment.sealed || segment.base < this.archivedEnd(partition)) continue;
        if (segment.last < partition.logStartOffset) continue;
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
    this.timer?.cancel();
    const intervalMs = this.config.intervalSecs * 1000;
    const { isPressed } = this.deps.walSpace;
    const delayMs = isPressed ? Math.min(intervalMs, pressedIntervalMs) : intervalMs;
    this.timer = this.deps.clock.schedule(delayMs, () => {
      this.logger.debug("indexer tick");
      this.runAndSchedule();
    });
  }

  private runAndSchedule(): void {
    (this.paused ? Promise.resolve() : this.run())
      .catch((error: unknown) => {
        this.logger.error("indexer run failed; it is repeated at the next tick", {
          error: errorText(error),
        });
      })
      .finally(() => {
        if (!this.stopping) this.scheduleTick();
      });
  }

  private async runOnce(): Promise<RunTotals> {
    const run = noTotals();
    const startMs = this.deps.clock.monotonicMs();
    this.lastRunStartedAtMs = this.deps.clock.nowMs();
    this.endRun = false;
    await this.finishReleases(run);
    await this.sealDue(run);
    await this.retireBegun(run);
    // A run that hit its limit is followed at once by the next (D4), and so is one that leaves the
    // WAL more than half full.
    for (;;) {
      const { walSpace } = this.deps;
      const isPressed = walSpace.isPressed;
      const errorsBefore = run.errors;
      if (isPressed) await this.sealLarge(run);
      const begunEnds = this.begunEnds();
      const plan = planArchives(
        this.archivable(),
        (partition) => this.archivedEnd(partition),
        this.config.segmentsPerRunMax,
        isPressed
          ? Math.min(this.config.archiveBytesMax, walSpace.bytesMax * relievingArchiveShare)
          : this.config.archiveBytesMax,
        (partition) => begunEnds.get(placeOf(partition)) ?? null,
      );
      await this.runTasks(plan.tasks, run);
      const goesOn = plan.more || (plan.tasks.length > 0 && walSpace.isPressed);
      if (!goesOn || this.isEnding || run.errors > errorsBefore) break;
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
      this.archivable(),
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

  /** Whatever their age, as the room is needed now. */
  private async sealLarge(run: RunTotals): Promise<void> {
    const bytesMax = this.deps.walSpace.bytesMax * activeShare;
    for (const partition of partitionsToRelieve(this.archivable(), bytesMax)) {
      if (this.isEnding) return;
      await this.guard(run, partition, "seal", () => this.seal(partition));
    }
  }

  /** First archives that were begun, by a failed try or before a crash, and that no segments go on
   * with any more: their records were deleted. The others are found again under their keys. */
  private async retireBegun(run: RunTotals): Promise<void> {
    const begun = this.deps.registry.begunArchives();
    if (begun.length === 0) return;
    const partitions = new Map([...this.eligible()].map((one) => [placeOf(one), one]));
    for (const { key, topicId, partition: index, first } of begun) {
      // A deleted topic's are retired with it; what is damaged or not open yet has time.
      const partition = partitions.get(`${topicId}/${index}`);
      if (!partition?.isOpen) continue;
      if (goesOn(partition, this.archivedEnd(partition), first)) continue;
      await this.guard(run, partition, "retire", () => this.deps.registry.retireBegun(key));
    }
  }

  /** Where the archive ends that was begun, by partition: nothing joins it. */
  private begunEnds(): ReadonlyMap<string, number> {
    const ends = new Map<string, number>();
    for (const { topicId, partition, first } of this.deps.registry.begunArchives()) {
      const place = `${topicId}/${partition}`;
      ends.set(place, Math.min(first.last, ends.get(place) ?? first.last));
    }
    return ends;
  }

  /** What a crash left between register and release: archived segments still in the WAL. */
  private async finishReleases(run: RunTotals): Promise<void> {
    if (!this.deps.deleteAfterIndex) return;
    for (const partition of this.eligible()) {
      if (partition.localRetention !== null) continue;
      const end = this.archivedEnd(partition);
      const archived = partition.segments().filter((s) => s.sealed && s.last < end);
      if (archived.length === 0) continue;
      const task = { partition, segments: archived };
      if (this.archiver.releasable(task).length === 0) continue;
      await this.guard(run, partition, "release", () => this.archiver.release(task, end - 1));
    }
  }

  private async runTasks(tasks: readonly ArchiveTask[], run: RunTotals): Promise<void> {
    if (tasks.length === 0) return;
    const found = tasks.reduce((sum, task) => sum + task.segments.length, 0);
    this.logger.info("indexer found sealed segments", { segments: found, archives: tasks.length });
    const isBehind = this.isBehind();
    const queue = [...tasks];
    // Archives of one partition must be made in offset order: each worker takes whole partitions.
    const byPartition = Map.groupBy(queue, (task) => task.partition);
    const lanes = [...byPartition.values()];
    const workers = this.config.parallel ? this.config.concurrentTasksMax : 1;
    const work = async () => {
      for (let lane = lanes.shift(); lane && !this.isEnding; lane = lanes.shift()) {
        for (const task of lane) {
          const indexing = !isBehind && !this.deps.walSpace.isStrained;
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
      for (
        let rest = undeleted(task);
        rest.length > 0;
        rest = undeleted({ partition, segments: rest })
      ) {
        const outcome = await this.archiveOrDeleted({ partition, segments: rest }, mode);
        if (outcome === null) continue;
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

  /** null: some of it was deleted meanwhile, and what is left is to be tried without that. */
  private async archiveOrDeleted(
    task: ArchiveTask,
    mode: IndexMode,
  ): Promise<ArchiveOutcome | null> {
    try {
      return await this.archiver.archive(task, mode);
    } catch (error) {
      if (undeleted(task).length < task.segments.length) return null;
      throw error;
    }
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
    for (const partition of this.archivable()) {
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

  /** Those whose topics did not stop it (`remote.log.copy.disable`). */
  private *archivable(): Generator<TierPartition> {
    for (const partition of this.eligible()) {
      if (!partition.copyDisabled) yield partition;
    }
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

function placeOf({ topicId, index }: TierPartition): string {
  return `${topicId}/${index}`;
}

/** Without the segments that lie below the log start as a whole by now. */
function undeleted({ partition, segments }: ArchiveTask): readonly WalSegment[] {
  return segments.filter(({ last }) => last >= partition.logStartOffset);
}
