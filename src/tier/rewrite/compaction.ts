import type { Clock, Timer } from "../../lib/clock.ts";
import { BrokerError, errorText } from "../../lib/errors.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type {
  ArchiveSummary,
  Compacted,
  CompactionEngine,
  IndexMode,
  RewriteRequest,
  TierPartition,
} from "../ports.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import {
  type CompactionPlan,
  type CompactionRules,
  groupsToRewrite,
  isEmptied,
  planCompaction,
} from "./compaction-plan.ts";
import { type CompactionStats, countRound, noCompactions } from "./compaction-stats.ts";

/** What a compacted topic's configs say. */
export interface CompactionSettings extends CompactionRules {
  /** `delete.retention.ms`. */
  readonly deleteRetentionMs: number;
}

/** Consecutive archives of a partition that become one, if anything of them changes. */
export interface CompactionTask {
  readonly sources: readonly SegmentEntry[];
  readonly index: IndexMode;
  /** See SegmentEntry. */
  readonly cleanedTo?: number;
  readonly isWanted: () => boolean;
  /** Null: everything stays as it is. */
  readonly build: (
    request: RewriteRequest,
    sources: readonly string[],
    path: string,
  ) => Promise<ArchiveSummary | null>;
}

/** What compaction asks of tier/rewrite/rewriter.ts. */
export interface Rewrites {
  /** `work` alone on the archives of a partition, when its turn comes. */
  alone<T>(topicId: string, partition: number, work: () => Promise<T>): Promise<T>;
  /** Local files with the objects of `entries` while `work` runs. */
  withSources<T>(
    entries: readonly SegmentEntry[],
    work: (paths: readonly string[]) => Promise<T>,
  ): Promise<T>;
  /** Builds, puts, verifies and swaps in the registry; null: nothing changed. */
  rewrite(task: CompactionTask): Promise<SegmentEntry | null>;
}

export interface CompactionDeps {
  readonly engine: CompactionEngine;
  readonly registry: SegmentRegistry;
  readonly rewrites: Rewrites;
  readonly partitions: () => Iterable<TierPartition>;
  /** Null: the topic is not compacted. */
  readonly settingsOf: (topic: string) => CompactionSettings | null;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Scratch folder, emptied at start. */
  readonly scratchDir: string;
  readonly removeFile: (path: string) => Promise<void>;
  /** Batches that one rewritten archive may hold, bytes. */
  readonly archiveBytesMax: number;
  readonly intervalMs: number;
  /** False: only `run` looks. */
  readonly enabled: boolean;
}

/** What one round did. */
export interface CompactionRound {
  readonly topic: string;
  readonly partition: number;
  readonly why: "ratio" | "lag";
  readonly firstDirty: number;
  /** Keys of all offsets below are compacted now. */
  readonly cleanedTo: number;
  /** The time it went by. */
  readonly nowMs: number;
  readonly archivesBefore: number;
  readonly archivesAfter: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly recordsBefore: number;
  readonly recordsAfter: number;
}

const goneText = "the archives were deleted while they were compacted";
/** A partition whose rounds fail is left alone for so long, and twice as long each time more. */
const backoffMsMin = 15_000;
const backoffMsMax = 3_600_000;
/** Archives joined by one rewrite. */
const archivesPerRewriteMax = 256;

/** Compacts the archives of user topics (D8), one partition at a time, the dirtiest first. A round
 * takes the keys of what is dirty into an offset map, then rewrites all up to the map's end. */
export class Compaction {
  private readonly deps: CompactionDeps;
  private readonly totals: CompactionStats = noCompactions();
  /** Partitions that were told to be uncompactable: said once. */
  private readonly refused = new WeakSet<TierPartition>();
  private readonly failing = new WeakMap<TierPartition, { failures: number; untilMs: number }>();
  private timer: Timer | null = null;
  private current: Promise<readonly CompactionRound[]> | null = null;
  private stopping = false;
  private scratchCount = 0;

  constructor(deps: CompactionDeps) {
    this.deps = deps;
  }

  get stats(): Readonly<CompactionStats> {
    return this.totals;
  }

  start(): void {
    if (this.deps.enabled) this.schedule();
  }

  /** A round under way is given up; what it was not done with stays as it is. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.timer?.cancel();
    this.timer = null;
    if (this.current === null) return;
    await this.deps.engine.stopBuilds();
    await this.current.catch(() => undefined);
  }

  /** A look at every partition now, or the one under way; the rounds it took. */
  run(): Promise<readonly CompactionRound[]> {
    this.current ??= this.runOnce().finally(() => {
      this.current = null;
    });
    return this.current;
  }

