/** What readers of archives cost the store: requests, bytes, and whom a slow one delays. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { ChunkDisk } from "../../../src/tier/read/chunk-disk.ts";
import { ReadSlots } from "../../../src/tier/read/chunk-slots.ts";
import type { ChunkSourceLimits } from "../../../src/tier/read/chunk-source.ts";
import { ArchiveReader } from "../../../src/tier/read/cold-reader.ts";
import { ReadStreams } from "../../../src/tier/read/read-streams.ts";
import { TierStats } from "../../../src/tier/read/tier-stats.ts";
import type { SegmentEntry } from "../../../src/tier/registry/segment-registry.ts";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { coldChunks } from "../../support/cold-chunks.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FlatArchives, flatOffsets } from "../../support/flat-archives.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { RealFiles } from "../../support/real-files.ts";

const MiB = 1 << 20;

interface LabOptions {
  /** Chunks of the archives, one after the other. */
  chunks?: number[];
  partitions?: number;
  bodyBytes?: number;
  isRemote?: boolean;
  cacheBytes?: number;
  sourceLimits?: ChunkSourceLimits;
}

async function lab(options: LabOptions = {}) {
  const { chunks = [8], partitions = 1, bodyBytes = 1000, isRemote = true } = options;
  const store = new FlatArchives();
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const stats = new TierStats();
  const entries: SegmentEntry[] = [];
  let end = 0;
  for (let partition = 0; partition < partitions; partition++) {
    let base = 0;
    for (const count of chunks) {
      const entry = store.add(base, count, { partition, bodyBytes });
      await registry.add(entry, 0);
      entries.push(entry);
      base = entry.last + 1;
    }
    end = base;
  }
  const limits = { chunkCacheBytesMax: options.cacheBytes ?? 4 * MiB, tocCacheBytesMax: MiB };
  const { sourceLimits } = options;
  const reading = sourceLimits === undefined ? {} : { sourceLimits };
  const cold = coldChunks(store, store, { limits, stats, isRemote, ...reading });
  const reader = new ArchiveReader(registry, cold, store);
  return { store, registry, stats, entries, end, cold, reader };
}

/** Reads a partition to its end, each time `bytesMax`, as consumers do. */
async function consume(
  reader: ArchiveReader,
  end: number,
  bytesMax: number,
  partition = 0,
): Promise<number> {
  let reads = 0;
  for (let next = 0; next < end; reads++) {
    const { chunks: slices } = await reader.read("id-t", partition, next, bytesMax, end);
    const got = flatOffsets(slices);
    expect(got[0]).toBe(next);
    expect(got).toEqual(Array.from({ length: got.length }, (_, i) => next + i));
    next += got.length;
  }
  return reads;
}

test("cold costs two ranged reads, however much one answer takes; warm none", async () => {
  for (const bytesMax of [1, 5_000, MiB]) {
    const { store, reader, end } = await lab();
    const first = await reader.read("id-t", 0, 9, bytesMax, end);
    expect(flatOffsets(first)[0]).toBe(9);
    expect([bytesMax, store.gets.length]).toEqual([bytesMax, 2]);
    await reader.read("id-t", 0, 9, bytesMax, end);
    expect(store.gets).toHaveLength(2);
  }
});

test("a local store is read chunk by chunk, and nothing ahead", async () => {
  const { store, reader, end, stats } = await lab({ isRemote: false });
  await consume(reader, end, 5_000);
  expect(store.gets).toHaveLength(9);
  expect(stats.aheadGets.count).toBe(0);
});

for (const bytesMax of [1, 3_000, 12_000, 60_000]) {
  test(`who reads on by ${bytesMax} bytes reads each byte of the store once`, async () => {
    const { store, reader, end, entries, stats, cold } = await lab({ chunks: [40, 1, 25, 60] });
    let aheadMax = 0;
    const { getRange } = store;
    store.getRange = (key, position, length) => {
      aheadMax = Math.max(aheadMax, cold.bytesAhead);
      expect(cold.bytesAhead).toBeGreaterThanOrEqual(0);
      return getRange.call(store, key, position, length);
    };
    await consume(reader, end, bytesMax);
    // Every range counted, and none does any more.
    expect([aheadMax > 0, cold.bytesAhead]).toEqual([true, 0]);
    const size = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(store.bytesRead).toBe(size);
    const minimum = 40 + 1 + 25 + 60 + entries.length;
    expect(store.gets.length).toBeLessThanOrEqual(minimum * 1.1);
    // Joined ranges cost less than a request a chunk.
    expect(store.gets.length).toBeLessThan(minimum / 2);
    expect(stats.aheadGets.count).toBeGreaterThan(0);
    expect(stats.storeGets.count).toBe(store.gets.length);
  });
}

