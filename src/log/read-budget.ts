/**
 * Bounds the bytes that fetches may hold, all together: while they read, and where a slow reader
 * does not take what was read for it.
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

/** What one fetch was granted; its owner ends it. */
export class ReadGrant {
  private readonly budget: ReadBudget;
  private granted: number;

  constructor(budget: ReadBudget, wanted: number) {
    this.budget = budget;
    this.granted = budget.grant(wanted);
  }

  get bytes(): number {
    return this.granted;
  }

  /** Lends others what lies above `kept` bytes as long as `reading` takes: it may wait for a disk,
   * a store or its turn. As much is asked for again behind it. */
  async during<T>(reading: Promise<T>, kept: number): Promise<T> {
    const lent = Math.max(0, this.granted - kept);
    this.granted -= lent;
    this.budget.giveBack(lent);
    try {
      return await reading;
    } finally {
      this.granted += this.budget.grant(lent);
    }
  }

  end(): void {
    this.budget.giveBack(this.granted);
    this.granted = 0;
  }
}
