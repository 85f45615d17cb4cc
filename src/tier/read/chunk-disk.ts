import type { Clock } from "../../lib/clock.ts";
import {
  decodeIndex,
  encodeIndex,
  encodeRecords,
  indexLength,
  isIntact,
  parseSlabFile,
  type RangeName,
  recordBytes,
  type SlabRange,
  scanRecords,
  slabFile,
  trailerBytes,
} from "./chunk-slab.ts";
import { count, type TierStats } from "./tier-stats.ts";

/** The engine's file jobs that the cache needs; native/files.ts satisfies it. */
export interface CacheFiles {
  makeDir(path: string): Promise<void>;
  listDir(path: string): Promise<readonly { name: string; dir: boolean; bytes: number }[]>;
  readFile(path: string, position?: number, length?: number): Promise<Uint8Array>;
  /** Position 0 makes the file new, any other must be its end; nothing is synced. */
  appendScratch(path: string, position: number, bytes: Uint8Array): Promise<void>;
  /** An absent file is no error. */
  removeFile(path: string): Promise<void>;
}

export interface ChunkDiskDeps {
  readonly folder: string;
  /** Of all files of the cache together. */
  readonly bytesMax: number;
  readonly files: CacheFiles;
  readonly clock: Clock;
  readonly stats: TierStats;
  /** At most once per pause: readers go on without the cache. */
  readonly onProblem: (what: string, error: unknown) => void;
  readonly faultPoint: (name: string) => Promise<void>;
}

interface Slab {
  readonly number: number;
  readonly path: string;
  /** Of the file. */
  bytes: number;
  /** Of the ranges that the cache still answers from. */
  liveBytes: number;
  readonly ranges: Set<Place>;
  usedAt: number;
}

/** A range that waits to be written. */
interface Waiting {
  readonly name: RangeName;
  readonly bytes: Uint8Array;
  readonly size: number;
}

interface Place {
  readonly slab: Slab;
  readonly range: SlabRange;
}

const slabBytesMax = 32 << 20;
const slabBytesMin = 8 << 20;
const slabsAbout = 32;
/** Of a small cache: what goes at a time is a quarter of it at most. */
const slabsMin = 4;
/** Bytes that wait to be written; what comes on top is not cached. */
const waitingBytesMax = 8 << 20;
/** What waits is written together up to this size. */
const writeBytesMax = 1 << 20;
/** A disk that refused is left alone so long. */
const pauseMs = 30_000;
/** Room for a range in the index of its slab. */
const indexRowBytes = 300;

/**
 * Ranges of archives on the local disk, by object and position: in few files that are written to
 * their end once and go as a whole, the one used longest ago first. Nothing is synced, everything
 * is checked when read. Never fails a reader: what is not there or not as written is not there.
 */
export class ChunkDisk {
  private readonly deps: ChunkDiskDeps;
  private readonly slabBytes: number;
  private readonly slabs = new Map<number, Slab>();
  /** By object key, then by position. */
  private readonly objects = new Map<string, Map<number, Place>>();
  private active: Slab | null = null;
  private nextNumber = 1;
  private held = 0;
  private uses = 0;
  private waiting: Waiting[] = [];
  private waitingBytes = 0;
  private isWriting = false;
  private pausedUntilMs = 0;
  private closed = false;
  private writing: Promise<void> = Promise.resolve();

  private constructor(deps: ChunkDiskDeps) {
    this.deps = deps;
    const { bytesMax } = deps;
    const wished = Math.min(slabBytesMax, Math.max(slabBytesMin, bytesMax / slabsAbout));
    this.slabBytes = Math.floor(Math.min(wished, bytesMax / slabsMin));
  }

  /** Takes up what an earlier run left in the folder. `isWanted` says whether an object is still
   * read. Files with other names are left alone. */
  static async open(
    deps: ChunkDiskDeps,
    isWanted: (topicId: string, key: string) => boolean,
  ): Promise<ChunkDisk> {
    const cache = new ChunkDisk(deps);
    try {
      await deps.files.makeDir(deps.folder);
      await cache.takeUp(isWanted);
      await cache.makeRoom(0);
    } catch (error) {
      cache.failed("the disk cache could not be taken up", error);
    }
    return cache;
  }

  /** Removes what earlier runs left: for brokers whose cache is switched off. */
  static async remove(files: CacheFiles, folder: string): Promise<void> {
    for (const { name, dir } of await files.listDir(folder)) {
      if (!dir && parseSlabFile(name) !== null) await files.removeFile(`${folder}/${name}`);
    }
  }

  /** Bytes of all files. */
  get bytes(): number {
    return this.held;
  }

  get rangeCount(): number {
    let ranges = 0;
    for (const slab of this.slabs.values()) ranges += slab.ranges.size;
    return ranges;
  }

