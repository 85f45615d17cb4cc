import { assert } from "../../lib/assert.ts";
import { MaxTree } from "./max-tree.ts";
import type { SegmentEntry } from "./segment-registry.ts";

/** The registered archives of one partition in offset order. A list that was handed out only ever
 * grows at its end: a change in its middle makes a new one. */
export class PartitionSegments {
  private list: SegmentEntry[] = [];
  private readonly maxTimestamps = new MaxTree();
  /** First offset of the newest run without a hole. */
  private runStart = 0;
  private isHandedOut = false;

  get length(): number {
    return this.list.length;
  }

  get entries(): readonly SegmentEntry[] {
    this.isHandedOut = true;
    return this.list;
  }

  /** Archived offsets [start, end): the newest run without a hole. */
  get range(): { start: number; end: number } | null {
    const last = this.list[this.list.length - 1];
    return last ? { start: this.runStart, end: last.last + 1 } : null;
  }

  push(entry: SegmentEntry): void {
    const last = this.list[this.list.length - 1];
    if (!last || last.last + 1 !== entry.base) this.runStart = entry.base;
    this.list.push(entry);
    this.maxTimestamps.push(entry.maxTimestamp);
  }

  /** Puts `entries` in the place of `count` ones from `start` on; returns those taken out. What is
   * put covers the same offsets, or nothing where they were the oldest. */
  splice(start: number, count: number, entries: readonly SegmentEntry[]): readonly SegmentEntry[] {
    if (this.isHandedOut) this.list = this.list.slice();
    this.isHandedOut = false;
    const removed = this.list.splice(start, count, ...entries);
    assert(removed.length === count, "segments to replace are there");
    const times = entries.map((entry) => entry.maxTimestamp);
    this.maxTimestamps.splice(start, count, times);
    this.runStart = Math.max(this.runStart, this.list[0]?.base ?? 0);
    return removed;
  }

  find(offset: number): SegmentEntry | undefined {
    const entry = this.list[lastAtOrBefore(this.list, offset)];
    return entry && offset <= entry.last ? entry : undefined;
  }

  /** Index of the first entry that reaches to `offset` or past it; their number when none does. */
  indexFrom(offset: number): number {
    const index = lastAtOrBefore(this.list, offset);
    const entry = this.list[index];
    return entry && offset <= entry.last ? index : index + 1;
  }

  /** First entry reaching to `fromOffset` or past it with a timestamp of at least `target`. */
  firstAtTime(target: number, fromOffset: number): SegmentEntry | undefined {
    return this.list[this.maxTimestamps.firstAtLeast(target, this.indexFrom(fromOffset))];
  }

  /** First entry with the largest timestamp among those reaching to `fromOffset` or past it. */
  latest(fromOffset: number): SegmentEntry | undefined {
    const from = this.indexFrom(fromOffset);
    return this.list[this.maxTimestamps.firstAtLeast(this.maxTimestamps.max(from), from)];
  }
}

/** Index of the last entry whose base is at or before `offset`; -1 when all lie after it. */
export function lastAtOrBefore(entries: readonly { base: number }[], offset: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    assert(entry !== undefined, "binary search stays inside the array");
    if (entry.base <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
