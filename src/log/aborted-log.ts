import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import type { AbortedBudget } from "./aborted-budget.ts";
import { AbortedIndex, type AbortedTransaction } from "./aborted-index.ts";
import {
  type AbortedRun,
  type EncodedBlock,
  encodeBlocks,
  encodeRun,
  type RunOwner,
  runEntriesMax,
} from "./aborted-run.ts";
import { AbortedRunReader, isLost } from "./aborted-run-reader.ts";
import { type ScannedLog, scanAborted } from "./aborted-scan.ts";
import type { Files } from "./ports.ts";

export interface AbortedLogParts {
  readonly dir: string;
  readonly owner: RunOwner;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: ScannedLog;
  readonly budget: AbortedBudget;
  /** In memory: beyond, no transaction begins. */
  readonly memoryMax: number;
  /** From so many on they go to a file; null, where cleaning makes room. */
  readonly spillMin: number | null;
  /** A file was lost or damaged, and its content was taken from the log again. */
  readonly rebuilt: (file: string, error: BrokerError) => void;
  /** It can be neither read nor made again now; who needs it next tries both. */
  readonly notRebuilt: (file: string, error: BrokerError) => void;
}

/** What a checkpoint says of the index. */
export interface AbortedCapture {
  readonly aborted: readonly AbortedTransaction[];
  readonly runs: readonly AbortedRun[];
  /** Named by no checkpoint any more once this one is durable. */
  readonly stale: readonly HeldRun[];
}

/** The index as it was at one moment, until it is released. */
export interface PinnedAborted {
  overlapping(from: number, to: number): FoundAborted;
  release(): void;
}

export type FoundAborted = readonly AbortedTransaction[] | Promise<readonly AbortedTransaction[]>;

interface HeldRun extends AbortedRun {
  /** Reads under way that may still ask for its file. */
  pins: number;
}

/** So many a partition holds whatever the others do: fewer are not worth a file. */
const memoryMin = 128;
const retryMs = 1_000;

/**
 * The aborted transactions of one partition in the order of their markers: the newest in memory,
 * older ones in files of the partition's folder. A file is written once, and counts from the
 * checkpoint on that names it: until then the checkpoint before, with the log behind it, tells the
 * same. What a lost or damaged file held is found in the log again.
 */
export class AbortedLog {
  private readonly parts: AbortedLogParts;
  private readonly reader: AbortedRunReader;
  private readonly memory = new AbortedIndex();
  /** Oldest first; their markers lie below those in memory. */
  private runs: readonly HeldRun[];
  /** Files that are needed no more, but for what the last checkpoint names of them. */
  private stale: HeldRun[] = [];
  private nextId: number;
  private floor = 0;
  /** Spills and repairs, one after the other. */
  private turn: Promise<unknown> = Promise.resolve();
  private onDue: (() => void) | null = null;
  private spilling = false;
  private retry: Timer | null = null;
  private ahead = false;
  private closed = false;

  /** `nextId` lies above the ids of all files that are there. */
  constructor(
    parts: AbortedLogParts,
    aborted: readonly AbortedTransaction[],
    runs: readonly AbortedRun[],
    nextId: number,
  ) {
    this.parts = parts;
    this.reader = new AbortedRunReader(parts.files, parts.dir, parts.owner);
    this.runs = runs.map((run) => ({ ...run, pins: 0 }));
    this.nextId = nextId;
    parts.budget.join(this);
    this.add(aborted);
  }

  /** Aborts that are neither archived, deleted nor cleaned away; files count whole. */
  get size(): number {
    return this.runs.reduce((sum, { entries }) => sum + entries, this.memory.size);
  }

  get sizeInMemory(): number {
    return this.memory.size;
  }

  /** There are files that no checkpoint was asked to name. */
  get isAhead(): boolean {
    return this.ahead;
  }

  /** Whether one more could be remembered. */
  get hasRoom(): boolean {
    const { memoryMax, budget } = this.parts;
    const { size } = this.memory;
    return size < memoryMax && (size < memoryMin || !budget.isFull);
  }

  /** Only cleaning makes room, and not much is left. */
  get isCleaningDue(): boolean {
    const { spillMin, memoryMax } = this.parts;
    return spillMin === null && (this.memory.size * 2 >= memoryMax || this.isPressed);
  }

  /** Aborts with markers at or past `offset`, but for those in a file with others. */
  countFrom(offset: number): number {
    const runs = this.runs.filter(({ firstMarker }) => firstMarker >= offset);
    return runs.reduce((sum, { entries }) => sum + entries, this.memory.countFrom(offset));
  }

  /** `listener` is told whenever `spill` has something to do, now too. */
  whenDue(listener: () => void): void {
    this.onDue = listener;
    this.relieve();
  }

  relieve(): void {
    const { spillMin } = this.parts;
    if (spillMin === null || this.spilling || this.closed) return;
    if (this.memory.size < spillMin && !this.isPressed) return;
    this.onDue?.();
  }

  add(aborted: readonly AbortedTransaction[]): void {
    if (aborted.length === 0) return;
    this.memory.add(aborted);
    this.parts.budget.change(aborted.length);
    this.relieve();
  }

