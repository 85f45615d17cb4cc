import type { Clock } from "../../lib/clock.ts";
import type { ObjectStore } from "../../store/object-store.ts";
import type { SegmentEntry } from "../registry/segment-registry.ts";
import type { ChunkDisk } from "./chunk-disk.ts";
import { rangeName } from "./chunk-slab.ts";
import { ReadSlots } from "./chunk-slots.ts";
import { type ColdSource, count, type TierStats } from "./tier-stats.ts";

/** A part of an archive that is read as one: a chunk's member, the TOC, the manifest. */
export interface ArchivePart {
  readonly position: number;
  readonly length: number;
}

export interface FoundPart {
  readonly bytes: Uint8Array;
  readonly source: ColdSource;
}

export interface ChunkSourceDeps {
  readonly store: ObjectStore;
  /** Null without a disk cache: for a local store it would be a copy beside the file. */
  readonly disk: ChunkDisk | null;
  readonly clock: Clock;
  readonly stats: TierStats;
  readonly limits: ChunkSourceLimits;
}

export interface ChunkSourceLimits {
  /** Bytes on their way from the store at a time. */
  readonly bytesInFlightMax: number;
  /** Bytes read before somebody came for them: on their way and in memory. */
  readonly aheadBytesMax: number;
  /** Ranged reads ahead at a time. */
  readonly aheadGetsMax: number;
}

/** What one ranged read brings: all of it stays in memory while any of its parts does. */
interface Range {
  readonly length: number;
  /** Parts that nobody came for yet. */
  parts: number;
}

interface Flight {
  readonly promise: Promise<FoundPart>;
  /** Somebody waits for it. */
  wanted: boolean;
}

interface Landed {
  readonly range: Range;
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly sinceMs: number;
}

/** Neighbours are read with one ranged read up to this size. */
export const rangeBytesMax = 4 << 20;
/** What was read ahead and not come for goes after this time. */
const landedMsMax = 30_000;

/**
 * Parts of archives as they lie in the object: from the disk cache, or from the store. Who comes
 * for a part that is on its way shares it, errors included; a failure is forgotten once told.
 * Callers hold a pin of the entry. Rejects as the store does.
 */
export class ChunkSource {
  private readonly deps: ChunkSourceDeps;
  private readonly slots: ReadSlots;
  private readonly flights = new Map<string, Flight>();
  /** Read ahead and not come for yet, oldest first. */
  private readonly landed = new Map<string, Landed>();
  /** Of ranges on their way or with parts that nobody came for. */
  private aheadBytes = 0;
  private aheadGets = 0;

  constructor(deps: ChunkSourceDeps) {
    this.deps = deps;
    this.slots = new ReadSlots(deps.limits.bytesInFlightMax);
  }

  /** Bytes read ahead, on their way and in memory. */
  get bytesAhead(): number {
    return this.aheadBytes;
  }

  read(entry: SegmentEntry, part: ArchivePart): Promise<FoundPart> {
    const id = partId(entry, part);
    const flight = this.flights.get(id);
    if (flight !== undefined) {
      flight.wanted = true;
      return flight.promise;
    }
    const landed = this.takeLanded(id);
    if (landed !== null) return Promise.resolve({ bytes: landed, source: "store" });
    return this.fly(id, true, this.fromDiskOrStore(entry, part));
  }

  /** From the store, whatever the caches say: what they said could not be read. */
  async readAgain(entry: SegmentEntry, part: ArchivePart): Promise<FoundPart> {
    this.deps.disk?.drop(rangeName(entry, part.position));
    const bytes = await this.get(entry, part);
    this.deps.disk?.put(rangeName(entry, part.position), bytes);
    return { bytes, source: "store" };
  }

  /** Whether a part is here or on its way, so that it costs no request. */
  isAtHand(entry: SegmentEntry, part: ArchivePart): boolean {
    const id = partId(entry, part);
    if (this.flights.has(id) || this.landed.has(id)) return true;
    return this.deps.disk?.has(rangeName(entry, part.position), part.length) ?? false;
  }

