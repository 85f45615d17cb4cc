import {
  type BatchHeader,
  isControl,
  isTransactional,
  lastOffset,
} from "../protocol/record-batch.ts";

export interface OffsetRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The batches, among those in `headers`, of transactions that were aborted. `aborted`: their first
 * offsets, ascending. A producer has one transaction at a time, so the next marker of one that is
 * in an aborted transaction ends it.
 */
export function abortedBatches(
  headers: readonly BatchHeader[],
  aborted: readonly { readonly producerId: number; readonly firstOffset: number }[],
): OffsetRange[] {
  const found: OffsetRange[] = [];
  const producers = new Set<number>();
  let next = 0;
  for (const header of headers) {
    const { attributes, producerId, baseOffset } = header;
    const last = lastOffset(header);
    for (let one = aborted[next]; one !== undefined && one.firstOffset <= last; ) {
      producers.add(one.producerId);
      one = aborted[++next];
    }
    if (!producers.has(producerId)) continue;
    if (isControl(attributes)) producers.delete(producerId);
    else if (isTransactional(attributes)) found.push({ first: baseOffset, last });
  }
  return found;
}