  has(name: RangeName, length: number): boolean {
    return this.find(name, length) !== null;
  }

  /** Null where the range is not cached, or not as it was written. */
  async read(name: RangeName, length: number): Promise<Uint8Array | null> {
    const place = this.find(name, length);
    if (place === null) return null;
    place.slab.usedAt = ++this.uses;
    try {
      const { files } = this.deps;
      const bytes = await files.readFile(place.slab.path, place.range.at, length);
      if (isIntact(place.range, bytes)) return bytes;
    } catch {
      // Gone or unreadable: as damaged as other bytes, and counted so.
    }
    // Thrown away in the meantime, to make room.
    if (!place.slab.ranges.has(place)) return null;
    this.deps.stats.diskCacheDamaged++;
    this.dropPlace(place);
    return null;
  }

  /** Keeps a range, some time after this call; not if too much waits or the disk refuses. */
  put(name: RangeName, bytes: Uint8Array): void {
    const { stats, clock } = this.deps;
    const size = recordBytes(name, bytes.length);
    if (this.closed || this.has(name, bytes.length) || size > this.slabBytes) return;
    const isPaused = clock.monotonicMs() < this.pausedUntilMs;
    if (isPaused || this.waitingBytes + size > waitingBytesMax) {
      stats.diskCacheWritesSkipped++;
      return;
    }
    this.waiting.push({ name, bytes, size });
    this.waitingBytes += size;
    if (this.isWriting) return;
    this.isWriting = true;
    this.run(() => this.writeAll());
  }

  /** Forgets one range: its bytes were not what they should be. */
  drop(name: RangeName): void {
    const place = this.objects.get(name.key)?.get(name.position);
    if (place !== undefined) this.dropPlace(place);
  }

  /** Forgets an object that is not read any more. Files of which less than half is still of use go
   * at once. */
  forget(key: string): void {
    this.waiting = this.waiting.filter((one) => one.name.key !== key);
    this.waitingBytes = this.waiting.reduce((sum, { size }) => sum + size, 0);
    const places = this.objects.get(key);
    if (places === undefined) return;
    const touched = new Set<Slab>();
    for (const place of [...places.values()]) {
      this.dropPlace(place);
      touched.add(place.slab);
    }
    for (const slab of touched) {
      if (slab.liveBytes * 2 < slab.bytes) this.run(() => this.evict(slab));
    }
  }

  /** Resolves when nothing waits to be written. */
  async settled(): Promise<void> {
    await this.writing;
  }

  /** Writes what is left, so that the next start finds all. */
  async close(): Promise<void> {
    this.closed = true;
    this.run(() => this.finishActive());
    await this.writing;
  }

  private run(work: () => Promise<void>): void {
    this.writing = this.writing.then(work).catch((error: unknown) => {
      this.failed("the disk cache could not be written", error);
    });
  }

  private find(name: RangeName, length: number): Place | null {
    const place = this.objects.get(name.key)?.get(name.position);
    if (place === undefined || place.range.length !== length) return null;
    // A topic made anew after a deletion may have archives of its own under the same keys.
    const { topicId, sha256 } = place.range.name;
    return topicId === name.topicId && sha256 === name.sha256 ? place : null;
  }

  private async writeAll(): Promise<void> {
    try {
      for (let batch = this.nextBatch(); batch.length > 0; batch = this.nextBatch()) {
        await this.write(batch);
      }
    } finally {
      this.isWriting = false;
      // What a refusing disk leaves over is not written later.
      this.waiting = [];
      this.waitingBytes = 0;
    }
  }

