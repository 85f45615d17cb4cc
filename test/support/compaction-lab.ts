import { join } from "node:path";
import { archiveEngine } from "../../src/broker-archives.ts";
import { compactionEngine, rewritesOf } from "../../src/broker-compaction.ts";
import { removeIfThere, storeFiles } from "../../src/broker-storage.ts";
import { NativeArchives } from "../../src/native/archives.ts";
import type { NativeEngine } from "../../src/native/engine.ts";
import { NativeFiles } from "../../src/native/files.ts";
import type { CompressionType } from "../../src/protocol/record-batch.ts";
import { LocalStore } from "../../src/store/local-store.ts";
import type { Logger } from "../../src/telemetry/logger.ts";
import { Archiver } from "../../src/tier/archiver.ts";
import type { ArchiveEngine, CompactionEngine } from "../../src/tier/ports.ts";
import { ArchiveReader } from "../../src/tier/read/cold-reader.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import {
  Compaction,
  type CompactionRound,
  type CompactionSettings,
  type Rewrites,
} from "../../src/tier/rewrite/compaction.ts";
import { RewriteQueue, Rewriter } from "../../src/tier/rewrite/rewriter.ts";
import { pendingSegments } from "../../src/tier/run-plan.ts";
import { coldChunks } from "./cold-chunks.ts";
import type { FakeClock } from "./fake-clock.ts";
import type { MemoryJournal } from "./memory-journal.ts";
import { type NativeLog, openNative } from "./native-log.ts";
import { silentLogger } from "./silent-logger.ts";

export interface CompactionLabOptions {
  readonly dir: string;
  readonly clock: FakeClock;
  readonly journal: MemoryJournal;
  readonly settings: CompactionSettings;
  /** Keys of an offset map; null: as many as the engine takes. */
  readonly keysMax: number | null;
  /** Batches that one rewritten archive may hold. */
  readonly archiveBytesMax: number;
}

/** A compacted partition over the real engine, its archives in a local store. */
export class CompactionLab {
  readonly log: NativeLog;
  readonly registry: SegmentRegistry;
  readonly compaction: Compaction;
  /** What a rewrite calls at its fault points; a test may throw there. */
  fault: (name: string) => void = () => undefined;
  /** Where the last map ended. */
  mapEnd = -1;
  /** Last offset of each archive that was put in the place of others since it was emptied. */
  readonly replaced: number[] = [];
  /** Last offset of each archive, or of those that are to be one, that was read for a rewrite. */
  readonly read: number[] = [];
  private readonly archiver: Archiver;

  private constructor(log: NativeLog, options: CompactionLabOptions, registry: SegmentRegistry) {
    const { clock } = options;
    this.log = log;
    this.registry = registry;
    const parts = engineParts(log.engine, options);
    const files = new NativeFiles(log.engine);
    const shared = {
      registry,
      clock,
      logger: silentLogger(),
      scratchDir: scratchOf(options),
      removeFile: (path: string) => removeIfThere(files, path),
    };
    this.archiver = new Archiver({
      ...shared,
      engine: parts.archives,
      store: parts.store,
      nowMs: () => clock.nowMs(),
      deleteAfterIndex: true,
      faultPoint: () => Promise.resolve(),
    });
    this.compaction = new Compaction({
      ...shared,
      engine: this.watched(parts.compaction),
      rewrites: this.rewrites(parts, shared),
      partitions: () => [log.partition],
      settingsOf: () => options.settings,
      archiveBytesMax: options.archiveBytesMax,
      intervalMs: 15_000,
      enabled: false,
    });
  }

  static async open(options: CompactionLabOptions): Promise<CompactionLab> {
    const { clock, journal } = options;
    const nowMs = () => clock.nowMs();
    const registry = await SegmentRegistry.open(journal, () => undefined, nowMs);
    const log = await openNative(options.dir, clock, {
      config: { compact: true, delete: false },
      cold: (engine) => {
        const { archives, store } = engineParts(engine, options);
        const limits = { chunkCacheBytesMax: 8 << 20, tocCacheBytesMax: 1 << 20 };
        return new ArchiveReader(registry, coldChunks(store, archives, { limits }), archives);
      },
    });
    await new NativeFiles(log.engine).makeDir(scratchOf(options));
    return new CompactionLab(log, options, registry);
  }

  get partition() {
    return this.log.partition;
  }

  get entries() {
    return this.registry.segments(this.partition.topicId, 0);
  }

  useCodec(codec: CompressionType): void {
    const compression = codec === "none" ? null : { codec, level: null };
    this.partition.config = { ...this.partition.config, compression };
  }

  /** Seals the log and archives what may be, segment by segment. */
  async archive(): Promise<void> {
    const { partition } = this;
    await partition.seal();
    const end = this.registry.range(partition.topicId, 0)?.end ?? 0;
    for (const segment of pendingSegments(partition, end)) {
      await this.archiver.archive({ partition, segments: [segment] }, "pending");
    }
  }

  run(): Promise<readonly CompactionRound[]> {
    return this.compaction.run();
  }

  async close(): Promise<void> {
    await this.compaction.stop();
    await this.log.close();
  }

  private rewrites({ archives, store }: EngineParts, shared: SharedDeps): Rewrites {
    const rewriter = new Rewriter({
      ...shared,
      engine: archives,
      store,
      nowMs: () => shared.clock.nowMs(),
      faultPoint: async (name) => {
        this.fault(name);
      },
    });
    const queue = new RewriteQueue({ runningMax: 1, waitingMax: 1, mayBegin: () => true });
    const rewrites = rewritesOf(rewriter, queue);
    return {
      ...rewrites,
      rewrite: async (task) => {
        const keys = () => this.entries.map((entry) => entry.key).join();
        const before = keys();
        try {
          return await rewrites.rewrite(task);
        } finally {
          if (before !== keys()) this.replaced.push(task.sources.at(-1)?.last ?? -1);
        }
      },
    };
  }

  private watched(engine: CompactionEngine): CompactionEngine {
    return {
      stopBuilds: () => engine.stopBuilds(),
      compact: (request, sources, path, clean) => {
        this.read.push(request.last);
        return engine.compact(request, sources, path, clean);
      },
      mapKeys: async (source, map, fromOffset) => {
        const taken = await engine.mapKeys(source, map, fromOffset);
        this.mapEnd = taken.end;
        return taken;
      },
    };
  }
}

interface SharedDeps {
  readonly registry: SegmentRegistry;
  readonly clock: FakeClock;
  readonly logger: Logger;
  readonly scratchDir: string;
  readonly removeFile: (path: string) => Promise<void>;
}

interface EngineParts {
  readonly archives: ArchiveEngine;
  readonly compaction: CompactionEngine;
  readonly store: LocalStore;
}

function engineParts(engine: NativeEngine, options: CompactionLabOptions): EngineParts {
  const native = new NativeArchives(engine);
  const scratchDir = scratchOf(options);
  return {
    archives: archiveEngine(native, options.clock, scratchDir),
    compaction: compactionEngine(native, options.clock, scratchDir, options.keysMax),
    store: new LocalStore({
      root: join(options.dir, "store"),
      prefix: "tantivy_indexes/",
      scratchDir,
      files: storeFiles(new NativeFiles(engine)),
    }),
  };
}

function scratchOf({ dir }: CompactionLabOptions): string {
  return join(dir, "tmp");
}
