import type { RegistryChange, SegmentEntry } from "./registry/segment-registry.ts";

export type TimelineEventType =
  | "sealed"
  | "archived"
  | "merged"
  | "compacted"
  | "indexed"
  | "rewritten"
  | "dropped"
  | "topic-retired"
  | "quarantined"
  | "unquarantined"
  | "failed";

/** Something that happened to a range of a partition. Offsets are inclusive; -1 where none are
 * meant. `bytes` are those of the archives, of the WAL segment where it was sealed. */
export interface TimelineEvent {
  readonly type: TimelineEventType;
  readonly topic: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly bytes: number;
  /** How many archives it took, and what went wrong. */
  readonly detail?: string;
}

interface Dated {
  readonly sequence: number;
  readonly atMs: number;
  readonly event: TimelineEvent;
}

/** The newest events of the tiers, so that an operator sees what became of a range and when.
 * Bounded; not kept over a restart. */
export class Timeline {
  private readonly nowMs: () => number;
  private readonly eventsMax: number;
  private readonly ring: Dated[] = [];
  private recorded = 0;

  constructor(nowMs: () => number, eventsMax: number) {
    this.nowMs = nowMs;
    this.eventsMax = eventsMax;
  }

  record(event: TimelineEvent): void {
    const sequence = this.recorded++;
    this.ring[sequence % this.eventsMax] = { sequence, atMs: this.nowMs(), event };
  }

  /** What a change of the registry means. */
  registryChanged(change: RegistryChange): void {
    for (const event of eventsOf(change)) this.record(event);
  }

  /** The newest events, newest first, at most `limit`; of one topic where given. */
  newest(limit: number, topic: string | null = null): TimelineEventView[] {
    const found: TimelineEventView[] = [];
    const oldest = Math.max(0, this.recorded - this.eventsMax);
    for (let at = this.recorded - 1; at >= oldest && found.length < limit; at--) {
      const dated = this.ring[at % this.eventsMax];
      if (dated === undefined || (topic !== null && dated.event.topic !== topic)) continue;
      found.push(viewOf(dated));
    }
    return found;
  }
}

/** An event as the admin API tells it. */
export interface TimelineEventView {
  readonly sequence: number;
  readonly at: string;
  readonly type: TimelineEventType;
  readonly topic: string;
  readonly partition: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly bytes: number;
  readonly detail: string | null;
}

function viewOf({ sequence, atMs, event }: Dated): TimelineEventView {
  return {
    sequence,
    at: new Date(atMs).toISOString(),
    type: event.type,
    topic: event.topic,
    partition: event.partition,
    base_offset: event.baseOffset,
    last_offset: event.lastOffset,
    bytes: event.bytes,
    detail: event.detail ?? null,
  };
}

/** Events of one change: one, or one for each partition of a topic. */
function eventsOf({ type, removed, added }: RegistryChange): TimelineEvent[] {
  switch (type) {
    case "add":
      return spans("archived", added);
    case "replace":
      return spans(rewriteType(removed, added), added).map((event) => ({
        ...event,
        detail: `${removed.length} archives became ${added.length}`,
      }));
    case "drop":
      return spans("dropped", removed);
    case "retire-topic":
      return spans("topic-retired", removed);
    case "quarantine":
      return added[0]?.quarantined ? spans("quarantined", added) : spans("unquarantined", added);
    default:
      return [];
  }
}

/** A rewrite that has fewer records was a compaction; one that has fewer archives a merge. */
function rewriteType(
  removed: readonly SegmentEntry[],
  added: readonly SegmentEntry[],
): TimelineEventType {
  const records = (list: readonly SegmentEntry[]) => list.reduce((sum, s) => sum + s.records, 0);
  if (records(added) < records(removed)) return "compacted";
  if (added.length < removed.length) return "merged";
  return removed.some((segment) => segment.index === "pending") ? "indexed" : "rewritten";
}

/** What the archives cover, by partition. */
function spans(type: TimelineEventType, segments: readonly SegmentEntry[]): TimelineEvent[] {
  return [...Map.groupBy(segments, ({ partition }) => partition).values()].flatMap((list) => {
    const first = list[0];
    const last = list[list.length - 1];
    if (!first || !last) return [];
    return {
      type,
      topic: first.topic,
      partition: first.partition,
      baseOffset: first.base,
      lastOffset: last.last,
      bytes: list.reduce((sum, segment) => sum + segment.bytes, 0),
      ...(first.quarantined === undefined ? {} : { detail: first.quarantined.reason }),
      ...(list.length > 1 ? { detail: `${list.length} archives` } : {}),
    };
  });
}
