/**
 * ListOffsets' questions about tiers (KIP-405, KIP-1005, KIP-1023): −4 the first offset in the WAL,
 * −5 the last archived one, −6 the first one not archived yet. (pure)
 */
export const earliestLocalTimestamp = -4;
export const latestTieredTimestamp = -5;
export const earliestPendingUploadTimestamp = -6;

export type TierTimestamp =
  | typeof earliestLocalTimestamp
  | typeof latestTieredTimestamp
  | typeof earliestPendingUploadTimestamp;

export interface TierView {
  /** Whether this partition is archived at all. */
  readonly tiered: boolean;
  readonly logStartOffset: number;
  /** First offset in the WAL, the log end where it holds none. */
  readonly localStartOffset: number;
  /** One past the last archived offset; null: nothing is archived. */
  readonly archivedEndOffset: number | null;
  /** High watermark or last stable offset. */
  readonly limit: number;
  epochOf(offset: number): number;
}

/** −1 as offset and epoch: there is no such offset. */
export function tierOffset(
  timestamp: TierTimestamp,
  view: TierView,
): { offset: number; leaderEpoch: number } {
  const offset = offsetOf(timestamp, view);
  return { offset, leaderEpoch: offset < 0 ? -1 : view.epochOf(offset) };
}

function offsetOf(timestamp: TierTimestamp, view: TierView): number {
  const { tiered, logStartOffset, localStartOffset, archivedEndOffset, limit } = view;
  switch (timestamp) {
    case earliestLocalTimestamp:
      return tiered ? Math.max(localStartOffset, logStartOffset) : logStartOffset;
    case latestTieredTimestamp:
      return tiered && archivedEndOffset !== null ? archivedEndOffset - 1 : -1;
    case earliestPendingUploadTimestamp: {
      if (!tiered) return -1;
      const pending = Math.max(archivedEndOffset ?? 0, logStartOffset);
      // Where all that may be read is archived, nothing is pending.
      return pending < limit ? pending : -1;
    }
  }
}
