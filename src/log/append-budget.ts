/** One bound on the bytes of all appends in flight, and one on those that wait for room. (pure) */
import { assert } from "../lib/assert.ts";

export class AppendBudget {
  private readonly bytesMax: number;
  private bytesUsed = 0;
  private bytesWaiting = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.bytesUsed;
  }

  /** Takes `bytes` unless they do not fit; something always fits an empty budget. */
  tryReserve(bytes: number): boolean {
    if (this.bytesUsed > 0 && this.bytesUsed + bytes > this.bytesMax) return false;
    this.bytesUsed += bytes;
    return true;
  }

  release(bytes: number): void {
    this.bytesUsed -= bytes;
    assert(this.bytesUsed >= 0, "no more is released than was reserved");
    if (this.waiting.length === 0) return;
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** `wake` is called once, when something was released. */
  wait(wake: () => void): void {
    this.waiting.push(wake);
  }

  /** Books a batch that waits; false when too much waits already. */
  tryQueue(bytes: number): boolean {
    if (this.bytesWaiting > 0 && this.bytesWaiting + bytes > this.bytesMax) return false;
    this.bytesWaiting += bytes;
    return true;
  }

  unqueue(bytes: number): void {
    this.bytesWaiting -= bytes;
    assert(this.bytesWaiting >= 0, "no more leaves the queue than entered it");
  }
}
