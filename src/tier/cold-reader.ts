import { type ArchiveChunks, damaged } from "./archive-chunks.ts";
import { lastAtOrBefore } from "./partition-segments.ts";
import type { AbortedTransaction, ArchiveEngine, TimeHit } from "./ports.ts";
import type { SegmentEntry, SegmentRegistry } from "./segment-registry.ts";

/** Offset, length, epoch, magic, crc, attributes, last offset delta: what finds a batch's range. */
const batchLengthPosition = 8;
const lastOffsetDeltaPosition = 23;
const batchHeaderBytes = 61;

/** Log's view of the archives: offsets → whole batches. A cold read costs a ranged read for the
 * table of contents and one per chunk; a warm one only the chunk, a cached one nothing (D5). */
export class ArchiveReader {
  private readonly registry: SegmentRegistry;
  private readonly chunks: ArchiveChunks;
  private readonly engine: Pick<ArchiveEngine, "findTime">;

  constructor(
    registry: SegmentRegistry,
    chunks: ArchiveChunks,
    engine: Pick<ArchiveEngine, "findTime">,
  ) {
    this.registry = registry;
    this.chunks = chunks;
    this.engine = engine;
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
    if (target === -1) return await this.findLatest(topicId, partition, fromOffset);
    for (let from = fromOffset; ; ) {
      const entry = this.registry.firstAtTime(topicId, partition, target, from);
      if (!entry) return null;
      const hit = await this.findTimeInSegment(entry, target, fromOffset);
      if (hit) return hit;
      from = entry.last + 1;
    }
  }

  private async findLatest(
    topicId: string,
    partition: number,
    fromOffset: number,
  ): Promise<TimeHit | null> {
    const latest = this.registry.latest(topicId, partition, fromOffset);
    if (!latest || latest.maxTimestamp < 0) return null;
    const likely = await this.findTimeInSegment(latest, -1, fromOffset);
    if (likely?.timestamp === latest.maxTimestamp) return likely;
    // Its largest lies in front of `fromOffset`: any other segment may have the one wanted.
    let best: TimeHit | null = null;
    for (let from = fromOffset; ; ) {
      const floor = (best?.timestamp ?? -1) + 1;
      const entry = this.registry.firstAtTime(topicId, partition, floor, from);
      if (!entry) return best;
      const hit = await this.findTimeInSegment(entry, -1, fromOffset);
      if (hit && (!best || hit.timestamp > best.timestamp)) best = hit;
      from = entry.last + 1;
    }
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
      const toc = await this.chunks.toc(entry);
      const chunk = toc[lastAtOrBefore(toc, offset)];
      if (!chunk || offset > chunk.last) {
        throw damaged(entry, `its table of contents lacks offset ${offset}`);
      }
      const bytes = await this.chunks.chunk(entry, chunk);
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
      for (const chunk of await this.chunks.toc(entry)) {
        const floor = target === -1 ? (best?.timestamp ?? -1) + 1 : target;
        if (chunk.last < fromOffset || chunk.maxTimestamp < floor) continue;
        const bytes = await this.chunks.chunk(entry, chunk);
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

  private async abortedOf(entry: SegmentEntry): Promise<readonly AbortedTransaction[]> {
    const unpin = this.registry.pin(entry);
    try {
      return await this.chunks.aborted(entry);
    } finally {
      unpin();
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
