/**
 * Bounds the bytes that fetches may hold, all together: while they read, and where a slow reader
 * does not take what was read for it. (pure)
 */
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

  /** Counts bytes that are there anyway, or, negative, that are gone. */
  hold(bytes: number): void {
    this.bytesUsed += bytes;
    assert(this.bytesUsed >= 0, "no more is let go than was held");
  }

  giveBack(granted: number): void {
    this.bytesUsed -= granted;
    assert(this.bytesUsed >= 0, "no more is given back than was granted");
  }
}
