import { BrokerError } from "../../lib/errors.ts";
import type { AbortedTransaction, ArchiveEngine, TimeHit } from "../ports.ts";
import { lastAtOrBefore } from "../registry/partition-segments.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import { type ArchiveChunks, damaged } from "./archive-chunks.ts";
import { type BatchSlice, sliceBatches } from "./batch-slice.ts";
import { ReadAhead } from "./chunk-read-ahead.ts";

export interface ColdRead {
  /** Whole batches back to back, in offset order. */
  readonly chunks: readonly Uint8Array[];
  readonly nextOffset: number;
}

/** Log's view of the archives: offsets → whole batches. A cold read costs a ranged read for the
 * table of contents and one per chunk; a warm one only the chunk, a cached one nothing (D5). */
export class ArchiveReader {
  private readonly registry: SegmentRegistry;
  private readonly chunks: ArchiveChunks;
  private readonly readAhead: ReadAhead;
  private readonly engine: Pick<ArchiveEngine, "findTime">;

  constructor(
    registry: SegmentRegistry,
    chunks: ArchiveChunks,
    engine: Pick<ArchiveEngine, "findTime">,
  ) {
    this.registry = registry;
    this.chunks = chunks;
    this.readAhead = new ReadAhead(registry, chunks);
    this.engine = engine;
  }

  archivedRange(topicId: string, partition: number): { start: number; end: number } | null {
    return this.registry.range(topicId, partition);
  }

  /** Whole batches from the one that holds `offset`, or the first after it where compaction left a
   * hole, while they end below `offsetLimit` and fit `bytesMax`; the first is returned even if
   * larger. `nextOffset` is one past what was read or found to be a hole: `offset` itself when that
   * is not archived. Rejects with a BrokerError where an object is missing or damaged: only its own
   * offsets fail. */
  async read(
    topicId: string,
    partition: number,
    offset: number,
    bytesMax: number,
    offsetLimit: number,
  ): Promise<ColdRead> {
    const slices: Uint8Array[] = [];
    let next = offset;
    let left = bytesMax;
    while (next < offsetLimit && (left > 0 || slices.length === 0)) {
      const entry = this.registry.find(topicId, partition, next);
      if (!entry) break;
      let slice: BatchSlice;
      try {
        slice = await this.readPinned(entry, next, offsetLimit, left, slices.length === 0);
      } catch (error) {
        // What was read before is whole; the next read begins at what cannot be read.
        if (next > offset && error instanceof BrokerError) break;
        throw error;
      }
      if (slice.bytes.length > 0) slices.push(slice.bytes);
      left -= slice.bytes.length;
      next = slice.nextOffset;
      if (slice.cut) break;
    }
    if (next > offset) this.readAhead.served(topicId, partition, offset, next);
    return { chunks: slices, nextOffset: next };
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
    const entries = this.abortedIn(topicId, partition, from, to);
    // All at once: what is retired meanwhile would be deleted before its turn.
    const unpins = entries.map((entry) => this.registry.pin(entry));
    try {
      for (const entry of entries) {
        for (const aborted of await this.chunks.aborted(entry)) {
          if (aborted.lastOffset >= from && aborted.firstOffset < to) found.push(aborted);
        }
      }
    } finally {
      for (const unpin of unpins) unpin();
    }
    return found;
  }

  /** Archives with offsets in [from, to) that name aborted transactions. */
  private abortedIn(topicId: string, partition: number, from: number, to: number): SegmentEntry[] {
    const found: SegmentEntry[] = [];
    const entries = this.registry.segments(topicId, partition);
    for (let index = Math.max(0, lastAtOrBefore(entries, from)); ; index++) {
      const entry = entries[index];
      if (entry === undefined || entry.base >= to) return found;
      if (entry.last >= from && (entry.aborted ?? 0) > 0) found.push(entry);
    }
  }

  private async readPinned(
    entry: SegmentEntry,
    offset: number,
    offsetLimit: number,
    bytesMax: number,
    first: boolean,
  ): Promise<BatchSlice> {
    const unpin = this.registry.pin(entry);
    try {
      const toc = await this.chunks.toc(entry);
      const at = lastAtOrBefore(toc, offset);
      const holder = toc[at];
      const index = holder && offset <= holder.last ? at : at + 1;
      const chunk = toc[index];
      // The first generation has every offset; in later ones compaction leaves holes.
      if (entry.generation === 1 && (!chunk || offset < chunk.base)) {
        throw damaged(entry, `its table of contents lacks offset ${offset}`);
      }
      if (!chunk) return hole(Math.min(entry.last + 1, offsetLimit));
      if (chunk.base >= offsetLimit) return { ...hole(offsetLimit), cut: true };
      const from = Math.max(offset, chunk.base);
      this.readAhead.wanted(entry, toc, index, { offset: from, offsetLimit, bytesMax });
      const bytes = await this.chunks.chunk(entry, chunk);
      const slice = sliceBatches(bytes, offset, offsetLimit, bytesMax, first);
      if (slice === null || (slice.holeAt !== null && entry.generation === 1)) {
        throw damaged(entry, `its batches break off at offset ${slice?.holeAt ?? offset}`);
      }
      return slice;
    } finally {
      unpin();
    }
  }

  /** Where the largest timestamps are said to be is looked first: mostly that is all. */
  private async findTimeInSegment(
    entry: SegmentEntry,
    target: number,
    fromOffset: number,
  ): Promise<TimeHit | null> {
    const unpin = this.registry.pin(entry);
    try {
      const toc = await this.chunks.toc(entry);
      let best: TimeHit | null = null;
      for (const chunk of target === -1 ? newestFirst(toc, fromOffset) : toc) {
        if (chunk.last < fromOffset || chunk.maxTimestamp < target) continue;
        if (best !== null && !mayBeLater(chunk, best)) break;
        const bytes = await this.chunks.chunk(entry, chunk);
        const hit = await this.engine.findTime(bytes, target, fromOffset);
        if (hit && target !== -1) return hit;
        best = laterOf(best, hit);
      }
      return best;
    } finally {
      unpin();
    }
  }
}

interface Timed {
  readonly base: number;
  readonly last: number;
  readonly maxTimestamp: number;
}

/** Those that reach `fromOffset`, the largest timestamp first, of equal ones the lowest offset. */
function newestFirst<T extends Timed>(ranges: readonly T[], fromOffset: number): T[] {
  const found = ranges.filter(({ last }) => last >= fromOffset);
  return found.sort((a, b) => b.maxTimestamp - a.maxTimestamp || a.base - b.base);
}

/** Whether the largest timestamp of a range may be the answer instead of `best`. */
function mayBeLater({ maxTimestamp, base }: Timed, best: TimeHit): boolean {
  if (maxTimestamp !== best.timestamp) return maxTimestamp > best.timestamp;
  return base < best.offset;
}

/** The larger timestamp; of equal ones the lower offset, as Kafka answers. */
function laterOf(a: TimeHit | null, b: TimeHit | null): TimeHit | null {
  if (a === null || b === null) return a ?? b;
  if (a.timestamp !== b.timestamp) return a.timestamp > b.timestamp ? a : b;
  return a.offset < b.offset ? a : b;
}

function hole(nextOffset: number): BatchSlice {
  return { bytes: new Uint8Array(), nextOffset, cut: false, holeAt: null };
}
