import { join } from "node:path";
import { archiveEngine } from "../../src/broker-archives.ts";
import { archiveInspector } from "../../src/broker-integrity.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { defaultPartitionLogConfig } from "../../src/log/config.ts";
import type { Partition } from "../../src/log/partition.ts";
import { NativeArchives } from "../../src/native/archives.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { Archiver } from "../../src/tier/archiver.ts";
import {
  type CheckOutcome,
  checkSegment,
  type Depth,
  type SegmentCheckDeps,
} from "../../src/tier/check/segment-check.ts";
import type { IndexMode } from "../../src/tier/ports.ts";
import { ArchiveReader } from "../../src/tier/read/cold-reader.ts";
import { type SegmentEntry, SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { coldChunks } from "./cold-chunks.ts";
import { batch, topicA } from "./log-lab.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { MemoryStore } from "./memory-store.ts";
import { tempDir } from "./native.ts";
import { openNative } from "./native-log.ts";
import { silentLogger } from "./silent-logger.ts";

const client = { origin: "client" } as const;

/** Archives of the real engine in a store in memory, where they can be damaged. */
export async function openArchiveLab() {
  const dir = tempDir();
  const scratchDir = join(dir.path, "tmp");
  const log = await openNative(dir.path, systemClock);
  const files = new NativeFiles(log.engine);
  await files.makeDir(scratchDir);
  const native = new NativeArchives(log.engine);
  // All archives of a lab are built at the same moment, so that equal batches give equal sizes.
  const nowMs = () => 1_700_000_000_000;
  const engine = archiveEngine(native, { ...systemClock, nowMs }, scratchDir);
  const store = new MemoryStore(scratchDir);
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const archiver = new Archiver({
    engine,
    store,
    registry,
    logger: silentLogger(),
    nowMs,
    scratchDir,
    removeFile: (path) => files.removeFile(path).catch(() => undefined),
    deleteAfterIndex: true,
    faultPoint: () => Promise.resolve(),
  });
  const deps: SegmentCheckDeps = {
    store,
    inspector: archiveInspector(native),
    readBytes: 64 << 10,
  };
  return {
    store,
    registry,
    native,
    /** Archives what is appended: a batch for each list of values. */
    async archive(
      index: number,
      batches: readonly (readonly string[])[],
      indexMode: IndexMode = "full",
    ): Promise<SegmentEntry> {
      const config = defaultPartitionLogConfig;
      const partition: Partition =
        index === 0 ? log.partition : await log.partitions.open(topicA, index, 0, config);
      for (const values of batches) await partition.append(batch({ values: [...values] }), client);
      await partition.seal();
      const segments = partition.segments().filter(({ sealed }) => sealed);
      await archiver.archive({ partition, segments }, indexMode);
      const entry = registry.segments(topicA.id, index).at(-1);
      if (entry === undefined) throw new Error("nothing was archived");
      return entry;
    },
    /** Without anything cached. */
    reader(entries: SegmentRegistry = registry): ArchiveReader {
      const limits = { chunkCacheBytesMax: 0, tocCacheBytesMax: 0 };
      return new ArchiveReader(entries, coldChunks(store, engine, { limits }), engine);
    },
    check(entry: SegmentEntry, depth: Depth): Promise<CheckOutcome> {
      return checkSegment(deps, entry, depth, () => Promise.resolve(true));
    },
    async close(): Promise<void> {
      await log.close();
      dir[Symbol.dispose]();
    },
  };
}

export type ArchiveLab = Awaited<ReturnType<typeof openArchiveLab>>;
