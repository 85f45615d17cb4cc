/** The transactions of a partition that are not decided, and with them the first offset that a
 * read_committed reader may not see. A transaction is decided when its marker is durable. (pure) */
import { assert } from "../lib/assert.ts";

export class OpenTransactions {
  /** First offset to the bytes of the log in front of it, as the appender counts them. Offsets are
   * given out in order, so the first entry is the oldest. */
  private readonly byStart = new Map<number, number>();

  get size(): number {
    return this.byStart.size;
  }

  /** First offset of the oldest undecided transaction; null: everything is decided. */
  get firstUnstableOffset(): number | null {
    return this.byStart.keys().next().value ?? null;
  }

  /** Bytes in front of the oldest undecided transaction; null: everything is decided. */
  get firstUnstablePosition(): number | null {
    return this.byStart.values().next().value ?? null;
  }

  begin(firstOffset: number, position: number): void {
    assert(!this.byStart.has(firstOffset), "an offset begins one transaction");
    this.byStart.set(firstOffset, position);
  }

  /** Its marker is durable, or its first batch was rolled back. */
  forget(firstOffset: number): void {
    assert(this.byStart.delete(firstOffset), "a transaction that goes was there");
  }
}
