/** Files of aborted transactions that left the memory; src/log/FORMAT.md is their description.
 * (pure) */
import { BrokerError } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { readInt64, writeInt64 } from "../protocol/int64.ts";
import type { AbortedTransaction } from "./aborted-index.ts";

/** What is known of a part of the index without reading it. */
export interface AbortedSummary {
  readonly entries: number;
  /** Offsets of its first and its last marker. */
  readonly firstMarker: number;
  readonly lastMarker: number;
  /** The smallest of its entries. */
  readonly minFirstOffset: number;
  /** At its last abort: no transaction that is decided later begins below. */
  readonly lastStableOffset: number;
}

/** One file, as checkpoints name it. */
export interface AbortedRun extends AbortedSummary {
  readonly id: number;
  readonly blocks: number;
}

/** Entries that are read and checked together. */
export interface AbortedBlock extends AbortedSummary {
  readonly crc: number;
}

export interface EncodedBlock extends AbortedBlock {
  readonly bytes: Uint8Array;
}

/** Whose aborts they are. */
export interface RunOwner {
  /** 16 bytes. */
  readonly topicId: Uint8Array;
  readonly partition: number;
}

export const entryBytes = 32;
/** Of one file: 2 MiB. */
export const runEntriesMax = 65_536;
const magic = 0x4348_4142;
const version = 1;
const headerBytes = 56;
const directoryEntryBytes = 40;
const blockEntriesMax = 512;
const crcAt = 12;
const crcFrom = 16;
const topicIdAt = 16;
const topicIdBytes = 16;
const filePattern = /^aborted-(\d{1,15})$/;

export function runFile(id: number): string {
  return `aborted-${id}`;
}

/** The id of a run's file; null for other files. */
export function runIdOf(file: string): number | null {
  const match = filePattern.exec(file);
  return match === null ? null : Number(match[1]);
}

/** Bytes in front of the blocks. */
export function directoryBytes(blocks: number): number {
  return headerBytes + blocks * directoryEntryBytes;
}

/** Of one entry at least. */
export function summaryOf(parts: readonly AbortedSummary[]): AbortedSummary {
  const first = parts[0];
  const last = parts.at(-1);
  return {
    entries: parts.reduce((sum, { entries }) => sum + entries, 0),
    firstMarker: first?.firstMarker ?? 0,
    lastMarker: last?.lastMarker ?? 0,
    minFirstOffset: parts.reduce((min, part) => Math.min(min, part.minFirstOffset), Infinity),
    lastStableOffset: last?.lastStableOffset ?? 0,
  };
}

export function encodeBlocks(aborted: readonly AbortedTransaction[]): EncodedBlock[] {
  const blocks: EncodedBlock[] = [];
  for (let at = 0; at < aborted.length; at += blockEntriesMax) {
    blocks.push(encodeBlock(aborted.slice(at, at + blockEntriesMax)));
  }
  return blocks;
}

