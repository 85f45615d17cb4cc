import type { Partition } from "../../src/log/partition.ts";
import type { ArchivedAbort, ColdReader } from "../../src/log/ports.ts";
import { batchesIn, lastOffset, sizeInBytes } from "../../src/protocol/record-batch.ts";
import { findTime } from "./memory-wal.ts";

/** An archive that holds what was copied out of a partition, readable in whole batches. */
export class MemoryArchive implements ColdReader {
  batches: { base: number; last: number; bytes: Uint8Array }[] = [];
  aborted: ArchivedAbort[] = [];
  reads = 0;

  archivedRange() {
    const [first] = this.batches;
    const last = this.batches.at(-1);
    return first === undefined || last === undefined
      ? null
      : { start: first.base, end: last.last + 1 };
  }

  read(_id: string, _index: number, offset: number, bytesMax: number, offsetLimit: number) {
    this.reads++;
    const out: Uint8Array[] = [];
    let bytes = 0;
    let nextOffset = offset;
    for (const item of this.batches) {
      if (item.last < offset) continue;
      if (item.last >= offsetLimit || (bytes > 0 && bytes + item.bytes.length > bytesMax)) break;
      out.push(item.bytes);
      bytes += item.bytes.length;
      nextOffset = item.last + 1;
    }
    return Promise.resolve({ chunks: out, nextOffset });
  }

  findTime(_id: string, _index: number, target: number, from: number) {
    const all = Buffer.concat(this.batches.map((item) => item.bytes));
    return Promise.resolve(findTime(all, from, Number.MAX_SAFE_INTEGER, target));
  }

  abortedTransactions(_id: string, _index: number, from: number, to: number) {
    const overlap = (one: ArchivedAbort) => one.lastOffset >= from && one.firstOffset < to;
    return Promise.resolve(this.aborted.filter(overlap));
  }

  /** Copies what may be archived of a partition, checkpoints and, if asked, releases it. */
  async take(partition: Partition, released: boolean): Promise<void> {
    const end = this.archivedRange()?.end ?? 0;
    const ready = partition
      .segments()
      .filter((one) => one.sealed && one.base >= end && one.last < partition.archivableEnd);
    const last = ready.at(-1)?.last;
    const base = ready[0]?.base;
    if (last === undefined || base === undefined) return;
    const aborted = await partition.abortedBetween(base, last + 1);
    // DeleteRecords may have moved the log start into the segment.
    for (let offset = Math.max(base, partition.logStartOffset); offset <= last; ) {
      const read = await partition.read({ offset, bytesMax: 1 << 20, offsetLimit: last + 1 });
      if (read.errorCode !== 0 || read.bytes === 0) {
        throw new Error(`nothing to read at ${offset}: error ${read.errorCode}`);
      }
      for (const chunk of read.chunks) {
        for (const { position, header } of batchesIn(chunk)) {
          const bytes = chunk.slice(position, position + sizeInBytes(header));
          offset = lastOffset(header) + 1;
          this.batches.push({ base: header.baseOffset, last: offset - 1, bytes });
        }
      }
    }
    this.aborted.push(...aborted);
    await partition.checkpoint(last + 1);
    if (!released) return;
    // The oldest first, as the engine wants it: also what was kept before.
    const gone = partition.segments().filter((one) => one.sealed && one.last <= last);
    await partition.releaseSegments(gone.map((one) => one.id));
  }
}
