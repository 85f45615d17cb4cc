import { type ObjectStore, StoreError } from "../../src/store/object-store.ts";
import type { ArchiveEngine, TimeHit, TocChunk } from "../../src/tier/ports.ts";
import type { SegmentEntry } from "../../src/tier/registry/segment-registry.ts";
import { segmentEntry } from "./segment-entry.ts";

type Engine = Pick<ArchiveEngine, "readToc" | "readAborted" | "inflateChunk" | "findTime">;

const notUsed = (): never => {
  throw new Error("not used");
};

/** A batch's header fields that readers look at; the body is `fill`. */
export function flatBatch(base: number, last: number, bodyBytes: number, fill = 0): Uint8Array {
  const bytes = new Uint8Array(61 + bodyBytes).fill(fill, 61);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(base));
  view.setInt32(8, bytes.length - 12);
  view.setInt32(23, last - base);
  return bytes;
}

export function flatOffsets(
  read: readonly Uint8Array[] | { readonly chunks: readonly Uint8Array[] },
): number[] {
  const slices = "chunks" in read ? read.chunks : read;
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

/** Objects laid out as archives are, chunks end to end and the TOC behind them, but uncompressed; a
 * store that counts, stalls and fails. Record timestamps equal their offsets. */
export class FlatArchives implements Engine, ObjectStore {
  readonly description = "flat";
  readonly objects = new Map<string, Uint8Array>();
  readonly gets: { key: string; position: number; length: number }[] = [];
  inflated = 0;
  /** Ranged reads of these objects wait until `letGo`. */
  readonly stalled = new Set<string>();
  /** Ranged reads that fail, counted down. */
  failures = 0;
  private readonly held: (() => void)[] = [];

  readonly readAborted = notUsed;
  readonly putFile = notUsed;
  readonly putBytes = notUsed;
  readonly list = notUsed;
  readonly head = notUsed;
  readonly openForVerify = notUsed;

  /** Adds an archive of `chunkCount` chunks of `perChunk` batches of one record. */
  add(
    base: number,
    chunkCount: number,
    { perChunk = 4, bodyBytes = 1000, partition = 0 } = {},
  ): SegmentEntry {
    const toc: TocChunk[] = [];
    const chunks: Uint8Array[] = [];
    let offset = base;
    let position = 0;
    for (let i = 0; i < chunkCount; i++) {
      const first = offset;
      const batches = Array.from({ length: perChunk }, () => {
        const bytes = flatBatch(offset, offset, bodyBytes, offset & 127);
        offset++;
        return bytes;
      });
      const chunk = new Uint8Array(Buffer.concat(batches));
      const size = { compressedLength: chunk.length, rawLength: chunk.length, crc32c: 0 };
      const range = { base: first, last: offset - 1, maxTimestamp: offset - 1, leaderEpoch: 0 };
      toc.push({ position, ...size, ...range });
      chunks.push(chunk);
      position += chunk.length;
    }
    const bytes = new Uint8Array(Buffer.concat([...chunks, Buffer.from(JSON.stringify(toc))]));
    const key = `tantivy_indexes/t/partition-${partition}/segment-${base}-${offset - 1}.tar.gz`;
    this.objects.set(key, bytes);
    const place = { key, partition, bytes: bytes.length, tocPosition: position };
    return segmentEntry(base, offset - 1, place);
  }

  get bytesRead(): number {
    return this.gets.reduce((sum, { length }) => sum + length, 0);
  }

  letGo(): void {
    this.stalled.clear();
    for (const go of this.held.splice(0)) go();
  }

  async getRange(key: string, position: number, length: number): Promise<Uint8Array> {
    this.gets.push({ key, position, length });
    if (this.stalled.has(key)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.held.push(resolve);
      await promise;
    }
    await Promise.resolve();
    if (this.failures > 0) {
      this.failures--;
      throw new StoreError("unavailable", key, "cannot be read: 503");
    }
    const object = this.objects.get(key);
    if (object === undefined) throw new StoreError("not-found", key, "is missing");
    if (position + length > object.length) throw new StoreError("damaged", key, "is too short");
    return object.slice(position, position + length);
  }

  async delete(key: string): Promise<void> {
    this.objects.delete(key);
  }

  async readToc(tail: Uint8Array): Promise<{ chunks: readonly TocChunk[] }> {
    return { chunks: JSON.parse(new TextDecoder().decode(tail)) as TocChunk[] };
  }

  async inflateChunk(member: Uint8Array, rawLength: number): Promise<Uint8Array> {
    this.inflated++;
    if (member.length !== rawLength) throw new Error("not one member");
    return member;
  }

  async findTime(batches: Uint8Array, target: number, from: number): Promise<TimeHit | null> {
    const all = flatOffsets([batches]).filter((offset) => offset >= from);
    const hit = target === -1 ? all.at(-1) : all.find((offset) => offset >= target);
    return hit === undefined ? null : { offset: hit, timestamp: hit, leaderEpoch: 0 };
  }
}
