import { BrokerError, errorText } from "../lib/errors.ts";
import { type ObjectStore, StoreError, type StoreErrorKind } from "../store/object-store.ts";
import { ByteCache } from "./byte-cache.ts";
import type { AbortedTransaction, ArchiveEngine, TimeHit, TocChunk } from "./ports.ts";
import { lastAtOrBefore, type SegmentEntry, type SegmentRegistry } from "./segment-registry.ts";

export interface ColdReaderLimits {
  /** Decompressed chunks kept in memory, bytes. */
  readonly chunkCacheBytesMax: number;
  /** Tables of contents kept in memory, bytes (about 96 a chunk). */
  readonly tocCacheBytesMax: number;
}

const tocChunkBytes = 96;
const abortedBytes = 64;
const abortedCacheBytesMax = 8 << 20;
/** Offset, length, epoch, magic, crc, attributes, last offset delta: what finds a batch's range. */
const batchLengthPosition = 8;
const lastOffsetDeltaPosition = 23;
const batchHeaderBytes = 61;

/** Log's view of the archives: offsets → whole batches. A cold read costs a ranged read for the
 * table of contents and one per chunk; a warm one only the chunk, a cached one nothing (D5). */
export class ArchiveReader {
  private readonly registry: SegmentRegistry;
  private readonly store: ObjectStore;
  private readonly engine: ArchiveEngine;
  private readonly tocs: ByteCache<readonly TocChunk[]>;
  private readonly chunks: ByteCache<Uint8Array>;
  private readonly aborted: ByteCache<readonly AbortedTransaction[]>;

  constructor(
    registry: SegmentRegistry,
    store: ObjectStore,
    engine: ArchiveEngine,
    limits: ColdReaderLimits,
  ) {
    this.registry = registry;
    this.store = store;
    this.engine = engine;
    this.tocs = new ByteCache(limits.tocCacheBytesMax, (toc) => toc.length * tocChunkBytes);
    this.chunks = new ByteCache(limits.chunkCacheBytesMax, (chunk) => chunk.length);
    this.aborted = new ByteCache(abortedCacheBytesMax, (list) => list.length * abortedBytes);
  }

  archivedRange(topicId: string, partition: number): { start: number; end: number } | null {
    return this.registry.range(topicId, partition);
  }

  /** Whole batches from the one that holds `offset`, while they end below `offsetLimit` and fit
   * `bytesMax`; the first is returned even if larger. Empty when `offset` is not archived. Rejects
   * with a BrokerError where an object is missing or damaged: only its own offsets fail. */
  async read(
    topicId: string,
    partition: number,
    offset: number,
    bytesMax: number,
    offsetLimit: number,
  ): Promise<Uint8Array[]> {
    const slices: Uint8Array[] = [];
    let next = offset;
    let left = bytesMax;
    while (next < offsetLimit && (left > 0 || slices.length === 0)) {
      const entry = this.registry.find(topicId, partition, next);
      if (!entry) break;
      const slice = await this.readPinned(entry, next, offsetLimit, left, slices.length === 0);
      if (!slice) break;
      slices.push(slice.bytes);
      left -= slice.bytes.length;
      next = slice.nextOffset;
      if (slice.cut) break;
    }
    return slices;
  }

  /** First archived record at or past `fromOffset` with timestamp >= `target`; with target -1 the
   * one with the largest timestamp. */
  async findTime(
    topicId: string,
    partition: number,
    target: number,
    fromOffset: number,
  ): Promise<TimeHit | null> {
    let best: TimeHit | null = null;
    for (const entry of this.registry.segments(topicId, partition)) {
      const floor = target === -1 ? (best?.timestamp ?? -1) + 1 : target;
      if (entry.last < fromOffset || entry.maxTimestamp < floor) continue;
      const hit = await this.findTimeInSegment(entry, target, fromOffset);
      if (hit && target !== -1) return hit;
      if (hit && (!best || hit.timestamp > best.timestamp)) best = hit;
    }
    return best;
  }

  /** Aborted transactions of archived batches that overlap [from, to). An archive costs a read of
   * its manifest, once, and only where it holds aborted records. */
  async abortedTransactions(
    topicId: string,
    partition: number,
    from: number,
    to: number,
  ): Promise<readonly AbortedTransaction[]> {
    const found: AbortedTransaction[] = [];
    const entries = this.registry.segments(topicId, partition);
    for (let index = Math.max(0, lastAtOrBefore(entries, from)); ; index++) {
      const entry = entries[index];
      if (entry === undefined || entry.base >= to) return found;
      if (entry.last < from || (entry.aborted ?? 0) === 0) continue;
      for (const aborted of await this.abortedOf(entry)) {
        if (aborted.lastOffset >= from && aborted.firstOffset < to) found.push(aborted);
      }
    }
  }

  private async readPinned(
    entry: SegmentEntry,
    offset: number,
    offsetLimit: number,
    bytesMax: number,
    first: boolean,
  ): Promise<BatchSlice | null> {
    const unpin = this.registry.pin(entry);
    try {
      const toc = await this.toc(entry);
      const chunk = toc[lastAtOrBefore(toc, offset)];
      if (!chunk || offset > chunk.last) {
        throw damaged(entry, `its table of contents lacks offset ${offset}`);
      }
      const bytes = await this.chunk(entry, chunk);
      return sliceBatches(bytes, offset, offsetLimit, bytesMax, first);
    } finally {
      unpin();
    }
  }

