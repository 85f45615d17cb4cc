import { batchHeaderBytes } from "../../protocol/record-batch.ts";
import type { SegmentEntry } from "../registry/segment-registry.ts";

/** A topic's configs that say when to compact; Kafka's names in the comments. Milliseconds. */
export interface CompactionRules {
  /** `min.cleanable.dirty.ratio`. */
  readonly dirtyRatioMin: number;
  /** `min.compaction.lag.ms` and `max.compaction.lag.ms`. */
  readonly lagMsMin: number;
  readonly lagMsMax: number;
}

/** How much of a partition's archives was never compacted. Offsets, bytes of batches. */
export interface DirtyState {
  /** Keys below are compacted: no record below is superseded by another below. */
  readonly firstDirty: number;
  /** One past the last offset that may be compacted now. */
  readonly cleanableEnd: number;
  readonly cleanBytes: number;
  readonly cleanableBytes: number;
  /** Cleanable of clean and cleanable bytes, 0 to 1. */
  readonly ratio: number;
  /** By how much the oldest dirty record is older than `max.compaction.lag.ms`; 0: it is not. */
  readonly overdueMs: number;
}

/** What one archive became of, and where it may be joined with its neighbours. */
export interface CompactionPlan extends DirtyState {
  /** Archives that hold keys not known yet, in offset order: their keys make the offset map. */
  readonly dirty: readonly SegmentEntry[];
  readonly why: "ratio" | "lag";
}

/**
 * How dirty a partition is (pure), as Kafka's LogCleanerManager sees segments: archives are its
 * inactive segments, what is not archived yet its active one. `entries` follow one another without
 * a hole.
 */
export function dirtyState(
  entries: readonly SegmentEntry[],
  rules: CompactionRules,
  nowMs: number,
): DirtyState {
  const firstDirty = firstDirtyOffset(entries);
  const clean = entries.filter((entry) => entry.last < firstDirty);
  const dirty = entries.slice(clean.length);
  const tooYoung = dirty.findIndex((entry) => entry.maxTimestamp > nowMs - rules.lagMsMin);
  const cleanable = rules.lagMsMin > 0 && tooYoung >= 0 ? dirty.slice(0, tooYoung) : dirty;
  const cleanBytes = rawBytes(clean);
  const cleanableBytes = rawBytes(cleanable);
  const total = cleanBytes + cleanableBytes;
  const oldest = dirty.reduce(
    (min, { minTimestamp }) => (minTimestamp > 0 ? Math.min(min, minTimestamp) : min),
    Number.POSITIVE_INFINITY,
  );
  return {
    firstDirty,
    cleanableEnd: (cleanable[cleanable.length - 1]?.last ?? firstDirty - 1) + 1,
    cleanBytes,
    cleanableBytes,
    ratio: total === 0 ? 0 : cleanableBytes / total,
    overdueMs: Math.max(0, nowMs - rules.lagMsMax - oldest),
  };
}

/** What to compact of a partition now (pure); null: nothing, it is clean enough. */
export function planCompaction(
  entries: readonly SegmentEntry[],
  rules: CompactionRules,
  nowMs: number,
): CompactionPlan | null {
  const state = dirtyState(entries, rules, nowMs);
  if (state.cleanableBytes === 0) return null;
  const isDirtyEnough = state.ratio > rules.dirtyRatioMin;
  if (!isDirtyEnough && state.overdueMs === 0) return null;
  const dirty = entries.filter(
    (entry) => entry.last >= state.firstDirty && entry.base < state.cleanableEnd,
  );
  return { ...state, dirty, why: isDirtyEnough ? "ratio" : "lag" };
}

/** Consecutive archives that one rewrite takes and joins (pure): all that begin below `mapEnd`, so
 * that the oldest record of a key goes before what deleted it, up to `bytesMax` of batches and
 * `archivesMax` each; a larger archive is rewritten alone. */
export function groupsToRewrite(
  entries: readonly SegmentEntry[],
  mapEnd: number,
  bytesMax: number,
  archivesMax: number,
): SegmentEntry[][] {
  const groups: SegmentEntry[][] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (entry.base >= mapEnd) break;
    const group = groups[groups.length - 1];
    if (group && bytes + entry.rawBytes <= bytesMax && group.length < archivesMax) {
      group.push(entry);
      bytes += entry.rawBytes;
    } else {
      groups.push([entry]);
      bytes = entry.rawBytes;
    }
  }
  return groups;
}

/** Whether a round can find nothing to change in an archive (pure): of its records none is left,
 * but the empty batch that it ends with. */
export function isEmptied({ records, rawBytes, aborted }: SegmentEntry): boolean {
  return records === 0 && rawBytes <= batchHeaderBytes && (aborted ?? 0) === 0;
}

/** Where the next offset map begins: behind the newest archive that a finished round ended with. A
 * round that was cut short left no such archive, and is repeated. */
export function firstDirtyOffset(entries: readonly SegmentEntry[]): number {
  for (let index = entries.length - 1; index >= 0; index--) {
    const cleanedTo = entries[index]?.cleanedTo;
    if (cleanedTo !== undefined) return cleanedTo;
  }
  return entries[0]?.base ?? 0;
}

function rawBytes(entries: readonly SegmentEntry[]): number {
  return entries.reduce((sum, entry) => sum + entry.rawBytes, 0);
}