  private schedule(): void {
    if (this.stopping) return;
    this.timer = this.deps.clock.schedule(this.deps.intervalMs, () => {
      this.run()
        .catch((error: unknown) => {
          this.deps.logger.error("compaction failed; it is looked at again", {
            error: errorText(error),
          });
        })
        .finally(() => this.schedule());
    });
  }

  private async runOnce(): Promise<readonly CompactionRound[]> {
    const rounds: CompactionRound[] = [];
    const due = [...this.due()].sort((a, b) => b.plan.ratio - a.plan.ratio);
    this.totals.dirtyPartitions = due.length;
    for (const { partition } of due) {
      if (this.stopping) break;
      try {
        const round = await this.round(partition);
        if (round !== null) rounds.push(round);
        this.failing.delete(partition);
      } catch (error) {
        if (this.stopping) break;
        this.failed(partition, error);
      }
    }
    return rounds;
  }

  private failed(partition: TierPartition, error: unknown): void {
    const { logger, clock } = this.deps;
    const { topic, index } = partition;
    if (!partition.isOpen) return;
    const failures = (this.failing.get(partition)?.failures ?? 0) + 1;
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (failures - 1));
    this.failing.set(partition, { failures, untilMs: clock.monotonicMs() + backoffMs });
    this.totals.errors++;
    logger.error("a compaction was given up; its archives stay and it is tried again later", {
      topic,
      partition: index,
      retry_secs: Math.round(backoffMs / 1000),
      error: errorText(error),
    });
  }

  private *due(): Generator<{ partition: TierPartition; plan: CompactionPlan }> {
    for (const partition of this.deps.partitions()) {
      const plan = this.plan(partition);
      if (plan !== null) yield { partition, plan };
    }
  }

  private plan(partition: TierPartition): CompactionPlan | null {
    if (partition.internal || !partition.isOpen) return null;
    const settings = this.deps.settingsOf(partition.topic);
    if (settings === null) return null;
    const { clock } = this.deps;
    if (clock.monotonicMs() < (this.failing.get(partition)?.untilMs ?? 0)) return null;
    const entries = this.entries(partition);
    const plan = planCompaction(entries, settings, clock.nowMs());
    return plan === null || this.isRefused(partition, entries) ? null : plan;
  }

  /** What cannot be read may hold a record whose tombstone would go: then nothing is compacted. */
  private isRefused(partition: TierPartition, entries: readonly SegmentEntry[]): boolean {
    const quarantined = entries.find((entry) => entry.quarantined !== undefined);
    if (!quarantined) {
      this.refused.delete(partition);
      return false;
    }
    if (!this.refused.has(partition)) {
      this.refused.add(partition);
      this.deps.logger.warn("a partition is not compacted while an archive is quarantined", {
        topic: partition.topic,
        partition: partition.index,
        key: quarantined.key,
      });
    }
    return true;
  }

  /** The newest run of archives without a hole, from the one that holds the log start on. */
  private entries({ topicId, index, logStartOffset }: TierPartition): readonly SegmentEntry[] {
    const start = this.deps.registry.range(topicId, index)?.start ?? 0;
    const all = this.deps.registry.segments(topicId, index);
    return all.filter((entry) => entry.base >= start && entry.last >= logStartOffset);
  }

  private async round(partition: TierPartition): Promise<CompactionRound | null> {
    const plan = this.plan(partition);
    const settings = this.deps.settingsOf(partition.topic);
    if (plan === null || settings === null) return null;
    const { clock, scratchDir, removeFile } = this.deps;
    const startMs = clock.monotonicMs();
    const map = `${scratchDir}/compaction-${this.scratchCount++}.map`;
    try {
      // As long as the WAL or memory has what is rewritten, readers would get it from there, and
      // not be told of aborts that the archives name no more.
      await partition.leaveToArchives(plan.cleanableEnd);
      const mapEnd = await this.mapKeys(partition, plan, map);
      const work = new RoundWork(partition, map, clock.nowMs(), settings.deleteRetentionMs);
      for (let next = 0; next < mapEnd; ) {
        if (this.stopping || !partition.isOpen) return null;
        next = await this.rewriteNext(work, next, mapEnd);
      }
      const round = work.outcome(plan, mapEnd);
      this.report(round, Math.round(clock.monotonicMs() - startMs));
      return round;
    } finally {
      await removeFile(map);
    }
  }

  /** Fills the map from the dirty archives; one past the last offset whose key it has. */
  private async mapKeys(
    partition: TierPartition,
    { firstDirty, cleanableEnd }: CompactionPlan,
    map: string,
  ): Promise<number> {
    const { engine, registry, rewrites } = this.deps;
    let end = firstDirty;
    while (end < cleanableEnd && !this.stopping) {
      const entry = registry.find(partition.topicId, partition.index, end);
      // Joined meanwhile with one that is too young.
      if (!entry || entry.last >= cleanableEnd) break;
      const from = end === firstDirty ? firstDirty : null;
      const taken = await rewrites.withSources([entry], ([source = ""]) =>
        engine.mapKeys(source, map, from),
      );
      end = taken.end;
      if (taken.full) break;
    }
    return end;
  }

  /** The archives from the one that holds `next` on, as many as one rewrite takes; where they end.
   * In between others have their turn: an index may be added, small archives be joined. */
  private rewriteNext(work: RoundWork, next: number, mapEnd: number): Promise<number> {
    const { rewrites, archiveBytesMax } = this.deps;
    const { partition } = work;
    return rewrites.alone(partition.topicId, partition.index, async () => {
      const left = this.entries(partition).filter((entry) => entry.last >= next);
      const groups = groupsToRewrite(left, mapEnd, archiveBytesMax, archivesPerRewriteMax);
      const [group] = groups;
      const last = group?.at(-1);
      if (!group || !last) throw new BrokerError("CHRONIK_REGISTRY_CONFLICT", goneText);
      const isLast = groups.length === 1;
      if (!isLast && group.length === 1 && isEmptied(last)) return last.last + 1;
      // Joined meanwhile, it may reach further than the round.
      await partition.leaveToArchives(last.last + 1);
      await this.rewrite(work, group, isLast ? mapEnd : null);
      return last.last + 1;
    });
  }

  private async rewrite(
    work: RoundWork,
    group: readonly SegmentEntry[],
    cleanedTo: number | null,
  ): Promise<void> {
    const { engine, rewrites } = this.deps;
    const { partition } = work;
    await rewrites.rewrite({
      sources: group,
      // Of what stays an index is made later, as for archives that could not wait for theirs (D18).
      index: partition.searchIndexMode() === "none" ? "none" : "pending",
      ...(cleanedTo === null ? {} : { cleanedTo }),
      isWanted: () => partition.isOpen,
      build: async (request, sources, path) => {
        const compacted = await engine.compact(request, sources, path, {
          map: work.map,
          nowMs: work.nowMs,
          deleteRetentionMs: work.deleteRetentionMs,
          writing: work.writing,
          // The archive that ends the round says so: it is made anew even if all of it stays.
          always: cleanedTo !== null,
        });
        work.add(group.length, compacted);
        return compacted.summary;
      },
    });
  }

  private report(round: CompactionRound, durationMs: number): void {
    countRound(this.totals, round);
    this.deps.logger.info("compacted", {
      topic: round.topic,
      partition: round.partition,
      why: round.why,
      offsets: `${round.firstDirty}-${round.cleanedTo - 1}`,
      archives: `${round.archivesBefore} -> ${round.archivesAfter}`,
      bytes: `${round.bytesBefore} -> ${round.bytesAfter}`,
      records: `${round.recordsBefore} -> ${round.recordsAfter}`,
      ms: durationMs,
    });
  }
}

