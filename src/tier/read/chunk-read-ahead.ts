import type { TocChunk } from "../ports.ts";
import { lastAtOrBefore } from "../registry/partition-segments.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import type { ArchiveChunks } from "./archive-chunks.ts";
import { rangeBytesMax } from "./chunk-source.ts";
import { growWindow, type ReadStream, ReadStreams } from "./read-streams.ts";

interface Wanted {
  readonly offset: number;
  readonly offsetLimit: number;
  readonly bytesMax: number;
}

/** Joins the ranges that a reader will come for: those of one read, and for who reads in a row
 * those of the next ones, before they are asked for. Never reads a chunk twice. */
export class ReadAhead {
  private readonly registry: SegmentRegistry;
  private readonly chunks: ArchiveChunks;
  private readonly streams = new ReadStreams();

  constructor(registry: SegmentRegistry, chunks: ArchiveChunks) {
    this.registry = registry;
    this.chunks = chunks;
  }

  /** A read is about to come for the chunk at `index`, and to go on as far as its limits allow:
   * where the first one costs a request, that one brings them all. The caller holds a pin and reads
   * that chunk right after. */
  wanted(
    entry: SegmentEntry,
    toc: readonly TocChunk[],
    index: number,
    { offset, offsetLimit, bytesMax }: Wanted,
  ): void {
    const first = toc[index];
    if (!this.chunks.isRemote || first === undefined) return;
    if (this.chunks.isAtHand(entry, first)) return;
    // As if its records were of one size.
    const share = (first.last + 1 - offset) / (first.last + 1 - first.base);
    let bytes = first.rawLength * share;
    let end = index + 1;
    for (let next = toc[end]; next !== undefined; next = toc[++end]) {
      if (bytes >= bytesMax || next.base >= offsetLimit) break;
      bytes += next.rawLength;
    }
    if (end > index + 1) {
      void this.chunks.ahead(entry, toc.slice(index, end), rangeBytesMax, true);
    }
  }

  /** A read gave offsets [from, to) of a partition. */
  served(topicId: string, partition: number, from: number, to: number): void {
    if (!this.chunks.isRemote) return;
    const stream = this.streams.note(`${topicId}/${partition}`, from, to);
    if (stream === null || stream.busy || stream.to < stream.aheadFrom) return;
    stream.busy = true;
    const idle = () => {
      stream.busy = false;
    };
    // What fails here fails its readers when they come, who tell of it.
    this.goOn(topicId, partition, stream).then(idle, idle);
  }

  private async goOn(topicId: string, partition: number, stream: ReadStream): Promise<void> {
    const entry = this.registry.find(topicId, partition, stream.aheadTo);
    if (entry === undefined) return;
    const unpin = this.registry.pin(entry);
    try {
      const toc = await this.chunks.toc(entry);
      const row = window(toc, stream);
      const [first] = row;
      const last = row.at(-1);
      if (first === undefined || last === undefined) return;
      const reading = this.chunks.ahead(entry, row, stream.windowBytes, false);
      const isNone = reading === null && row.some((chunk) => !this.chunks.isAtHand(entry, chunk));
      // Too much under way: the reader asks for itself.
      if (isNone) return;
      stream.aheadTo = last.last + 1;
      stream.aheadFrom = row[row.length >> 1]?.base ?? first.base;
      growWindow(stream);
      await reading;
    } finally {
      unpin();
    }
  }
}

/** The chunks from where reading ahead goes on, as many as fit the stream's window. */
function window(toc: readonly TocChunk[], { aheadTo, windowBytes }: ReadStream): TocChunk[] {
  const row: TocChunk[] = [];
  let bytes = 0;
  for (let index = Math.max(0, lastAtOrBefore(toc, aheadTo)); ; index++) {
    const chunk = toc[index];
    if (chunk === undefined) return row;
    if (chunk.last < aheadTo) continue;
    if (row.length > 0 && bytes + chunk.compressedLength > windowBytes) return row;
    row.push(chunk);
    bytes += chunk.compressedLength;
  }
}
