/** Time as the rooms see it; the only place that reads the machine's clocks and timers. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch: goes into records and logs, may jump. */
  nowMs(): number;
  /** Monotonic milliseconds: for ages, deadlines and durations; never goes back. */
  monotonicMs(): number;
  /** Runs `task` once after `delayMs`; `cancel` is idempotent. */
  schedule(delayMs: number, task: () => void): Timer;
  /** Runs `task` in the next turn of the event loop, behind what has arrived by then. */
  soon(task: () => void): void;
}

export interface Timer {
  cancel(): void;
}

/** setTimeout's own limit; longer delays are cut to it (about 24.8 days). */
const delayMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs, task) {
    const handle = setTimeout(task, Math.min(Math.max(0, delayMs), delayMsMax));
    return { cancel: () => clearTimeout(handle) };
  },
  soon(task) {
    setImmediate(task);
  },
};
