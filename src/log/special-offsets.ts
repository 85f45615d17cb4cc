/**
 * ListOffsets' special timestamps: −1 latest, −2 earliest, −3 the record with the largest one; and
 * about tiers (KIP-405, KIP-1005, KIP-1023): −4 the first offset in the WAL,
 * −5 the last archived one, −6 the first one not archived yet. (pure)
 */
import type { EpochStart } from "./leader-epochs.ts";

export const latestTimestamp = -1;
export const earliestTimestamp = -2;
export const maxTimestamp = -3;
export const earliestLocalTimestamp = -4;
export const latestTieredTimestamp = -5;
export const earliestPendingUploadTimestamp = -6;

export type TierTimestamp =
  | typeof earliestLocalTimestamp
  | typeof latestTieredTimestamp
  | typeof earliestPendingUploadTimestamp;

export interface TimestampResult {
  readonly errorCode: number;
  readonly offset: number;
  readonly timestamp: number;
  readonly leaderEpoch: number;
}

export const noOffset: Omit<TimestampResult, "errorCode"> = {
  offset: -1,
  timestamp: -1,
  leaderEpoch: -1,
};

/** What a partition knows of its tiers; a Partition is one. */
export interface Tiered {
  readonly internal: boolean;
  readonly logStartOffset: number;
  readonly localStartOffset: number;
  readonly archivedEndOffset: number | null;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  leaderEpochs(): readonly EpochStart[];
}

/** −1 as offset and epoch: there is no such offset. `archiving`: whether the broker archives. */
export function tierOffset(
  timestamp: TierTimestamp,
  log: Tiered,
  archiving: boolean,
  committed: boolean,
): { offset: number; leaderEpoch: number } {
  const tiered = log.archivedEndOffset !== null || (archiving && !log.internal);
  const offset = offsetOf(timestamp, log, tiered, committed);
  const epoch = log.leaderEpochs().findLast(([, startOffset]) => startOffset <= offset);
  return { offset, leaderEpoch: epoch?.[0] ?? -1 };
}

function offsetOf(
  timestamp: TierTimestamp,
  log: Tiered,
  tiered: boolean,
  committed: boolean,
): number {
  const { logStartOffset, localStartOffset, archivedEndOffset } = log;
  switch (timestamp) {
    case earliestLocalTimestamp:
      return tiered ? Math.max(localStartOffset, logStartOffset) : logStartOffset;
    case latestTieredTimestamp:
      return tiered && archivedEndOffset !== null ? archivedEndOffset - 1 : -1;
    case earliestPendingUploadTimestamp: {
      if (!tiered) return -1;
      const pending = Math.max(archivedEndOffset ?? 0, logStartOffset);
      // Where all that may be read is archived, nothing is pending.
      return pending < (committed ? log.lastStableOffset : log.highWatermark) ? pending : -1;
    }
  }
}
