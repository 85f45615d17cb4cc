import type { OffsetsRecord } from "./ports.ts";

/** The part of a step that the batches are made of. */
export interface WrittenStep {
  readonly records: readonly OffsetsRecord[];
  readonly breaks?: readonly number[];
}

/** A batch's own header. */
const batchBytesFixed = 61;
/** Lengths, deltas and attributes of one record, at most. */
const recordBytesFixed = 32;

/**
 * The records of several steps as batches of at most `bytesMax` where that can be: a batch begins
 * with a step, or where a step may break. What must stay together and is larger is a batch of its
 * own, and the log decides. (pure)
 */
export function inBatchesOf(steps: readonly WrittenStep[], bytesMax: number): OffsetsRecord[][] {
  const batches: OffsetsRecord[][] = [];
  let batch: OffsetsRecord[] = [];
  let bytes = batchBytesFixed;
  for (const { records, breaks = [] } of steps) {
    let start = 0;
    for (const end of [...breaks, records.length]) {
      const part = records.slice(start, end);
      start = end;
      const partBytes = recordsBytes(part);
      if (batch.length > 0 && bytes + partBytes > bytesMax) {
        batches.push(batch);
        [batch, bytes] = [[], batchBytesFixed];
      }
      for (const record of part) batch.push(record);
      bytes += partBytes;
    }
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

export function recordsBytes(records: readonly OffsetsRecord[]): number {
  let bytes = 0;
  for (const { key, value } of records) {
    bytes += recordBytesFixed + key.length + (value?.length ?? 0);
  }
  return bytes;
}