test("without a cache in memory what is read ahead is still read once", async () => {
  const { store, reader, end, entries } = await lab({ chunks: [64], cacheBytes: 0 });
  // Reads that end where chunks do: no chunk is needed twice.
  await consume(reader, end, 4 * 1061);
  expect(store.bytesRead).toBe(entries[0]?.bytes ?? 0);
});

describe("with a disk cache", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "chronik-cache-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** As after a restart: nothing in memory. */
  async function restarted(store: FlatArchives, registry: SegmentRegistry, stats: TierStats) {
    const deps = {
      ...{ folder, stats, bytesMax: 64 * MiB, files: new RealFiles(), clock: new FakeClock() },
      onProblem: (what: string) => expect(what).toBe(""),
      faultPoint: async () => undefined,
    };
    const disk = await ChunkDisk.open(deps, () => true);
    const limits = { chunkCacheBytesMax: MiB, tocCacheBytesMax: MiB };
    const cold = coldChunks(store, store, { limits, stats, disk, isRemote: true });
    return { disk, cold, reader: new ArchiveReader(registry, cold, store) };
  }

  test("what was read once costs no request after a restart", async () => {
    const { store, registry, end } = await lab({ chunks: [40, 20] });
    const stats = new TierStats();
    const first = await restarted(store, registry, stats);
    await consume(first.reader, end, 3_000);
    await first.disk.close();
    const gets = store.gets.length;
    const second = await restarted(store, registry, stats);
    await consume(second.reader, end, 3_000);
    expect(store.gets).toHaveLength(gets);
    expect(stats.chunkReads.disk.count).toBe(60);
    expect(stats.tocReads.disk.count).toBe(2);
  });

  test("damage on the disk is read over from the store, and mended", async () => {
    const { store, registry, end } = await lab({ chunks: [8] });
    const stats = new TierStats();
    const first = await restarted(store, registry, stats);
    await consume(first.reader, end, 3_000);
    await first.disk.close();
    for (const file of readdirSync(folder)) {
      const bytes = readFileSync(join(folder, file));
      bytes.fill(0xaa, 5_000, 5_100);
      writeFileSync(join(folder, file), bytes);
    }
    const gets = store.gets.length;
    const second = await restarted(store, registry, stats);
    await consume(second.reader, end, 3_000);
    expect(stats.diskCacheDamaged).toBe(1);
    expect(store.gets.length).toBe(gets + 1);
    await second.disk.close();
    const third = await restarted(store, registry, stats);
    await consume(third.reader, end, 3_000);
    expect(store.gets.length).toBe(gets + 1);
  });

  test("a deleted object leaves nothing", async () => {
    const { store, registry, end, entries } = await lab({ chunks: [8] });
    const { disk, cold, reader } = await restarted(store, registry, new TierStats());
    await consume(reader, end, 3_000);
    await disk.settled();
    expect(disk.rangeCount).toBe(9);
    cold.forget(entries[0]?.key ?? "");
    expect(disk.rangeCount).toBe(0);
  });
});

test("who jumps about has nothing read ahead", async () => {
  const { store, reader, end, stats } = await lab({ chunks: [64] });
  for (const offset of [200, 3, 100, 44, 180, 61, 12, 240]) {
    await reader.read("id-t", 0, offset, 1, end);
  }
  expect(stats.aheadGets.count).toBe(0);
  expect(store.gets).toHaveLength(9);
});

test("200 partitions read at once stay within the bounds and cost no range twice", async () => {
  const sourceLimits = { bytesInFlightMax: 400_000, aheadBytesMax: 200_000, aheadGetsMax: 4 };
  const chunks = [20, 20];
  const options = { partitions: 200, chunks, sourceLimits, cacheBytes: 8 * MiB };
  const { store, reader, end, entries, cold } = await lab(options);
  let aheadMax = 0;
  let underWay = 0;
  let underWayMax = 0;
  const { getRange } = store;
  store.getRange = async (key, position, length) => {
    underWay += length;
    underWayMax = Math.max(underWayMax, underWay);
    await Promise.resolve();
    aheadMax = Math.max(aheadMax, cold.bytesAhead);
    try {
      return await getRange.call(store, key, position, length);
    } finally {
      underWay -= length;
    }
  };
  const all = Array.from({ length: 200 }, (_, partition) => consume(reader, end, 6_000, partition));
  await Promise.all(all);
  expect(underWayMax).toBeLessThanOrEqual(400_000);
  expect(aheadMax).toBeWithin(100_000, 200_001);
  const size = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  expect(store.bytesRead).toBeLessThanOrEqual(size * 1.1);
  expect(store.gets.length).toBeLessThanOrEqual((200 * 40 + entries.length) * 1.1);
});

