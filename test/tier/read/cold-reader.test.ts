import { expect, test } from "bun:test";
import fc from "fast-check";
import { BrokerError } from "../../../src/lib/errors.ts";
import { type ObjectStore, StoreError } from "../../../src/store/object-store.ts";
import type {
  AbortedTransaction,
  ArchiveEngine,
  TimeHit,
  TocChunk,
} from "../../../src/tier/ports.ts";
import { sliceBatches } from "../../../src/tier/read/batch-slice.ts";
import { ArchiveReader } from "../../../src/tier/read/cold-reader.ts";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { coldChunks } from "../../support/cold-chunks.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

/** A batch's header fields that the reader looks at; the body is padding. */
function batch(base: number, last: number, bodyBytes = 10): Uint8Array {
  const bytes = new Uint8Array(61 + bodyBytes);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(base));
  view.setInt32(8, bytes.length - 12);
  view.setInt32(23, last - base);
  return bytes;
}

function offsets(slices: readonly Uint8Array[]): number[] {
  const found: number[] = [];
  for (const slice of slices) {
    const view = new DataView(slice.buffer, slice.byteOffset, slice.byteLength);
    for (let at = 0; at < slice.length; at += 12 + view.getInt32(at + 8)) {
      const base = Number(view.getBigInt64(at));
      for (let i = 0; i <= view.getInt32(at + 23); i++) found.push(base + i);
    }
  }
  return found;
}

/** Archives whose chunks are stored raw; counts the ranged reads. */
class RawArchives implements ArchiveEngine, ObjectStore {
  readonly description = "raw";
  readonly objects = new Map<string, { toc: TocChunk[]; chunks: Uint8Array[] }>();
  gets = 0;
  missing = new Set<string>();

  getRange(key: string, position: number): Promise<Uint8Array> {
    this.gets++;
    const object = this.objects.get(key);
    if (!object || this.missing.has(key)) {
      return Promise.reject(new StoreError("not-found", key, "is missing from the object store"));
    }
    const bytes = position === 900 ? new TextEncoder().encode(key) : object.chunks[position];
    return Promise.resolve(bytes ?? new Uint8Array());
  }

  readToc(member: Uint8Array): Promise<{ chunks: readonly TocChunk[] }> {
    return Promise.resolve({
      chunks: this.objects.get(new TextDecoder().decode(member))?.toc ?? [],
    });
  }

  inflateChunk(member: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(member);
  }

  findTime(batches: Uint8Array, target: number, fromOffset: number): Promise<TimeHit | null> {
    const all = offsets([batches]).filter((offset) => offset >= fromOffset);
    const hit = target === -1 ? all[all.length - 1] : all.find((offset) => offset >= target);
    return Promise.resolve(
      hit === undefined ? null : { offset: hit, timestamp: hit, leaderEpoch: 0 },
    );
  }

  rewrite(): never {
    throw new Error("not needed");
  }

  stopBuilds(): never {
    throw new Error("not used");
  }
  build(): never {
    throw new Error("not used");
  }
  verify(): never {
    throw new Error("not used");
  }
  manifest(): never {
    throw new Error("not used");
  }
  readAborted(): Promise<readonly AbortedTransaction[]> {
    throw new Error("not used");
  }
  putFile(): never {
    throw new Error("not used");
  }
  putBytes(): never {
    throw new Error("not used");
  }
  list(): never {
    throw new Error("not used");
  }
  head(): never {
    throw new Error("not used");
  }
  openForVerify(): never {
    throw new Error("not used");
  }
  delete(): never {
    throw new Error("not used");
  }
}

/** Archives of consecutive batches; `shape` is segments → chunks → batch lengths, a negative one
 * is a hole. Record timestamps equal their offsets. */
