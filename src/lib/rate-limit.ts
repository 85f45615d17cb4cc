import type { Clock } from "./clock.ts";

/** Lets `countMax` events of one kind through per `periodMs`, and counts what it held back. */
export class RateLimit {
  private readonly clock: Clock;
  private readonly countMax: number;
  private readonly periodMs: number;
  private startMs = Number.NEGATIVE_INFINITY;
  private count = 0;
  private held = 0;

  constructor(clock: Clock, countMax: number, periodMs: number) {
    this.clock = clock;
    this.countMax = countMax;
    this.periodMs = periodMs;
  }

  /** null: hold this one back. A number: let it through; so many were held back before it. */
  take(): number | null {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.startMs >= this.periodMs) {
      this.startMs = nowMs;
      this.count = 0;
    }
    if (this.count >= this.countMax) {
      this.held += 1;
      return null;
    }
    this.count += 1;
    const held = this.held;
    this.held = 0;
    return held;
  }
}
