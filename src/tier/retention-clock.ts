/** Lag beyond which an operator hears of it. */
const lagMsMin = 60_000;
/** How many milliseconds of wall clock retention believes for one of the monotonic clock. */
const speedMax = 2;

export interface RetentionTime {
  readonly nowMs: number;
  /** How far the wall clock is ahead of what retention goes by. */
  readonly lagMs: number;
  /** The lag is new, and worth a warning. */
  readonly jumped: boolean;
}

/**
 * The time that ages are taken by (design D4: a jump of the clock expires nothing). It is the wall
 * clock, except that it never runs more than twice as fast as the monotonic clock: after a jump
 * ahead by 30 days the 30 days are believed over the next 30, with room to set the clock right; a
 * machine that slept for a night has caught up after as long. A clock set back is followed at once:
 * that only keeps records longer. A start begins at the wall clock. (pure)
 */
export class RetentionClock {
  private believedMs: number;
  private atMonotonicMs: number;
  private isLagging = false;

  constructor(wallMs: number, monotonicMs: number) {
    this.believedMs = wallMs;
    this.atMonotonicMs = monotonicMs;
  }

  read(wallMs: number, monotonicMs: number): RetentionTime {
    const passedMs = Math.max(0, monotonicMs - this.atMonotonicMs);
    this.atMonotonicMs = monotonicMs;
    this.believedMs = Math.min(wallMs, this.believedMs + passedMs * speedMax);
    const lagMs = wallMs - this.believedMs;
    const jumped = lagMs > lagMsMin && !this.isLagging;
    this.isLagging = lagMs > lagMsMin;
    return { nowMs: this.believedMs, lagMs, jumped };
  }
}
