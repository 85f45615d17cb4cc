/** Where a restored partition begins and ends, and what it knows of its producers. (pure) */
import { type Checkpoint, encodeCheckpoint } from "../log/checkpoint.ts";
import type { EpochStart } from "../log/leader-epochs.ts";
import type { ProducerSnapshot } from "../log/producer-state.ts";
import type { PartitionHead } from "./format.ts";

export interface RestoredRange {
  readonly logStart: number;
  /** One past the last record that is there; committed offsets are cut to it. */
  readonly logEnd: number;
  readonly archivedTo: number;
  /** Offsets [logEnd, lostTo) were known at the backup and are gone. */
  readonly lostTo: number;
}

/** `archived`: what the registry covers, its oldest offset and the end. */
export function restoredRange(
  head: PartitionHead | undefined,
  archived: { readonly start: number; readonly end: number } | null,
): RestoredRange {
  const logStart = head?.logStart ?? archived?.start ?? 0;
  const archivedTo = archived?.end ?? 0;
  const logEnd = Math.max(logStart, archivedTo);
  return { logStart, logEnd, archivedTo, lostTo: Math.max(logEnd, head?.highWatermark ?? 0) };
}

/** The checkpoint of a partition whose WAL is gone. */
export function restoredCheckpoint(
  id: { readonly topicId: string; readonly partition: number },
  range: RestoredRange,
  epochs: readonly EpochStart[],
  producers: readonly ProducerSnapshot[],
): Uint8Array {
  const checkpoint: Checkpoint = {
    ...id,
    logStart: range.logStart,
    logEnd: range.logEnd,
    epochs: epochs.filter(([, start]) => start < range.logEnd),
    segmentIdNext: 0,
    producers: producersBelow(producers, range.logEnd),
    aborted: [],
    abortedRuns: [],
    archivedTo: range.archivedTo,
  };
  return encodeCheckpoint(checkpoint);
}

/** Producers whose newest records are there. One that wrote on is forgotten: the records before its
 * next sequence are gone, and an unknown producer may begin anywhere. Nothing archived is part of
 * an open transaction (design D4). */
function producersBelow(
  producers: readonly ProducerSnapshot[],
  logEnd: number,
): ProducerSnapshot[] {
  return producers
    .filter(({ batches }) => batches.every(({ lastOffset }) => lastOffset < logEnd))
    .map((producer) => ({ ...producer, transactionStart: -1 }));
}
