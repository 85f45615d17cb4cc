/** A connection whose peer does not take its responses as fast as they come. */
export interface BacklogHolder {
  /** Ends the connection and drops what waits; it then holds nothing. */
  shed(): void;
}

/**
 * Response bytes that wait for their peers, over all connections (design D15). Beyond the limit
 * the peer that took nothing for the longest time is cut off: whoever asks and does not read must
 * cost neither memory without end nor the others their turn.
 */
export class BacklogMeter {
  readonly bytesMax: number;
  private used = 0;
  /** In the order in which they last made progress. */
  private readonly holders = new Map<BacklogHolder, number>();

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytesUsed(): number {
    return this.used;
  }

  /** `holder` took some bytes or got new ones; `bytes` wait now. A single holder is never shed. */
  set(holder: BacklogHolder, bytes: number): void {
    this.used += bytes - (this.holders.get(holder) ?? 0);
    this.holders.delete(holder);
    if (bytes > 0) this.holders.set(holder, bytes);
    while (this.used > this.bytesMax && this.holders.size > 1) {
      const [slowest] = this.holders.keys();
      if (slowest === undefined) return;
      this.used -= this.holders.get(slowest) ?? 0;
      this.holders.delete(slowest);
      slowest.shed();
    }
  }
}
