import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { deferred } from "../../../src/lib/deferred.ts";
import { ChunkDisk, type ChunkDiskDeps } from "../../../src/tier/read/chunk-disk.ts";
import type { RangeName } from "../../../src/tier/read/chunk-slab.ts";
import { TierStats } from "../../../src/tier/read/tier-stats.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { RealFiles } from "../../support/real-files.ts";

let folder: string;
let files: RealFiles;
let stats: TierStats;
let clock: FakeClock;
let problems: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "chronik-cache-"));
  files = new RealFiles();
  stats = new TierStats();
  clock = new FakeClock();
  problems = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(
  over: Partial<ChunkDiskDeps> = {},
  isWanted: (topicId: string, key: string) => boolean = () => true,
): Promise<ChunkDisk> {
  const deps = {
    ...{ folder, bytesMax: 64 << 10, files, clock, stats },
    onProblem: (what: string) => problems.push(what),
    faultPoint: async () => undefined,
    ...over,
  };
  return ChunkDisk.open(deps, isWanted);
}

function name(position: number, over: Partial<RangeName> = {}): RangeName {
  return { topicId: "id-t", key: "o/t/1.tar.gz", sha256: "00ff00ff00ff00ff", position, ...over };
}

function bytesOf(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) & 255);
}

const slabs = () => readdirSync(folder).filter((file) => file.endsWith(".slab"));
const diskBytes = () => slabs().reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);

test("a range is there as it was put, of this object and no other", async () => {
  const cache = await open();
  const bytes = bytesOf(1, 1000);
  cache.put(name(5), bytes);
  await cache.settled();
  expect(await cache.read(name(5), 1000)).toEqual(bytes);
  expect(await cache.read(name(6), 1000)).toBeNull();
  expect(await cache.read(name(5), 999)).toBeNull();
  expect(await cache.read(name(5, { topicId: "id-new" }), 1000)).toBeNull();
  expect(await cache.read(name(5, { sha256: "11" }), 1000)).toBeNull();
  expect(await cache.read(name(5, { key: "o/t/2.tar.gz" }), 1000)).toBeNull();
});

for (const how of ["a stop", "kill -9"]) {
  test(`what was cached survives ${how}`, async () => {
    const cache = await open();
    for (let i = 0; i < 20; i++) cache.put(name(i), bytesOf(i, 1000));
    await cache.settled();
    if (how === "a stop") await cache.close();
    const again = await open();
    expect(again.rangeCount).toBe(20);
    expect(again.bytes).toBe(diskBytes());
    for (let i = 0; i < 20; i++) expect(await again.read(name(i), 1000)).toEqual(bytesOf(i, 1000));
    again.put(name(20), bytesOf(20, 1000));
    await again.settled();
    expect(await again.read(name(20), 1000)).toEqual(bytesOf(20, 1000));
    expect(problems).toEqual([]);
  });
}

test("the objects that nobody reads any more are not taken up", async () => {
  const cache = await open();
  for (let i = 0; i < 4; i++) cache.put(name(i, { key: `o/${Math.min(1, i)}` }), bytesOf(i, 1000));
  await cache.close();
  const again = await open({}, (_topicId, key) => key === "o/1");
  expect(again.rangeCount).toBe(3);
  expect(await again.read(name(0, { key: "o/0" }), 1000)).toBeNull();
  const none = await open({}, () => false);
  expect(none.rangeCount).toBe(0);
  expect(slabs()).toEqual([]);
});

test("files of others stay, those of another version of the cache go", async () => {
  writeFileSync(join(folder, "notes.txt"), "mine");
  writeFileSync(join(folder, "chunks-v2-00000007.slab"), "of a newer one");
  const cache = await open();
  cache.put(name(1), bytesOf(1, 10));
  await cache.close();
  expect(readdirSync(folder).sort()).toEqual(["chunks-v1-00000008.slab", "notes.txt"]);
  await ChunkDisk.remove(files, folder);
  expect(readdirSync(folder)).toEqual(["notes.txt"]);
});

test("bytes that are not as written are not given out, wherever they differ", async () => {
  const cache = await open();
  const lengths = [700, 300, 1000];
  for (const [i, length] of lengths.entries()) cache.put(name(i), bytesOf(i, length));
  await cache.close();
  const [file] = slabs();
  const path = join(folder, file ?? "");
  const good = new Uint8Array(readFileSync(path));
  let missing = 0;
  for (let at = 0; at < good.length; at += 13) {
    const bad = good.slice();
    bad[at] = (bad[at] ?? 0) ^ 0x40;
    writeFileSync(path, bad);
    const again = await open();
    for (const [i, length] of lengths.entries()) {
      const read = await again.read(name(i), length);
      if (read === null) missing++;
      else expect(read).toEqual(bytesOf(i, length));
    }
    // Opening may have given up a file of which little was left.
    writeFileSync(path, good);
  }
  expect(missing).toBeGreaterThan(100);
});

test("what opening finds is checked: the index, and records where there is none", async () => {
  const cache = await open();
  for (let i = 0; i < 3; i++) cache.put(name(i), bytesOf(i, 500));
  await cache.settled();
  const path = join(folder, slabs()[0] ?? "");
  const unfinished = new Uint8Array(readFileSync(path));
  await cache.close();
  const finished = new Uint8Array(readFileSync(path));
  const opened = async (bytes: Uint8Array, flipped: number) => {
    const bad = bytes.slice();
    bad[flipped] = (bad[flipped] ?? 0) ^ 1;
    writeFileSync(path, bad);
    return (await open()).rangeCount;
  };
  // In the bytes of the last record.
  expect(await opened(unfinished, unfinished.length - 10)).toBe(2);
  // A digit in the index: the records are read instead.
  const digit = finished.lastIndexOf("5".charCodeAt(0), finished.length - 24);
  expect(await opened(finished, digit)).toBe(3);
  const again = await open();
  for (let i = 0; i < 3; i++) expect(await again.read(name(i), 500)).toEqual(bytesOf(i, 500));
});

