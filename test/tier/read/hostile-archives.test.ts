/** An archive that is not what was registered, whatever was done to it: a check says so, a read
 * fails for its own offsets, no other byte is ever served, and memory stays bounded. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { createGzip, gzipSync } from "node:zlib";
import fc from "fast-check";
import { crc32c } from "../../../src/protocol/crc32c.ts";
import type { Depth } from "../../../src/tier/check/segment-check.ts";
import { type SegmentEntry, SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { type ArchiveLab, openArchiveLab } from "../../support/archive-lab.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { hasLibrary } from "../../support/native.ts";

const values = (from: number) =>
  Array.from({ length: 30 }, (_, at) =>
    Array.from(
      { length: 10 },
      (_, n) => `${from + at * 10 + n} ${"value ".repeat(200 + (at % 7))}`,
    ),
  );

/** Batches of [from, end) as they are served; null where the read fails as damage does. */
async function served(lab: ArchiveLab, entry: SegmentEntry, registry = lab.registry) {
  const { topicId, partition, base, last } = entry;
  const reader = lab.reader(registry);
  const found: Uint8Array[] = [];
  for (let next = base; next <= last; ) {
    try {
      const { chunks } = await reader.read(topicId, partition, next, 1 << 20, last + 1);
      expect(chunks.length).toBeGreaterThan(0);
      found.push(...chunks);
      const tail = chunks.at(-1) ?? new Uint8Array();
      next = endOf(tail);
    } catch (error) {
      expect(error).toMatchObject({ code: "CHRONIK_ARCHIVE_DAMAGED" });
      const place = `${entry.topic}-${partition} offsets ${base}-${last}`;
      expect((error as Error).message).toContain(place);
      return null;
    }
  }
  return Buffer.concat(found);
}

function endOf(batches: Uint8Array): number {
  const view = new DataView(batches.buffer, batches.byteOffset, batches.byteLength);
  let end = 0;
  for (let at = 0; at < batches.length; at += 12 + view.getInt32(at + 8)) {
    end = Number(view.getBigInt64(at)) + view.getInt32(at + 23) + 1;
  }
  return end;
}

