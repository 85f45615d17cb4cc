import type { SegmentEntry } from "../registry/segment-registry.ts";

/**
 * Format 1 of the disk cache's files, `chunks-v1-NNNNNNNN.slab`. All integers little endian.
 *
 * A file is records end to end, and behind them, once nothing more is written to it, an index.
 * record: u32 magic "CKCR" · u32 length of the name · u32 length of the bytes · u32 zero ·
 *   u64 xxHash3 of the bytes, with the xxHash3 of the name as its seed · name (UTF-8) · bytes
 *   name: JSON [topic id, object key, first 16 hex digits of the object's SHA-256, position]
 * index: JSON [[name as above, where its bytes begin, their length, their hash in hex], …]
 * trailer (24 bytes): u32 magic "CKCI" · u32 length of the index · u64 xxHash3 of the index ·
 *   u64 zero
 * A file without a good trailer, as a crash leaves one, is read record by record up to the first
 * that is not whole. Another version is another file name.
 */

/** A range of an object by its first position. */
export interface RangeName {
  readonly topicId: string;
  readonly key: string;
  readonly sha256: string;
  readonly position: number;
}

/** Where a slab has the bytes of a range. */
export interface SlabRange {
  readonly name: RangeName;
  readonly at: number;
  readonly length: number;
  /** Of name and bytes. */
  readonly hash: bigint;
}

const recordMagic = 0x52434b43;
const indexMagic = 0x49434b43;
const recordHeaderBytes = 24;
export const trailerBytes = 24;
const nameBytesMax = 4096;
const slabPattern = /^chunks-v(\d+)-(\d{8,10})\.slab$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function slabFile(number: number): string {
  return `chunks-v1-${String(number).padStart(8, "0")}.slab`;
}

/** Null for files that are not the cache's. */
export function parseSlabFile(name: string): { version: number; number: number } | null {
  const match = slabPattern.exec(name);
  return match === null ? null : { version: Number(match[1]), number: Number(match[2]) };
}

export function rangeName(entry: SegmentEntry, position: number): RangeName {
  const { topicId, key, sha256 } = entry;
  return { topicId, key, sha256: sha256.slice(0, 16), position };
}

/** Records end to end; `at` of the ranges counts from the first one's beginning. */
export function encodeRecords(
  parts: readonly { readonly name: RangeName; readonly bytes: Uint8Array }[],
): { records: Uint8Array; ranges: SlabRange[] } {
  const named = parts.map(({ name, bytes }) => ({ name, bytes, nameBytes: encodeName(name) }));
  let length = 0;
  for (const { nameBytes, bytes } of named) {
    length += recordHeaderBytes + nameBytes.length + bytes.length;
  }
  const records = new Uint8Array(length);
  const view = new DataView(records.buffer);
  const ranges: SlabRange[] = [];
  let start = 0;
  for (const { name, nameBytes, bytes } of named) {
    const at = start + recordHeaderBytes + nameBytes.length;
    const hash = rangeHash(nameBytes, bytes);
    view.setUint32(start, recordMagic, true);
    view.setUint32(start + 4, nameBytes.length, true);
    view.setUint32(start + 8, bytes.length, true);
    view.setBigUint64(start + 16, hash, true);
    records.set(nameBytes, start + recordHeaderBytes);
    records.set(bytes, at);
    ranges.push({ name, at, length: bytes.length, hash });
    start = at + bytes.length;
  }
  return { records, ranges };
}

/** Bytes that a record of encodeRecords has. */
export function recordBytes(name: RangeName, length: number): number {
  return recordHeaderBytes + encodeName(name).length + length;
}

export function isIntact(range: SlabRange, bytes: Uint8Array): boolean {
  if (bytes.length !== range.length) return false;
  return rangeHash(encodeName(range.name), bytes) === range.hash;
}

