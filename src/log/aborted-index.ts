/** Which transactions of a partition were aborted, as far as memory holds them. (pure) */

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Of the marker. */
  readonly lastOffset: number;
  /** At the abort: no transaction that is decided later begins below. */
  readonly lastStableOffset: number;
}

/** What a fetch response says of one. */
export interface AbortedRange {
  readonly producerId: number;
  readonly firstOffset: number;
}

/** Numbers of one entry: producer id, first offset, offset of the marker, last stable offset. */
const width = 4;
const entriesMin = 16;
const nothing = new Float64Array(0);

/** Entries in the order of their markers, packed: 32 bytes each. */
export class AbortedIndex {
  /** What was written is never changed: pinned indexes share it. */
  private data: Float64Array = nothing;
  private first = 0;
  private end = 0;

  get size(): number {
    return this.end - this.first;
  }

  /** The same index, for work that takes time: what is forgotten meanwhile stays in it. */
  pinned(): AbortedIndex {
    const copy = new AbortedIndex();
    copy.data = this.data;
    copy.first = this.first;
    copy.end = this.end;
    return copy;
  }

  add(aborted: readonly AbortedTransaction[]): void {
    if (aborted.length === 0) return;
    this.reserve(aborted.length);
    for (const { producerId, firstOffset, lastOffset, lastStableOffset } of aborted) {
      const entry = [producerId, firstOffset, lastOffset, lastStableOffset];
      this.data.set(entry, this.end++ * width);
    }
  }

  /** Those with offsets in [from, to), in the order of their markers. */
  overlapping(from: number, to: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    if (from >= to) return found;
    for (let index = this.firstEndingAt(from); index < this.end; index++) {
      const entry = this.entry(index);
      if (entry.firstOffset < to) found.push(entry);
      if (entry.lastStableOffset >= to) break;
    }
    return found;
  }

  /** Those that end at or past `offset`, at most `count`. */
  from(offset: number, count = Number.POSITIVE_INFINITY): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    const first = this.firstEndingAt(offset);
    const end = Math.min(this.end, first + count);
    for (let index = first; index < end; index++) found.push(this.entry(index));
    return found;
  }

  countFrom(offset: number): number {
    return this.end - this.firstEndingAt(offset);
  }

  /** Forgets those that end below `offset`. */
  forgetBelow(offset: number): void {
    this.first = this.firstEndingAt(offset);
    if (this.first < this.end) return;
    this.data = nothing;
    this.first = 0;
    this.end = 0;
  }

  private entry(index: number): AbortedTransaction {
    const at = index * width;
    const { data } = this;
    return {
      producerId: data[at] ?? 0,
      firstOffset: data[at + 1] ?? 0,
      lastOffset: data[at + 2] ?? 0,
      lastStableOffset: data[at + 3] ?? 0,
    };
  }

  private reserve(count: number): void {
    if ((this.end + count) * width <= this.data.length) return;
    const { size } = this;
    const data = new Float64Array(Math.max(entriesMin, 2 * size, size + count) * width);
    data.set(this.data.subarray(this.first * width, this.end * width));
    this.data = data;
    this.first = 0;
    this.end = size;
  }

  /** Index of the first entry whose marker is at or past `offset`. */
  private firstEndingAt(offset: number): number {
    let low = this.first;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.data[middle * width + 2] ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One of each, as fetch responses list them: by first offset, which begins one transaction. */
export function abortedRanges(aborted: readonly AbortedRange[]): AbortedRange[] {
  const ranges: AbortedRange[] = [];
  for (const one of aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)) {
    const { producerId, firstOffset } = one;
    const last = ranges.at(-1);
    if (last?.firstOffset !== firstOffset) ranges.push({ producerId, firstOffset });
  }
  return ranges;
}