  private async findTimeInSegment(
    entry: SegmentEntry,
    target: number,
    fromOffset: number,
  ): Promise<TimeHit | null> {
    const unpin = this.registry.pin(entry);
    try {
      let best: TimeHit | null = null;
      for (const chunk of await this.toc(entry)) {
        const floor = target === -1 ? (best?.timestamp ?? -1) + 1 : target;
        if (chunk.last < fromOffset || chunk.maxTimestamp < floor) continue;
        const bytes = await this.chunk(entry, chunk);
        const hit = await this.engine.findTime(bytes, target, fromOffset);
        if (!hit) continue;
        if (target !== -1) return hit;
        if (!best || hit.timestamp > best.timestamp) best = hit;
      }
      return best;
    } finally {
      unpin();
    }
  }

  private abortedOf(entry: SegmentEntry): Promise<readonly AbortedTransaction[]> {
    return this.aborted.get(cacheKey(entry), async () => {
      const unpin = this.registry.pin(entry);
      try {
        // The manifest lies in front of the first chunk.
        const [first] = await this.toc(entry);
        const head = await this.range(entry, 0, first?.position ?? entry.tocPosition);
        return await this.engine.readAborted(head);
      } catch (error) {
        throw error instanceof BrokerError ? error : damaged(entry, errorText(error), error);
      } finally {
        unpin();
      }
    });
  }

  private toc(entry: SegmentEntry): Promise<readonly TocChunk[]> {
    const length = entry.bytes - entry.tocPosition;
    return this.tocs.get(cacheKey(entry), () =>
      this.decoded(entry, entry.tocPosition, length, async (tail) => {
        return (await this.engine.readToc(tail, entry.bytes)).chunks;
      }),
    );
  }

  private chunk(entry: SegmentEntry, chunk: TocChunk): Promise<Uint8Array> {
    const { position, compressedLength, rawLength, crc32c } = chunk;
    return this.chunks.get(`${cacheKey(entry)}@${position}`, () =>
      this.decoded(entry, position, compressedLength, (member) =>
        this.engine.inflateChunk(member, rawLength, crc32c),
      ),
    );
  }

  /** What a range of an archive says. Bytes that say nothing are asked for once more: they may have
   * been damaged on their way, which no store checks for a part of an object. */
  private async decoded<T>(
    entry: SegmentEntry,
    position: number,
    length: number,
    decode: (bytes: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const first = await this.range(entry, position, length);
    try {
      return await decode(first);
    } catch {
      const second = await this.range(entry, position, length);
      try {
        return await decode(second);
      } catch (error) {
        throw damaged(entry, errorText(error), error);
      }
    }
  }

  private async range(entry: SegmentEntry, position: number, length: number): Promise<Uint8Array> {
    try {
      return await this.store.getRange(entry.key, position, length);
    } catch (error) {
      throw lastsNot(error) ? unavailable(entry, error) : damaged(entry, errorText(error), error);
    }
  }
}

interface BatchSlice {
  readonly bytes: Uint8Array;
  /** One past the last offset in `bytes`. */
  readonly nextOffset: number;
  /** Stopped before the chunk's end because of a limit. */
  readonly cut: boolean;
}

/** Batches of a chunk from the one that holds `offset` on, within the limits (pure). */
export function sliceBatches(
  chunk: Uint8Array,
  offset: number,
  offsetLimit: number,
  bytesMax: number,
  firstAlways: boolean,
): BatchSlice | null {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let start = -1;
  let end = 0;
  let nextOffset = offset;
  let cut = false;
  for (let position = 0; position + batchHeaderBytes <= chunk.length; ) {
    const size = 12 + view.getInt32(position + batchLengthPosition);
    const base = Number(view.getBigInt64(position));
    const last = base + view.getInt32(position + lastOffsetDeltaPosition);
    if (last >= offset) {
      const taken = start < 0 ? 0 : end - start;
      const tooLarge = taken + size > bytesMax && !(firstAlways && start < 0);
      if (last >= offsetLimit || tooLarge) {
        cut = true;
        break;
      }
      if (start < 0) start = position;
      end = position + size;
      nextOffset = last + 1;
    }
    position += size;
  }
  return start < 0 ? null : { bytes: chunk.subarray(start, end), nextOffset, cut };
}

/** A topic made anew after a deletion may have archives of its own under the same object keys. */
function cacheKey(entry: SegmentEntry): string {
  return `${entry.topicId}/${entry.key}`;
}

/** Whether the store failed and the archive may be as it should. */
function lastsNot(error: unknown): boolean {
  const kinds: readonly StoreErrorKind[] = ["unavailable", "denied", "misconfigured"];
  return error instanceof StoreError && kinds.includes(error.kind);
}

function unavailable(entry: SegmentEntry, cause: unknown): BrokerError {
  const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
  return new BrokerError(
    "CHRONIK_STORE_UNAVAILABLE",
    `archive ${entry.key} (${where}) cannot be read now: ${errorText(cause)}`,
    { cause },
  );
}

function damaged(entry: SegmentEntry, reason: string, cause?: unknown): BrokerError {
  const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
  return new BrokerError(
    "CHRONIK_ARCHIVE_DAMAGED",
    `archive ${entry.key} (${where}) cannot be read: ${reason}; ` +
      "restore the object, the other offsets stay readable",
    { cause },
  );
}
