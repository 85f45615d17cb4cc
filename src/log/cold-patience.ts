import type { Clock, Timer } from "../lib/clock.ts";
import { type Deferred, deferred } from "../lib/deferred.ts";

/** As Kafka's remote.fetch.max.wait.ms. */
const waitMsMin = 500;
/** When the time is over, what is at hand needs a moment still; all such moments of a request. */
const momentMs = 5;
const momentsMsMax = 100;

/** How long one request waits for archives, all its reads together: its own max wait, or half a
 * second where that is shorter. A store that stalls so delays what lies there, and no more than
 * that what was asked for with it. */
export class ColdPatience {
  private readonly clock: Clock;
  private readonly endMs: number;
  private readonly over: Deferred<void> = deferred();
  private timer: Timer | null = null;
  private momentsMs = 0;

  /** `startMs`: when the request came, by the monotonic clock. */
  constructor(clock: Clock, startMs: number, maxWaitMs: number) {
    this.clock = clock;
    this.endMs = startMs + Math.max(maxWaitMs, waitMsMin);
  }

  /** Resolves when a read that begins now is not waited for any longer. */
  readonly wait = (): Promise<void> => {
    const leftMs = this.endMs - this.clock.monotonicMs();
    if (leftMs > momentMs) {
      this.timer ??= this.clock.schedule(leftMs, () => this.over.resolve());
      return this.over.promise;
    }
    const ms = this.momentsMs < momentsMsMax ? momentMs : 0;
    this.momentsMs += ms;
    const moment = deferred<void>();
    this.clock.schedule(ms, () => moment.resolve());
    return moment.promise;
  };

  /** Nothing is read for now. */
  end(): void {
    this.timer?.cancel();
    this.timer = null;
  }
}
