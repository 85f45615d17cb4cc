import { throttleMsMax, type Windows } from "./windowed-rate.ts";

/** Tokens that come back at a rate and pile up to what all windows bring (KIP-599). May go below
 * zero: who finds it there waits. (pure) */
export class TokenBucket {
  private readonly burstMs: number;
  private tokens = Number.POSITIVE_INFINITY;
  private filledMs = 0;

  constructor(windows: Windows) {
    this.burstMs = windows.count * windows.lengthMs;
  }

  take(count: number, perSecond: number, nowMs: number): void {
    this.refill(perSecond, nowMs);
    this.tokens -= count;
  }

  /** How long until there are no longer less than none; 0: there are not. */
  throttleMs(perSecond: number, nowMs: number): number {
    this.refill(perSecond, nowMs);
    if (this.tokens >= 0) return 0;
    return Math.min(throttleMsMax, Math.round((-this.tokens / perSecond) * 1000));
  }

  private refill(perSecond: number, nowMs: number): void {
    const most = (this.burstMs / 1000) * perSecond;
    const come = ((nowMs - this.filledMs) / 1000) * perSecond;
    this.tokens = Math.min(most, this.tokens + come);
    this.filledMs = nowMs;
  }
}
