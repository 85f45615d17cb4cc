/**
 * The records inside a batch: building an uncompressed batch (internal topics, markers, bench,
 * tests) and reading the records of one that is uncompressed or was decompressed before.
 */
import { assert } from "../lib/assert.ts";
import { ProtocolError } from "../lib/errors.ts";
import type { Crc32c } from "./crc32c.ts";
import { encodeControlRecordTypeSchema } from "./messages/data-control-record-type-schema.ts";
import { encodeEndTxnMarker } from "./messages/data-end-txn-marker.ts";
import { Reader } from "./reader.ts";
import {
  attributesOf,
  type BatchHeader,
  batchHeaderBytes,
  batchLogOverheadBytes,
  currentMagic,
  noLeaderEpoch,
  noProducerEpoch,
  noProducerId,
  noSequence,
  sealBatch,
  type TimestampType,
  timestampTypeOf,
  writeBatchHeader,
} from "./record-batch.ts";
import { Writer } from "./writer.ts";

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | null;
}

export interface RecordData {
  /** From the batch's base offset. */
  readonly offsetDelta: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  /** null is not empty. */
  readonly key: Uint8Array | null;
  /** null is a tombstone. */
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

export interface BatchOptions {
  /** 0 unless given; brokers assign it. */
  readonly baseOffset?: number;
  readonly partitionLeaderEpoch?: number;
  readonly timestampType?: TimestampType;
  readonly isTransactional?: boolean;
  readonly isControl?: boolean;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
}

/** Length, attributes, two deltas, three more lengths: a byte each. */
const recordBytesMin = 7;
const headerBytesMin = 2;

/** A whole batch of at least one record, in ascending order of offset, in a buffer of its own. */
export function buildBatch(
  records: readonly RecordData[],
  options: BatchOptions,
  crc: Crc32c,
): Uint8Array {
  const w = new Writer();
  appendBatch(w, records, options, crc);
  return w.take();
}

/** As `buildBatch`, behind what the writer holds already. */
export function appendBatch(
  w: Writer,
  records: readonly RecordData[],
  options: BatchOptions,
  crc: Crc32c,
): void {
  const [first] = records;
  const last = records.at(-1);
  assert(first !== undefined && last !== undefined, "a batch holds at least one record");
  const start = w.reserve(batchHeaderBytes);
  let maxTimestamp = first.timestamp;
  for (const record of records) {
    writeRecord(w, record, first.timestamp);
    maxTimestamp = Math.max(maxTimestamp, record.timestamp);
  }
  const header: BatchHeader = {
    baseOffset: options.baseOffset ?? 0,
    batchLength: w.length - start - batchLogOverheadBytes,
    partitionLeaderEpoch: options.partitionLeaderEpoch ?? noLeaderEpoch,
    magic: currentMagic,
    crc: 0,
    attributes: attributesOf(options),
    lastOffsetDelta: last.offsetDelta,
    baseTimestamp: first.timestamp,
    maxTimestamp,
    producerId: options.producerId ?? noProducerId,
    producerEpoch: options.producerEpoch ?? noProducerEpoch,
    baseSequence: options.baseSequence ?? noSequence,
    recordsCount: records.length,
  };
  writeBatchHeader(w.bytesWritten(), start, header);
  sealBatch(w.bytesWritten(), start, crc);
}

export interface EndTxnMarkerOptions {
  readonly result: "commit" | "abort";
  readonly coordinatorEpoch: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly partitionLeaderEpoch?: number;
}

/** The control batch that ends a transaction in one partition. */
export function buildEndTxnMarker(options: EndTxnMarkerOptions, crc: Crc32c): Uint8Array {
  const key = new Writer();
  key.int16(0);
  encodeControlRecordTypeSchema(key, { type: options.result === "commit" ? 1 : 0 }, 0);
  const value = new Writer();
  value.int16(0);
  encodeEndTxnMarker(value, { coordinatorEpoch: options.coordinatorEpoch }, 0);
  const record: RecordData = {
    offsetDelta: 0,
    timestamp: options.timestamp,
    key: key.take(),
    value: value.take(),
    headers: [],
  };
  const { producerId, producerEpoch, partitionLeaderEpoch = noLeaderEpoch } = options;
  const flags = { isTransactional: true, isControl: true };
  return buildBatch([record], { ...flags, producerId, producerEpoch, partitionLeaderEpoch }, crc);
}

/**
 * The records in `payload`, which is what follows the header, decompressed. Keys and values are
 * views into it. Throws `ProtocolError` unless it holds exactly the records the header announces.
 */
export function parseRecords(payload: Uint8Array, header: BatchHeader): RecordData[] {
  const r = new Reader(payload);
  const count = header.recordsCount;
  if (count < 0 || count * recordBytesMin > payload.length) {
    throw new ProtocolError(`${count} records do not fit ${payload.length} bytes`);
  }
  const records: RecordData[] = [];
  for (let n = count; n > 0; n--) records.push(readRecord(r, header));
  if (r.remaining > 0) throw new ProtocolError(`${r.remaining} bytes behind the last record`);
  return records;
}

function readRecord(r: Reader, header: BatchHeader): RecordData {
  const length = r.varint();
  if (length < recordBytesMin - 1 || length > r.remaining) {
    throw new ProtocolError(`record of ${length} bytes in ${r.remaining} remaining`);
  }
  const end = r.position + length;
  r.int8();
  const timestampDelta = r.varlong();
  const offsetDelta = r.varint();
  const key = readBytes(r);
  const value = readBytes(r);
  const headers = readHeaders(r);
  if (r.position !== end) throw new ProtocolError("record does not fill its length");
  const isLogAppendTime = timestampTypeOf(header.attributes) === "LogAppendTime";
  const timestamp = isLogAppendTime ? header.maxTimestamp : header.baseTimestamp + timestampDelta;
  return { offsetDelta, timestamp, key, value, headers };
}

function readBytes(r: Reader): Uint8Array | null {
  const length = r.varint();
  return length === -1 ? null : r.raw(length);
}

function readHeaders(r: Reader): RecordHeader[] {
  const count = r.varint();
  if (count < 0 || count * headerBytesMin > r.remaining) {
    throw new ProtocolError(`${count} record headers do not fit ${r.remaining} remaining bytes`);
  }
  const headers: RecordHeader[] = [];
  for (let n = count; n > 0; n--) headers.push({ key: r.text(r.varint()), value: readBytes(r) });
  return headers;
}

function writeRecord(w: Writer, record: RecordData, baseTimestamp: number): void {
  const start = w.length;
  w.int8(0);
  w.varlong(record.timestamp - baseTimestamp);
  w.varint(record.offsetDelta);
  writeBytes(w, record.key);
  writeBytes(w, record.value);
  w.varint(record.headers.length);
  for (const { key, value } of record.headers) {
    const bytes = Buffer.from(key);
    w.varint(bytes.length);
    w.raw(bytes);
    writeBytes(w, value);
  }
  w.insertVarint(start);
}

function writeBytes(w: Writer, value: Uint8Array | null): void {
  if (value === null) {
    w.varint(-1);
    return;
  }
  w.varint(value.length);
  w.raw(value);
}
