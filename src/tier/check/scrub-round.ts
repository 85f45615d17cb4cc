import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";
import { type Cursor, EntryWalk, type RoundCounts } from "./scrub-state.ts";
import type { CheckOutcome, Depth } from "./segment-check.ts";

/** What was asked for by an operator. */
export interface RunView {
  readonly depth: "shallow" | "deep";
  readonly startedMs: number;
  readonly checked: number;
  readonly total: number;
  readonly damaged: number;
  readonly unchecked: number;
  /** Null while it goes on. */
  readonly finishedMs: number | null;
  /** Why it ended before everything was looked at. */
  readonly error: string | null;
}

/** Times an entry that the store does not give is asked for in one round. */
const triesMax = 2;

/** One walk over all entries: what comes next, and what was found so far. */
export class ScrubRound {
  readonly depth: Depth;
  readonly startedMs: number;
  readonly counts: RoundCounts;
  /** Times in a row that the store failed. */
  failures = 0;
  /** The last entry that is done with. */
  cursor: Cursor | null;
  private readonly walk: EntryWalk;
  private open: SegmentEntry | null = null;
  private tries = 0;

  constructor(
    depth: Depth,
    begun: { readonly startedMs: number } & RoundCounts,
    registry: Pick<SegmentRegistry, "lists" | "segments">,
    after: Cursor | null,
  ) {
    this.depth = depth;
    this.startedMs = begun.startedMs;
    const { checked, bytes, damaged, unchecked } = begun;
    this.counts = { checked, bytes, damaged, unchecked };
    this.walk = new EntryWalk(registry, after);
    this.cursor = after;
  }

  get total(): number {
    return this.walk.total;
  }

  view(finishedMs: number | null, error: string | null): RunView {
    const { checked, damaged, unchecked } = this.counts;
    const { startedMs, total } = this;
    const depth = this.depth === "deep" ? "deep" : "shallow";
    return { depth, startedMs, checked, total, damaged, unchecked, finishedMs, error };
  }

  /** The entry to look at, the same one until `take` or `pass` is done with it. */
  next(): SegmentEntry | null {
    this.open ??= this.walk.next();
    return this.open;
  }

  /** Goes on behind an entry that needs no look. */
  pass(_entry: SegmentEntry): void {
    this.open = null;
    this.tries = 0;
    this.cursor = this.walk.cursor;
  }

  /** Takes in what a look found; false where the entry is to be looked at again. */
  take(entry: SegmentEntry, outcome: CheckOutcome): boolean {
    if (outcome.kind === "stopped") return false;
    const { counts } = this;
    if (outcome.kind === "unavailable") {
      this.failures++;
      this.tries++;
      if (this.tries < triesMax) return true;
      counts.unchecked++;
      this.pass(entry);
      return true;
    }
    this.failures = 0;
    counts.checked++;
    counts.bytes += entry.bytes;
    if (outcome.kind === "damaged") counts.damaged++;
    this.pass(entry);
    return true;
  }
}
