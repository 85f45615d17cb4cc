import type { Clock } from "../../lib/clock.ts";
import { type Deferred, deferred } from "../../lib/deferred.ts";
import { errorText } from "../../lib/errors.ts";
import { RateLimit } from "../../lib/rate-limit.ts";
import type { ObjectStore } from "../../store/object-store.ts";
import type { Logger } from "../../telemetry/logger.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import { adviceOf, Findings } from "./findings.ts";
import { findOrphans, type OrphanReport } from "./orphans.ts";
import { type RunView, ScrubRound } from "./scrub-round.ts";
import { decodeState, encodeState, type FinishedRound, noCounts } from "./scrub-state.ts";
import { checkWal, type ScrubbedWal } from "./scrub-wal.ts";
import {
  type ArchiveInspector,
  type CheckOutcome,
  checkSegment,
  type Depth,
  type Pace,
} from "./segment-check.ts";

export interface ScrubConfig {
  /** False: no rounds over everything; what a reader failed on is looked at all the same. */
  readonly enabled: boolean;
  readonly bytesPerSec: number;
  /** From the start of one round over everything to the next. */
  readonly intervalMs: number;
}

export interface ScrubDeps {
  readonly store: ObjectStore;
  readonly registry: SegmentRegistry;
  readonly inspector: ArchiveInspector;
  /** Partitions with a WAL, at the moment of asking. */
  readonly wals: () => Iterable<ScrubbedWal>;
  /** Bytes of one read of an object. */
  readonly readBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where progress is kept; `load` gives null where there is none. */
  readonly state: { load(): Promise<Uint8Array | null>; save(bytes: Uint8Array): Promise<void> };
}

/** Quiet after a start. */
const firstRoundMs = 60_000;
const saveEveryMs = 30_000;
const findingsMax = 1_000;
const suspectsMax = 1_000;
/** An object that a reader failed on is not read again sooner. */
const suspectAgainMs = 60_000;
/** How often quarantined objects are looked at: a restored one is taken into use by that. */
const recheckMs = 3_600_000;
/** Before what seems damaged is read again: a proxy's or a store's bad moment shall pass. */
const settleMs = 5_000;
const settlesMax = 3;
/** What a reader waits for is looked at faster than the rest. */
const urgentBytesPerSec = 32 << 20;
const backoffMsMin = 30_000;
const backoffMsMax = 600_000;
/** Times in a row that the store may fail before a run is given up. */
const failuresMax = 3;
/** Unnamed objects younger than this may be on their way into the registry. */
const youngMs = 3_600_000;

/**
 * Finds damage before a reader does. Walks all archives by offset, one round an interval, reads
 * each again within a rate, and goes on after a restart where it was. What is damaged twice is
 * quarantined: kept, but read no more, until a later check finds it sound.
 */
export class Scrub {
  private readonly config: ScrubConfig;
  private readonly deps: ScrubDeps;
  private readonly findings = new Findings(findingsMax);
  private readonly suspects = new Map<string, SegmentEntry>();
  private readonly suspectedMs = new Map<string, number>();
  private readonly stateWarnings: RateLimit;
  private round: ScrubRound | null = null;
  private last: FinishedRound | null = null;
  private run: ScrubRound | null = null;
  private runView: RunView | null = null;
  private orphans: OrphanReport | null = null;
  /** Something more urgent has come up; made anew before each piece of work. */
  private wake: Deferred<void> = deferred();
  private readonly stopped: Deferred<void> = deferred();
  private working: Promise<void> = Promise.resolve();
  private stopping = false;
  private dueMs = 0;
  private savedMs = 0;
  private recheckedMs: number;
  private backoffMs = 0;
  private verifiedCount = 0;
  private damagedCount = 0;
  private readBytes = 0;
  private damagedInARow = 0;

  constructor(config: ScrubConfig, deps: ScrubDeps) {
    this.config = config;
    this.deps = deps;
    this.stateWarnings = new RateLimit(deps.clock, 1, backoffMsMax);
    this.recheckedMs = deps.clock.monotonicMs();
  }

  /** Loads what the last run left and begins. */
  async start(): Promise<void> {
    const { clock, registry, logger } = this.deps;
    const bytes = await this.load();
    const loaded = bytes === null ? null : decodeState(bytes);
    if (bytes !== null && loaded === null) {
      logger.warn("the scrub's progress cannot be read; it begins from the start");
    }
    this.last = loaded?.last ?? null;
    if (loaded?.round && this.config.enabled) {
      this.round = new ScrubRound("hash", loaded.round, registry, loaded.round.cursor);
    }
    const { intervalMs } = this.config;
    const sinceMs = this.last === null ? intervalMs : clock.nowMs() - this.last.startedMs;
    this.dueMs =
      clock.monotonicMs() + firstRoundMs + Math.max(0, intervalMs - Math.max(0, sinceMs));
    for (const entry of this.quarantined()) this.note(entry, entry.quarantined?.reason ?? "");
    this.working = this.work();
  }

