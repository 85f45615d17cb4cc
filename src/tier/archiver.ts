import { BrokerError, errorText } from "../lib/errors.ts";
import { type ObjectStore, StoreError } from "../store/object-store.ts";
import type { Logger } from "../telemetry/logger.ts";
import type {
  ArchiveEngine,
  ArchiveIdentity,
  ArchiveRequest,
  ArchiveSummary,
  IndexMode,
  WalSegment,
} from "./ports.ts";
import { entryOf } from "./registry/entry-of.ts";
import type { SegmentEntry, SegmentRegistry } from "./registry/segment-registry.ts";
import { releasableEnd } from "./retention.ts";
import type { ArchiveTask } from "./run-plan.ts";

export interface ArchiverDeps {
  readonly engine: ArchiveEngine;
  readonly store: ObjectStore;
  readonly registry: SegmentRegistry;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Scratch folder, emptied at start. */
  readonly scratchDir: string;
  readonly removeFile: (path: string) => Promise<void>;
  readonly deleteAfterIndex: boolean;
  /** Named kill points of the test build; does nothing in the shipped one. */
  readonly faultPoint: (name: string) => Promise<void>;
}

export interface ArchiveOutcome {
  /** The first so many of the task; fewer than all where one manifest could not hold the aborts. */
  readonly segments: number;
  readonly records: number;
  readonly documents: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly indexed: boolean;
}

/** Aborts of one archive; the log seals a segment before it has many more. A manifest of 16 MiB
 * holds 160,000, at 98 bytes at most. */
const abortedMax = 100_000;

/**
 * One archive from WAL to registry, in the order of D7: build, put, read back and verify,
 * register, checkpoint, release. Each step is durable before the next; a crash repeats or adopts.
 */
export class Archiver {
  private readonly deps: ArchiverDeps;
  private scratchCount = 0;

  constructor(deps: ArchiverDeps) {
    this.deps = deps;
  }

  async archive(planned: ArchiveTask, indexMode: IndexMode): Promise<ArchiveOutcome> {
    const { engine } = this.deps;
    const { task, request } = await fittingRequest(planned, indexMode);
    const path = `${this.deps.scratchDir}/archive-${this.scratchCount++}.tar.gz`;
    try {
      const built = await engine.build(request, path);
      const isWanted = () => planned.partition.isOpen;
      const stored = await this.put(request, path, built, isWanted);
      await this.deps.faultPoint("register");
      const entry = registryEntry(request, stored.key, stored.summary, this.deps.nowMs());
      await this.register(entry, task);
      await this.deps.faultPoint("registered");
      await this.release(task, request.last);
      return {
        segments: task.segments.length,
        records: stored.summary.records,
        documents: stored.summary.documents,
        bytesRead: task.segments.reduce((sum, segment) => sum + segment.bytes, 0),
        bytesWritten: stored.adopted ? 0 : stored.summary.bytes,
        indexed: stored.summary.indexBytes > 0,
      };
    } finally {
      await this.deps.removeFile(path);
    }
  }

  /** Checkpoints and, unless kept for inspection, releases WAL segments up to `last`. Also called
   * at start for what a crash left between register and release. */
  async release(task: ArchiveTask, last: number): Promise<void> {
    const { partition } = task;
    await partition.checkpoint(last + 1);
    await this.deps.faultPoint("release");
    // A topic with limits of its own for its WAL leaves that to retention.
    if (!this.deps.deleteAfterIndex || partition.localRetention !== null) return;
    const segments = this.releasable(task);
    if (segments.length === 0) return;
    const bytes = await partition.releaseSegments(segments.map((segment) => segment.id));
    this.deps.logger.info("deleted WAL segments after archiving", {
      topic: partition.topic,
      partition: partition.index,
      segments: segments.map((segment) => segment.id).join(","),
      bytes,
    });
  }

  /** Those of the task that registered archives stand in for. */
  releasable({ partition, segments }: ArchiveTask): readonly WalSegment[] {
    const entries = this.deps.registry.segments(partition.topicId, partition.index);
    const end = releasableEnd(entries, partition.segments()[0]?.base ?? 0);
    return segments.filter(({ last }) => last < end);
  }

