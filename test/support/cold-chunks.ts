import type { Clock } from "../../src/lib/clock.ts";
import type { ObjectStore } from "../../src/store/object-store.ts";
import {
  ArchiveChunks,
  type ArchiveChunksDeps,
  type ColdReaderLimits,
} from "../../src/tier/read/archive-chunks.ts";
import type { ChunkDisk } from "../../src/tier/read/chunk-disk.ts";
import { ChunkSource, type ChunkSourceLimits } from "../../src/tier/read/chunk-source.ts";
import { TierStats } from "../../src/tier/read/tier-stats.ts";
import { FakeClock } from "./fake-clock.ts";

export interface ColdChunksOptions {
  readonly limits: ColdReaderLimits;
  readonly sourceLimits?: ChunkSourceLimits;
  readonly disk?: ChunkDisk | null;
  readonly stats?: TierStats;
  readonly clock?: Clock;
  /** False unless given: nothing is read ahead. */
  readonly isRemote?: boolean;
}

/** The caches between readers and a store. */
export function coldChunks(
  store: ObjectStore,
  engine: ArchiveChunksDeps["engine"],
  options: ColdChunksOptions,
): ArchiveChunks {
  const { limits, disk = null, stats = new TierStats(), clock = new FakeClock() } = options;
  const sourceLimits = { bytesInFlightMax: 64 << 20, aheadBytesMax: 32 << 20, aheadGetsMax: 4 };
  const source = new ChunkSource({
    ...{ store, disk, clock, stats },
    limits: options.sourceLimits ?? sourceLimits,
  });
  return new ArchiveChunks({ source, engine, limits, stats, isRemote: options.isRemote ?? false });
}