test("readers of one chunk share one download, also when one of them gives up", async () => {
  const { store, reader, end, entries } = await lab({ chunks: [1] });
  const [entry] = entries;
  store.stalled.add(entry?.key ?? "");
  const readers = Array.from({ length: 8 }, () => reader.read("id-t", 0, 0, MiB, end));
  const givesUp = await Promise.race([readers[0], Promise.resolve("gave up")]);
  expect(givesUp).toBe("gave up");
  store.letGo();
  for (const slices of await Promise.all(readers)) expect(flatOffsets(slices)).toHaveLength(4);
  expect(store.gets).toHaveLength(2);
  expect(store.inflated).toBe(1);
});

test("a download that fails is told to all who wait, and not kept", async () => {
  const { store, reader, end } = await lab({ chunks: [1] });
  store.failures = 1;
  const readers = Array.from({ length: 5 }, () => reader.read("id-t", 0, 0, MiB, end));
  for (const outcome of await Promise.allSettled(readers)) {
    expect(outcome).toMatchObject({
      status: "rejected",
      reason: { code: "CHRONIK_STORE_UNAVAILABLE" },
    });
  }
  expect(store.gets).toHaveLength(1);
  expect(flatOffsets(await reader.read("id-t", 0, 0, MiB, end))).toHaveLength(4);
});

test("what fails ahead of a reader costs the reader nothing", async () => {
  const { store, reader, end, stats, cold } = await lab({ chunks: [64] });
  await reader.read("id-t", 0, 0, 1, end);
  store.failures = 1;
  await reader.read("id-t", 0, 1, 1, end);
  await Promise.resolve();
  expect(await consume(reader, end, 3_000)).toBeGreaterThan(10);
  expect(stats.storeGetsFailed).toBe(1);
  expect(cold.bytesAhead).toBe(0);
});

test("an object that stalls delays its own readers alone", async () => {
  const { store, reader, end, entries } = await lab({ chunks: [4, 4], partitions: 2 });
  const [, , other] = entries;
  store.stalled.add(other?.key ?? "");
  const stalled = reader.read("id-t", 1, 0, 1, end);
  expect(await consume(reader, end, 3_000, 0)).toBeGreaterThan(5);
  expect(flatOffsets(await reader.read("id-t", 1, 20, 1, end))).toEqual([20]);
  store.letGo();
  expect(flatOffsets(await stalled)).toEqual([0]);
});

test("a time costs one table of contents and one chunk at most", async () => {
  const { store, reader, end } = await lab({ chunks: [30, 30, 30] });
  expect((await reader.findTime("id-t", 0, 150, 0))?.offset).toBe(150);
  expect(store.gets).toHaveLength(2);
  expect((await reader.findTime("id-t", 0, -1, 0))?.offset).toBe(end - 1);
  expect(store.gets).toHaveLength(4);
  expect(await reader.findTime("id-t", 0, end, 0)).toBeNull();
  expect(store.gets).toHaveLength(4);
});

test("bytes on their way never pass the bound, but for one reader alone, in order", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 30 }),
      fc.infiniteStream(fc.nat()),
      async (wishes, choices) => {
        const slots = new ReadSlots(100);
        const begun: number[] = [];
        const held: { bytes: number; giveBack: () => void }[] = [];
        for (const [index, bytes] of wishes.entries()) {
          void slots.take("k", bytes).then((giveBack) => {
            begun.push(index);
            held.push({ bytes, giveBack });
          });
        }
        while (begun.length < wishes.length || held.length > 0) {
          for (let i = 0; i < 10; i++) await Promise.resolve();
          const bytes = held.reduce((sum, one) => sum + one.bytes, 0);
          expect(slots.bytes).toBe(bytes);
          expect(held.length === 1 || bytes <= 100).toBe(true);
          const [one] = held.splice((choices.next().value ?? 0) % held.length, 1);
          one?.giveBack();
        }
        expect(begun).toEqual(wishes.map((_, index) => index));
        expect(slots.bytes).toBe(0);
      },
    ),
  );
});

test("readers in a row are told from others, several of one partition too", () => {
  const streams = new ReadStreams();
  expect(streams.note("p", 0, 10)).toBeNull();
  expect(streams.note("p", 500, 510)).toBeNull();
  // The same read again is no step.
  expect(streams.note("p", 0, 12)).toBeNull();
  expect(streams.note("p", 12, 20)).not.toBeNull();
  expect(streams.note("p", 510, 520)).not.toBeNull();
  expect(streams.note("q", 20, 30)).toBeNull();
  for (let i = 0; i < 5; i++)
    expect(streams.note("p", 1000 * (i + 1), 1000 * (i + 1) + 1)).toBeNull();
  expect(streams.note("p", 20, 30)).toBeNull();
});
