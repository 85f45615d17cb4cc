/** What a client says of a record it acquired (KIP-932; renew: KIP-1222). */
export const acknowledgeType = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const;

/** Offsets of a request with one type for all, or one for each. */
export interface AcknowledgementBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly acknowledgeTypes: readonly number[];
}

export interface TypedRange {
  readonly first: number;
  readonly last: number;
  readonly type: number;
}

/** The batch as ranges of one type each. */
export function typedRanges(batch: AcknowledgementBatch): TypedRange[] {
  const { firstOffset, lastOffset, acknowledgeTypes } = batch;
  const [only] = acknowledgeTypes;
  if (acknowledgeTypes.length === 1 && only !== undefined) {
    return [{ first: firstOffset, last: lastOffset, type: only }];
  }
  const ranges: TypedRange[] = [];
  let first = firstOffset;
  for (const [index, type] of acknowledgeTypes.entries()) {
    if (acknowledgeTypes[index + 1] === type) continue;
    const last = firstOffset + index;
    ranges.push({ first, last, type });
    first = last + 1;
  }
  return ranges;
}

/** Why the batches of one partition cannot be meant, before its state is looked at. */
export function areWellFormed(
  batches: readonly AcknowledgementBatch[],
  options: { readonly mayRenew: boolean; readonly isRenewAck: boolean },
): boolean {
  let previousLast = -1;
  const typeMax = options.mayRenew ? acknowledgeType.renew : acknowledgeType.reject;
  for (const { firstOffset, lastOffset, acknowledgeTypes } of batches) {
    const types = acknowledgeTypes.length;
    if (firstOffset > lastOffset || firstOffset < previousLast) return false;
    if (types === 0 || (types > 1 && lastOffset - firstOffset !== types - 1)) return false;
    for (const type of acknowledgeTypes) {
      if (type < acknowledgeType.gap || type > typeMax) return false;
      if (type === acknowledgeType.renew && !options.isRenewAck) return false;
    }
    previousLast = lastOffset;
  }
  return true;
}
