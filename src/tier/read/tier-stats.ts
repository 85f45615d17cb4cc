/** Where a chunk or a table of contents came from: caches in memory or on disk, or the store. */
export type ColdSource = "memory" | "disk" | "store";

export interface Counted {
  count: number;
  bytes: number;
}

/** What the tier did since the start; parts count, admin API and metrics read. */
export class TierStats {
  /** Chunks that readers got, and their bytes as batches. */
  readonly chunkReads: Record<ColdSource, Counted> = perSource();
  /** Tables of contents and manifests that readers got, and their bytes in the archive. */
  readonly tocReads: Record<ColdSource, Counted> = perSource();
  /** Ranged reads of the store for readers. */
  readonly storeGets: Counted = { count: 0, bytes: 0 };
  storeGetsFailed = 0;
  /** Those of `storeGets` that were made before a reader asked. */
  readonly aheadGets: Counted = { count: 0, bytes: 0 };
  /** Chunks read ahead that nobody came for, and their bytes in the archive. */
  readonly aheadUnused: Counted = { count: 0, bytes: 0 };
  readonly diskCacheWrites: Counted = { count: 0, bytes: 0 };
  diskCacheWritesFailed = 0;
  /** Ranges that were not written because too much waited for the disk. */
  diskCacheWritesSkipped = 0;
  /** Ranges of the disk cache that were not as written; read from the store instead. */
  diskCacheDamaged = 0;
  diskCacheEvictedBytes = 0;
}

/** One more of `bytes`. */
export function count(counted: Counted, bytes: number): void {
  counted.count++;
  counted.bytes += bytes;
}

function perSource(): Record<ColdSource, Counted> {
  const none = () => ({ count: 0, bytes: 0 });
  return { memory: none(), disk: none(), store: none() };
}