async function archives(shape: number[][][], generation = 1, aborted = 0) {
  const raw = new RawArchives();
  const registry = await SegmentRegistry.open(new MemoryJournal());
  let next = 0;
  for (const segment of shape) {
    const base = next;
    const toc: TocChunk[] = [];
    const chunks: Uint8Array[] = [];
    for (const lengths of segment) {
      const spans = lengths.map((length) => {
        next += Math.abs(length);
        return { base: next - Math.abs(length), last: next - 1, isHole: length < 0 };
      });
      const held = spans.filter(({ isHole }) => !isHole);
      const chunkBase = held[0]?.base;
      const last = held[held.length - 1]?.last;
      if (chunkBase === undefined || last === undefined) continue;
      const batches = held.map((span) => batch(span.base, span.last));
      const bytes = new Uint8Array(Buffer.concat(batches));
      const sizes = { compressedLength: bytes.length, rawLength: bytes.length, crc32c: 0 };
      toc.push({
        position: chunks.length,
        ...sizes,
        base: chunkBase,
        last,
        maxTimestamp: last,
        leaderEpoch: 0,
      });
      chunks.push(bytes);
    }
    const entry = segmentEntry(base, next - 1, { generation, aborted });
    raw.objects.set(entry.key, { toc, chunks });
    await registry.add(entry, 0);
  }
  const limits = { chunkCacheBytesMax: 1 << 20, tocCacheBytesMax: 1 << 20 };
  const reader = new ArchiveReader(registry, coldChunks(raw, raw, { limits }), raw);
  return { raw, registry, end: next, reader };
}

const shapes = fc.array(
  fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }), {
    minLength: 1,
    maxLength: 3,
  }),
  { minLength: 1, maxLength: 3 },
);

test("reads from any offset give each later record once, in order, for any limits", async () => {
  await fc.assert(
    fc.asyncProperty(
      shapes,
      fc.nat(30),
      fc.integer({ min: 0, max: 400 }),
      async (shape, from, max) => {
        const { reader, end } = await archives(shape);
        const seen: number[] = [];
        for (let next = Math.min(from, end - 1); next < end; ) {
          const { chunks: slices } = await reader.read("id-t", 0, next, max, end);
          const got = offsets(slices).filter((offset) => offset >= next);
          expect(got.length).toBeGreaterThan(0);
          expect(slices.length === 1 || slices.reduce((n, s) => n + s.length, 0) <= max).toBe(true);
          seen.push(...got);
          next = (got[got.length - 1] ?? end) + 1;
        }
        const start = Math.min(from, end - 1);
        expect(seen).toEqual(Array.from({ length: end - start }, (_, i) => start + i));
      },
    ),
    { numRuns: 200 },
  );
});

test("holes of later generations are passed over, from any offset and for any limits", async () => {
  const length = fc.integer({ min: -5, max: 5 }).map((n) => n || 1);
  const chunk = fc.array(length, { minLength: 1, maxLength: 4 });
  const segment = fc.array(chunk, { minLength: 1, maxLength: 3 });
  const holey = fc.array(segment, { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(holey, fc.nat(30), fc.nat(400), fc.nat(60), async (shape, at, max, cut) => {
      const { reader, end } = await archives(shape, 2);
      let position = 0;
      const held = shape.flat(2).flatMap((each) => {
        position += Math.abs(each);
        const base = position - Math.abs(each);
        return each < 0 ? [] : Array.from({ length: each }, (_, i) => ({ base, at: base + i }));
      });
      const start = Math.min(at, end - 1);
      const seen: number[] = [];
      for (let next = start; next < end; ) {
        const read = await reader.read("id-t", 0, next, max, end);
        // No read stands still: a hole ends, if only at the end of what is archived.
        expect(read.nextOffset).toBeGreaterThan(next);
        seen.push(...offsets(read.chunks).filter((offset) => offset >= next));
        next = read.nextOffset;
      }
      expect(seen).toEqual(held.map((one) => one.at).filter((offset) => offset >= start));
      const limited = await reader.read("id-t", 0, start, 1e6, start + cut);
      expect(limited.nextOffset).toBeLessThanOrEqual(start + cut);
      expect(offsets(limited.chunks).every((offset) => offset < start + cut)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("a hole in a first generation is damage, wherever it is", async () => {
  for (const shape of [[[[-2, 5]]], [[[5, -2, 5]]], [[[5], [-2, 5]]], [[[5], [-1], [5]]]]) {
    const { reader } = await archives(shape, 1);
    const read = (async () => {
      for (let next = 0; next < 10; ) {
        next = (await reader.read("id-t", 0, next, 1e6, 100)).nextOffset;
      }
    })();
    await expect(read).rejects.toMatchObject({ code: "CHRONIK_ARCHIVE_DAMAGED" });
  }
});

test("stops at the offset limit with whole batches", async () => {
  const { reader } = await archives([[[5, 5]], [[5]]]);
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 12)).chunks)).toEqual([
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
  ]);
  expect(await reader.read("id-t", 0, 0, 1e6, 4)).toEqual({ chunks: [], nextOffset: 0 });
});

test("a cold read is two ranged reads, a warm chunk none", async () => {
  const { reader, raw } = await archives([[[5], [5]]]);
  await reader.read("id-t", 0, 0, 1, 10);
  expect(raw.gets).toBe(2);
  await reader.read("id-t", 0, 0, 1, 10);
  expect(raw.gets).toBe(2);
  await reader.read("id-t", 0, 5, 1, 10);
  expect(raw.gets).toBe(3);
});

test("concurrent readers of one chunk share one read", async () => {
  const { reader, raw } = await archives([[[5]]]);
  await Promise.all(Array.from({ length: 8 }, () => reader.read("id-t", 0, 0, 1e6, 5)));
  expect(raw.gets).toBe(2);
});

test("a missing object fails its own offsets with a clear error, no others", async () => {
  const { reader, raw, registry } = await archives([[[5]], [[5]]]);
  raw.missing.add(registry.segments("id-t", 0)[0]?.key ?? "");
  await expect(reader.read("id-t", 0, 0, 1e6, 10)).rejects.toThrow(/t-0 offsets 0-4.*missing/);
  expect(offsets((await reader.read("id-t", 0, 5, 1e6, 10)).chunks)).toEqual([5, 6, 7, 8, 9]);
  raw.missing.clear();
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 10)).chunks)).toHaveLength(10);
});