  /** A topic deleted meanwhile is not registered, and its object goes as its others do: by the
   * reaper, whose deletions are known to whoever looks for a free key. So does an object with a key
   * that no later build has; one with a plain key stays begun, and is adopted at the next try. */
  private async register(entry: SegmentEntry, { partition }: ArchiveTask): Promise<void> {
    try {
      await this.deps.registry.add(entry, partition.logStartOffset, () => partition.isOpen);
    } catch (error) {
      const isGone = error instanceof BrokerError && error.code === "CHRONIK_TOPIC_GONE";
      if (isGone || !this.deps.registry.isBegun(entry)) await this.retire(entry);
      throw error;
    }
  }

  /** What made the archive fail is told in any case; the next start retires what this could not. */
  private async retire(entry: SegmentEntry): Promise<void> {
    try {
      await this.deps.registry.retireUnregistered(entry);
    } catch (error) {
      this.deps.logger.warn("an archive without an entry could not be retired", {
        key: entry.key,
        error: errorText(error),
      });
    }
  }

  private async put(
    request: ArchiveRequest,
    path: string,
    built: ArchiveSummary,
    isWanted: () => boolean,
  ): Promise<{ key: string; summary: ArchiveSummary; adopted: boolean }> {
    const first = archiveKey(request);
    const suffixed = archiveKey(request, built.sha256);
    const plain = registryEntry(request, first, built, this.deps.nowMs());
    // A deletion that a crash cut short is repeated: it would take a new object with the old key.
    if (!this.deps.registry.isTakenKey(plain)) {
      const isOurs = await this.begin(plain, isWanted);
      if ((await this.deps.store.putFile(first, path, built.sha256)) === "stored") {
        this.logUpload(first, built.bytes);
        return { key: first, summary: await this.verify(first, request, built), adopted: false };
      }
      const adopted = await this.adopt(first, request, built);
      if (adopted) return { key: first, summary: adopted, adopted: true };
      this.deps.logger.warn("object key is taken by other bytes; using a suffixed key", {
        key: first,
        suffixed,
      });
      if (isOurs) await this.retire(plain);
    }
    const entry = registryEntry(request, suffixed, built, this.deps.nowMs());
    await this.deps.registry.intend(entry);
    try {
      return await this.putSuffixed(suffixed, first, request, path, built);
    } catch (error) {
      await this.retire(entry);
      throw error;
    }
  }

  /** Whether the object under the plain key is ours, if there is one: what lies there before it was
   * begun is nobody's to delete. */
  private async begin(plain: SegmentEntry, isWanted: () => boolean): Promise<boolean> {
    const { registry, store } = this.deps;
    if (registry.isBegun(plain)) return true;
    if ((await store.head(plain.key)) !== null) return false;
    await registry.begin(plain, isWanted);
    return true;
  }

  private async putSuffixed(
    key: string,
    first: string,
    request: ArchiveRequest,
    path: string,
    built: ArchiveSummary,
  ): Promise<{ key: string; summary: ArchiveSummary; adopted: boolean }> {
    if ((await this.deps.store.putFile(key, path, built.sha256)) === "exists") {
      const same = await this.adopt(key, request, built);
      if (same) return { key, summary: same, adopted: true };
      throw new BrokerError(
        "CHRONIK_OBJECT_CONFLICT",
        `objects ${first} and ${key} exist with other contents; move them away ` +
          `to let ${request.topic}-${request.partition} be archived`,
      );
    }
    this.logUpload(key, built.bytes);
    return { key, summary: await this.verify(key, request, built), adopted: false };
  }

  /** Reads back what the store holds and compares it with what was built. */
  private async verify(
    key: string,
    request: ArchiveRequest,
    built: ArchiveSummary,
  ): Promise<ArchiveSummary> {
    await this.deps.faultPoint("verify");
    const file = await this.deps.store.openForVerify(key);
    try {
      const expected = {
        ...identity(request, built),
        records: built.records,
        sha256: built.sha256,
      };
      return await this.deps.engine.verify(file.path, expected);
    } finally {
      await file.release();
    }
  }

