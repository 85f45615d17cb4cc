/**
 * Record batches, format v2, as they lie on the wire and in the log: the 61-byte header, read and
 * patched in place. Records stay as they are; records.ts opens them.
 *
 * The checksum covers everything from the attributes on, so the base offset and the leader epoch
 * can be overwritten without touching it.
 */
import { assert } from "../lib/assert.ts";
import { ProtocolError } from "../lib/errors.ts";
import type { Crc32c } from "./crc32c.ts";
import { readInt64, writeInt64 } from "./int64.ts";

/** Size of the header, and thus of the smallest batch. */
export const batchHeaderBytes = 61;
/** Base offset and batch length, which the batch length itself does not count. */
export const batchLogOverheadBytes = 12;
export const currentMagic = 2;
export const noProducerId = -1;
export const noProducerEpoch = -1;
export const noSequence = -1;
export const noTimestamp = -1;
export const noLeaderEpoch = -1;

const at = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordsCount: 57,
} as const;

const compressionMask = 0x07;
const logAppendTimeBit = 0x08;
const transactionalBit = 0x10;
const controlBit = 0x20;
const deleteHorizonBit = 0x40;

const compressions = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

/** In the order of Kafka's codec ids. */
export type CompressionType = (typeof compressions)[number];
export type TimestampType = "CreateTime" | "LogAppendTime";

export interface BatchHeader {
  readonly baseOffset: number;
  /** Bytes after this field; see `sizeInBytes`. */
  readonly batchLength: number;
  readonly partitionLeaderEpoch: number;
  readonly magic: number;
  /** Unsigned. */
  readonly crc: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  /** Milliseconds, as is `maxTimestamp`. */
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordsCount: number;
}

/**
 * Why there is no batch at a place: the bytes end before it does, its length is below that of a
 * header, or it is of another format.
 */
export type BatchProblem = "truncated" | "bad-length" | "bad-magic";

export interface BatchAt {
  /** Where the batch starts in the bytes that were walked. */
  readonly position: number;
  readonly header: BatchHeader;
}

/** Header of the batch at `position`; the whole batch must be there. Does not check the CRC. */
export function parseBatchHeader(bytes: Uint8Array, position = 0): BatchHeader | BatchProblem {
  const available = bytes.length - position;
  if (available < batchLogOverheadBytes) return "truncated";
  const view = viewAt(bytes, position);
  const batchLength = view.getInt32(at.batchLength);
  if (batchLength < batchHeaderBytes - batchLogOverheadBytes) return "bad-length";
  if (available > at.magic && view.getInt8(at.magic) !== currentMagic) return "bad-magic";
  if (available < batchLogOverheadBytes + batchLength) return "truncated";
  return {
    baseOffset: readInt64(view, at.baseOffset),
    batchLength,
    partitionLeaderEpoch: view.getInt32(at.partitionLeaderEpoch),
    magic: currentMagic,
    crc: view.getUint32(at.crc),
    attributes: view.getInt16(at.attributes),
    lastOffsetDelta: view.getInt32(at.lastOffsetDelta),
    baseTimestamp: readInt64(view, at.baseTimestamp),
    maxTimestamp: readInt64(view, at.maxTimestamp),
    producerId: readInt64(view, at.producerId),
    producerEpoch: view.getInt16(at.producerEpoch),
    baseSequence: view.getInt32(at.baseSequence),
    recordsCount: view.getInt32(at.recordsCount),
  };
}

/** Writes all of `header` but its checksum, which `sealBatch` adds. */
export function writeBatchHeader(bytes: Uint8Array, position: number, header: BatchHeader): void {
  const view = patchView(bytes, position);
  writeInt64(view, at.baseOffset, header.baseOffset);
  view.setInt32(at.batchLength, header.batchLength);
  view.setInt32(at.partitionLeaderEpoch, header.partitionLeaderEpoch);
  view.setInt8(at.magic, header.magic);
  view.setInt16(at.attributes, header.attributes);
  view.setInt32(at.lastOffsetDelta, header.lastOffsetDelta);
  writeInt64(view, at.baseTimestamp, header.baseTimestamp);
  writeInt64(view, at.maxTimestamp, header.maxTimestamp);
  writeInt64(view, at.producerId, header.producerId);
  view.setInt16(at.producerEpoch, header.producerEpoch);
  view.setInt32(at.baseSequence, header.baseSequence);
  view.setInt32(at.recordsCount, header.recordsCount);
}

/**
 * The batches in `bytes[from, to)` in order. An incomplete batch at the end, as in a fetch
 * response, ends the walk; anything else that is no batch throws `ProtocolError`.
 */
