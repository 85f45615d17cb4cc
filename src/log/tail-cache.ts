/** The newest batches of all partitions in memory, under one budget. (pure)
 *
 * A partition's tail is a list of chunks, batches back to back as consumers get them; a read hands
 * out views, so bytes below the high watermark are never written again. When the budget is spent,
 * the partition whose oldest chunk was touched longest ago loses that chunk: a tail stays one
 * contiguous range that ends at the log end. */
import { assert } from "../lib/assert.ts";

const chunkBytesMin = 4 << 10;
const chunkBytesMax = 256 << 10;

interface Chunk {
  readonly tail: Tail;
  readonly bytes: Uint8Array;
  used: number;
  /** Per batch: base offset and position; ascending. `lastOffset` is of the newest one. */
  readonly bases: number[];
  readonly positions: number[];
  lastOffset: number;
  older: Chunk | null;
  newer: Chunk | null;
}

export class TailCache {
  private readonly bytesMax: number;
  private bytesUsed = 0;
  private oldest: Chunk | null = null;
  private newest: Chunk | null = null;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Memory held, unused ends of chunks included. */
  get bytes(): number {
    return this.bytesUsed;
  }

  openTail(): Tail {
    return new Tail(this);
  }

  /** For Tail. */
  added(chunk: Chunk): void {
    this.bytesUsed += chunk.bytes.length;
    this.link(chunk);
    while (this.bytesUsed > this.bytesMax && this.oldest !== null && this.oldest !== chunk) {
      this.oldest.tail.dropOldest();
    }
  }

  /** For Tail. */
  removed(chunk: Chunk): void {
    this.bytesUsed -= chunk.bytes.length;
    this.unlink(chunk);
  }

  /** For Tail. */
  touched(chunk: Chunk): void {
    if (this.newest === chunk) return;
    this.unlink(chunk);
    this.link(chunk);
  }

  private link(chunk: Chunk): void {
    chunk.older = this.newest;
    chunk.newer = null;
    if (this.newest === null) this.oldest = chunk;
    else this.newest.newer = chunk;
    this.newest = chunk;
  }

  private unlink(chunk: Chunk): void {
    if (chunk.older === null) this.oldest = chunk.newer;
    else chunk.older.newer = chunk.newer;
    if (chunk.newer === null) this.newest = chunk.older;
    else chunk.newer.older = chunk.older;
    chunk.older = null;
    chunk.newer = null;
  }
}

export interface TailRead {
  /** Views of whole batches, in offset order. */
  readonly chunks: Uint8Array[];
  readonly bytes: number;
  readonly nextOffset: number;
}

/** One partition's part of the cache. */
export class Tail {
  private readonly cache: TailCache;
  private readonly chunks: Chunk[] = [];
  private chunkBytes = chunkBytesMin;

  constructor(cache: TailCache) {
    this.cache = cache;
  }

  /** First offset held; Infinity when empty. */
  get start(): number {
    return this.chunks[0]?.bases[0] ?? Number.POSITIVE_INFINITY;
  }

  /** Copies the batch in and returns its place, for the caller to patch and to submit. */
  push(batch: Uint8Array, baseOffset: number, lastOffset: number): Uint8Array {
    let chunk = this.chunks[this.chunks.length - 1];
    assert(chunk === undefined || chunk.lastOffset < baseOffset, "a tail grows by offset");
    if (chunk === undefined || chunk.used + batch.length > chunk.bytes.length) {
      chunk = this.grow(batch.length);
    }
    const at = chunk.used;
    chunk.bytes.set(batch, at);
    chunk.used = at + batch.length;
    chunk.bases.push(baseOffset);
    chunk.positions.push(at);
    chunk.lastOffset = lastOffset;
    return chunk.bytes.subarray(at, chunk.used);
  }

