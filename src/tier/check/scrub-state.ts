import { lastAtOrBefore } from "../registry/partition-segments.ts";
import type { SegmentEntry, SegmentRegistry } from "../registry/segment-registry.ts";

/** The entry that was looked at last, as its place: it may be merged or gone by now. */
export interface Cursor {
  readonly topicId: string;
  readonly partition: number;
  readonly base: number;
}

/** Figures of a walk over all entries. */
export interface RoundCounts {
  checked: number;
  bytes: number;
  damaged: number;
  /** The store failed: to be looked at by the next round. */
  unchecked: number;
}

export interface FinishedRound extends RoundCounts {
  readonly startedMs: number;
  readonly finishedMs: number;
}

/** What a restart goes on with: `integrity/scrub.json`, format 1. */
export interface ScrubState {
  readonly round:
    | ({ readonly startedMs: number; readonly cursor: Cursor | null } & RoundCounts)
    | null;
  readonly last: FinishedRound | null;
}

export function noCounts(): RoundCounts {
  return { checked: 0, bytes: 0, damaged: 0, unchecked: 0 };
}

export function encodeState(state: ScrubState): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify({ v: 1, ...state })}\n`);
}

/** Null where it cannot be read: then all is looked at from the start, which is never wrong. */
export function decodeState(bytes: Uint8Array): ScrubState | null {
  try {
    const { v, round, last } = JSON.parse(new TextDecoder().decode(bytes)) as {
      v: unknown;
      round: ScrubState["round"];
      last: ScrubState["last"];
    };
    const sound = v === 1 && isRound(round) && isRound(last) && isCursor(round?.cursor ?? null);
    return sound ? { round, last } : null;
  } catch {
    return null;
  }
}

function isRound(round: unknown): boolean {
  if (round === null) return true;
  if (typeof round !== "object" || round === undefined) return false;
  const numbers = ["startedMs", "checked", "bytes", "damaged", "unchecked"];
  return numbers.every((name) => Number.isSafeInteger((round as Record<string, unknown>)[name]));
}

function isCursor(cursor: Cursor | null): boolean {
  if (cursor === null) return true;
  const { topicId, partition, base } = cursor;
  return typeof topicId === "string" && Number.isSafeInteger(partition + base);
}

/** All entries by topic id, partition and offset. What comes into the registry behind the cursor
 * waits for the next round: it was verified when it was registered. */
export class EntryWalk {
  private readonly registry: Pick<SegmentRegistry, "lists" | "segments">;
  private readonly places: { readonly topicId: string; readonly partition: number }[];
  private at = 0;
  private base = -1;
  private before: Cursor | null;
  /** Entries there were when the walk began. */
  readonly total: number;

  constructor(registry: Pick<SegmentRegistry, "lists" | "segments">, after: Cursor | null) {
    this.registry = registry;
    const places: { topicId: string; partition: number }[] = [];
    let total = 0;
    for (const entries of registry.lists()) {
      total += entries.length;
      const [first] = entries;
      if (first === undefined) continue;
      places.push({ topicId: first.topicId, partition: first.partition });
    }
    this.total = total;
    this.places = places.sort(inOrder);
    this.before = after;
    if (after === null) return;
    this.at = this.places.findIndex((place) => inOrder(place, after) >= 0);
    if (this.at < 0) this.at = this.places.length;
    const place = this.places[this.at];
    if (place !== undefined && inOrder(place, after) === 0) this.base = after.base;
  }

  /** Place of the entry given last, for another walk to begin behind it. */
  get cursor(): Cursor | null {
    return this.before;
  }

  next(): SegmentEntry | null {
    for (;;) {
      const place = this.places[this.at];
      if (place === undefined) return null;
      const entries = this.registry.segments(place.topicId, place.partition);
      const entry = entries[lastAtOrBefore(entries, this.base) + 1];
      if (entry !== undefined) {
        this.base = entry.base;
        this.before = { ...place, base: entry.base };
        return entry;
      }
      this.at++;
      this.base = -1;
    }
  }
}

function inOrder(
  a: { readonly topicId: string; readonly partition: number },
  b: { readonly topicId: string; readonly partition: number },
): number {
  if (a.topicId !== b.topicId) return a.topicId < b.topicId ? -1 : 1;
  return a.partition - b.partition;
}
