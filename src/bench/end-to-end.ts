import type { Clock } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { Acknowledged } from "./producer.ts";
import type { BenchReader } from "./reader.ts";

type Finish = (batch: Acknowledged) => void;

/** How long a message that was acknowledged may take to come back. */
const waitMsMax = 30_000;

/** Reads the tail and pairs what comes back with what was acknowledged, whichever is first. */
export class EndToEnd {
  private readonly readers: readonly BenchReader[];
  private readonly clock: Clock;
  private readonly onError: (reason: string) => void;
  /** By partition and base offset; bounded by what is in flight. */
  private readonly acked = new Map<string, { batch: Acknowledged; finish: Finish }>();
  private readonly seen = new Set<string>();
  private running: Promise<void>[] = [];
  private stopAtMs = Number.POSITIVE_INFINITY;

  constructor(readers: readonly BenchReader[], clock: Clock, onError: (reason: string) => void) {
    this.readers = readers;
    this.clock = clock;
    this.onError = onError;
  }

  start(): void {
    this.running = this.readers.map((reader) => this.read(reader));
  }

  acknowledged(batch: Acknowledged, finish: Finish): void {
    const key = `${batch.partition}:${batch.baseOffset}`;
    if (this.seen.delete(key)) finish(batch);
    else this.acked.set(key, { batch, finish });
  }

  /** Waits until everything acknowledged was read. */
  async stop(): Promise<void> {
    this.stopAtMs = this.clock.monotonicMs() + waitMsMax;
    await Promise.all(this.running);
    if (this.acked.size > 0) {
      this.onError(`${this.acked.size} acknowledged batches did not come back in time`);
    }
  }

  private async read(reader: BenchReader): Promise<void> {
    try {
      while (this.stopAtMs === Number.POSITIVE_INFINITY || this.mayWait()) {
        for (const { partition, baseOffset } of await reader.read()) {
          const key = `${partition}:${baseOffset}`;
          const found = this.acked.get(key);
          if (found === undefined) {
            this.seen.add(key);
          } else {
            this.acked.delete(key);
            found.finish(found.batch);
          }
        }
      }
    } catch (error) {
      this.onError(errorText(error));
    }
  }

  private mayWait(): boolean {
    return this.acked.size > 0 && this.clock.monotonicMs() < this.stopAtMs;
  }
}
