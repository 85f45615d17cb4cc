/** Delivery states as they are persisted: ranges of offsets with a state and a delivery count. */

/** As in Kafka's records: 0 available, 2 acknowledged, 3 archiving (KIP-1191), 4 archived; acquired
 * is never persisted. */
export const deliveryState = { available: 0, acknowledged: 2, archiving: 3, archived: 4 } as const;

export interface StateBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly deliveryState: number;
  readonly deliveryCount: number;
}

/**
 * `base` with `changes` laid over it in their order, cut at `startOffset` (−1: not cut), in offset
 * order, neighbours that are alike joined.
 */
export function mergeStateBatches(
  base: readonly StateBatch[],
  changes: readonly StateBatch[],
  startOffset: number,
): StateBatch[] {
  let merged: StateBatch[] = [...base].sort((left, right) => left.firstOffset - right.firstOffset);
  for (const change of changes) merged = overlay(merged, change);
  const kept: StateBatch[] = [];
  for (const batch of merged) {
    if (batch.lastOffset < startOffset) continue;
    const firstOffset = Math.max(batch.firstOffset, startOffset);
    const before = kept.at(-1);
    if (before !== undefined && continues(before, batch, firstOffset)) {
      kept[kept.length - 1] = { ...before, lastOffset: batch.lastOffset };
    } else {
      kept.push({ ...batch, firstOffset });
    }
  }
  return kept;
}

/** `batches` are in order and do not overlap; neither do the results. */
function overlay(batches: readonly StateBatch[], change: StateBatch): StateBatch[] {
  const from = lowerBound(batches, change.firstOffset);
  const result = batches.slice(0, from);
  let isPlaced = false;
  let index = from;
  for (; index < batches.length; index++) {
    const batch = batches[index];
    if (batch === undefined || batch.firstOffset > change.lastOffset) break;
    if (batch.firstOffset < change.firstOffset) {
      result.push({ ...batch, lastOffset: change.firstOffset - 1 });
    }
    if (!isPlaced) result.push(change);
    isPlaced = true;
    if (batch.lastOffset > change.lastOffset) {
      result.push({ ...batch, firstOffset: change.lastOffset + 1 });
    }
  }
  if (!isPlaced) result.push(change);
  for (; index < batches.length; index++) {
    const batch = batches[index];
    if (batch !== undefined) result.push(batch);
  }
  return result;
}

/** Index of the first batch that ends at or after `offset`. */
function lowerBound(batches: readonly StateBatch[], offset: number): number {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const batch = batches[middle];
    if (batch !== undefined && batch.lastOffset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function continues(before: StateBatch, batch: StateBatch, firstOffset: number): boolean {
  return (
    before.lastOffset + 1 === firstOffset &&
    before.deliveryState === batch.deliveryState &&
    before.deliveryCount === batch.deliveryCount
  );
}
