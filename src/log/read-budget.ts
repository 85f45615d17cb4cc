/** Bounds the bytes that fetches may read at a time, all together. (pure) */
import { assert } from "../lib/assert.ts";

/** Granted even when the budget is spent: every fetch gets on. */
const grantBytesMin = 64 << 10;

export class ReadBudget {
  private readonly bytesMax: number;
  private bytesUsed = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.bytesUsed;
  }

  /** How many of `wanted` bytes may be read now; give the same number back when done. */
  grant(wanted: number): number {
    const free = Math.max(grantBytesMin, this.bytesMax - this.bytesUsed);
    const granted = Math.min(wanted, free);
    this.bytesUsed += granted;
    return granted;
  }

  giveBack(granted: number): void {
    this.bytesUsed -= granted;
    assert(this.bytesUsed >= 0, "no more is given back than was granted");
  }
}