export function encodeRun(
  owner: RunOwner,
  id: number,
  blocks: readonly EncodedBlock[],
): { run: AbortedRun; bytes: Uint8Array } {
  const run = { id, blocks: blocks.length, ...summaryOf(blocks) };
  const bytes = new Uint8Array(directoryBytes(blocks.length) + run.entries * entryBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint8(4, version);
  bytes.set(owner.topicId, topicIdAt);
  view.setInt32(32, owner.partition);
  view.setUint32(36, blocks.length);
  writeInt64(view, 40, id);
  writeInt64(view, 48, run.entries);
  let position = directoryBytes(blocks.length);
  for (const [index, block] of blocks.entries()) {
    const at = headerBytes + index * directoryEntryBytes;
    view.setUint32(at, block.entries);
    view.setUint32(at + 4, block.crc);
    writeInt64(view, at + 8, block.firstMarker);
    writeInt64(view, at + 16, block.lastMarker);
    writeInt64(view, at + 24, block.minFirstOffset);
    writeInt64(view, at + 32, block.lastStableOffset);
    bytes.set(block.bytes, position);
    position += block.bytes.length;
  }
  view.setUint32(crcAt, directoryCrc(bytes, blocks.length));
  return { run, bytes };
}

/** What a run's file says of its blocks. Throws BrokerError: CHRONIK_UNKNOWN_VERSION for a later
 * format, CHRONIK_CORRUPT where it is not what the checkpoint names. */
export function decodeDirectory(
  bytes: Uint8Array,
  owner: RunOwner,
  run: AbortedRun,
  file: string,
): AbortedBlock[] {
  if (bytes.length < directoryBytes(run.blocks)) throw corrupt(file, "is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0) !== magic) throw corrupt(file, "does not begin as aborted transactions");
  if (view.getUint32(36) !== run.blocks) throw corrupt(file, "is not what the checkpoint names");
  if (view.getUint32(crcAt) !== directoryCrc(bytes, run.blocks)) {
    throw corrupt(file, "fails its checksum");
  }
  // Behind the checksum: a format that was flipped is damage, not a later one.
  const found = view.getUint8(4);
  if (found > version) {
    throw new BrokerError(
      "CHRONIK_UNKNOWN_VERSION",
      `${file} has format ${found}, this chronik reads 1 to ${version}: use a newer one`,
    );
  }
  const topicId = bytes.subarray(topicIdAt, topicIdAt + topicIdBytes);
  const isOwn = Buffer.compare(topicId, owner.topicId) === 0;
  if (!isOwn || view.getInt32(32) !== owner.partition || readInt64(view, 40) !== run.id) {
    throw corrupt(file, "belongs to another partition, or is another file of this one");
  }
  return Array.from({ length: run.blocks }, (_, index) => {
    const at = headerBytes + index * directoryEntryBytes;
    return {
      entries: view.getUint32(at),
      crc: view.getUint32(at + 4),
      firstMarker: readInt64(view, at + 8),
      lastMarker: readInt64(view, at + 16),
      minFirstOffset: readInt64(view, at + 24),
      lastStableOffset: readInt64(view, at + 32),
    };
  });
}

/** The entries of blocks that lie one behind the other in `bytes`. Throws CHRONIK_CORRUPT. */
export function decodeBlocks(
  bytes: Uint8Array,
  blocks: readonly AbortedBlock[],
  file: string,
): AbortedTransaction[] {
  const entries: AbortedTransaction[] = [];
  for (const { bytes: block } of splitBlocks(bytes, blocks, file)) {
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    for (let at = 0; at < block.length; at += entryBytes) {
      entries.push({
        producerId: readInt64(view, at),
        firstOffset: readInt64(view, at + 8),
        lastOffset: readInt64(view, at + 16),
        lastStableOffset: readInt64(view, at + 24),
      });
    }
  }
  return entries;
}

/** The same, each as it is, checked. */
export function splitBlocks(
  bytes: Uint8Array,
  blocks: readonly AbortedBlock[],
  file: string,
): EncodedBlock[] {
  let position = 0;
  return blocks.map((block) => {
    const part = bytes.subarray(position, position + block.entries * entryBytes);
    position += part.length;
    if (part.length < block.entries * entryBytes) throw corrupt(file, "is cut short");
    if (crc32c(part) !== block.crc) {
      throw corrupt(file, `fails the checksum of the aborts up to offset ${block.lastMarker}`);
    }
    return { ...block, bytes: part };
  });
}

function encodeBlock(aborted: readonly AbortedTransaction[]): EncodedBlock {
  const bytes = new Uint8Array(aborted.length * entryBytes);
  const view = new DataView(bytes.buffer);
  for (const [index, entry] of aborted.entries()) {
    const at = index * entryBytes;
    writeInt64(view, at, entry.producerId);
    writeInt64(view, at + 8, entry.firstOffset);
    writeInt64(view, at + 16, entry.lastOffset);
    writeInt64(view, at + 24, entry.lastStableOffset);
  }
  const summaries = aborted.map((entry) => ({
    entries: 1,
    firstMarker: entry.lastOffset,
    lastMarker: entry.lastOffset,
    minFirstOffset: entry.firstOffset,
    lastStableOffset: entry.lastStableOffset,
  }));
  return { ...summaryOf(summaries), crc: crc32c(bytes), bytes };
}

/** Of everything in front of the blocks but the checksum. */
function directoryCrc(bytes: Uint8Array, blocks: number): number {
  const parts = [bytes.subarray(0, crcAt), bytes.subarray(crcFrom, directoryBytes(blocks))];
  return crc32c(Buffer.concat(parts));
}

function corrupt(file: string, what: string): BrokerError {
  return new BrokerError("CHRONIK_CORRUPT", `${file} ${what}`);
}
