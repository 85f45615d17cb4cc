import { assert } from "../../lib/assert.ts";
import { BrokerError, errorText } from "../../lib/errors.ts";
import type { ObjectStore } from "../../store/object-store.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { archiveKey } from "../archiver.ts";
import type { ArchiveEngine, ArchiveSummary, IndexMode, RewriteRequest } from "../ports.ts";
import { entryOf } from "../registry/entry-of.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";

export interface RewriterDeps {
  readonly engine: Pick<ArchiveEngine, "rewrite" | "verify">;
  readonly store: ObjectStore;
  readonly registry: SegmentRegistry;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Scratch folder, emptied at start. */
  readonly scratchDir: string;
  readonly removeFile: (path: string) => Promise<void>;
  /** Named kill points of the test build; does nothing in the shipped one. */
  readonly faultPoint: (name: string) => Promise<void>;
}

/** Archives of one partition that become one. */
export interface RewriteTask {
  /** Consecutive entries as the registry gave them. */
  readonly sources: readonly SegmentEntry[];
  /** "merge": of the mode that all sources have, joined; a mode: built anew. */
  readonly index: IndexMode | "merge";
  /** How often the new archive's bytes were merged; see SegmentEntry. */
  readonly merges: number;
  /** False once the partition is gone or closing. */
  readonly isWanted: () => boolean;
  /** See SegmentEntry. */
  readonly cleanedTo?: number;
  /** Makes the archive of local files; the engine's rewrite unless told otherwise. Null: nothing
   * changes, and nothing is put. */
  readonly build?: (
    request: RewriteRequest,
    sources: readonly string[],
    path: string,
  ) => Promise<ArchiveSummary | null>;
}

/**
 * Replaces archives by one made of them (D7, D8): sources to local files, build, note the key, put,
 * read back and verify, swap in the registry. Each step is durable before the next. The sources are
 * retired by the swap itself; a new object that was not swapped in is retired as well, by the next
 * start after a crash.
 */
export class Rewriter {
  private readonly deps: RewriterDeps;
  private scratchCount = 0;

  constructor(deps: RewriterDeps) {
    this.deps = deps;
  }

  /** The new entry, registered. Rejects with CHRONIK_REGISTRY_CONFLICT if a source changed
   * meanwhile, with CHRONIK_TOPIC_GONE where it is not wanted any more; nothing is changed then. */
  async rewrite(task: RewriteTask): Promise<SegmentEntry> {
    const entry = await this.rewriteIfChanged(task);
    assert(entry !== null, "a rewrite that always builds has an archive");
    return entry;
  }

  /** As `rewrite`; null where `build` found nothing to change. */
  async rewriteIfChanged(task: RewriteTask): Promise<SegmentEntry | null> {
    const request = rewriteRequest(task);
    const path = `${this.deps.scratchDir}/rewrite-${this.scratchCount++}.tar.gz`;
    const build = task.build ?? this.deps.engine.rewrite.bind(this.deps.engine);
    try {
      const built = await this.withSources(task.sources, (paths) => build(request, paths, path));
      if (built === null) return null;
      if (!task.isWanted()) throw gone(request);
      const entry = rewrittenEntry(request, task, built, this.deps.nowMs());
      await this.swap(task, entry, path, built);
      return entry;
    } finally {
      await this.deps.removeFile(path);
    }
  }

  /** Local files with the objects of `entries`, in order, while `work` runs. */
  async withSources<T>(
    entries: readonly SegmentEntry[],
    work: (paths: readonly string[]) => Promise<T>,
  ): Promise<T> {
    // A topic deleted meanwhile must not take the sources away while they are read.
    const unpins = entries.map((entry) => this.deps.registry.pin(entry));
    const files: { path: string; release(): Promise<void> }[] = [];
    try {
      for (const { key } of entries) files.push(await this.deps.store.openForVerify(key));
      return await work(files.map((file) => file.path));
    } finally {
      for (const file of files) await file.release();
      for (const unpin of unpins) unpin();
    }
  }

  private async swap(
    task: RewriteTask,
    entry: SegmentEntry,
    path: string,
    built: ArchiveSummary,
  ): Promise<void> {
    const { registry, store, faultPoint, logger } = this.deps;
    await registry.intend(entry);
    try {
      await faultPoint("rewrite-put");
      const outcome = await store.putFile(entry.key, path, built.sha256);
      if (outcome === "stored") {
        logger.info("uploaded archive", { key: entry.key, bytes: built.bytes });
      }
      await faultPoint("rewrite-verify");
      const { tocCrc32c } = await this.verify(entry, built);
      const verified = tocCrc32c === undefined ? entry : { ...entry, tocCrc32c };
      await faultPoint("rewrite-replace");
      await registry.replace(task.sources, [verified], task.isWanted);
    } catch (error) {
      await this.retire(entry);
      throw error;
    }
    await faultPoint("rewrite-replaced");
  }

