import { faultPoints, type Storage } from "./broker-storage.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import { Reaper } from "./tier/reaper.ts";
import { SegmentRegistry } from "./tier/registry/segment-registry.ts";
import { Timeline } from "./tier/timeline.ts";

/** What the tiers keep beside archives and reads: who deletes, and what is told of them. */
export interface TierKeeping {
  readonly reaper: Reaper;
  readonly timeline: Timeline;
}

/** Events that `GET /admin/indexer/timeline` remembers. */
const timelineEventsMax = 1_000;

export function openRegistry(
  { registryJournal }: Storage,
  clock: Clock,
  logger: Logger,
): Promise<SegmentRegistry> {
  return SegmentRegistry.open(
    registryJournal,
    (message, error) => logger.child("registry").warn(message, { error: errorText(error) }),
    () => clock.nowMs(),
  );
}

/** `gate` holds deletions back until a backup knows of them. */
export function openTierKeeping(parts: {
  readonly storage: Storage;
  readonly registry: SegmentRegistry;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gate: () => Promise<void>;
}): TierKeeping {
  const { storage, registry, store, clock, logger, gate } = parts;
  const timeline = new Timeline(() => clock.nowMs(), timelineEventsMax);
  registry.subscribe((change) => timeline.registryChanged(change));
  const reaper = new Reaper({
    ...{ registry, store, clock },
    logger: logger.child("reaper"),
    gate,
    faultPoint: faultPoints(storage),
  });
  return { reaper, timeline };
}
