import type { Clock, Timer } from "../lib/clock.ts";
import type { Partition } from "./partition.ts";

/** Looks at every partition this often at least; rolling is not exact to the millisecond. */
const checkMsMax = 60_000;

/** Seals segments by age where nothing else does (R7): indexing off, or a tick that never comes.
 * Internal topics are sealed by size only. */
export class Rolling {
  private readonly clock: Clock;
  private readonly ageMsMax: number;
  private readonly partitions: () => Iterable<Partition>;
  private readonly onFailure: (partition: Partition, error: unknown) => void;
  private timer: Timer | null = null;

  constructor(
    clock: Clock,
    ageMsMax: number,
    partitions: () => Iterable<Partition>,
    onFailure: (partition: Partition, error: unknown) => void,
  ) {
    this.clock = clock;
    this.ageMsMax = ageMsMax;
    this.partitions = partitions;
    this.onFailure = onFailure;
  }

  start(): void {
    this.timer = this.clock.schedule(Math.min(this.ageMsMax, checkMsMax), () => {
      for (const partition of this.partitions()) this.rollIfDue(partition);
      this.start();
    });
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private rollIfDue(partition: Partition): void {
    const ageMs = partition.unsealedAgeMs();
    if (partition.internal || partition.damage !== null) return;
    if (ageMs === null || ageMs < this.ageMsMax) return;
    partition.seal().catch((error: unknown) => this.onFailure(partition, error));
  }
}
