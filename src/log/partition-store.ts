import { assert } from "../lib/assert.ts";
import { BrokerError } from "../lib/errors.ts";
import type { AbortedLog } from "./aborted-log.ts";
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
  /** Of what is neither deleted nor archived. */
  readonly aborted: AbortedLog;
  /** Aborts of one segment beyond which it is sealed: one archive's manifest must hold them. */
  readonly abortedSealMin: number;
  /** Work in the background failed, and is tried again. */
  readonly failed: (error: unknown) => void;
  /** Taken without an await: one consistent moment. */
  readonly state: () => CheckpointState;
}

export interface StoredMarks {
  readonly logStart: number;
  readonly logEnd: number;
  readonly archivedTo: number;
  readonly segmentIdNext: number;
}

/** How far a checkpoint moves a mark; it never goes back. */
interface Marks {
  archivedTo?: number;
  logStart?: number;
}

const dirtyBytesMin = 1 << 20;
const dirtyBytesMax = 64 << 20;

export const checkpointFile = "checkpoint";

/** The durable side of a partition beside its frames: the checkpoint file, and which segments it
 * lets go (design D2a). Writes are one at a time; what asks meanwhile shares the next one. */
export class PartitionStore {
  private readonly parts: StoreParts;
  private start: number;
  private segmentIdMin: number;
  private written: StoredMarks;
  private running: Promise<void> | null = null;
  /** The checkpoint behind the running one, and what it is asked for. */
  private waiting: { readonly marks: Required<Marks>; readonly done: Promise<void> } | null = null;
  /** Work under way that touches the partition's files. */
  private readonly busy = new Set<Promise<unknown>>();
  private closed = false;

