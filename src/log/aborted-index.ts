/** Which transactions of a partition were aborted, for read_committed readers. (pure) */

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

export class AbortedIndex {
  /** In the order of their markers. */
  private entries: AbortedTransaction[];

  /** Takes `entries` over. */
  constructor(entries: AbortedTransaction[] = []) {
    this.entries = entries;
  }

  get size(): number {
    return this.entries.length;
  }

  /** The same index, for a read that takes time: what is forgotten meanwhile stays in it. */
  pinned(): AbortedIndex {
    return new AbortedIndex(this.entries);
  }

  add(aborted: readonly AbortedTransaction[]): void {
    this.entries.push(...aborted);
  }

  /** Those with offsets in [from, to), in the order of their markers. */
  overlapping(from: number, to: number): AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    if (from >= to) return found;
    for (let index = this.firstEndingAt(from); index < this.entries.length; index++) {
      const entry = this.entries[index];
      if (entry === undefined) break;
      if (entry.firstOffset < to) found.push(entry);
      if (entry.lastStableOffset >= to) break;
    }
    return found;
  }

  /** Those that end at or past `offset`. */
  from(offset: number): readonly AbortedTransaction[] {
    return this.entries.slice(this.firstEndingAt(offset));
  }

  /** Forgets those that end below `offset`. */
  forgetBelow(offset: number): void {
    const first = this.firstEndingAt(offset);
    if (first > 0) this.entries = this.entries.slice(first);
  }

  /** Index of the first entry whose marker is at or past `offset`. */
  private firstEndingAt(offset: number): number {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.entries[middle]?.lastOffset ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One of each, as fetch responses list them: by first offset. */
export function abortedRanges(aborted: readonly AbortedRange[]): AbortedRange[] {
  const ranges = new Map<string, AbortedRange>();
  for (const { producerId, firstOffset } of aborted) {
    ranges.set(`${firstOffset}/${producerId}`, { producerId, firstOffset });
  }
  return [...ranges.values()].sort((a, b) => a.firstOffset - b.firstOffset);
}