  /** Takes what is written next. */
  private nextBatch(): Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    for (const one of this.waiting) {
      if (batch.length > 0 && bytes + one.size > Math.min(writeBytesMax, this.slabBytes)) break;
      batch.push(one);
      bytes += one.size;
    }
    this.waiting.splice(0, batch.length);
    this.waitingBytes -= bytes;
    return batch;
  }

  private async write(batch: readonly Waiting[]): Promise<void> {
    const { files, stats, faultPoint } = this.deps;
    const fresh = batch.filter(({ name, bytes }) => !this.has(name, bytes.length));
    const { records, ranges } = encodeRecords(fresh);
    if (records.length === 0) return;
    if (this.active !== null && this.active.bytes + records.length > this.slabBytes) {
      await this.finishActive();
    }
    if (!(await this.makeRoom(records.length + indexRowBytes * ranges.length))) return;
    this.active ??= this.add(this.nextNumber++);
    const slab = this.active;
    await faultPoint("cache-write");
    try {
      await files.appendScratch(slab.path, slab.bytes, records);
    } catch (error) {
      stats.diskCacheWritesFailed++;
      // Its end is unknown: what it holds is still good, but nothing more goes in.
      this.active = null;
      this.grow(slab, records.length);
      throw error;
    }
    this.pausedUntilMs = 0;
    for (const range of ranges) {
      this.place(slab, { ...range, at: slab.bytes + range.at });
      count(stats.diskCacheWrites, range.length);
    }
    this.grow(slab, records.length);
  }

  private async finishActive(): Promise<void> {
    const slab = this.active;
    if (slab === null) return;
    this.active = null;
    const index = encodeIndex([...slab.ranges].map(({ range }) => range));
    // Without an index it is read whole at the next start.
    if (!(await this.makeRoom(index.length, slab))) return;
    await this.deps.files.appendScratch(slab.path, slab.bytes, index);
    this.grow(slab, index.length);
  }

  /** Whether so many more bytes fit, the oldest files gone. */
  private async makeRoom(bytes: number, spared: Slab | null = this.active): Promise<boolean> {
    while (this.held + bytes > this.deps.bytesMax) {
      let oldest: Slab | null = null;
      for (const slab of this.slabs.values()) {
        if (slab === spared) continue;
        if (oldest === null || slab.usedAt < oldest.usedAt) oldest = slab;
      }
      if (oldest === null) return false;
      await this.evict(oldest);
    }
    return true;
  }

  private async evict(slab: Slab): Promise<void> {
    if (this.slabs.get(slab.number) !== slab) return;
    if (slab === this.active) this.active = null;
    for (const place of [...slab.ranges]) this.dropPlace(place);
    await this.deps.files.removeFile(slab.path);
    this.slabs.delete(slab.number);
    this.held -= slab.bytes;
    this.deps.stats.diskCacheEvictedBytes += slab.bytes;
  }

  private async takeUp(isWanted: (topicId: string, key: string) => boolean): Promise<void> {
    const { files, folder } = this.deps;
    const found: { number: number; bytes: number }[] = [];
    for (const { name, dir, bytes } of await files.listDir(folder)) {
      const slab = dir ? null : parseSlabFile(name);
      if (slab === null) continue;
      this.nextNumber = Math.max(this.nextNumber, slab.number + 1);
      if (slab.version !== 1 || bytes === 0) await files.removeFile(`${folder}/${name}`);
      else found.push({ number: slab.number, bytes });
    }
    for (const { number, bytes } of found.sort((a, b) => a.number - b.number)) {
      const slab = this.add(number);
      this.grow(slab, bytes);
      for (const range of await this.rangesOf(slab)) {
        if (isWanted(range.name.topicId, range.name.key)) this.place(slab, range);
      }
      if (slab.liveBytes * 2 < slab.bytes) await this.evict(slab);
    }
  }

  private async rangesOf(slab: Slab): Promise<SlabRange[]> {
    const { files } = this.deps;
    if (slab.bytes >= trailerBytes) {
      const trailer = await files.readFile(slab.path, slab.bytes - trailerBytes, trailerBytes);
      const length = indexLength(trailer);
      const recordsEnd = slab.bytes - trailerBytes - (length ?? 0);
      if (length !== null && recordsEnd >= 0) {
        const index = await files.readFile(slab.path, recordsEnd, length + trailerBytes);
        const ranges = decodeIndex(index, recordsEnd);
        if (ranges !== null) return ranges;
      }
    }
    if (slab.bytes > 2 * slabBytesMax) return [];
    return scanRecords(await files.readFile(slab.path, 0, slab.bytes));
  }

  private add(number: number): Slab {
    const path = `${this.deps.folder}/${slabFile(number)}`;
    const slab = { number, path, bytes: 0, liveBytes: 0, ranges: new Set<Place>(), usedAt: 0 };
    slab.usedAt = ++this.uses;
    this.slabs.set(number, slab);
    return slab;
  }

  private grow(slab: Slab, bytes: number): void {
    slab.bytes += bytes;
    this.held += bytes;
  }

  private place(slab: Slab, range: SlabRange): void {
    this.drop(range.name);
    const { key } = range.name;
    const places = this.objects.get(key) ?? new Map<number, Place>();
    this.objects.set(key, places);
    const place = { slab, range };
    places.set(range.name.position, place);
    slab.ranges.add(place);
    slab.liveBytes += range.length;
  }

  private dropPlace(place: Place): void {
    const { slab, range } = place;
    if (!slab.ranges.delete(place)) return;
    slab.liveBytes -= range.length;
    const { key, position } = range.name;
    const places = this.objects.get(key);
    if (places?.get(position) === place) places.delete(position);
    if (places?.size === 0) this.objects.delete(key);
  }

  private failed(what: string, error: unknown): void {
    const nowMs = this.deps.clock.monotonicMs();
    const isNew = nowMs >= this.pausedUntilMs;
    this.pausedUntilMs = nowMs + pauseMs;
    if (isNew) this.deps.onProblem(what, error);
  }
}
