import type { Clock, Timer } from "../../src/lib/clock.ts";

/** A clock that moves only when told; timers fire in order of their deadlines. */
export class FakeClock implements Clock {
  private now: number;
  private readonly origin: number;
  private nextId = 0;
  private readonly timers = new Map<number, { atMs: number; task: () => void }>();

  constructor(startMs = 1_700_000_000_000) {
    this.now = startMs;
    this.origin = startMs;
  }

  get pendingTimers(): number {
    return this.timers.size;
  }

  nowMs(): number {
    return this.now;
  }

  monotonicMs(): number {
    return this.now - this.origin;
  }

  schedule(delayMs: number, task: () => void): Timer {
    const id = this.nextId++;
    this.timers.set(id, { atMs: this.now + Math.max(0, delayMs), task });
    return { cancel: () => this.timers.delete(id) };
  }

  /** As a timer that is due. */
  soon(task: () => void): void {
    this.schedule(0, task);
  }

  /** Moves time on by `ms`, firing what falls due, including timers set on the way. */
  advance(ms: number): void {
    const targetMs = this.now + ms;
    for (;;) {
      let next: [number, { atMs: number; task: () => void }] | undefined;
      for (const entry of this.timers) {
        if (entry[1].atMs <= targetMs && (!next || entry[1].atMs < next[1].atMs)) next = entry;
      }
      if (!next) break;
      this.timers.delete(next[0]);
      this.now = Math.max(this.now, next[1].atMs);
      next[1].task();
    }
    this.now = targetMs;
  }
}