test("a read that reaches into damage gives what lies before it", async () => {
  const { reader, raw, registry } = await archives([[[5]], [[5]]]);
  raw.missing.add(registry.segments("id-t", 0)[1]?.key ?? "");
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 10)).chunks)).toEqual([0, 1, 2, 3, 4]);
  await expect(reader.read("id-t", 0, 5, 1e6, 10)).rejects.toThrow(/t-0 offsets 5-9/);
});

test("what is in quarantine is not asked of the store, and says why", async () => {
  const { reader, raw, registry } = await archives([[[5]], [[5]]]);
  const [first] = registry.segments("id-t", 0);
  if (first === undefined) throw new Error("no entry");
  await reader.read("id-t", 0, 0, 1e6, 5);
  const before = raw.gets;
  await registry.quarantine(first, "bad batch at 3", 1);
  const read = reader.read("id-t", 0, 0, 1e6, 10);
  await expect(read).rejects.toMatchObject({ code: "CHRONIK_ARCHIVE_DAMAGED" });
  await expect(reader.findTime("id-t", 0, 2, 0)).rejects.toThrow("quarantine (bad batch at 3)");
  expect(raw.gets).toBe(before);
  expect(offsets((await reader.read("id-t", 0, 5, 1e6, 10)).chunks)).toEqual([5, 6, 7, 8, 9]);
  await registry.unquarantine(registry.entryOf(first.key) ?? first);
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 10)).chunks)).toHaveLength(10);
});

test("bytes damaged on their way are asked for again, once", async () => {
  const { reader, raw } = await archives([[[5]]]);
  const { inflateChunk } = raw;
  let bad = 1;
  raw.inflateChunk = (member: Uint8Array) =>
    bad-- > 0 ? Promise.reject(new Error("crc differs")) : inflateChunk.call(raw, member);
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 5)).chunks)).toHaveLength(5);
  expect(raw.gets).toBe(3);
  const other = await archives([[[5]]]);
  other.raw.inflateChunk = () => Promise.reject(new Error("crc differs"));
  const read = other.reader.read("id-t", 0, 0, 1e6, 5);
  await expect(read).rejects.toMatchObject({ code: "CHRONIK_ARCHIVE_DAMAGED" });
  expect(other.raw.gets).toBe(3);
});

test("an engine with too much to do is not taken for a damaged archive", async () => {
  const { reader, raw } = await archives([[[5]]]);
  const { inflateChunk } = raw;
  raw.inflateChunk = () => Promise.reject(new BrokerError("CHRONIK_BUSY", "too much to do"));
  const read = reader.read("id-t", 0, 0, 1e6, 5);
  await expect(read).rejects.toMatchObject({ code: "CHRONIK_STORE_UNAVAILABLE" });
  // And is not made busier.
  expect(raw.gets).toBe(2);
  raw.inflateChunk = inflateChunk;
  expect(offsets((await reader.read("id-t", 0, 0, 1e6, 5)).chunks)).toHaveLength(5);
});