describe.skipIf(!hasLibrary)("an archive that was", () => {
  let lab: ArchiveLab;
  let entry: SegmentEntry;
  let next: SegmentEntry;
  let good: Uint8Array;
  let right: Buffer;

  beforeAll(async () => {
    lab = await openArchiveLab();
    entry = await lab.archive(0, values(0));
    next = await lab.archive(0, values(300));
    good = lab.store.objects.get(entry.key)?.slice() ?? new Uint8Array();
    const bytes = await served(lab, entry);
    if (bytes === null) throw new Error("a whole archive is not read");
    right = bytes;
  });
  afterAll(async () => await lab.close());

  const put = (bytes: Uint8Array | null) => {
    if (bytes === null) lab.store.objects.delete(entry.key);
    else lab.store.objects.set(entry.key, bytes);
  };

  async function expectFound(depths: readonly Depth[]): Promise<void> {
    for (const depth of depths) {
      const outcome = await lab.check(entry, depth);
      expect([depth, outcome.kind]).toEqual([depth, "damaged"]);
    }
  }

  test("left alone is sound at every depth", async () => {
    put(good);
    for (const depth of ["shallow", "hash", "deep"] as const) {
      expect(await lab.check(entry, depth)).toEqual({ kind: "sound" });
    }
    expect(entry.tocCrc32c).toBeNumber();
  });

  test("flipped at any byte: found, and never served as other bytes", async () => {
    const positions = fc.oneof(
      fc.nat(good.length - 1),
      // Headers in front, table of contents and locator behind.
      fc.nat(2_000),
      fc.integer({ min: entry.tocPosition, max: good.length - 1 }),
    );
    await fc.assert(
      fc.asyncProperty(positions, fc.nat(7), async (position, bit) => {
        const bad = good.slice();
        bad[position] = (bad[position] ?? 0) ^ (1 << bit);
        put(bad);
        const bytes = await served(lab, entry);
        if (bytes !== null) expect(bytes.equals(right)).toBe(true);
        await expectFound(["hash", "deep"]);
      }),
      { numRuns: 250 },
    );
  }, 120_000);

  test("cut at any byte, or longer", async () => {
    for (const length of [0, 1, 53, 54, 600, entry.tocPosition, good.length - 1]) {
      put(good.subarray(0, length));
      const bytes = await served(lab, entry);
      if (bytes !== null) expect(bytes.equals(right)).toBe(true);
      await expectFound(["shallow", "hash", "deep"]);
    }
    put(new Uint8Array(Buffer.concat([good, good])));
    await expectFound(["shallow", "hash", "deep"]);
    // The registered range is where it was: what is read is right.
    expect((await served(lab, entry))?.equals(right)).toBe(true);
  });

  test("missing: an error for its offsets, none for its neighbour's", async () => {
    put(null);
    expect(await served(lab, entry)).toBeNull();
    await expectFound(["shallow", "hash", "deep"]);
    expect((await served(lab, next))?.length).toBeGreaterThan(0);
    put(good);
  });

  test("swapped with its neighbour", async () => {
    put(lab.store.objects.get(next.key) ?? null);
    expect(await served(lab, entry)).toBeNull();
    await expectFound(["shallow", "hash", "deep"]);
    put(good);
  });

  test("swapped with another partition's of the same offsets and the same size", async () => {
    const bySize = new Map<string, SegmentEntry>();
    let mine: SegmentEntry | undefined;
    let twin: SegmentEntry | undefined;
    for (let index = 1; index < 100 && mine === undefined; index++) {
      twin = await lab.archive(index, [["few"]], "none");
      const size = `${twin.bytes} ${twin.tocPosition}`;
      mine = bySize.get(size);
      bySize.set(size, twin);
    }
    if (mine === undefined || twin === undefined) throw new Error("no two of the same size");
    expect((await served(lab, mine))?.length).toBeGreaterThan(0);
    lab.store.objects.set(mine.key, lab.store.objects.get(twin.key) ?? new Uint8Array());
    expect(await served(lab, mine)).toBeNull();
    // An entry of before the registry knew more of the table of contents: its manifest tells.
    const { tocCrc32c: _, ...old } = mine;
    const told = await lab.check(old, "shallow");
    expect(told.kind === "damaged" ? told.reason : told.kind).toContain("its manifest says part");
    for (const depth of ["shallow", "hash", "deep"] as const) {
      expect([depth, (await lab.check(mine, depth)).kind]).toEqual([depth, "damaged"]);
    }
  }, 60_000);
});