  /** Ends soon, in the middle of an object too; what is open is finished by the next run. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.stopped.resolve();
    await this.working;
    if (this.round !== null) await this.save();
  }

  /** A reader failed on this archive: it is looked at before anything else. */
  suspect(entry: SegmentEntry): void {
    const nowMs = this.deps.clock.monotonicMs();
    const before = this.suspectedMs.get(entry.key);
    if (before !== undefined && nowMs - before < suspectAgainMs) return;
    if (this.suspects.size >= suspectsMax) return;
    this.suspectedMs.delete(entry.key);
    this.suspectedMs.set(entry.key, nowMs);
    const [oldest] = this.suspectedMs.keys();
    if (this.suspectedMs.size > suspectsMax && oldest !== undefined) {
      this.suspectedMs.delete(oldest);
    }
    this.suspects.set(entry.key, entry);
    this.wake.resolve();
  }

  /** Looks at everything now, as fast as it goes, in place of the round under way, which goes on
   * afterwards. Null while an earlier one is under way. */
  request(depth: "shallow" | "deep"): RunView | null {
    if (this.run !== null || this.stopping) return null;
    const startedMs = this.deps.clock.nowMs();
    this.run = new ScrubRound(depth, { startedMs, ...noCounts() }, this.deps.registry, null);
    this.runView = this.run.view(null, null);
    this.wake.resolve();
    return this.runView;
  }

  /** Everything an operator may want to know; times in milliseconds since the epoch. */
  status() {
    const { clock, registry } = this.deps;
    this.findings.keep(
      ({ kind, key }) => kind !== "archive" || registry.entryOf(key) !== undefined,
    );
    const findings = this.findings.list();
    const waitMs = Math.max(0, this.dueMs - clock.monotonicMs());
    return {
      config: this.config,
      verified: this.verifiedCount,
      damaged: this.damagedCount,
      bytesRead: this.readBytes,
      quarantined: registry.totals().quarantined,
      round: this.round && {
        ...this.round.counts,
        startedMs: this.round.startedMs,
        total: this.round.total,
      },
      lastRound: this.last,
      nextRoundMs: this.config.enabled && this.round === null ? clock.nowMs() + waitMs : null,
      run: this.run === null ? this.runView : this.run.view(null, null),
      findings,
      findingsDropped: this.findings.dropped,
      orphans: this.orphans,
    };
  }

  /** One thing at a time: what readers wait for, then what was asked for, then the round. */
  private async work(): Promise<void> {
    while (!this.stopping) {
      this.wake = deferred();
      const [suspect] = this.suspects.values();
      try {
        if (suspect !== undefined) await this.lookAtSuspect(suspect);
        else if (this.run !== null) await this.runStep(this.run);
        else if (this.recheckInMs() === 0) this.suspectQuarantined();
        else if (this.config.enabled) await this.roundStep();
        else await this.pause(this.recheckInMs());
      } catch (error) {
        this.deps.logger.error("the scrub failed and goes on: please report this", {
          error: errorText(error),
        });
        await this.pause(backoffMsMin);
      }
    }
  }

  private recheckInMs(): number {
    return Math.max(0, recheckMs - (this.deps.clock.monotonicMs() - this.recheckedMs));
  }

  private suspectQuarantined(): void {
    this.recheckedMs = this.deps.clock.monotonicMs();
    for (const entry of this.quarantined()) {
      if (this.suspects.size >= suspectsMax) break;
      this.suspects.set(entry.key, entry);
    }
  }

  private *quarantined(): Iterable<SegmentEntry> {
    if (this.deps.registry.totals().quarantined === 0) return;
    for (const entries of this.deps.registry.lists()) {
      for (const entry of entries) if (entry.quarantined !== undefined) yield entry;
    }
  }

  private async lookAtSuspect(entry: SegmentEntry): Promise<void> {
    const pace = this.pace(urgentBytesPerSec, null);
    const outcome = await this.look(entry, "hash", pace);
    if (outcome.kind === "stopped") return;
    this.suspects.delete(entry.key);
    if (outcome.kind === "sound" && entry.quarantined === undefined) {
      const { topic, partition, key } = entry;
      this.deps.logger.info("an archive that could not be read is sound", {
        topic,
        partition,
        key,
      });
    }
  }

