import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";

/** What a parked request waits on; a Partition is one. */
export interface Advancing {
  readonly isOpen: boolean;
  /** `bytes`: what the high watermark passed over, 0 when the source was closed; `stableBytes`:
   * what the last stable offset did. */
  onAdvance(listener: (bytes: number, stableBytes: number) => void): () => void;
}

export type WakeReason = "bytes" | "deadline" | "aborted" | "closed";

/** The bounded parking place of fetches: one deadline a request however many partitions it names,
 * woken by high watermarks that move. Nothing polls. */
export class Waiters {
  private readonly clock: Clock;
  private readonly waitersMax: number;
  private count = 0;

  constructor(clock: Clock, waitersMax: number) {
    this.clock = clock;
    this.waitersMax = waitersMax;
  }

  get parked(): number {
    return this.count;
  }

  /**
   * Resolves when the sources appended `bytesMin` bytes in all since the call, one of them was
   * closed, `waitMs` passed, or `signal` aborted. null when the place is full: do not wait.
   * read_committed: the bytes count once their transactions are decided.
   */
  park(
    sources: readonly Advancing[],
    bytesMin: number,
    waitMs: number,
    signal: AbortSignal,
    isolation: "read_uncommitted" | "read_committed" = "read_uncommitted",
  ): Promise<WakeReason> | null {
    assert(bytesMin > 0, "who needs no bytes does not wait");
    if (this.count >= this.waitersMax) return null;
    if (signal.aborted) return Promise.resolve("aborted");
    if (sources.some((source) => !source.isOpen)) return Promise.resolve("closed");
    this.count++;
    return new Promise((resolve) => {
      let missing = bytesMin;
      const leave: (() => void)[] = [];
      const wake = (reason: WakeReason) => {
        this.count--;
        for (const undo of leave) undo();
        resolve(reason);
      };
      const advanced = (bytes: number, stableBytes: number) => {
        missing -= isolation === "read_committed" ? stableBytes : bytes;
        if (bytes === 0) wake("closed");
        else if (missing <= 0) wake("bytes");
      };
      const aborted = () => wake("aborted");
      const timer = this.clock.schedule(waitMs, () => wake("deadline"));
      leave.push(() => timer.cancel());
      signal.addEventListener("abort", aborted, { once: true });
      leave.push(() => signal.removeEventListener("abort", aborted));
      for (const source of sources) leave.push(source.onAdvance(advanced));
    });
  }
}