const header = (name: string, size: number, kind = "0"): Buffer => {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write("0000644\0", 100);
  block.write("0000000\0", 108);
  block.write("0000000\0", 116);
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  block.write("00000000000\0", 136);
  block.write("        ", 148);
  block.write(kind, 156);
  block.write("ustar\u000000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
};
const gz = (...parts: Uint8Array[]) => gzipSync(Buffer.concat(parts));
const padding = (bytes: number) => Buffer.alloc((512 - (bytes % 512)) % 512);

function locator(position: number, length: number, crc: number): Buffer {
  const bytes = Buffer.alloc(54);
  Buffer.from("1f8b08040000000000ff2000436b1c00", "hex").copy(bytes);
  bytes.write("CHRNKTOC", 16);
  bytes.writeBigUInt64LE(BigInt(position), 24);
  bytes.writeBigUInt64LE(BigInt(length), 32);
  bytes.writeUInt32LE(crc, 40);
  bytes[44] = 3;
  return bytes;
}

interface Toc {
  manifest: Record<string, unknown>;
  batches: { position: number; length: number; bytes: number; chunks: Record<string, unknown>[] };
  index: Record<string, unknown>;
}

/** `front`, then the table of contents `toc` in its place, as one who knows the format makes it. */
function ended(front: Uint8Array, toc: Uint8Array | string, tocMember?: Uint8Array): Uint8Array {
  const json = Buffer.from(toc);
  const head = gz(header("toc.json", json.length));
  const member = tocMember ?? gz(json);
  const position = front.length + head.length;
  const end = gz(padding(json.length), Buffer.alloc(1024));
  return Buffer.concat([front, head, member, end, locator(position, member.length, crc32c(json))]);
}

/** Of `bytes` zeros, made in little memory. */
async function bomb(bytes: number): Promise<Buffer> {
  const gzip = createGzip({ level: 9 });
  const out: Buffer[] = [];
  const done = Promise.withResolvers<void>();
  gzip.on("data", (chunk: Buffer) => out.push(chunk));
  gzip.on("end", () => done.resolve());
  const zeros = Buffer.alloc(1 << 20);
  for (let at = 0; at < bytes; at += zeros.length) {
    if (gzip.write(zeros)) continue;
    const drained = Promise.withResolvers<void>();
    gzip.once("drain", () => drained.resolve());
    await drained.promise;
  }
  gzip.end();
  await done.promise;
  return Buffer.concat(out);
}

/** Most bytes resident while `work` runs, beyond what was resident before. */
async function residentGrowth(work: () => Promise<void>): Promise<number> {
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5");
  const before = process.memoryUsage.rss();
  await work();
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return Number(peak) * 1024 - before;
}

describe.skipIf(!hasLibrary)("an archive made to harm", () => {
  let lab: ArchiveLab;
  let entry: SegmentEntry;
  let good: Uint8Array;
  let toc: Toc;

  beforeAll(async () => {
    lab = await openArchiveLab();
    entry = await lab.archive(0, values(0));
    good = lab.store.objects.get(entry.key)?.slice() ?? new Uint8Array();
    toc = await lab.native.readToc<Toc>(good.subarray(entry.tocPosition), good.length);
  });
  afterAll(async () => await lab.close());

  /** The registry believes in it: size, hash and place of the table of contents are its own. */
  async function believed(
    bytes: Uint8Array,
  ): Promise<{ entry: SegmentEntry; registry: SegmentRegistry }> {
    lab.store.objects.set(entry.key, bytes);
    const place = Buffer.from(bytes.subarray(-54)).readBigUInt64LE(24);
    const { tocCrc32c: _, ...rest } = entry;
    const lie: SegmentEntry = {
      ...rest,
      bytes: bytes.length,
      sha256: new Bun.CryptoHasher("sha256").update(bytes).digest("hex"),
      tocPosition: Math.min(Number(place), bytes.length - 54),
    };
    const registry = await SegmentRegistry.open(new MemoryJournal());
    await registry.add(lie, 0);
    return { entry: lie, registry };
  }

  async function expectRefused(bytes: Uint8Array, also: readonly Depth[] = []): Promise<void> {
    const lie = await believed(bytes);
    expect(await served(lab, lie.entry, lie.registry)).toBeNull();
    await expectUnsound(lie.entry, ["deep", ...also]);
  }

  async function expectUnsound(lie: SegmentEntry, depths: readonly Depth[]): Promise<void> {
    for (const depth of depths) {
      expect([depth, (await lab.check(lie, depth)).kind]).toEqual([depth, "damaged"]);
    }
  }

  const front = () => good.subarray(0, entry.tocPosition);
  const changed = (change: (copy: Toc) => void): Uint8Array => {
    const copy = structuredClone(toc);
    change(copy);
    return ended(front(), JSON.stringify(copy));
  };
  const firstChunk = (copy: Toc): Record<string, unknown> => copy.batches.chunks[0] ?? {};

  const lies: Record<string, (copy: Toc) => void> = {
    "outside the object": (copy) => {
      firstChunk(copy)["position"] = 1e12;
    },
    "before the object": (copy) => {
      firstChunk(copy)["position"] = -5;
    },
    "into each other": (copy) => {
      copy.batches.chunks = [firstChunk(copy), ...copy.batches.chunks];
    },
    "past 64 bits": (copy) => {
      copy.batches.length = Number.MAX_SAFE_INTEGER;
      firstChunk(copy)["length"] = Number.MAX_SAFE_INTEGER;
    },
    "to chunks of a terabyte": (copy) => {
      firstChunk(copy)["bytes"] = 1e12;
    },
    "to offsets that fall": (copy) => {
      firstChunk(copy)["base_offset"] = 1e9;
    },
    "to nothing": (copy) => {
      copy.batches.chunks = [];
    },
    "to other bytes than it says": (copy) => {
      firstChunk(copy)["crc32c"] = 1;
    },
    "to a hundred thousand chunks": (copy) => {
      copy.batches.chunks = Array.from({ length: 100_000 }, () => firstChunk(copy));
    },
    "to the manifest behind the batches": (copy) => {
      copy.manifest["position"] = entry.tocPosition;
    },
  };
  for (const [what, change] of Object.entries(lies)) {
    test(`its table of contents points ${what}`, async () => {
      await expectRefused(changed(change));
    });
  }

  test("names that leave the folder, links, and thousands of files", async () => {
    const batchesEnd = toc.batches.position + toc.batches.length;
    const batches = good.subarray(0, batchesEnd);
    const pad = padding(toc.batches.bytes);
    const cases: Buffer[] = [
      ...["../../etc/passwd", "/etc/passwd", "index/../x", "batches"].map((name) =>
        Buffer.concat([gz(pad, header(name, 1)), gz(Buffer.from("x"))]),
      ),
      ...["1", "2", "5", "L", "x", "S"].map((kind) => gz(pad, header("index/a", 0, kind))),
      Buffer.concat([
        gz(pad, header("index/f", 0)),
        ...Array.from({ length: 5_000 }, () => gz(header("index/f", 0))),
      ]),
    ];
    for (const more of cases) {
      const bytes = ended(Buffer.concat([batches, more]), JSON.stringify(toc));
      const lie = await believed(bytes);
      await expectUnsound(lie.entry, ["deep"]);
    }
  }, 60_000);

  test("bombs cost no memory, wherever they lie", async () => {
    const large = await bomb(1 << 30);
    const rest = good.subarray(Number(toc.manifest["position"]) + Number(toc.manifest["length"]));
    const first = toc.batches.chunks[0] ?? {};
    const after = good.subarray(Number(first["position"]) + Number(first["length"]));
    const shifted = structuredClone(toc);
    const by = large.length - Number(first["length"]);
    firstChunk(shifted)["length"] = large.length;
    shifted.batches.length += by;
    for (const chunk of shifted.batches.chunks.slice(1)) {
      chunk["position"] = Number(chunk["position"]) + by;
    }
    shifted.index = { position: 0, length: 0, files: [] };
    const subjects: Record<string, Uint8Array> = {
      "as the first member": Buffer.concat([large, good]),
      "as a manifest of 1 GiB": Buffer.concat([gz(header("manifest.json", 1 << 30)), large, rest]),
      "as a small manifest": Buffer.concat([gz(header("manifest.json", 100)), large, rest]),
      "as a chunk": ended(
        Buffer.concat([
          good.subarray(0, Number(first["position"])),
          large,
          after.subarray(0, entry.tocPosition - (good.length - after.length)),
        ]),
        JSON.stringify(shifted),
      ),
      "as the table of contents": ended(front(), "{}", large),
    };
    for (const [where, bytes] of Object.entries(subjects)) {
      const lie = await believed(bytes);
      const grown = await residentGrowth(async () => {
        expect([where, (await lab.check(lie.entry, "deep")).kind]).toEqual([where, "damaged"]);
        await lab.check(lie.entry, "shallow");
        await served(lab, lie.entry, lie.registry);
      });
      expect([where, grown < 96 << 20]).toEqual([where, true]);
    }
    const toChunk = await believed(subjects["as a chunk"] ?? good);
    expect(await served(lab, toChunk.entry, toChunk.registry)).toBeNull();
    const toToc = await believed(subjects["as the table of contents"] ?? good);
    expect(await served(lab, toToc.entry, toToc.registry)).toBeNull();
    await expectUnsound(toToc.entry, ["shallow", "deep"]);
  }, 120_000);
});