  private async runStep(run: ScrubRound): Promise<void> {
    const pace = this.pace(Number.POSITIVE_INFINITY, () => this.suspects.size > 0);
    const entry = run.next();
    if (entry === null) {
      if (run.depth === "deep" && !(await this.checkWals(run, pace))) return;
      if (!(await this.listOrphans(pace))) return;
      this.endRun(run, null);
      return;
    }
    // A shallow look cannot take anything out of quarantine.
    const depth = entry.quarantined === undefined ? run.depth : "deep";
    const outcome = await this.look(entry, depth, pace);
    if (!run.take(entry, outcome)) return;
    if (run.failures >= failuresMax) {
      const reason = outcome.kind === "unavailable" ? outcome.reason : "";
      this.endRun(run, `the store failed ${run.failures} times in a row: ${reason}`);
    }
  }

  private endRun(run: ScrubRound, error: string | null): void {
    this.run = null;
    this.runView = run.view(this.deps.clock.nowMs(), error);
    this.deps.logger.info("integrity run ended", {
      depth: run.depth,
      ...run.counts,
      ...(error !== null && { error }),
    });
  }

  private async roundStep(): Promise<void> {
    const { clock, registry } = this.deps;
    if (this.round === null) {
      const waitMs = this.dueMs - clock.monotonicMs();
      if (waitMs > 0) {
        await this.pause(Math.min(waitMs, this.recheckInMs()));
        return;
      }
      const startedMs = clock.nowMs();
      this.round = new ScrubRound("hash", { startedMs, ...noCounts() }, registry, null);
    }
    const round = this.round;
    const { bytesPerSec } = this.config;
    const pace = this.pace(bytesPerSec, () => this.suspects.size > 0 || this.run !== null);
    const entry = round.next();
    if (entry === null) {
      await this.finishRound(round, pace);
    } else if (entry.createdMs < round.startedMs) {
      const outcome = await this.look(entry, round.depth, pace);
      if (!round.take(entry, outcome)) return;
      await this.backOff(outcome);
    } else {
      round.pass(entry);
    }
    if (clock.monotonicMs() - this.savedMs >= saveEveryMs) await this.save();
  }

  private async finishRound(round: ScrubRound, pace: Pace): Promise<void> {
    const { clock, logger } = this.deps;
    if (!(await this.checkWals(round, pace)) || !(await this.listOrphans(pace))) return;
    const { startedMs, counts } = round;
    this.last = { startedMs, finishedMs: clock.nowMs(), ...counts };
    this.round = null;
    const tookMs = Math.max(0, this.last.finishedMs - startedMs);
    this.dueMs = clock.monotonicMs() + Math.max(0, this.config.intervalMs - tookMs);
    logger.info("scrub round ended", { ...counts });
    await this.save();
  }

  /** Checks one entry, and puts it into or out of quarantine by what was found. */
  private async look(entry: SegmentEntry, depth: Depth, pace: Pace): Promise<CheckOutcome> {
    const { registry, logger } = this.deps;
    const unpin = registry.pin(entry);
    let outcome: CheckOutcome;
    try {
      outcome = await checkSegment(this.deps, entry, depth, pace, () => this.settle());
    } finally {
      unpin();
    }
    const current = registry.entryOf(entry.key);
    // Merged, retired or deleted meanwhile: whatever was found is of no importance.
    if (current === undefined) return { kind: "sound" };
    if (outcome.kind === "sound") {
      this.damagedInARow = 0;
      this.verifiedCount++;
      if (depth === "shallow") return outcome;
      this.findings.removeArchive(entry.key);
      if (current.quarantined !== undefined) await this.release(current);
    } else if (outcome.kind === "damaged") {
      this.damagedCount++;
      this.damagedInARow++;
      this.note(entry, outcome.reason);
      if (current.quarantined === undefined) {
        logger.error("an archive is damaged; it is kept, and its offsets are read no more", {
          ...whereOf(entry),
          reason: outcome.reason,
          do: adviceOf({ kind: "archive" }),
        });
        await this.quarantine(current, outcome.reason);
      }
    }
    return outcome;
  }

  /** Between the two reads of what seems damaged. Where much is, nobody waits for each of it. */
  private async settle(): Promise<boolean> {
    if (this.damagedInARow < settlesMax) await this.pause(settleMs, false);
    return !this.stopping;
  }

  /** Where the registry cannot be written the next look tries again; reads find the damage too. */
  private async quarantine(entry: SegmentEntry, reason: string): Promise<void> {
    const { registry, clock, logger } = this.deps;
    try {
      await registry.quarantine(entry, reason, clock.nowMs());
    } catch (error) {
      logger.warn("a damaged archive could not be quarantined; the next look tries again", {
        ...whereOf(entry),
        error: errorText(error),
      });
    }
  }