  /**
   * Whole batches from the one that holds `offset` on, of last offsets below `offsetLimit`, at most
   * `bytesMax` but the first one anyway. null when the tail starts later. `offset` is below the
   * log end and `offsetLimit` at most the log end.
   */
  read(offset: number, offsetLimit: number, bytesMax: number): TailRead | null {
    if (offset < this.start) return null;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let nextOffset = offset;
    for (let index = this.chunkOf(offset); index < this.chunks.length; index++) {
      const chunk = this.chunks[index];
      if (chunk === undefined) break;
      const first = bytes === 0 ? floorIndex(chunk.bases, nextOffset) : 0;
      const end = this.batchesEnd(chunk, first, offsetLimit, bytesMax - bytes, bytes === 0);
      if (end === first) break;
      const from = chunk.positions[first] ?? 0;
      const to = chunk.positions[end] ?? chunk.used;
      chunks.push(chunk.bytes.subarray(from, to));
      bytes += to - from;
      nextOffset = chunk.bases[end] ?? chunk.lastOffset + 1;
      this.cache.touched(chunk);
      if (end < chunk.bases.length) break;
    }
    return { chunks, bytes, nextOffset };
  }

  /** Forgets everything at or past `endOffset`, which is a batch border. */
  truncate(endOffset: number): void {
    for (let chunk = this.chunks.at(-1); chunk !== undefined; chunk = this.chunks.at(-1)) {
      if (chunk.lastOffset < endOffset) return;
      const keep = chunk.bases.findIndex((base) => base >= endOffset);
      if (keep === 0) {
        this.chunks.pop();
        this.cache.removed(chunk);
        continue;
      }
      chunk.used = chunk.positions[keep] ?? chunk.used;
      chunk.bases.length = keep;
      chunk.positions.length = keep;
      chunk.lastOffset = endOffset - 1;
    }
  }

  /** Forgets whole batches that end below `offset`. */
  dropBelow(offset: number): void {
    for (let chunk = this.chunks[0]; chunk !== undefined; chunk = this.chunks[0]) {
      if (chunk.lastOffset < offset) {
        this.dropOldest();
        continue;
      }
      const gone = Math.max(
        0,
        chunk.bases.findLastIndex((base) => base <= offset),
      );
      chunk.bases.splice(0, gone);
      chunk.positions.splice(0, gone);
      return;
    }
  }

  clear(): void {
    while (this.chunks.length > 0) this.dropOldest();
  }

  /** For TailCache. */
  dropOldest(): void {
    const chunk = this.chunks.shift();
    if (chunk !== undefined) this.cache.removed(chunk);
    if (this.chunks.length === 0) this.chunkBytes = chunkBytesMin;
  }

  private grow(bytesMin: number): Chunk {
    const chunk: Chunk = {
      tail: this,
      bytes: Buffer.allocUnsafeSlow(Math.max(bytesMin, this.chunkBytes)),
      used: 0,
      bases: [],
      positions: [],
      lastOffset: -1,
      older: null,
      newer: null,
    };
    this.chunkBytes = Math.min(chunkBytesMax, this.chunkBytes * 2);
    this.chunks.push(chunk);
    this.cache.added(chunk);
    return chunk;
  }

  private chunkOf(offset: number): number {
    let low = 0;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.chunks[middle]?.bases[0] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** One past the last batch, from `first` on, that fits both limits. */
  private batchesEnd(
    chunk: Chunk,
    first: number,
    offsetLimit: number,
    bytesMax: number,
    takeFirst: boolean,
  ): number {
    const from = chunk.positions[first] ?? 0;
    let end = first;
    while (end < chunk.bases.length) {
      const next = chunk.bases[end + 1] ?? chunk.lastOffset + 1;
      if (next > offsetLimit) break;
      const bytes = (chunk.positions[end + 1] ?? chunk.used) - from;
      if (bytes > bytesMax && !(takeFirst && end === first)) break;
      end++;
    }
    return end;
  }
}

/** Index of the last base at or below `offset`. */
function floorIndex(bases: readonly number[], offset: number): number {
  let low = 0;
  let high = bases.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if ((bases[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}