  /** The same index for work that takes time: what leaves it meanwhile stays in this one. */
  pin(): PinnedAborted {
    const { runs } = this;
    const memory = this.memory.pinned();
    for (const run of runs) run.pins++;
    let isHeld = true;
    return {
      overlapping: (from, to) => this.find(memory, runs, from, to),
      release: () => {
        assert(isHeld, "an index is released once");
        isHeld = false;
        for (const run of runs) run.pins--;
      },
    };
  }

  /** Those with offsets in [from, to), in the order of their markers. Rejects with a BrokerError
   * where neither the files nor the log tell them. */
  overlapping(from: number, to: number): FoundAborted {
    const pinned = this.pin();
    const found = pinned.overlapping(from, to);
    if (found instanceof Promise) return found.finally(() => pinned.release());
    pinned.release();
    return found;
  }

  /** All that end at or past `offset`; rejects as `overlapping` does. */
  from(offset: number): FoundAborted {
    return this.overlapping(offset, Number.POSITIVE_INFINITY);
  }

  /** For a checkpoint of this moment; nothing that ends below `offset` is needed behind it. */
  capture(offset: number): AbortedCapture {
    const { stale } = this;
    this.stale = [];
    this.ahead = false;
    const runs = this.runs.filter(({ lastMarker }) => lastMarker >= offset);
    return { aborted: this.memory.from(offset), runs, stale };
  }

  /** The checkpoint of this capture was not written. */
  restore({ stale }: AbortedCapture): void {
    this.stale.unshift(...stale);
    this.ahead = true;
  }