/** The whole records that a slab begins with. */
export function scanRecords(slab: Uint8Array): SlabRange[] {
  const found: SlabRange[] = [];
  const view = new DataView(slab.buffer, slab.byteOffset, slab.byteLength);
  for (let start = 0; start + recordHeaderBytes <= slab.length; ) {
    const nameLength = view.getUint32(start + 4, true);
    const length = view.getUint32(start + 8, true);
    const at = start + recordHeaderBytes + nameLength;
    const end = at + length;
    if (view.getUint32(start, true) !== recordMagic || nameLength > nameBytesMax) break;
    if (end > slab.length) break;
    const hash = view.getBigUint64(start + 16, true);
    const nameBytes = slab.subarray(start + recordHeaderBytes, at);
    const name = decodeName(nameBytes);
    if (name === null || rangeHash(nameBytes, slab.subarray(at, end)) !== hash) break;
    found.push({ name, at, length, hash });
    start = end;
  }
  return found;
}

/** Index and trailer of a finished slab. */
export function encodeIndex(ranges: readonly SlabRange[]): Uint8Array {
  const rows = ranges.map(({ name, at, length, hash }) => [
    nameRow(name),
    at,
    length,
    hash.toString(16),
  ]);
  const index = encoder.encode(JSON.stringify(rows));
  const bytes = new Uint8Array(index.length + trailerBytes);
  bytes.set(index);
  const view = new DataView(bytes.buffer);
  view.setUint32(index.length, indexMagic, true);
  view.setUint32(index.length + 4, index.length, true);
  view.setBigUint64(index.length + 8, hashOf(index), true);
  return bytes;
}

/** Length of the index in front of these last bytes of a slab; null where there is none. */
export function indexLength(trailer: Uint8Array): number | null {
  if (trailer.length !== trailerBytes) return null;
  const view = new DataView(trailer.buffer, trailer.byteOffset, trailer.byteLength);
  return view.getUint32(0, true) === indexMagic ? view.getUint32(4, true) : null;
}

/** The ranges that an index names, of a slab whose records end at `recordsEnd`; null when the index
 * is not as written. */
export function decodeIndex(bytes: Uint8Array, recordsEnd: number): SlabRange[] | null {
  const index = bytes.subarray(0, bytes.length - trailerBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (hashOf(index) !== view.getBigUint64(index.length + 8, true)) return null;
  const rows = parseJson(index);
  if (!Array.isArray(rows)) return null;
  const found: SlabRange[] = [];
  for (const row of rows) {
    if (!Array.isArray(row)) return null;
    const [nameParts, at, length, hash] = row;
    const name = nameOf(nameParts);
    if (name === null || typeof hash !== "string" || !/^[0-9a-f]{1,16}$/.test(hash)) return null;
    if (!isCount(at) || !isCount(length) || at + length > recordsEnd) return null;
    found.push({ name, at, length, hash: BigInt(`0x${hash}`) });
  }
  return found;
}

function hashOf(bytes: Uint8Array, seed = 0n): bigint {
  return BigInt.asUintN(64, BigInt(Bun.hash.xxHash3(bytes, seed)));
}

function rangeHash(name: Uint8Array, bytes: Uint8Array): bigint {
  return hashOf(bytes, hashOf(name));
}

function nameRow({ topicId, key, sha256, position }: RangeName) {
  return [topicId, key, sha256, position];
}

function encodeName(name: RangeName): Uint8Array {
  return encoder.encode(JSON.stringify(nameRow(name)));
}

function decodeName(bytes: Uint8Array): RangeName | null {
  return nameOf(parseJson(bytes));
}

function nameOf(parts: unknown): RangeName | null {
  if (!Array.isArray(parts)) return null;
  const [topicId, key, sha256, position] = parts;
  const texts = typeof topicId === "string" && typeof key === "string";
  if (!texts || typeof sha256 !== "string" || !isCount(position)) return null;
  return { topicId, key, sha256, position };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return null; // not as written: the caller goes on without
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && typeof value === "number" && value >= 0;
}
