import type { Clock, Timer } from "../lib/clock.ts";

/**
 * Named timers whose deadlines mostly move on (every heartbeat moves one). Moving a deadline later
 * only notes it; the running timer, when it fires too early, is armed again for the rest. One that
 * ran out is due until it is taken up: whoever waits for a turn first must not act on a timer that
 * was set anew or cancelled meanwhile.
 */
export class TimerTable {
  private readonly clock: Clock;
  private readonly onTimer: (name: string) => void;
  private readonly timers = new Map<string, { deadlineMs: number; timer: Timer }>();
  /** Timers that ran out and were not taken up, set or cancelled since. */
  private readonly due = new Set<string>();

  constructor(clock: Clock, onTimer: (name: string) => void) {
    this.clock = clock;
    this.onTimer = onTimer;
  }

  get size(): number {
    return this.timers.size;
  }

  has(name: string): boolean {
    return this.timers.has(name) || this.due.has(name);
  }

  /** Takes up a timer that ran out; false: it was set anew or cancelled since. */
  take(name: string): boolean {
    return this.due.delete(name);
  }

  /** Starts the timer or moves its deadline. */
  set(name: string, delayMs: number): void {
    this.due.delete(name);
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
    this.due.delete(name);
    this.timers.get(name)?.timer.cancel();
    this.timers.delete(name);
  }

  cancelAll(): void {
    for (const { timer } of this.timers.values()) timer.cancel();
    this.timers.clear();
    this.due.clear();
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
    this.due.add(name);
    this.onTimer(name);
  }
}
