import type { Clock, Timer } from "../lib/clock.ts";
import type { Partition } from "./partition.ts";
import type { CleanReport } from "./ports.ts";

export interface CleaningEvents {
  cleaned(partition: Partition, report: CleanReport): void;
  /** The log stays as it was; the next look tries again. */
  cleaningFailed(partition: Partition, error: unknown): void;
}

/** `log.cleaner.backoff.ms` of Kafka. */
const checkMs = 15_000;
/** `delete.retention.ms` of Kafka: tombstones live this long, for readers on their way. */
const tombstoneAgeMs = 86_400_000;

/** Keeps the logs of internal topics short (design D8): one partition at a time, in turn. */
export class Cleaning {
  private readonly clock: Clock;
  private readonly partitions: () => Iterable<Partition>;
  private readonly events: CleaningEvents;
  private timer: Timer | null = null;
  private round: Promise<void> = Promise.resolve();
  private stopped = true;

  constructor(clock: Clock, partitions: () => Iterable<Partition>, events: CleaningEvents) {
    this.clock = clock;
    this.partitions = partitions;
    this.events = events;
  }

  start(): void {
    this.stopped = false;
    this.schedule();
  }

  /** Resolves when no cleaning is under way. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.round;
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = this.clock.schedule(checkMs, () => {
      this.round = this.cleanAll().finally(() => this.schedule());
    });
  }

  private async cleanAll(): Promise<void> {
    for (const partition of [...this.partitions()]) {
      if (this.stopped) return;
      if (!partition.internal || !partition.config.compact || !partition.isOpen) continue;
      try {
        const report = await partition.cleanIfDirty(tombstoneAgeMs);
        if (report !== null) this.events.cleaned(partition, report);
      } catch (error) {
        this.events.cleaningFailed(partition, error);
      }
    }
  }
}
