import type { Clock, Timer } from "../lib/clock.ts";
import { type Deferred, deferred } from "../lib/deferred.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type Backed, makeBackup } from "./backup-run.ts";
import { OldBackups } from "./old-backups.ts";
import type { BackupSources } from "./ports.ts";

export interface BackupOptions {
  readonly enabled: boolean;
  readonly store: ObjectStore;
  readonly sources: BackupSources;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly intervalMs: number;
  /** How long the backup of a clean stop may take. */
  readonly stopMsMax: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly newRun: () => string;
  readonly faultPoint: (name: string) => Promise<void>;
}

/** What an operator is shown. Times are wall clock, milliseconds; null: there was none. */
export interface BackupStatus {
  readonly enabled: boolean;
  readonly sequence: number | null;
  readonly lastSuccessMs: number | null;
  /** Of the objects of the newest backup. */
  readonly bytes: number;
  readonly parts: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly lastError: string | null;
}

interface Waiting {
  readonly registryEnd: number;
  readonly done: Deferred<void>;
}

/** Keeps `meta/{cluster_id}/` in the store up to date (design D9). One backup at a time; a failed
 * one is told once and tried again at the next interval. */
export class Backup {
  private readonly options: BackupOptions;
  private readonly run: string;
  private readonly old: OldBackups;
  private readonly waiting = new Set<Waiting>();
  private readonly skippedLogs = new Set<string>();
  private backed: Backed | null = null;
  private underWay: Promise<void> | null = null;
  private timer: Timer | null = null;
  private stopped = false;
  /** Another broker writes backups of this cluster: nothing is written any more. */
  private conflict: BrokerError | null = null;
  private lastSuccessMs: number | null = null;
  private succeeded = 0;
  private failed = 0;
  private lastError: string | null = null;

  constructor(options: BackupOptions) {
    this.options = options;
    this.run = options.newRun();
    this.old = new OldBackups(options.store, options.clusterId);
  }

  get status(): BackupStatus {
    const manifest = this.backed?.manifest;
    const parts = manifest === undefined ? [] : this.old.newestParts;
    return {
      enabled: this.options.enabled,
      sequence: manifest?.sequence ?? null,
      lastSuccessMs: this.lastSuccessMs,
      bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
      parts: parts.length,
      succeeded: this.succeeded,
      failed: this.failed,
      lastError: this.lastError,
    };
  }

  start(): void {
    if (this.options.enabled) this.schedule();
  }

  /** Resolves when everything that the registry's journal holds by now is in a complete backup:
   * what it retired may be deleted then, a restore will not ask for it. At once where there are no
   * backups. Rejects with CHRONIK_CLOSED when the broker stops before. */
  gate(): Promise<void> {
    if (!this.options.enabled) return Promise.resolve();
    const registryEnd = this.options.sources.registry.durableEnd;
    if ((this.backed?.registry.end ?? -1) >= registryEnd) return Promise.resolve();
    if (this.stopped) return Promise.reject(closedError());
    const waiting = { registryEnd, done: deferred<void>() };
    this.waiting.add(waiting);
    return waiting.done.promise;
  }

  /** Makes a backup now, or joins the one under way and makes one behind it. Never rejects: see
   * `status`. */
  async backUp(): Promise<void> {
    while (this.underWay !== null) await this.underWay;
    this.underWay = this.attempt().finally(() => {
      this.underWay = null;
    });
    await this.underWay;
  }

  /** The last backup, of a broker that serves nobody any more; given up when it takes too long. */
  async stop(): Promise<void> {
    const { enabled, clock, stopMsMax, logger } = this.options;
    this.timer?.cancel();
    if (!enabled || this.stopped) return;
    this.stopped = true;
    const late = deferred<"late">();
    const timer = clock.schedule(stopMsMax, () => late.resolve("late"));
    const end = await Promise.race([this.backUp(), late.promise]);
    timer.cancel();
    if (end === "late") {
      logger.warn("the last backup was given up; the one before it counts", { ms: stopMsMax });
    }
    for (const { done } of this.waiting) done.reject(closedError());
    this.waiting.clear();
  }

  private schedule(): void {
    this.timer = this.options.clock.schedule(this.options.intervalMs, () => {
      void this.backUp().then(() => {
        if (!this.stopped) this.schedule();
      });
    });
  }

  private async attempt(): Promise<void> {
    const { clock, logger } = this.options;
    if (this.conflict !== null) return;
    try {
      const createdMs = clock.nowMs();
      await this.makeOne(createdMs);
      if (this.lastError !== null) logger.info("backups work again");
      this.lastError = null;
      this.lastSuccessMs = createdMs;
      this.succeeded++;
      this.openGates();
    } catch (error) {
      this.failed++;
      const text = errorText(error);
      if (error instanceof BrokerError && error.code === "CHRONIK_BACKUP_CONFLICT") {
        this.conflict = error;
      }
      const isNews = this.lastError === null || this.conflict !== null;
      this.lastError = text;
      if (isNews) logger.error(failedText, { error: text });
      else logger.debug("the backup failed again", { error: text });
    }
  }

  private async makeOne(createdMs: number): Promise<void> {
    const { store, sources, clusterId, nodeId, logger, faultPoint } = this.options;
    await this.old.look();
    if (this.lastError !== null) await this.old.recheck(this.run);
    const sequence = this.old.nextSequence;
    const putting = (key: string) => this.old.partPut(key);
    const owner = { clusterId, sequence, putting };
    const backed = await makeBackup(
      {
        ...{ store, sources, owner, nodeId, run: this.run, createdMs, faultPoint },
        pause: () => this.pause(),
        skipped: (partition, why) => {
          const name = `${partition.topic}-${partition.index}`;
          if (this.skippedLogs.has(name)) return;
          this.skippedLogs.add(name);
          logger.warn("a log is left out of backups", { log: name, reason: why });
        },
      },
      this.backed,
    );
    if (backed === null) return;
    this.backed = backed;
    this.old.made(backed.manifest);
    logger.debug("backed up", { sequence, parts: this.old.newestParts.length });
    try {
      await this.old.prune();
    } catch (error) {
      // The backup is complete; what is left over goes the next time.
      logger.debug("old backups could not be deleted", { error: errorText(error) });
    }
  }

  private openGates(): void {
    const end = this.backed?.registry.end ?? -1;
    for (const one of this.waiting) {
      if (one.registryEnd > end) continue;
      this.waiting.delete(one);
      one.done.resolve(undefined);
    }
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      this.options.clock.schedule(0, resolve);
    });
  }
}

const failedText =
  "the backup of metadata and offsets failed: a lost disk would lose what changed since the last " +
  "one, and no archive is deleted meanwhile; see `chronik store check`. It is tried again";

function closedError(): BrokerError {
  return new BrokerError("CHRONIK_CLOSED", "the broker stops before the next backup");
}
