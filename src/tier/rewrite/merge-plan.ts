import type { IndexMode } from "../ports.ts";
import type { SegmentEntry } from "../registry/segment-registry.ts";
import { agedFromMs } from "../retention.ts";
import { type CompactionRules, dirtyState } from "./compaction-plan.ts";

/** What bounds a merge. */
export interface MergeLimits {
  /** Raw bytes that a merged archive may have. */
  readonly targetBytes: number;
  /** Archives of one merge. */
  readonly sourcesMax: number;
  /** Aborted transactions that one manifest may name. */
  readonly abortedMax: number;
}

/** What a partition's configuration says that concerns merging. */
export interface MergePolicy {
  /** False where compaction decides which archives become one: they only get their indexes here. */
  readonly merges: boolean;
  /** Of a compacted topic: what waits for compaction is merged meanwhile. */
  readonly compaction?: CompactionRules;
  /** Mode in which the topic wants its archives indexed. */
  readonly searchIndex: IndexMode;
  /** Milliseconds; below 0: for ever. */
  readonly retentionMs: number;
  /** Bytes; below 0: any number. */
  readonly retentionBytes: number;
}

/** Consecutive archives to be made one, or one that is to get its index. */
export interface MergeStep {
  readonly sources: readonly SegmentEntry[];
  readonly index: IndexMode | "merge";
  readonly merges: number;
}

/** As many archives of one level make one of the next. */
const fanIn = 8;
/** Merges that a byte goes through at most. */
export const mergesMax = 3;
/** Retention drops whole archives: none becomes larger than this part of what is retained. */
const retentionPart = 8;
/** What retention takes within an hour is not worth a merge. */
const leavingMs = 3_600_000;

/**
 * The next thing to do with a partition's archives, or null (D8, D18). First those without an index
 * get one, the oldest first, and are merged by the way; then small ones are merged, by levels of 8:
 * an archive's level is how often its bytes were merged, and a merge lifts all it takes above the
 * highest of them. What has half of the target's size, or was merged three times, is left alone.
 */
export function nextStep(
  entries: readonly SegmentEntry[],
  policy: MergePolicy,
  limits: MergeLimits,
  nowMs: number,
): MergeStep | null {
  const staying = entries.slice(leaving(entries, policy, nowMs));
  const within = partitionLimits(policy, policy.merges ? limits : { ...limits, sourcesMax: 1 });
  const wantsIndex = policy.searchIndex !== "none" && policy.searchIndex !== "pending";
  const step = wantsIndex ? indexStep(staying, policy.searchIndex, within) : null;
  if (step !== null) return step;
  if (policy.merges) return mergeStep(staying, wantsIndex, within);
  if (policy.compaction === undefined) return null;
  const { firstDirty, cleanableEnd } = dirtyState(staying, policy.compaction, nowMs);
  const waiting = staying.filter(({ base, last }) => base >= firstDirty && last < cleanableEnd);
  return mergeStep(waiting, wantsIndex, partitionLimits(policy, limits));
}

interface PartitionLimits extends MergeLimits {
  /** Milliseconds between the newest records of the oldest and the newest archive. */
  readonly spanMsMax: number;
}

function partitionLimits(policy: MergePolicy, limits: MergeLimits): PartitionLimits {
  const { retentionMs, retentionBytes } = policy;
  const bytes = retentionBytes < 0 ? Number.POSITIVE_INFINITY : retentionBytes / retentionPart;
  return {
    ...limits,
    targetBytes: Math.min(limits.targetBytes, bytes),
    spanMsMax: retentionMs < 0 ? Number.POSITIVE_INFINITY : retentionMs / retentionPart,
  };
}

/** How many of the oldest archives retention has taken, or is about to take. */
function leaving(entries: readonly SegmentEntry[], policy: MergePolicy, nowMs: number): number {
  const { retentionMs, retentionBytes } = policy;
  let count = 0;
  if (retentionMs >= 0) {
    const before = nowMs + Math.min(leavingMs, retentionMs / retentionPart) - retentionMs;
    for (const entry of entries) {
      if (agedFromMs(entry) >= before) break;
      count++;
    }
  }
  if (retentionBytes < 0) return count;
  let bytes = 0;
  for (let at = entries.length - 1; at >= count; at--) {
    bytes += entries[at]?.rawBytes ?? 0;
    if (bytes > retentionBytes) return at + 1;
  }
  return count;
}