  /** It is durable: forgets what ends below `offset`, and removes files that it does not name.
   * What is still read, or cannot be removed, waits for the next one. */
  async settle({ stale }: AbortedCapture, offset: number): Promise<void> {
    const waiting = [...stale, ...this.takeBelow(offset)];
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      if (run.pins > 0) {
        this.stale.push(run);
        continue;
      }
      try {
        await this.remove(run);
      } catch (error) {
        this.stale.push(run, ...waiting);
        throw error;
      }
    }
  }

  /** Forgets what ends below `offset`; files go after the next checkpoint. */
  forgetBelow(offset: number): void {
    this.stale.push(...this.takeBelow(offset));
  }

  /** Writes what memory holds to a file, with what the last files hold where they are no larger. */
  async spill(): Promise<void> {
    if (this.spilling || this.closed) return;
    this.spilling = true;
    const { spills } = this.parts.budget;
    await spills.take();
    try {
      await this.inTurn(() => this.spillNow());
      this.spilling = false;
    } catch (error) {
      this.retryLater();
      throw error;
    } finally {
      spills.give();
    }
    this.relieve();
  }

  /** Waits for what is under way, but for the reading of a log; nothing is begun from now on. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.retry?.cancel();
    this.parts.budget.leave(this, this.memory.size);
    await Promise.allSettled([this.turn]);
  }

  private retryLater(): void {
    if (this.closed) return;
    this.retry = this.parts.clock.schedule(retryMs, () => {
      this.spilling = false;
      this.relieve();
    });
  }

  private get isPressed(): boolean {
    return this.memory.size >= memoryMin && this.parts.budget.isTight;
  }

  /** The files that held nothing at or past `offset`. */
  private takeBelow(offset: number): readonly HeldRun[] {
    this.floor = Math.max(this.floor, offset);
    this.forgetInMemory(offset);
    const gone = this.runs.filter(({ lastMarker }) => lastMarker < this.floor);
    if (gone.length > 0) this.runs = this.runs.filter((run) => !gone.includes(run));
    return gone;
  }

  private forgetInMemory(offset: number): void {
    const { size } = this.memory;
    this.memory.forgetBelow(offset);
    if (!this.closed) this.parts.budget.change(this.memory.size - size);
  }

  private find(
    memory: AbortedIndex,
    runs: readonly HeldRun[],
    from: number,
    to: number,
  ): FoundAborted {
    if (from >= to) return [];
    const wanted: HeldRun[] = [];
    for (const run of runs) {
      if (run.lastMarker < from) continue;
      if (run.minFirstOffset < to) wanted.push(run);
      if (run.lastStableOffset < to) continue;
      return wanted.length === 0 ? [] : this.inRuns(wanted, from, to);
    }
    const newest = memory.overlapping(from, to);
    if (wanted.length === 0) return newest;
    return this.inRuns(wanted, from, to).then((older) => older.concat(newest));
  }

  private async inRuns(
    wanted: readonly HeldRun[],
    from: number,
    to: number,
  ): Promise<AbortedTransaction[]> {
    let found: AbortedTransaction[] = [];
    for (const run of wanted) {
      const more = await this.reader.overlapping(run, from, to).catch((error: unknown) => {
        if (!isLost(error)) throw error;
        return this.inTurn(() => this.findLost(run, from, to, error));
      });
      found = found.concat(more);
    }
    return found;
  }

  /** What the log says, where the file does not; and the file is made anew. */
  private async findLost(
    run: HeldRun,
    from: number,
    to: number,
    error: BrokerError,
  ): Promise<AbortedTransaction[]> {
    const { lastMarker, firstMarker } = run;
    const isAt = (other: HeldRun) =>
      other.firstMarker <= firstMarker && other.lastMarker >= lastMarker;
    const current = this.runs.find(isAt);
    if (current !== undefined && current !== run) {
      // Another read came first.
      current.pins++;
      try {
        const found = await this.reader.overlapping(current, from, to);
        return found.filter((one) => one.lastOffset >= firstMarker && one.lastOffset <= lastMarker);
      } finally {
        current.pins--;
      }
    }
    const aborted = await this.rebuild(run, from, error);
    return aborted.filter((one) => one.lastOffset >= from && one.firstOffset < to);
  }

  /** Reads the log again for what `run` held; right for offsets from `from` on, or rejects. */
  private async rebuild(
    run: HeldRun,
    from: number,
    error: BrokerError,
  ): Promise<readonly AbortedTransaction[]> {
    const { budget, log, rebuilt } = this.parts;
    await budget.rescans.take();
    try {
      const { firstMarker, lastMarker } = run;
      const scan = scanAborted(log, firstMarker, lastMarker, () => this.assertOpen());
      const { start, aborted } = await scan;
      if (start > from) throw error;
      const isWhole = start <= run.minFirstOffset;
      if (aborted.length > run.entries || (isWhole && aborted.length < run.entries)) {
        const text = `the log tells ${aborted.length} aborts, the checkpoint ${run.entries}`;
        throw new BrokerError("CHRONIK_CORRUPT", `${error.message}; ${text}`);
      }
      if (await this.replace(run, aborted)) rebuilt(this.reader.path(run), error);
      return aborted;
    } finally {
      budget.rescans.give();
    }
  }

  /** False: not needed, or not possible. What the log told holds without it. */
  private async replace(old: HeldRun, aborted: readonly AbortedTransaction[]): Promise<boolean> {
    if (!this.runs.includes(old) || aborted.length === 0) return false;
    let run: HeldRun;
    try {
      run = await this.write(encodeBlocks(aborted));
    } catch (error) {
      this.reportUnmade(old, error);
      return false;
    }
    const isNeeded = this.runs.includes(old);
    if (isNeeded) this.runs = this.runs.map((one) => (one === old ? run : one));
    this.stale.push(isNeeded ? old : run);
    return isNeeded;
  }

  private assertOpen(): void {
    if (this.closed) throw new BrokerError("CHRONIK_CLOSED", "the partition is closed");
  }

  private reportUnmade(run: HeldRun, error: unknown): void {
    if (this.closed || !(error instanceof BrokerError)) throw error;
    this.parts.notRebuilt(this.reader.path(run), error);
  }

  private async spillNow(): Promise<void> {
    const taken = this.memory.from(0, runEntriesMax);
    if (taken.length === 0) return;
    const joined: HeldRun[] = [];
    const blocks = encodeBlocks(taken);
    let entries = taken.length;
    for (const run of this.runs.toReversed()) {
      if (run.entries > entries || entries + run.entries > runEntriesMax) break;
      const older = await this.blocksOf(run);
      if (older === null) break;
      blocks.unshift(...older);
      joined.push(run);
      entries += run.entries;
    }
    const run = await this.write(blocks);
    const isNeeded = run.lastMarker >= this.floor;
    // Deleted or archived meanwhile: `forgetBelow` took them.
    this.stale.push(...joined.filter((one) => this.runs.includes(one)));
    const kept = this.runs.filter((one) => !joined.includes(one));
    if (isNeeded) this.runs = [...kept, run];
    else this.stale.push(run);
    this.forgetInMemory(run.lastMarker + 1);
  }

  /** null: it cannot be joined. One that was lost is made anew, and is joined the next time. */
  private async blocksOf(run: HeldRun): Promise<EncodedBlock[] | null> {
    run.pins++;
    try {
      return await this.reader.blocks(run);
    } catch (error) {
      // What is newer leaves the memory whatever became of this one.
      const made = isLost(error)
        ? this.rebuild(run, Number.POSITIVE_INFINITY, error)
        : Promise.reject(error);
      await made.catch((why: unknown) => this.reportUnmade(run, why));
    } finally {
      run.pins--;
    }
    return null;
  }

  private async write(blocks: readonly EncodedBlock[]): Promise<HeldRun> {
    this.ahead = true;
    const { run, bytes } = encodeRun(this.parts.owner, this.nextId++, blocks);
    await this.parts.files.writeFile(this.reader.path(run), bytes);
    return { ...run, pins: 0 };
  }

  private async remove(run: HeldRun): Promise<void> {
    try {
      await this.parts.files.removeFile(this.reader.path(run));
    } catch (error) {
      const isGone = error instanceof BrokerError && error.code === "CHRONIK_NOT_FOUND";
      if (!isGone) throw error;
    }
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const go = () => {
      this.assertOpen();
      return work();
    };
    const done = this.turn.then(go, go);
    this.turn = done;
    return done;
  }
}
