/** Offset, length, epoch, magic, crc, attributes, last offset delta: what finds a batch's range. */
const batchLengthPosition = 8;
const lastOffsetDeltaPosition = 23;
const batchHeaderBytes = 61;

export interface BatchSlice {
  readonly bytes: Uint8Array;
  /** One past the last offset in `bytes`, or past a hole before what did not fit. */
  readonly nextOffset: number;
  /** Stopped before the chunk's end because of a limit. */
  readonly cut: boolean;
  /** First offset at or past the one asked for that no batch up to `nextOffset` holds. */
  readonly holeAt: number | null;
}

/** Batches of a chunk from the one that holds `offset`, or the first after it, on, within the
 * limits (pure). Null: the chunk ends before `offset`. */
export function sliceBatches(
  chunk: Uint8Array,
  offset: number,
  offsetLimit: number,
  bytesMax: number,
  firstAlways: boolean,
): BatchSlice | null {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  let start = -1;
  let end = 0;
  let nextOffset = offset;
  let holeAt: number | null = null;
  let cut = false;
  for (let position = 0; position + batchHeaderBytes <= chunk.length; ) {
    const size = 12 + view.getInt32(position + batchLengthPosition);
    const base = Number(view.getBigInt64(position));
    const last = base + view.getInt32(position + lastOffsetDeltaPosition);
    if (last >= offset) {
      if (base > nextOffset) holeAt ??= nextOffset;
      const taken = start < 0 ? 0 : end - start;
      const tooLarge = taken + size > bytesMax && !(firstAlways && start < 0);
      if (last >= offsetLimit || tooLarge) {
        nextOffset = Math.max(nextOffset, Math.min(base, offsetLimit));
        cut = true;
        break;
      }
      if (start < 0) start = position;
      end = position + size;
      nextOffset = last + 1;
    }
    position += size;
  }
  if (start >= 0) return { bytes: chunk.subarray(start, end), nextOffset, cut, holeAt };
  return cut ? { bytes: new Uint8Array(), nextOffset, cut, holeAt } : null;
}
