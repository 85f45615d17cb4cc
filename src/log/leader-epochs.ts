/** Which leader epoch wrote which offsets: ascending (epoch, start offset) pairs. (pure) */
import { noLeaderEpoch } from "../protocol/record-batch.ts";

export type EpochStart = readonly [epoch: number, startOffset: number];

const undefinedOffset = -1;

export class LeaderEpochs {
  private entries: EpochStart[];

  constructor(entries: readonly EpochStart[] = []) {
    this.entries = [];
    for (const [epoch, startOffset] of entries) this.assign(epoch, startOffset);
  }

  get latest(): number {
    return this.entries.at(-1)?.[0] ?? noLeaderEpoch;
  }

  /** From `startOffset` on, `epoch` writes. An older or the same epoch changes nothing. */
  assign(epoch: number, startOffset: number): void {
    if (epoch < 0 || epoch <= this.latest) return;
    // An epoch that wrote nothing says nothing.
    while ((this.entries.at(-1)?.[1] ?? -1) >= startOffset) this.entries.pop();
    this.entries.push([epoch, startOffset]);
  }

  /** The epoch that wrote `offset`; −1 below the first known one. */
  epochOf(offset: number): number {
    for (let index = this.entries.length - 1; index >= 0; index--) {
      const entry = this.entries[index];
      if (entry !== undefined && entry[1] <= offset) return entry[0];
    }
    return noLeaderEpoch;
  }

  /**
   * Where `epoch` ended, as OffsetForLeaderEpoch answers it: the log end for the latest; −1/−1 for
   * a later one or none; otherwise the largest known epoch at or below it and where the next began.
   */
  endOffsetFor(epoch: number, logEndOffset: number): { leaderEpoch: number; endOffset: number } {
    const unknown = { leaderEpoch: noLeaderEpoch, endOffset: undefinedOffset };
    if (epoch === noLeaderEpoch || this.entries.length === 0) return unknown;
    if (epoch === this.latest) return { leaderEpoch: epoch, endOffset: logEndOffset };
    const higher = this.entries.findIndex((entry) => entry[0] > epoch);
    const next = this.entries[higher];
    if (next === undefined) return unknown;
    const floor = this.entries[higher - 1];
    return { leaderEpoch: floor === undefined ? epoch : floor[0], endOffset: next[1] };
  }

  /** Forgets epochs that ended at or below `logStartOffset`; the one covering it then starts
   * there. */
  truncateFromStart(logStartOffset: number): void {
    const epoch = this.epochOf(logStartOffset);
    const kept = this.entries.filter((entry) => entry[1] > logStartOffset);
    if (epoch !== noLeaderEpoch) kept.unshift([epoch, logStartOffset]);
    this.entries = kept;
  }

  /** Forgets epochs that started past `endOffset`. */
  truncateFromEnd(endOffset: number): void {
    this.entries = this.entries.filter((entry) => entry[1] <= endOffset);
  }

  toArray(): EpochStart[] {
    return this.entries.slice();
  }
}
