import { assert } from "../lib/assert.ts";
import { BrokerError } from "../lib/errors.ts";
import { encodeCheckpoint } from "./checkpoint.ts";
import type { EpochStart } from "./leader-epochs.ts";
import type { CleanReport, Files, SegmentInfo, Wal } from "./ports.ts";
import type { ProducerSnapshot } from "./producer-state.ts";
import type { SegmentList } from "./segment-list.ts";

/** The partition's state at the moment a checkpoint is written. */
export interface CheckpointState {
  readonly logEnd: number;
  readonly epochs: readonly EpochStart[];
  readonly producers: readonly ProducerSnapshot[];
}

export interface StoreParts {
  readonly topicId: string;
  readonly partition: number;
  readonly dir: string;
  readonly log: number;
  readonly wal: Wal;
  readonly files: Files;
  readonly segments: SegmentList;
  /** Taken without an await: one consistent moment. */
  readonly state: () => CheckpointState;
}

export interface StoredMarks {
  readonly logStart: number;
  readonly logEnd: number;
  readonly archivedTo: number;
  readonly segmentIdNext: number;
}

const dirtyBytesMin = 1 << 20;
const dirtyBytesMax = 64 << 20;

export const checkpointFile = "checkpoint";

/** The durable side of a partition beside its frames: the checkpoint file, and which segments it
 * lets go (design D2a). Writes are one at a time; what asks meanwhile shares the next one. */
export class PartitionStore {
  private readonly parts: StoreParts;
  private start: number;
  private startWanted: number;
  private archivedWanted: number;
  private segmentIdMin: number;
  private written: StoredMarks;
  private running: Promise<void> | null = null;
  private queued: Promise<void> | null = null;
  /** Work under way that touches the partition's files. */
  private readonly busy = new Set<Promise<unknown>>();
  private closed = false;

  /** `stored` is what the last checkpoint says. */
  constructor(parts: StoreParts, logStart: number, stored: StoredMarks) {
    this.parts = parts;
    this.start = logStart;
    this.startWanted = logStart;
    this.archivedWanted = stored.archivedTo;
    this.segmentIdMin = stored.segmentIdNext;
    this.written = stored;
  }

  /** Durable: moves only after its checkpoint. */
  get logStartOffset(): number {
    return this.start;
  }

  get archivedTo(): number {
    return this.written.archivedTo;
  }

  get checkpointedEnd(): number {
    return this.written.logEnd;
  }

  /** Durable when resolved. Neither mark ever goes back. */
  checkpoint(marks: { archivedTo?: number; logStart?: number } = {}): Promise<void> {
    if (this.closed) return Promise.reject(closedError());
    return this.track(this.checkpointNow(marks));
  }

  /** Rotates a non-empty active segment and checkpoints. */
  seal(): Promise<void> {
    return this.closed ? Promise.reject(closedError()) : this.track(this.sealNow());
  }

  /** The engine rotated by size: takes its exact figures, then checkpoints. */
  rotated(): Promise<void> {
    return this.closed ? Promise.reject(closedError()) : this.track(this.rotatedNow());
  }

  /** Unlinks sealed segments; bytes freed. Ids already gone are passed over. */
  release(ids: readonly number[]): Promise<number> {
    return this.closed ? Promise.reject(closedError()) : this.track(this.releaseNow(ids));
  }

  /**
   * Compacts the log when what was never compacted passes 64 MiB, or half of it and 1 MiB (design
   * D8); null when nothing was due. The newest segment is left whole, so that the log always ends
   * with a batch.
   */
  clean(tombstoneAgeMs: number): Promise<CleanReport | null> {
    return this.closed ? Promise.reject(closedError()) : this.track(this.cleanNow(tombstoneAgeMs));
  }

  /** Waits for what is under way and refuses the rest: the folder may be another topic's soon. */
  async close(): Promise<void> {
    this.closed = true;
    while (this.busy.size > 0) await Promise.allSettled(this.busy);
  }

  /** Sealed segments that lie below the log start as a whole. */
  releaseBelowStart(): Promise<number> {
    const ids = this.parts.segments
      .list()
      .filter((segment) => segment.sealed && segment.last < this.start)
      .map((segment) => segment.id);
    return this.release(ids);
  }

