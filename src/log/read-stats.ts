/** Where readers' bytes came from. */
export type ReadTier = "tail" | "wal" | "archive";

interface Reads {
  count: number;
  bytes: number;
}

/** Reads of all partitions by the tier that answered. One read of a client may be several here. */
export class ReadStats {
  readonly tail: Reads = { count: 0, bytes: 0 };
  readonly wal: Reads = { count: 0, bytes: 0 };
  readonly archive: Reads = { count: 0, bytes: 0 };
  /** Is told how long each took that was not answered from memory at once. */
  onTimed: (tier: "wal" | "archive", seconds: number) => void = () => undefined;

  answered(tier: ReadTier, bytes: number): void {
    this[tier].count++;
    this[tier].bytes += bytes;
  }

  timed(tier: "wal" | "archive", bytes: number, durationMs: number): void {
    this.answered(tier, bytes);
    this.onTimed(tier, durationMs / 1000);
  }
}
