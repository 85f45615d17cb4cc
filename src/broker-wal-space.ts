import type { Clock } from "./lib/clock.ts";
import { RateLimit } from "./lib/rate-limit.ts";
import type { Partitions } from "./log/partitions.ts";
import type { WalSpace, WalSpaceState } from "./log/wal-space.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { Indexer } from "./tier/indexer.ts";

interface WatchedRooms {
  readonly partitions: Partitions;
  readonly indexer: Indexer;
}

interface Listeners {
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** A cap that is reached and left again and again, at the speed of archiving. */
const linesMax = 20;
const linesPeriodMs = 60_000;

/** What the WAL's cap does is told: to the indexer, in the log, in the metrics. */
export function watchWalSpace(
  { partitions, indexer }: WatchedRooms,
  { logger, metrics, clock }: Listeners,
): void {
  const space = partitions.walSpace;
  walSpaceMetrics(metrics, space);
  if (!space.isCapped) return;
  const log = logger.child("wal");
  const lines = new RateLimit(clock, linesMax, linesPeriodMs);
  space.listen({
    changed(state) {
      const held = lines.take();
      if (held === null) return;
      log[state === "open" ? "info" : "warn"](textOf[state], {
        bytes: space.bytes,
        "wal.max_bytes": space.bytesMax,
        ...(held > 0 && { more_before: held }),
      });
    },
    pressed: () => indexer.relieve(),
  });
}

const textOf: Readonly<Record<WalSpaceState, string>> = {
  open: "the WAL has room again: producers are no longer slowed",
  slowed: "the WAL is nearly at wal.max_bytes: producers are slowed until archiving makes room",
  full:
    "the WAL is at wal.max_bytes: producers wait, then get NOT_ENOUGH_REPLICAS and try again, " +
    "until archiving makes room; see the indexer's lines, or raise wal.max_bytes",
};

function walSpaceMetrics(metrics: Metrics, space: WalSpace): void {
  const bytesMax = metrics.gauge({
    name: "chronik_wal_max_bytes",
    help: "wal.max_bytes, the cap of user topics' WAL; 0: none",
  });
  const userBytes = metrics.gauge({
    name: "chronik_wal_user_bytes",
    help: "Bytes in the WAL of user topics, which the cap is for",
  });
  const heldBytes = metrics.gauge({
    name: "chronik_wal_held_bytes",
    help: "Batches that wait for room under the cap",
  });
  const throttled = metrics.gauge({
    name: "chronik_wal_throttled_seconds",
    help: "Time that producers were told to wait for the cap, since start",
  });
  const refused = metrics.gauge({
    name: "chronik_wal_refused_batches",
    help: "Batches refused at the cap, since start",
  });
  metrics.onCollect(() => {
    bytesMax.set(space.bytesMax);
    userBytes.set(space.bytes);
    heldBytes.set(space.bytesHeld);
    throttled.set(space.throttledMs / 1000);
    refused.set(space.refusedCount);
  });
}
