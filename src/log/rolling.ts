import type { Clock, Timer } from "../lib/clock.ts";
import type { PartitionLogConfig } from "./config.ts";
import type { Partition } from "./partition.ts";

/** Looks at every partition this often at least; rolling is not exact to the millisecond. */
const checkMsMax = 60_000;
const checkMsMin = 1_000;

/** Seals segments by age (`segment.ms`, R7) where nothing else does: indexing off, or a tick that
 * never comes. Internal topics are sealed by size only. */
export class Rolling {
  private readonly clock: Clock;
  private readonly partitions: () => Iterable<Partition>;
  private readonly onFailure: (partition: Partition, error: unknown) => void;
  private timer: Timer | null = null;

  constructor(
    clock: Clock,
    partitions: () => Iterable<Partition>,
    onFailure: (partition: Partition, error: unknown) => void,
  ) {
    this.clock = clock;
    this.partitions = partitions;
    this.onFailure = onFailure;
  }

  start(): void {
    let delayMs = checkMsMax;
    for (const partition of this.partitions()) {
      if (!partition.internal) delayMs = Math.min(delayMs, partition.config.segmentMs);
    }
    this.timer = this.clock.schedule(Math.max(checkMsMin, delayMs), () => {
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
    if (ageMs === null || partition.internal || partition.damage !== null) return;
    const segment = partition.segments().at(-1)?.id ?? 0;
    if (ageMs < rollAgeMs(partition.config, partition.index + segment)) return;
    partition.seal().catch((error: unknown) => this.onFailure(partition, error));
  }
}

/**
 * `segment.ms` less a part of `segment.jitter.ms` (pure): another part for each `seed`, evenly
 * spread, and the same whenever it is asked for.
 */
export function rollAgeMs(
  { segmentMs, segmentJitterMs }: Pick<PartitionLogConfig, "segmentMs" | "segmentJitterMs">,
  seed: number,
): number {
  // Multiples of the golden ratio fall evenly over [0, 1).
  const share = (seed * 0.618_033_988_749_895) % 1;
  return segmentMs - Math.floor(share * Math.min(segmentJitterMs, segmentMs));
}