  private async verify(entry: SegmentEntry, built: ArchiveSummary): Promise<ArchiveSummary> {
    const file = await this.deps.store.openForVerify(entry.key);
    try {
      return await this.deps.engine.verify(file.path, {
        topicId: entry.topicId,
        partition: entry.partition,
        base: entry.base,
        last: entry.last,
        batchesSha256: built.batchesSha256,
        records: built.records,
        sha256: built.sha256,
      });
    } finally {
      await file.release();
    }
  }

  /** What made the rewrite fail is told in any case; the next start retires what this could not. */
  private async retire(entry: SegmentEntry): Promise<void> {
    try {
      await this.deps.registry.retireUnregistered(entry);
    } catch (error) {
      this.deps.logger.warn("a rewritten archive could not be retired; the next start does it", {
        key: entry.key,
        error: errorText(error),
      });
    }
  }
}

function rewriteRequest({ sources, index }: RewriteTask): RewriteRequest {
  const first = sources[0];
  const last = sources[sources.length - 1];
  if (!first || !last) throw new BrokerError("CHRONIK_INDEXER", "a rewrite has no sources");
  return {
    topic: first.topic,
    topicId: first.topicId,
    partition: first.partition,
    generation: Math.max(...sources.map(({ generation }) => generation)) + 1,
    base: first.base,
    last: last.last,
    index,
  };
}

function rewrittenEntry(
  request: RewriteRequest,
  task: RewriteTask,
  summary: ArchiveSummary,
  createdMs: number,
): SegmentEntry {
  const index = request.index === "merge" ? (task.sources[0]?.index ?? "none") : request.index;
  // A copy of the same batches is as clean as they were.
  const kept = task.build ? undefined : task.sources.findLast((source) => source.cleanedTo);
  const cleanedTo = task.cleanedTo ?? kept?.cleanedTo;
  const key = archiveKey(request, summary.sha256);
  return {
    ...entryOf(request, { key, index, createdMs }, summary),
    merges: task.merges,
    ...(cleanedTo === undefined ? {} : { cleanedTo }),
  };
}

function gone({ topic, partition }: RewriteRequest): BrokerError {
  const text = `${topic}-${partition} was deleted or is closing; its archives stay as they are`;
  return new BrokerError("CHRONIK_TOPIC_GONE", text);
}

interface Waiting {
  readonly partition: string;
  readonly start: () => void;
  readonly refuse: (error: BrokerError) => void;
}

/** Rewrites wait here for their turn: one at a time per partition, a few in all, first come first
 * served, and only while `mayBegin` allows (archiving goes first). */
export class RewriteQueue {
  private readonly runningMax: number;
  private readonly waitingMax: number;
  private readonly mayBegin: () => boolean;
  private readonly running = new Map<string, Promise<unknown>>();
  private waiting: Waiting[] = [];
  private stopped = false;

  constructor(options: { runningMax: number; waitingMax: number; mayBegin: () => boolean }) {
    this.runningMax = options.runningMax;
    this.waitingMax = options.waitingMax;
    this.mayBegin = options.mayBegin;
  }

  get depth(): { running: number; waiting: number } {
    return { running: this.running.size, waiting: this.waiting.length };
  }

  /** Runs `work` when its turn has come. Rejects with CHRONIK_CLOSED when it stops before that, and
   * with CHRONIK_REWRITES_WAITING where too many wait. */
  run<T>(topicId: string, partition: number, work: () => Promise<T>): Promise<T> {
    if (this.stopped) return Promise.reject(closed());
    if (this.waiting.length >= this.waitingMax) {
      const text = `${this.waiting.length} rewrites of archives wait already`;
      return Promise.reject(new BrokerError("CHRONIK_REWRITES_WAITING", text));
    }
    const key = `${topicId}/${partition}`;
    const result = new Promise<T>((resolve, reject) => {
      this.waiting.push({
        partition: key,
        start: () => resolve(this.start(key, work)),
        refuse: reject,
      });
    });
    this.wake();
    return result;
  }

  /** To be called when `mayBegin` may have changed its mind. */
  wake(): void {
    for (const next of [...this.waiting]) {
      if (this.stopped || this.running.size >= this.runningMax || !this.mayBegin()) return;
      if (this.running.has(next.partition)) continue;
      this.waiting = this.waiting.filter((one) => one !== next);
      next.start();
    }
  }

  /** Refuses what waits and resolves when what runs has ended; the caller makes that soon. */
  async stop(): Promise<void> {
    this.stopped = true;
    const refused = this.waiting;
    this.waiting = [];
    for (const one of refused) one.refuse(closed());
    await Promise.allSettled(this.running.values());
  }

  private start<T>(key: string, work: () => Promise<T>): Promise<T> {
    const running = Promise.resolve()
      .then(work)
      .finally(() => {
        this.running.delete(key);
        this.wake();
      });
    this.running.set(key, running);
    return running;
  }
}

function closed(): BrokerError {
  return new BrokerError("CHRONIK_CLOSED", "the broker is stopping: no archive is rewritten now");
}