/** A round while it runs. */
class RoundWork {
  readonly partition: TierPartition;
  readonly map: string;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
  writing: readonly number[] = [];
  private readonly counts = {
    archivesBefore: 0,
    archivesAfter: 0,
    bytesBefore: 0,
    bytesAfter: 0,
    recordsBefore: 0,
    recordsAfter: 0,
  };

  constructor(partition: TierPartition, map: string, nowMs: number, deleteRetentionMs: number) {
    this.partition = partition;
    this.map = map;
    this.nowMs = nowMs;
    this.deleteRetentionMs = deleteRetentionMs;
  }

  add(archives: number, { summary, bytesBefore, recordsBefore, writing }: Compacted): void {
    this.writing = writing;
    this.counts.archivesBefore += archives;
    this.counts.archivesAfter++;
    this.counts.bytesBefore += bytesBefore;
    this.counts.bytesAfter += summary?.rawBytes ?? bytesBefore;
    this.counts.recordsBefore += recordsBefore;
    this.counts.recordsAfter += summary?.records ?? recordsBefore;
  }

  outcome(plan: CompactionPlan, cleanedTo: number): CompactionRound {
    const { topic, index } = this.partition;
    const { why, firstDirty } = plan;
    const { nowMs, counts } = this;
    return { topic, partition: index, why, firstDirty, cleanedTo, nowMs, ...counts };
  }
}
