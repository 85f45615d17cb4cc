import { Turns } from "./turns.ts";

/** An index that can write entries to a file. */
export interface AbortedHolder {
  /** Does so, where it has enough for that. */
  relieve(): void;
}

/** Aborted transactions in the memory of all partitions together. (pure) */
export class AbortedBudget {
  /** Of reading a log anew, which costs as much as the log has bytes. */
  readonly rescans = new Turns(1);
  /** Of writing files: each holds the bytes of its own. */
  readonly spills = new Turns(2);
  private readonly max: number;
  private readonly holders = new Set<AbortedHolder>();
  private held = 0;
  private askAt: number;

  constructor(max: number) {
    this.max = max;
    this.askAt = this.tight;
  }

  get size(): number {
    return this.held;
  }

  /** Half of it is in use: who holds some writes them to files. */
  get isTight(): boolean {
    return this.held >= this.tight;
  }

  get isFull(): boolean {
    return this.held >= this.max;
  }

  join(holder: AbortedHolder): void {
    this.holders.add(holder);
  }

  /** With `size` entries. */
  leave(holder: AbortedHolder, size: number): void {
    this.holders.delete(holder);
    this.change(-size);
  }

  change(by: number): void {
    this.held += by;
    if (this.held < this.tight) this.askAt = this.tight;
    if (this.held < this.askAt) return;
    // Not at every change: to ask takes as long as there are partitions.
    this.askAt = this.held + Math.ceil(this.max / 64);
    for (const holder of this.holders) holder.relieve();
  }

  private get tight(): number {
    return Math.ceil(this.max / 2);
  }
}
