import type { Clock, Timer } from "../lib/clock.ts";

/**
 * Named timers whose deadlines mostly move on (every heartbeat moves one). Moving a deadline later
 * only notes it; the running timer, when it fires too early, is armed again for the rest.
 */
export class TimerTable {
  private readonly clock: Clock;
  private readonly onTimer: (name: string) => void;
  private readonly timers = new Map<string, { deadlineMs: number; timer: Timer }>();

  constructor(clock: Clock, onTimer: (name: string) => void) {
    this.clock = clock;
    this.onTimer = onTimer;
  }

  get size(): number {
    return this.timers.size;
  }

  has(name: string): boolean {
    return this.timers.has(name);
  }

  /** Starts the timer or moves its deadline. */
  set(name: string, delayMs: number): void {
    const deadlineMs = this.clock.monotonicMs() + delayMs;
    const running = this.timers.get(name);
    if (running !== undefined && deadlineMs >= running.deadlineMs) {
      running.deadlineMs = deadlineMs;
      return;
    }
    running?.timer.cancel();
    this.arm(name, deadlineMs, delayMs);
  }

  cancel(name: string): void {
    this.timers.get(name)?.timer.cancel();
    this.timers.delete(name);
  }

  cancelAll(): void {
    for (const { timer } of this.timers.values()) timer.cancel();
    this.timers.clear();
  }

  private arm(name: string, deadlineMs: number, delayMs: number): void {
    const timer = this.clock.schedule(delayMs, () => this.fired(name));
    this.timers.set(name, { deadlineMs, timer });
  }

  private fired(name: string): void {
    const running = this.timers.get(name);
    if (running === undefined) return;
    const restMs = running.deadlineMs - this.clock.monotonicMs();
    if (restMs > 0) {
      this.arm(name, running.deadlineMs, restMs);
      return;
    }
    this.timers.delete(name);
    this.onTimer(name);
  }
}