/** The oldest archives without an index that lie side by side, as many as one archive may hold. */
function indexStep(
  entries: readonly SegmentEntry[],
  mode: IndexMode,
  limits: PartitionLimits,
): MergeStep | null {
  const first = entries.findIndex((entry) => isPending(entry) && !entry.quarantined);
  const oldest = entries[first];
  if (!oldest) return null;
  const run = new Run(limits);
  for (const entry of entries.slice(first, first + limits.sourcesMax)) {
    if (entry !== oldest && !isPending(entry)) break;
    if (!run.take(entry)) break;
  }
  // One alone may have any size and any level.
  if (run.sources.length < 2) return { sources: [oldest], index: mode, merges: mergesOf(oldest) };
  return { sources: run.sources, index: mode, merges: run.merges + 1 };
}

function mergeStep(
  entries: readonly SegmentEntry[],
  wantsIndex: boolean,
  limits: PartitionLimits,
): MergeStep | null {
  const isFree = (entry: SegmentEntry) =>
    isSmall(entry, limits) && !(wantsIndex && isPending(entry));
  return filling(entries, isFree, limits) ?? level(entries, isFree, limits);
}

/** The first archives that together have half of the target's size or more. */
function filling(
  entries: readonly SegmentEntry[],
  isFree: (entry: SegmentEntry) => boolean,
  limits: PartitionLimits,
): MergeStep | null {
  for (const [start, first] of entries.entries()) {
    if (!isFree(first)) continue;
    const run = new Run(limits);
    for (const entry of entries.slice(start, start + limits.sourcesMax)) {
      if (!isFree(entry) || !run.take(entry)) break;
      if (run.sources.length > 1 && run.bytes >= limits.targetBytes / 2) return merged(run);
    }
  }
  return null;
}

/** The first eight archives of the lowest level that has as many, with the lower ones between. */
function level(
  entries: readonly SegmentEntry[],
  isFree: (entry: SegmentEntry) => boolean,
  limits: PartitionLimits,
): MergeStep | null {
  for (let merges = 0; merges < mergesMax; merges++) {
    for (const [start, first] of entries.entries()) {
      if (!isFree(first)) continue;
      const run = new Run(limits);
      let ofLevel = 0;
      for (const entry of entries.slice(start, start + limits.sourcesMax)) {
        if (!isFree(entry) || mergesOf(entry) > merges || !run.take(entry)) break;
        if (mergesOf(entry) === merges) ofLevel++;
        if (ofLevel === fanIn) return merged(run);
      }
    }
  }
  return null;
}

function merged(run: Run): MergeStep {
  return { sources: run.sources, index: "merge", merges: run.merges + 1 };
}

/** Archives side by side that may become one. */
class Run {
  readonly sources: SegmentEntry[] = [];
  bytes = 0;
  /** The most that one of them was merged. */
  merges = 0;
  private readonly limits: PartitionLimits;
  private aborted = 0;
  private oldestMs = Number.POSITIVE_INFINITY;
  private newestMs = Number.NEGATIVE_INFINITY;

  constructor(limits: PartitionLimits) {
    this.limits = limits;
  }

  /** False, and nothing changed, where it cannot join those before it. */
  take(entry: SegmentEntry): boolean {
    const previous = this.sources[this.sources.length - 1];
    const follows =
      !previous || (previous.last + 1 === entry.base && previous.index === entry.index);
    const bytes = this.bytes + entry.rawBytes;
    const aborted = this.aborted + (entry.aborted ?? 0);
    const oldestMs = Math.min(this.oldestMs, entry.maxTimestamp);
    const newestMs = Math.max(this.newestMs, entry.maxTimestamp);
    const { targetBytes, abortedMax, spanMsMax } = this.limits;
    const fits = bytes <= targetBytes && aborted <= abortedMax && newestMs - oldestMs <= spanMsMax;
    if (!follows || !fits || entry.quarantined || mergesOf(entry) >= mergesMax) return false;
    this.sources.push(entry);
    this.bytes = bytes;
    this.aborted = aborted;
    this.oldestMs = oldestMs;
    this.newestMs = newestMs;
    this.merges = Math.max(this.merges, mergesOf(entry));
    return true;
  }
}

function mergesOf(entry: SegmentEntry): number {
  return entry.merges ?? 0;
}

function isPending(entry: SegmentEntry): boolean {
  return entry.index === "pending";
}

function isSmall(entry: SegmentEntry, limits: PartitionLimits): boolean {
  return entry.rawBytes < limits.targetBytes / 2;
}