  /**
   * Starts one ranged read of the first parts of a row of neighbours that are not at hand, as many
   * as fit `bytesMax`, so that `read` finds them. Returns when it is done with, failed or not; null
   * where nothing was started: all are at hand, or there is too much under way. What a reader is
   * about to come for (`wanted`) is started behind others that wait, too.
   */
  ahead(
    entry: SegmentEntry,
    row: readonly ArchivePart[],
    bytesMax: number,
    wanted: boolean,
  ): Promise<void> | null {
    const { limits } = this.deps;
    const parts = this.missing(entry, row, Math.min(bytesMax, rangeBytesMax));
    const [first] = parts;
    const last = parts.at(-1);
    if (first === undefined || last === undefined) return null;
    const length = last.position + last.length - first.position;
    this.dropOld();
    if (this.bytesAhead + length > limits.aheadBytesMax) return null;
    if (!wanted && (this.slots.isFull || this.aheadGets >= limits.aheadGetsMax)) return null;
    this.aheadBytes += length;
    const whole = this.get(entry, { position: first.position, length });
    this.aheadGets++;
    if (!wanted) count(this.deps.stats.aheadGets, length);
    const range = { length, parts: parts.length };
    const landing = parts.map((part) => this.land(entry, part, range, first.position, whole));
    return Promise.allSettled(landing).then(() => {
      this.aheadGets--;
    });
  }

  /** The object is not read any more. */
  forget(key: string): void {
    for (const [id, landed] of this.landed) {
      if (landed.key === key) this.takeLanded(id);
    }
    this.deps.disk?.forget(key);
  }

  /** One part of a range that is on its way: to its readers, or to where the next one finds it. */
  private async land(
    entry: SegmentEntry,
    part: ArchivePart,
    range: Range,
    start: number,
    whole: Promise<Uint8Array>,
  ): Promise<void> {
    const { disk, clock } = this.deps;
    const id = partId(entry, part);
    const cut = whole.then((bytes): FoundPart => {
      const at = part.position - start;
      // No copy: the range counts until its last part is gone.
      return { bytes: bytes.subarray(at, at + part.length), source: "store" };
    });
    const flight = { promise: cut, wanted: false };
    this.flights.set(id, flight);
    let isKept = false;
    try {
      const { bytes } = await cut;
      disk?.put(rangeName(entry, part.position), bytes);
      if (flight.wanted) return;
      this.landed.set(id, { range, key: entry.key, bytes, sinceMs: clock.monotonicMs() });
      isKept = true;
    } finally {
      this.flights.delete(id);
      if (!isKept) this.leave(range);
    }
  }

  /** One part less is kept. */
  private leave(range: Range): void {
    if (--range.parts === 0) this.aheadBytes -= range.length;
  }

  /** The first run of neighbours that are not at hand. */
  private missing(
    entry: SegmentEntry,
    row: readonly ArchivePart[],
    bytesMax: number,
  ): ArchivePart[] {
    const run: ArchivePart[] = [];
    let bytes = 0;
    for (const part of row) {
      if (this.isAtHand(entry, part)) {
        if (run.length > 0) break;
        continue;
      }
      const before = run.at(-1);
      const follows = before === undefined || before.position + before.length === part.position;
      if (!follows || (before !== undefined && bytes + part.length > bytesMax)) break;
      run.push(part);
      bytes += part.length;
    }
    return run;
  }

  private async fromDiskOrStore(entry: SegmentEntry, part: ArchivePart): Promise<FoundPart> {
    const { disk } = this.deps;
    const name = rangeName(entry, part.position);
    const cached = disk === null ? null : await disk.read(name, part.length);
    if (cached !== null) return { bytes: cached, source: "disk" };
    const bytes = await this.get(entry, part);
    disk?.put(name, bytes);
    return { bytes, source: "store" };
  }

  private async get(entry: SegmentEntry, { position, length }: ArchivePart): Promise<Uint8Array> {
    const { store, stats } = this.deps;
    const giveBack = await this.slots.take(entry.key, length);
    count(stats.storeGets, length);
    try {
      return await store.getRange(entry.key, position, length);
    } catch (error) {
      stats.storeGetsFailed++;
      throw error;
    } finally {
      giveBack();
    }
  }

  private fly(id: string, wanted: boolean, promise: Promise<FoundPart>): Promise<FoundPart> {
    this.flights.set(id, { promise, wanted });
    const landed = () => this.flights.delete(id);
    promise.then(landed, landed);
    return promise;
  }

  private takeLanded(id: string): Uint8Array | null {
    const landed = this.landed.get(id);
    if (landed === undefined) return null;
    this.landed.delete(id);
    this.leave(landed.range);
    return landed.bytes;
  }

  private dropOld(): void {
    const nowMs = this.deps.clock.monotonicMs();
    for (const [id, { bytes, sinceMs }] of this.landed) {
      if (nowMs - sinceMs < landedMsMax) return;
      this.takeLanded(id);
      count(this.deps.stats.aheadUnused, bytes.length);
    }
  }
}

/** Entries of a topic made anew may have the keys of the deleted one. */
function partId({ topicId, key, sha256 }: SegmentEntry, { position }: ArchivePart): string {
  return `${topicId}/${key}/${sha256.slice(0, 16)}@${position}`;
}
