import type { Logger } from "../../src/telemetry/logger.ts";
import { Indexer } from "../../src/tier/indexer.ts";
import type { WalSegment } from "../../src/tier/ports.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { FakeClock } from "./fake-clock.ts";
import { FakeArchives, type FakePartition, FakeStore } from "./fake-tier.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { silentLogger } from "./silent-logger.ts";

const logger: Logger = silentLogger();

export function segment(
  id: number,
  base: number,
  last: number,
  over: Partial<WalSegment> = {},
): WalSegment {
  const records = last - base + 1;
  return {
    id,
    base,
    last,
    bytes: 100,
    records,
    maxTimestamp: 0,
    sealed: true,
    firstAppendMs: 0,
    ...over,
  };
}

export interface WorldOptions {
  readonly deleteAfterIndex?: boolean;
  readonly others?: readonly FakePartition[];
  /** What an earlier life left. */
  readonly files?: Map<string, string>;
  readonly journal?: MemoryJournal;
  readonly walSpace?: { bytesMax: number; isPressed: boolean; isStrained: boolean };
}

export async function world(partition: FakePartition, over: WorldOptions = {}) {
  const files = over.files ?? new Map<string, string>();
  const engine = new FakeArchives(files);
  const store = new FakeStore(files);
  const journal = over.journal ?? new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  const clock = new FakeClock(1_000_000);
  const config = {
    enabled: true,
    intervalSecs: 30,
    minSegmentAgeSecs: 10,
    segmentsPerRunMax: 100,
    parallel: false,
    concurrentTasksMax: 4,
    archiveBytesMax: 256 << 20,
    archivesPerSecMax: 10,
    pendingBytesMax: 4 * 1024 ** 3,
    pendingAgeSecsMax: 300,
  };
  const indexer = new Indexer(config, {
    engine,
    store,
    registry,
    logger,
    clock,
    nowMs: () => clock.nowMs(),
    scratchDir: "/tmp-scratch",
    removeFile: (path) => {
      files.delete(path);
      return Promise.resolve();
    },
    deleteAfterIndex: over.deleteAfterIndex ?? true,
    faultPoint: () => Promise.resolve(),
    partitions: () => [partition, ...(over.others ?? [])],
    walSpace: over.walSpace ?? { bytesMax: 0, isPressed: false, isStrained: false },
  });
  return { indexer, engine, store, registry, journal, clock, files };
}

export function registryEntry(base: number, last: number) {
  const entry = { topic: "t", topicId: "id-t", partition: 0, generation: 1, base, last };
  const sizes = {
    records: last - base + 1,
    minTimestamp: 0,
    maxTimestamp: 0,
    bytes: 1,
    rawBytes: 1,
  };
  const object = {
    key: `tantivy_indexes/t/partition-0/segment-${base}-${last}.tar.gz`,
    sha256: "x",
  };
  return {
    ...entry,
    ...sizes,
    ...object,
    tocPosition: 0,
    documents: 0,
    index: "full",
    createdMs: 0,
  };
}
