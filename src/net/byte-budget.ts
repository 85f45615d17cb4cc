/** Frames larger than this find no room where three quarters of the budget are used. */
const largeBytesMin = 1024 * 1024;
const largeShare = 0.75;

/**
 * How many request bytes all connections together may hold (design D15). A connection takes the
 * size of a frame when it is whole, of a large one when its size prefix arrived, and gives it back
 * when the response is written; whoever gets nothing waits in line, with its socket paused. Large
 * frames leave room for small ones: a few peers that promise much and send little stop each other,
 * not everybody. What muted connections hold is parked beside it.
 */
export class ByteBudget {
  readonly bytesMax: number;
  private readonly largeBytesMax: number;
  private used = 0;
  private parked = 0;
  private wakeScheduled = false;
  private readonly waiters = new Set<() => void>();

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
    this.largeBytesMax = Math.floor(bytesMax * largeShare);
  }

  /** Parked ones included. */
  get bytesUsed(): number {
    return this.used + this.parked;
  }

  /** A frame larger than the whole budget passes when nothing else is held. */
  tryTake(bytes: number): boolean {
    const most = bytes > largeBytesMin ? this.largeBytesMax : this.bytesMax;
    if (this.used > 0 && this.used + bytes > most) return false;
    this.used += bytes;
    return true;
  }

  /** Gives bytes back; those in line are woken in a microtask, oldest first, while room is left. */
  release(bytes: number): void {
    this.used -= bytes;
    if (this.waiters.size === 0 || this.wakeScheduled) return;
    this.wakeScheduled = true;
    queueMicrotask(this.wakeLine);
  }

  private readonly wakeLine = (): void => {
    this.wakeScheduled = false;
    for (const wake of [...this.waiters]) {
      if (this.used >= this.bytesMax) return;
      this.waiters.delete(wake);
      wake();
    }
  };

  /**
   * Bytes that are only kept, for a connection that is not read from: they stop nobody. As many as
   * the budget itself has; false beyond that, and the connection keeps what it took.
   */
  park(bytes: number): boolean {
    if (this.parked + bytes > this.bytesMax) return false;
    this.parked += bytes;
    return true;
  }

  unpark(bytes: number): void {
    this.parked -= bytes;
  }

  /** `wake` is called once when bytes came back; the caller then tries again. */
  wait(wake: () => void): void {
    this.waiters.add(wake);
  }

  cancel(wake: () => void): void {
    this.waiters.delete(wake);
  }
}
