import type { Clock, Timer } from "../lib/clock.ts";

/** One request that gives up at its deadline. */
export interface Deadline {
  readonly atMs: number;
  readonly expire: () => void;
}

const periodMs = 1_000;

/** Deadlines of requests that hardly ever need them: one timer for all, a second coarse, so that a
 * produce costs a set entry and not a timer. */
export class Deadlines {
  private readonly clock: Clock;
  private readonly pending = new Set<Deadline>();
  private timer: Timer | null = null;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get size(): number {
    return this.pending.size;
  }

  /** `expire` is called once, up to a second after `delayMs`, unless removed before. */
  add(delayMs: number, expire: () => void): Deadline {
    const deadline = { atMs: this.clock.monotonicMs() + delayMs, expire };
    this.pending.add(deadline);
    this.timer ??= this.clock.schedule(periodMs, () => this.check());
    return deadline;
  }

  remove(deadline: Deadline): void {
    this.pending.delete(deadline);
  }

  close(): void {
    this.timer?.cancel();
    this.pending.clear();
  }

  private check(): void {
    const nowMs = this.clock.monotonicMs();
    for (const deadline of this.pending) {
      if (deadline.atMs > nowMs) continue;
      this.pending.delete(deadline);
      deadline.expire();
    }
    this.timer = this.pending.size > 0 ? this.clock.schedule(periodMs, () => this.check()) : null;
  }
}
