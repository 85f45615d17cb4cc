import { join } from "node:path";
import { archiveEngine } from "./broker-archives.ts";
import { faultPoints, type Storage, storeFiles } from "./broker-storage.ts";
import { openStore } from "./broker-store.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import type { NativeFiles } from "./native/files.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { ArchiveEngine } from "./tier/ports.ts";
import { ArchiveChunks } from "./tier/read/archive-chunks.ts";
import { type CacheFiles, ChunkDisk } from "./tier/read/chunk-disk.ts";
import { ChunkSource } from "./tier/read/chunk-source.ts";
import { ArchiveReader } from "./tier/read/cold-reader.ts";
import { TierStats } from "./tier/read/tier-stats.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";

/** The object store and how archives are read from it. */
export interface ColdRooms {
  readonly cold: ArchiveReader;
  readonly chunks: ArchiveChunks;
  readonly engine: ArchiveEngine;
  /** The caches forget what is deleted through it. */
  readonly store: ObjectStore;
  readonly tierStats: TierStats;
  /** See OpenedStore. */
  readonly stopStore: () => void;
  /** Writes what the disk cache has not written yet. */
  readonly closeCache: () => Promise<void>;
}

interface ColdOptions {
  readonly config: Config;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: SegmentRegistry;
  readonly metrics: Metrics;
}

const cacheFolder = "cache";
/** Tables of contents of archives kept in memory. */
const tocCacheBytesMax = 16 << 20;
/** Bytes on their way from the store for all readers. */
const bytesInFlightMax = 16 << 20;
/** Of readers in a row: bytes that are read before they ask, on their way or waiting for them. */
const aheadBytesMax = 16 << 20;

/** Opens the store and the caches between it and the readers. */
export async function openColdRooms(options: ColdOptions): Promise<ColdRooms> {
  const { config, storage, clock, registry } = options;
  const { limits, objectStore } = config;
  const opened = await openStore(options);
  const engine = archiveEngine(storage.archives, clock, join(storage.dataDir, "tmp"));
  const isRemote = objectStore.backend !== "local";
  const stats = new TierStats();
  const disk = isRemote ? await openDisk(options, stats) : null;
  if (disk === null) await removeDisk(options);
  const aheadGetsMax = Math.max(1, objectStore.concurrencyMax >> 1);
  const source = new ChunkSource({
    store: opened.store,
    disk,
    clock,
    stats,
    limits: { bytesInFlightMax, aheadBytesMax, aheadGetsMax },
  });
  const chunks = new ArchiveChunks({
    source,
    engine,
    limits: { chunkCacheBytesMax: limits.chunkCacheBytesMax, tocCacheBytesMax },
    stats,
    isRemote,
  });
  return {
    cold: new ArchiveReader(registry, chunks, engine),
    chunks,
    engine,
    store: forgetting(opened.store, chunks),
    tierStats: stats,
    stopStore: opened.stop,
    closeCache: async () => disk?.close(),
  };
}

/** Null where none is wanted. A local store has none: its objects are files of this machine. */
async function openDisk(options: ColdOptions, stats: TierStats): Promise<ChunkDisk | null> {
  const { config, storage, clock, logger, registry } = options;
  const bytesMax = config.cache.maxBytes;
  if (bytesMax === 0) return null;
  const wanted = new Set(registry.all().map(({ topicId, key }) => `${topicId}/${key}`));
  const deps = {
    ...{ bytesMax, clock, stats },
    folder: join(storage.dataDir, cacheFolder),
    files: cacheFiles(storage.files),
    onProblem: (what: string, error: unknown) =>
      logger.child("cache").warn(what, { error: errorText(error) }),
    faultPoint: faultPoints(storage),
  };
  return ChunkDisk.open(deps, (topicId, key) => wanted.has(`${topicId}/${key}`));
}

/** The disk is given back when the cache is switched off. */
async function removeDisk({ storage, logger }: ColdOptions): Promise<void> {
  try {
    await ChunkDisk.remove(cacheFiles(storage.files), join(storage.dataDir, cacheFolder));
  } catch (error) {
    const text = "the disk cache of earlier runs could not be removed";
    logger.child("cache").warn(text, { error: errorText(error) });
  }
}

function cacheFiles(files: NativeFiles): CacheFiles {
  const { listDir, removeFile } = storeFiles(files);
  return {
    makeDir: (path) => files.makeDir(path),
    listDir: async (path) => (await listDir(path)) ?? [],
    readFile: (path, position, length) => files.readFile(path, position, length),
    appendScratch: (path, position, bytes) => files.appendScratch(path, position, bytes),
    removeFile,
  };
}

function forgetting(store: ObjectStore, chunks: ArchiveChunks): ObjectStore {
  return {
    description: store.description,
    putFile: (key, path, sha256) => store.putFile(key, path, sha256),
    putBytes: (key, bytes) => store.putBytes(key, bytes),
    head: (key) => store.head(key),
    getRange: (key, position, length) => store.getRange(key, position, length),
    openForVerify: (key) => store.openForVerify(key),
    list: (prefix, after, limit) => store.list(prefix, after, limit),
    async delete(key) {
      chunks.forget(key);
      await store.delete(key);
    },
  };
}