test("archives whose aborts are asked for stay until they were told", async () => {
  const { reader, raw, registry } = await archives([[[5]], [[5]], [[5]]], 1, 1);
  const isPinned = () => registry.segments("id-t", 0).map((entry) => registry.isPinned(entry));
  const seen: boolean[][] = [];
  raw.readAborted = () => {
    seen.push(isPinned());
    const firstOffset = 5 * seen.length;
    return Promise.resolve([{ producerId: 1, firstOffset, lastOffset: firstOffset + 1 }]);
  };
  const found = await reader.abortedTransactions("id-t", 0, 5, 15);
  expect(found.map(({ firstOffset }) => firstOffset)).toEqual([5, 10]);
  // A merge may retire them all meanwhile, and what nobody reads is deleted at once.
  expect(seen).toEqual([
    [false, true, true],
    [false, true, true],
  ]);
  expect(isPinned()).toEqual([false, false, false]);
});

test("a store that is away is not taken for a damaged archive", async () => {
  const { reader, raw } = await archives([[[5]]]);
  raw.getRange = (key: string) =>
    Promise.reject(new StoreError("unavailable", key, "cannot be read: 503"));
  const read = reader.read("id-t", 0, 0, 1e6, 5);
  await expect(read).rejects.toMatchObject({ code: "CHRONIK_STORE_UNAVAILABLE" });
  await expect(reader.read("id-t", 0, 0, 1e6, 5)).rejects.toThrow("t-0 offsets 0-4");
});

test("finds the first record at or after a time, and the one with the largest", async () => {
  const { reader } = await archives([[[5], [5]], [[5]]]);
  expect((await reader.findTime("id-t", 0, 7, 0))?.offset).toBe(7);
  expect((await reader.findTime("id-t", 0, 10, 0))?.offset).toBe(10);
  expect(await reader.findTime("id-t", 0, 15, 0)).toBeNull();
  expect((await reader.findTime("id-t", 0, 1, 3))?.offset).toBe(3);
  expect((await reader.findTime("id-t", 0, -1, 0))?.offset).toBe(14);
});

test("the largest timestamp of many segments is found by reading one", async () => {
  const { reader, raw } = await archives(Array.from({ length: 50 }, () => [[5]]));
  expect((await reader.findTime("id-t", 0, -1, 0))?.offset).toBe(249);
  expect(raw.gets).toBe(2);
  expect((await reader.findTime("id-t", 0, 120, 3))?.offset).toBe(120);
  expect(raw.gets).toBe(4);
});

test("a segment with its largest timestamp in front of the offset hides no other", async () => {
  const { reader, raw, registry } = await archives([[[5], [5]], [[5]], [[5]]]);
  const [first, ...rest] = registry.segments("id-t", 0);
  if (!first) throw new Error("a segment");
  // As if its first record were the newest of all; the fake's records have their offsets as times.
  const late = { ...first, maxTimestamp: 1_000, key: "late" };
  raw.objects.set("late", raw.objects.get(first.key) ?? { toc: [], chunks: [] });
  await registry.replace([first], [late]);
  expect(rest).toHaveLength(2);
  expect((await reader.findTime("id-t", 0, -1, 3))?.offset).toBe(19);
});

test("a slice never splits a batch", () => {
  const chunk = new Uint8Array(Buffer.concat([batch(0, 4), batch(5, 9)]));
  const slice = sliceBatches(chunk, 3, 10, 72, true);
  expect(slice?.bytes.length).toBe(71);
  expect(slice?.nextOffset).toBe(5);
  const none = sliceBatches(chunk, 3, 10, 10, false);
  expect(none).toEqual({ bytes: new Uint8Array(), nextOffset: 3, cut: true, holeAt: null });
  expect(sliceBatches(chunk, 10, 20, 1e6, true)).toBeNull();
});

test("a topic made anew is not read from the caches of the deleted one", async () => {
  const { raw, registry, reader } = await archives([[[3]]]);
  expect((await reader.read("id-t", 0, 0, 1e6, 3)).chunks[0]?.length).toBe(71);
  await registry.retireTopic("id-t");
  const [old] = [...registry.retiredObjects()];
  await registry.objectsDeleted([old?.key ?? ""]);
  const chunk = batch(0, 2, 20);
  const size = { compressedLength: chunk.length, rawLength: chunk.length, crc32c: 0 };
  const place = { position: 0, base: 0, last: 2, maxTimestamp: 2, leaderEpoch: 0 };
  raw.objects.set(old?.key ?? "", { toc: [{ ...place, ...size }], chunks: [chunk] });
  await registry.add(segmentEntry(0, 2, { topicId: "id-new", sha256: "1".repeat(64) }), 0);
  expect((await reader.read("id-new", 0, 0, 1e6, 3)).chunks).toEqual([chunk]);
});