  /** The summary of an object that already holds exactly these batches (a put whose answer was
   * lost, or a crash before registering), or null. */
  private async adopt(
    key: string,
    request: ArchiveRequest,
    built: ArchiveSummary,
  ): Promise<ArchiveSummary | null> {
    const file = await this.openUndamaged(key);
    if (file === null) return null;
    try {
      const found = await this.deps.engine.manifest(file.path);
      const wanted = identity(request, built);
      if (!sameIdentity(found, wanted)) return null;
      const expected = { ...wanted, records: built.records, sha256: null };
      const summary = await this.deps.engine.verify(file.path, expected);
      this.deps.logger.info("adopted an archive that was already stored", { key });
      return summary;
    } catch (error) {
      this.deps.logger.warn("stored object is not this segment's archive", {
        key,
        error: errorText(error),
      });
      return null;
    } finally {
      await file.release();
    }
  }

  /** null where the store's own checksum says that the object is not what was put. */
  private async openUndamaged(key: string) {
    try {
      return await this.deps.store.openForVerify(key);
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind !== "damaged") throw error;
      this.deps.logger.warn("a stored object is damaged and not used", {
        key,
        error: errorText(error),
      });
      return null;
    }
  }

  private logUpload(key: string, bytes: number): void {
    this.deps.logger.info("uploaded archive", { key, bytes, store: this.deps.store.description });
  }
}

/** D5a: a segment's first archive has the plain key; anything else carries generation and hash. */
export function archiveKey(
  request: { topic: string; partition: number; base: number; last: number; generation: number },
  sha256?: string,
): string {
  const suffix = sha256 === undefined ? "" : `.g${request.generation}-${sha256.slice(0, 8)}`;
  const name = `segment-${request.base}-${request.last}${suffix}.tar.gz`;
  return `tantivy_indexes/${request.topic}/partition-${request.partition}/${name}`;
}

/** As many of the task's first segments as one manifest has room for. */
async function fittingRequest(
  planned: ArchiveTask,
  indexMode: IndexMode,
): Promise<{ task: ArchiveTask; request: ArchiveRequest }> {
  const { partition } = planned;
  for (let { segments } = planned; ; segments = segments.slice(0, Math.ceil(segments.length / 2))) {
    const task = { partition, segments };
    const request = await archiveRequest(task, indexMode);
    if (request.aborted.length <= abortedMax || segments.length === 1) return { task, request };
  }
}

async function archiveRequest(task: ArchiveTask, indexMode: IndexMode): Promise<ArchiveRequest> {
  const { partition, segments } = task;
  const first = segments[0];
  const final = segments[segments.length - 1];
  if (!first || !final) throw new BrokerError("CHRONIK_INDEXER", "an archive task has no segments");
  return {
    walHandle: partition.walHandle,
    topic: partition.topic,
    topicId: partition.topicId,
    partition: partition.index,
    generation: 1,
    base: first.base,
    last: final.last,
    leaderEpochs: partition.leaderEpochs().filter(([, start]) => start <= final.last),
    producerSnapshot: partition.producerSnapshot(),
    aborted: await partition.abortedBetween(first.base, final.last + 1),
    indexMode,
  };
}

function identity(request: ArchiveRequest, built: ArchiveSummary): ArchiveIdentity {
  return {
    topicId: request.topicId,
    partition: request.partition,
    base: request.base,
    last: request.last,
    batchesSha256: built.batchesSha256,
  };
}

function sameIdentity(a: ArchiveIdentity, b: ArchiveIdentity): boolean {
  return (
    a.topicId === b.topicId &&
    a.partition === b.partition &&
    a.base === b.base &&
    a.last === b.last &&
    a.batchesSha256 === b.batchesSha256
  );
}

function registryEntry(
  request: ArchiveRequest,
  key: string,
  summary: ArchiveSummary,
  createdMs: number,
): SegmentEntry {
  // One that was adopted may have been built in another mode.
  const index = summary.index ?? request.indexMode;
  return entryOf(request, { key, index, createdMs }, summary);
}