export function* batchesIn(bytes: Uint8Array, from = 0, to = bytes.length): Generator<BatchAt> {
  const range = bytes.subarray(0, to);
  let position = from;
  while (position < to) {
    const header = parseBatchHeader(range, position);
    if (header === "truncated") return;
    if (typeof header === "string") throw new ProtocolError(`${header} batch at byte ${position}`);
    yield { position, header };
    position += sizeInBytes(header);
  }
}

/** Of the whole batch, its first twelve bytes included. */
export function sizeInBytes(header: BatchHeader): number {
  return batchLogOverheadBytes + header.batchLength;
}

export function lastOffset(header: BatchHeader): number {
  return header.baseOffset + header.lastOffsetDelta;
}

/** Sequences wrap from 2^31 − 1 to 0; −1 without a producer. */
export function lastSequence(header: BatchHeader): number {
  if (header.baseSequence === noSequence) return noSequence;
  return (header.baseSequence + header.lastOffsetDelta) % 0x8000_0000;
}

/** null for an id Kafka has not given out. */
export function compressionOf(attributes: number): CompressionType | null {
  return compressions[attributes & compressionMask] ?? null;
}

export function timestampTypeOf(attributes: number): TimestampType {
  return (attributes & logAppendTimeBit) === 0 ? "CreateTime" : "LogAppendTime";
}

export function isTransactional(attributes: number): boolean {
  return (attributes & transactionalBit) !== 0;
}

export function isControl(attributes: number): boolean {
  return (attributes & controlBit) !== 0;
}

/** Set by compaction: the base timestamp then says when tombstones may go. */
export function hasDeleteHorizon(attributes: number): boolean {
  return (attributes & deleteHorizonBit) !== 0;
}

export interface AttributeParts {
  readonly compression?: CompressionType;
  readonly timestampType?: TimestampType;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
}

/** Attributes of a batch; without parts: uncompressed, CreateTime, plain. */
export function attributesOf(parts: AttributeParts): number {
  return (
    compressions.indexOf(parts.compression ?? "none") |
    (parts.timestampType === "LogAppendTime" ? logAppendTimeBit : 0) |
    (parts.isTransactional === true ? transactionalBit : 0) |
    (parts.isControl === true ? controlBit : 0)
  );
}

/** The checksum stays right. */
export function patchBaseOffset(bytes: Uint8Array, position: number, baseOffset: number): void {
  writeInt64(patchView(bytes, position), at.baseOffset, baseOffset);
}

/** The checksum stays right. */
export function patchLeaderEpoch(bytes: Uint8Array, position: number, epoch: number): void {
  patchView(bytes, position).setInt32(at.partitionLeaderEpoch, epoch);
}

/** Makes the batch LogAppendTime with that time, in milliseconds, and computes its CRC anew. */
export function stampLogAppendTime(
  bytes: Uint8Array,
  position: number,
  timestampMs: number,
  crc: Crc32c,
): void {
  const view = patchView(bytes, position);
  view.setInt16(at.attributes, view.getInt16(at.attributes) | logAppendTimeBit);
  writeInt64(view, at.maxTimestamp, timestampMs);
  sealBatch(bytes, position, crc);
}

/** Computes and writes the checksum of the batch at `position`. */
export function sealBatch(bytes: Uint8Array, position: number, crc: Crc32c): void {
  patchView(bytes, position).setUint32(at.crc, crc(checkedPart(bytes, position)));
}

/** Whether the batch at `position`, whose header was parsed, is what its checksum says. */
export function crcHolds(
  bytes: Uint8Array,
  position: number,
  header: BatchHeader,
  crc: Crc32c,
): boolean {
  return crc(checkedPart(bytes, position)) === header.crc;
}

/** The records of the batch at `position`, still compressed if the batch is. */
export function recordsPayload(
  bytes: Uint8Array,
  position: number,
  header: BatchHeader,
): Uint8Array {
  return bytes.subarray(position + batchHeaderBytes, position + sizeInBytes(header));
}

function checkedPart(bytes: Uint8Array, position: number): Uint8Array {
  const length = viewAt(bytes, position).getInt32(at.batchLength);
  const end = position + batchLogOverheadBytes + length;
  assert(end <= bytes.length, "a batch must be whole to be checked");
  return bytes.subarray(position + at.attributes, end);
}

function viewAt(bytes: Uint8Array, position: number): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset + position, bytes.length - position);
}

function patchView(bytes: Uint8Array, position: number): DataView {
  assert(position + batchHeaderBytes <= bytes.length, "a batch header takes 61 bytes");
  return viewAt(bytes, position);
}