  /** `stored` is what the last checkpoint says. */
  constructor(parts: StoreParts, logStart: number, stored: StoredMarks) {
    this.parts = parts;
    this.start = logStart;
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

  /** One past the last offset of the archives that there are (`archived`) or were; null: none. */
  archivedEnd(archived: { readonly end: number } | null): number | null {
    return Math.max(archived?.end ?? 0, this.archivedTo) || null;
  }

  /** Whether a checkpoint would say something new of a log that ends at `logEnd`. */
  isBehind(logEnd: number): boolean {
    return logEnd !== this.written.logEnd || this.parts.aborted.isAhead;
  }

  /** Durable when resolved. Neither mark ever goes back. */
  checkpoint(marks: Marks = {}): Promise<void> {
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

  /** Aborts leave the memory; a segment that holds many is sealed. Failures are reported. */
  async spillAborted(): Promise<void> {
    if (this.closed) return;
    try {
      await this.track(this.spillNow());
    } catch (error) {
      // What was given up for the close is in the log.
      if (!this.closed) this.parts.failed(error);
    }
  }

  /** Unlinks sealed segments; bytes freed. Ids already gone are passed over. */
  release(ids: readonly number[]): Promise<number> {
    return this.closed ? Promise.reject(closedError()) : this.track(this.releaseNow(ids));
  }

  /**
   * Compacts the log when what was never compacted passes 64 MiB, or half of it and 1 MiB (design
   * D8), or aborts are many; null when nothing was due. Only what lies below `stableEnd` is
   * touched. The newest segment is left whole, so that the log always ends with a batch.
   */
  clean(tombstoneAgeMs: number, stableEnd: number): Promise<CleanReport | null> {
    if (this.closed) return Promise.reject(closedError());
    return this.track(this.cleanNow(tombstoneAgeMs, stableEnd));
  }

  /** Waits for what is under way and refuses the rest: the folder may be another topic's soon. */
  async close(): Promise<void> {
    this.closed = true;
    const ended = this.parts.aborted.close();
    while (this.busy.size > 0) await Promise.allSettled(this.busy);
    await ended;
  }

  /** Sealed segments that lie below `offset`, or the log start, as a whole. */
  releaseBelow(offset: number = this.start): Promise<number> {
    const ids = this.parts.segments
      .list()
      .filter((segment) => segment.sealed && segment.last < offset)
      .map((segment) => segment.id);
    return this.release(ids);
  }

  /** Archives cover everything below `end`, durably: what the log has of it goes. */
  async leaveToArchives(end: number): Promise<number> {
    // Archives are registered before a checkpoint says so.
    if (end > this.archivedTo) await this.checkpoint({ archivedTo: end });
    return await this.releaseBelow(end);
  }

  private track<T>(work: Promise<T>): Promise<T> {
    this.busy.add(work);
    const done = () => {
      this.busy.delete(work);
    };
    work.then(done, done);
    return work;
  }

  private checkpointNow({ archivedTo = 0, logStart = 0 }: Marks): Promise<void> {
    const { waiting } = this;
    // Asked first: between the end of one write and its turn nothing runs, and nothing may.
    if (waiting !== null) {
      waiting.marks.archivedTo = Math.max(waiting.marks.archivedTo, archivedTo);
      waiting.marks.logStart = Math.max(waiting.marks.logStart, logStart);
      return waiting.done;
    }
    if (this.running === null) return this.run({ archivedTo, logStart });
    const marks = { archivedTo, logStart };
    const after = () => {
      this.waiting = null;
      return this.run(marks);
    };
    const done = this.running.then(after, after);
    this.waiting = { marks, done };
    return done;
  }

  private run(marks: Required<Marks>): Promise<void> {
    this.running = this.write(marks).finally(() => {
      this.running = null;
    });
    return this.running;
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

  private async spillNow(): Promise<void> {
    const { aborted, segments, abortedSealMin } = this.parts;
    await aborted.spill();
    const base = segments.active?.base;
    if (base !== undefined && aborted.countFrom(base) >= abortedSealMin) await this.sealNow();
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

  private async cleanNow(tombstoneAgeMs: number, stableEnd: number): Promise<CleanReport | null> {
    const { segments, wal, log, aborted } = this.parts;
    const list = segments.list();
    const newest = list.at(-1);
    if (newest === undefined) return null;
    const dirty = list.reduce((sum, { cleaned, bytes }) => sum + (cleaned ? 0 : bytes), 0);
    const isLarge = dirty >= dirtyBytesMax;
    const isHalf = dirty >= dirtyBytesMin && dirty * 2 >= segments.bytes;
    if (!isLarge && !isHalf && !aborted.isCleaningDue) return null;
    // A large active segment is taken the next time, behind a newer one.
    if (!newest.sealed && newest.bytes * 2 >= dirty) await this.sealNow();
    const end = Math.min(newest.base, stableEnd);
    if (!list.some(({ sealed, cleaned, last }) => sealed && !cleaned && last < end)) return null;
    // A marker goes only when no list names its transaction, the durable one neither.
    await this.checkpointNow({});
    // What a recovery would replay, and what is not decided, stays as it is.
    const keepFrom = Math.min(end, this.written.logEnd);
    const known = await aborted.from(this.start);
    const rules = { keepFrom, stableEnd, tombstoneAgeMs, aborted: known };
    const report = await wal.clean(log, rules);
    segments.sealed(await wal.segments(log));
    // Their records are gone. Only the next cleaning may take a marker that nobody is told of.
    const cleaned = list.filter(({ sealed, last }) => sealed && last < keepFrom);
    aborted.forgetBelow((cleaned.at(-1)?.last ?? -1) + 1);
    await this.checkpointNow({});
    return report;
  }

  private assertReleasable({ id, last, sealed }: SegmentInfo): void {
    assert(sealed, `segment ${id} is sealed before it is released`);
    assert(last < this.written.logEnd, `segment ${id} is checkpointed before it is released`);
    const covered = last < this.written.archivedTo || last < this.written.logStart;
    assert(covered, `segment ${id} is archived or deleted before it is released`);
  }

  /** What a failed write was asked for did not happen: no later checkpoint slips it in. */
  private async write(marks: Required<Marks>): Promise<void> {
    const { topicId, partition, files, dir, segments, aborted } = this.parts;
    const state = this.parts.state();
    const logStart = Math.max(this.start, marks.logStart);
    const archivedTo = Math.max(this.written.archivedTo, marks.archivedTo);
    this.segmentIdMin = Math.max(this.segmentIdMin, segments.nextId);
    const segmentIdNext = this.segmentIdMin;
    const { logEnd } = state;
    const needed = Math.max(logStart, archivedTo);
    const capture = aborted.capture(needed);
    const bytes = encodeCheckpoint({
      ...state,
      aborted: capture.aborted,
      abortedRuns: capture.runs,
      topicId,
      partition,
      logStart,
      archivedTo,
      segmentIdNext,
    });
    try {
      await files.writeFile(`${dir}/${checkpointFile}`, bytes);
    } catch (error) {
      aborted.restore(capture);
      throw error;
    }
    this.written = { logStart, logEnd, archivedTo, segmentIdNext };
    this.start = logStart;
    // Nothing waits for files that are needed no more.
    this.track(aborted.settle(capture, needed)).catch(this.parts.failed);
  }
}

function closedError(): BrokerError {
  return new BrokerError("CHRONIK_CLOSED", "the partition is closed");
}
