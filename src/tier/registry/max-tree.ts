import { assert } from "../../lib/assert.ts";

const fanout = 32;

/** Numbers in a row that tell in a few dozen steps, however many they are, where the next one of at
 * least some size is. Each level holds the maxima of `fanout` neighbours of the level below; after
 * a change in the middle they are made when somebody asks. */
export class MaxTree {
  private readonly values: number[] = [];
  private readonly levels: number[][] = [this.values];
  /** The levels above say nothing of what begins at this index. */
  private staleFrom = Number.POSITIVE_INFINITY;

  push(value: number): void {
    this.values.push(value);
    if (this.staleFrom === Number.POSITIVE_INFINITY) this.raise(this.values.length - 1);
  }

  /** Replaces `count` values from `start` on. */
  splice(start: number, count: number, values: readonly number[]): void {
    this.values.splice(start, count, ...values);
    this.staleFrom = Math.min(this.staleFrom, start);
  }

  /** Index of the first value of at least `floor` from `from` on; -1 where there is none. */
  firstAtLeast(floor: number, from: number): number {
    this.refresh();
    let at = from;
    for (let level = 0; ; level++) {
      const values = this.levels[level];
      if (values === undefined) return -1;
      const end = groupEnd(values, at);
      for (; at < end; at++) {
        if ((values[at] ?? 0) >= floor) return this.descend(level, at, floor);
      }
      if (end === values.length) return -1;
      at = end / fanout;
    }
  }

  /** The largest value from `from` on; -Infinity where there is none. */
  max(from: number): number {
    this.refresh();
    let most = Number.NEGATIVE_INFINITY;
    let at = from;
    for (const values of this.levels) {
      const end = groupEnd(values, at);
      for (; at < end; at++) most = Math.max(most, values[at] ?? most);
      if (end === values.length) return most;
      at = end / fanout;
    }
    return most;
  }

  private descend(level: number, index: number, floor: number): number {
    let at = index;
    for (let below = level - 1; below >= 0; below--) {
      const values = this.levels[below] ?? [];
      at *= fanout;
      while ((values[at] ?? Number.NEGATIVE_INFINITY) < floor) {
        at++;
        assert(at < values.length, "a maximum stands above the value it was taken from");
      }
    }
    return at;
  }

  /** Carries the value at `index`, which was appended, into the levels above. */
  private raise(index: number): void {
    let at = index;
    for (let level = 0; (this.levels[level]?.length ?? 0) > fanout; level++) {
      const below = this.levels[level] ?? [];
      at = Math.floor(at / fanout);
      const above = this.levels[level + 1];
      if (above === undefined) this.levels.push([maxOf(below, 0), maxOf(below, fanout)]);
      else above[at] = maxOf(below, at * fanout);
    }
  }

  private refresh(): void {
    if (this.staleFrom === Number.POSITIVE_INFINITY) return;
    let from = this.staleFrom;
    let level = 0;
    for (; (this.levels[level]?.length ?? 0) > fanout; level++) {
      const below = this.levels[level] ?? [];
      const above = this.levels[level + 1] ?? [];
      this.levels[level + 1] = above;
      from = Math.min(Math.floor(from / fanout), above.length);
      above.length = from;
      for (let at = from * fanout; at < below.length; at += fanout) above.push(maxOf(below, at));
    }
    this.levels.length = level + 1;
    this.staleFrom = Number.POSITIVE_INFINITY;
  }
}

function groupEnd(values: readonly number[], at: number): number {
  return Math.min(values.length, (Math.floor(at / fanout) + 1) * fanout);
}

function maxOf(values: readonly number[], start: number): number {
  let most = Number.NEGATIVE_INFINITY;
  const end = groupEnd(values, start);
  for (let at = start; at < end; at++) most = Math.max(most, values[at] ?? most);
  return most;
}