  private track<T>(work: Promise<T>): Promise<T> {
    this.busy.add(work);
    const done = () => {
      this.busy.delete(work);
    };
    work.then(done, done);
    return work;
  }

  private checkpointNow(marks: { archivedTo?: number; logStart?: number }): Promise<void> {
    this.archivedWanted = Math.max(this.archivedWanted, marks.archivedTo ?? 0);
    this.startWanted = Math.max(this.startWanted, marks.logStart ?? 0);
    if (this.running === null) {
      this.running = this.write().finally(() => {
        this.running = null;
      });
      return this.running;
    }
    if (this.queued === null) {
      const after = () => {
        this.queued = null;
        return this.checkpointNow({});
      };
      this.queued = this.running.then(after, after);
    }
    return this.queued;
  }

  private async sealNow(): Promise<void> {
    const sealed = await this.parts.wal.seal(this.parts.log);
    if (sealed === null) return;
    this.parts.segments.sealed([sealed]);
    await this.checkpointNow({});
  }

  private async rotatedNow(): Promise<void> {
    this.parts.segments.sealed(await this.parts.wal.segments(this.parts.log));
    await this.checkpointNow({});
  }

  private async releaseNow(ids: readonly number[]): Promise<number> {
    const wanted = new Set(ids);
    const gone = this.parts.segments.list().filter((segment) => wanted.has(segment.id));
    for (const segment of gone) this.assertReleasable(segment);
    if (gone.length === 0) return 0;
    const goneIds = gone.map((segment) => segment.id);
    const bytes = await this.parts.wal.release(this.parts.log, goneIds);
    this.parts.segments.released(goneIds);
    return bytes;
  }

  private async cleanNow(tombstoneAgeMs: number): Promise<CleanReport | null> {
    const { segments, wal, log } = this.parts;
    const list = segments.list();
    const newest = list.at(-1);
    if (newest === undefined) return null;
    const dirty = list.reduce((sum, { cleaned, bytes }) => sum + (cleaned ? 0 : bytes), 0);
    const due = dirty >= dirtyBytesMax || (dirty >= dirtyBytesMin && dirty * 2 >= segments.bytes);
    if (!due) return null;
    // A large active segment is taken the next time, behind a newer one.
    if (!newest.sealed && newest.bytes * 2 >= dirty) await this.sealNow();
    if (list.every(({ id, cleaned }) => cleaned || id === newest.id)) return null;
    const report = await wal.clean(log, newest.base, tombstoneAgeMs);
    segments.sealed(await wal.segments(log));
    return report;
  }

  private assertReleasable({ id, last, sealed }: SegmentInfo): void {
    assert(sealed, `segment ${id} is sealed before it is released`);
    assert(last < this.written.logEnd, `segment ${id} is checkpointed before it is released`);
    const covered = last < this.written.archivedTo || last < this.written.logStart;
    assert(covered, `segment ${id} is archived or deleted before it is released`);
  }

  private async write(): Promise<void> {
    const { topicId, partition, files, dir, segments } = this.parts;
    const state = this.parts.state();
    const logStart = this.startWanted;
    const archivedTo = this.archivedWanted;
    this.segmentIdMin = Math.max(this.segmentIdMin, segments.nextId);
    const segmentIdNext = this.segmentIdMin;
    const { logEnd } = state;
    const bytes = encodeCheckpoint({
      ...state,
      topicId,
      partition,
      logStart,
      archivedTo,
      segmentIdNext,
    });
    try {
      await files.writeFile(`${dir}/${checkpointFile}`, bytes);
    } catch (error) {
      // What was asked for did not happen; a later checkpoint must not slip it in.
      this.startWanted = this.start;
      this.archivedWanted = this.written.archivedTo;
      throw error;
    }
    this.written = { logStart, logEnd, archivedTo, segmentIdNext };
    this.start = logStart;
  }
}

function closedError(): BrokerError {
  return new BrokerError("CHRONIK_CLOSED", "the partition is closed");
}