  private async release(entry: SegmentEntry): Promise<void> {
    const { registry, logger } = this.deps;
    try {
      await registry.unquarantine(entry);
      logger.info("an archive is sound again and out of quarantine", whereOf(entry));
    } catch (error) {
      logger.warn(
        "a sound archive could not be taken out of quarantine; the next look tries again",
        {
          ...whereOf(entry),
          error: errorText(error),
        },
      );
    }
  }

  private note(entry: SegmentEntry, reason: string): void {
    const { topic, topicId, partition, base, last, key } = entry;
    const foundMs = this.deps.clock.nowMs();
    const place = { topic, topicId, partition, first: base, last, key };
    this.findings.add({ kind: "archive", ...place, reason, foundMs });
  }

  private async checkWals(round: ScrubRound, pace: Pace): Promise<boolean> {
    const seen = new Set<string>();
    for (const wal of this.deps.wals()) {
      if (this.stopping) return false;
      seen.add(`${wal.topicId}/${wal.partition}`);
      const damaged = await checkWal(wal, this.deps, this.findings, round.counts);
      this.damagedCount += damaged;
      // Not given up for something urgent: the whole WAL would be read again.
      await pace(0);
    }
    // Of topics that are gone.
    this.findings.keep(
      ({ kind, topicId, partition }) => kind !== "wal" || seen.has(`${topicId}/${partition}`),
    );
    return !this.stopping;
  }

  /** A store that cannot be listed now is listed by the next round. */
  private async listOrphans(pace: Pace): Promise<boolean> {
    const { store, registry, clock, logger } = this.deps;
    const nowMs = () => clock.nowMs();
    const onPage = async () => (await pace(0)) || !this.stopping;
    try {
      const report = await findOrphans({ store, registry, nowMs, youngMs, onPage });
      if (report === null) return false;
      this.orphans = report;
      if (report.orphans > 0) {
        logger.warn("the store holds objects that nothing names; they are kept", {
          objects: report.orphans,
          bytes: report.orphanBytes,
          first: report.list[0]?.key,
        });
      }
    } catch (error) {
      logger.warn("the store could not be listed for objects that nothing names", {
        error: errorText(error),
      });
    }
    return true;
  }

  /** Waits as long as `bytes` may take; false where the check shall end, for a stop or for
   * something more urgent (null: there is nothing such). */
  private pace(bytesPerSec: number, preempted: (() => boolean) | null): Pace {
    const ends = preempted ?? (() => false);
    return async (bytes) => {
      this.readBytes += bytes;
      const ms = (bytes * 1000) / bytesPerSec;
      if (!ends()) await this.pause(ms, preempted !== null);
      return !this.stopping && !ends();
    };
  }

  private async backOff(outcome: CheckOutcome): Promise<void> {
    if (outcome.kind !== "unavailable") {
      this.backoffMs = 0;
      return;
    }
    this.backoffMs = Math.min(backoffMsMax, Math.max(backoffMsMin, this.backoffMs * 2));
    this.deps.logger.warn("an archive cannot be checked now; the scrub waits", {
      wait_ms: this.backoffMs,
      error: outcome.reason,
    });
    await this.pause(this.backoffMs);
  }

  /** Ends early for a stop, and for whatever is more urgent. */
  private async pause(ms: number, wakes = true): Promise<void> {
    const done = deferred<void>();
    const timer = this.deps.clock.schedule(ms, done.resolve);
    const ends = [done.promise, this.stopped.promise];
    await Promise.race(wakes ? [...ends, this.wake.promise] : ends);
    timer.cancel();
  }

  private async load(): Promise<Uint8Array | null> {
    try {
      return await this.deps.state.load();
    } catch (error) {
      this.deps.logger.warn("the scrub's progress cannot be read; it begins from the start", {
        error: errorText(error),
      });
      return null;
    }
  }

  private async save(): Promise<void> {
    this.savedMs = this.deps.clock.monotonicMs();
    const round = this.round && {
      startedMs: this.round.startedMs,
      cursor: this.round.cursor,
      ...this.round.counts,
    };
    try {
      await this.deps.state.save(encodeState({ round, last: this.last }));
    } catch (error) {
      if (this.stateWarnings.take() === null) return;
      this.deps.logger.warn(
        "the scrub's progress cannot be written; a restart repeats some of it",
        {
          error: errorText(error),
        },
      );
    }
  }
}

function whereOf({ topic, partition, base, last, key }: SegmentEntry) {
  return { topic, partition, base_offset: base, last_offset: last, key };
}