test("a file that is cut anywhere gives what is whole", async () => {
  const cache = await open();
  for (let i = 0; i < 3; i++) cache.put(name(i), bytesOf(i, 500));
  await cache.settled();
  const path = join(folder, slabs()[0] ?? "");
  const good = readFileSync(path);
  const counts = new Set<number>();
  for (let end = 1; end <= good.length; end += 11) {
    writeFileSync(path, good);
    truncateSync(path, end);
    const again = await open();
    counts.add(again.rangeCount);
    for (let i = 0; i < 3; i++) {
      const read = await again.read(name(i), 500);
      if (read !== null) expect(read).toEqual(bytesOf(i, 500));
    }
  }
  expect([...counts].sort()).toEqual([0, 1, 2]);
});

test("a file that is gone is as if it had not been", async () => {
  const cache = await open();
  cache.put(name(1), bytesOf(1, 100));
  await cache.settled();
  for (const file of slabs()) rmSync(join(folder, file));
  expect(await cache.read(name(1), 100)).toBeNull();
  expect(cache.has(name(1), 100)).toBe(false);
  expect(stats.diskCacheDamaged).toBe(1);
});

test("a file that goes while it is read is no damage", async () => {
  const cache = await open();
  cache.put(name(1), bytesOf(1, 100));
  await cache.settled();
  const { readFile, removeFile } = files;
  const gone = deferred<void>();
  // Unlinked, and not told before the reader is.
  files.removeFile = async (path) => {
    await removeFile.call(files, path);
    gone.resolve();
    await reading;
  };
  files.readFile = async (...range) => {
    await gone.promise;
    return await readFile.apply(files, range);
  };
  const reading = cache.read(name(1), 100);
  cache.forget(name(1).key);
  expect(await reading).toBeNull();
  await cache.settled();
  expect(slabs()).toEqual([]);
  expect(stats.diskCacheDamaged).toBe(0);
});

test("the disk stays within its bound, and what is used stays longer", async () => {
  const operation = fc.record({
    position: fc.nat(60),
    length: fc.integer({ min: 1, max: 6_000 }),
    kind: fc.constantFrom("put", "put", "put", "read", "forget", "restart", "kill"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
      for (const file of slabs()) rmSync(join(folder, file));
      const bytesMax = 32 << 10;
      let cache = await open({ bytesMax });
      for (const { position, length, kind } of operations) {
        const range = name(position, { key: `o/${position % 3}` });
        if (kind === "put") cache.put(range, bytesOf(position, length));
        if (kind === "forget") cache.forget(range.key);
        await cache.settled();
        const read = await cache.read(range, length);
        if (read !== null) expect(read).toEqual(bytesOf(position, length));
        if (kind === "forget") expect(read).toBeNull();
        if (kind === "restart") await cache.close();
        if (kind === "restart" || kind === "kill") cache = await open({ bytesMax });
        expect(cache.bytes).toBe(diskBytes());
        expect(diskBytes()).toBeLessThanOrEqual(bytesMax);
      }
    }),
    { numRuns: 100 },
  );
  expect(problems).toEqual([]);
});

test("a range in use outlives those that came after it", async () => {
  const cache = await open({ bytesMax: 16_000 });
  cache.put(name(0), bytesOf(0, 1500));
  for (let i = 1; i < 40; i++) {
    cache.put(name(i), bytesOf(i, 1500));
    await cache.settled();
    expect(await cache.read(name(0), 1500)).not.toBeNull();
  }
  expect(await cache.read(name(2), 1500)).toBeNull();
  expect(await cache.read(name(39), 1500)).not.toBeNull();
  expect(stats.diskCacheEvictedBytes).toBeGreaterThan(20_000);
});

test("a disk that refuses is told of once and left alone for a while", async () => {
  const cache = await open();
  files.failAppends = true;
  for (let i = 0; i < 3; i++) {
    cache.put(name(i), bytesOf(i, 100));
    await cache.settled();
    expect(await cache.read(name(i), 100)).toBeNull();
  }
  expect(problems).toEqual(["the disk cache could not be written"]);
  expect(stats.diskCacheWritesFailed).toBe(1);
  files.failAppends = false;
  cache.put(name(7), bytesOf(7, 100));
  await cache.settled();
  expect(cache.has(name(7), 100)).toBe(false);
  clock.advance(30_000);
  cache.put(name(8), bytesOf(8, 100));
  await cache.settled();
  expect(await cache.read(name(8), 100)).toEqual(bytesOf(8, 100));
  expect(problems).toHaveLength(1);
});

test("what waits for a slow disk is bounded", async () => {
  const cache = await open({ bytesMax: 1 << 30 });
  for (let i = 0; i < 40; i++) cache.put(name(i), new Uint8Array(1 << 20));
  await cache.settled();
  expect(stats.diskCacheWritesSkipped).toBeGreaterThan(20);
  expect(cache.rangeCount + stats.diskCacheWritesSkipped).toBe(40);
});
