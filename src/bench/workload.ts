import type { Crc32c } from "../protocol/crc32c.ts";
import {
  batchHeaderBytes,
  batchLogOverheadBytes,
  currentMagic,
  noLeaderEpoch,
  noProducerEpoch,
  noProducerId,
  noSequence,
  sealBatch,
  writeBatchHeader,
} from "../protocol/record-batch.ts";
import { Writer } from "../protocol/writer.ts";

export interface WorkloadOptions {
  readonly messageBytes: number;
  /** Most messages a batch is asked for. */
  readonly countMax: number;
  /** Record timestamps, milliseconds since 1970. */
  readonly timestampMs: number;
  readonly crc: Crc32c;
}

/** Largest batch built, below the default `max.message.bytes`; one message may be larger. */
const batchBytesMax = 1_000_000;

/**
 * Batches of 1 to `countMax` messages without work per message: record i is the same in every
 * batch, so all batches are beginnings of one buffer, and only the header and its checksum differ.
 */
export class Workload {
  /** Most messages of one batch. */
  readonly countMax: number;
  private readonly buffer: Uint8Array;
  private readonly ends: readonly number[];
  private readonly timestampMs: number;
  private readonly crc: Crc32c;
  private readonly batchCrcs = new Map<number, Uint8Array>();

  constructor(options: WorkloadOptions) {
    this.timestampMs = options.timestampMs;
    this.crc = options.crc;
    const { bytes, ends } = buildRecords(options.messageBytes, options.countMax);
    this.buffer = bytes;
    this.ends = ends;
    this.countMax = ends.length;
  }

  /** A batch of the first `count` messages; the bytes are good until the next call. */
  batch(count: number): Uint8Array {
    const batch = this.buffer.subarray(0, this.end(count));
    writeBatchHeader(batch, 0, {
      baseOffset: 0,
      batchLength: batch.length - batchLogOverheadBytes,
      partitionLeaderEpoch: noLeaderEpoch,
      magic: currentMagic,
      crc: 0,
      attributes: 0,
      lastOffsetDelta: count - 1,
      baseTimestamp: this.timestampMs,
      maxTimestamp: this.timestampMs,
      producerId: noProducerId,
      producerEpoch: noProducerEpoch,
      baseSequence: noSequence,
      recordsCount: count,
    });
    const known = this.batchCrcs.get(count);
    if (known !== undefined) {
      batch.set(known, crcPosition);
    } else {
      sealBatch(batch, 0, this.crc);
      this.batchCrcs.set(count, new Uint8Array(batch.subarray(crcPosition, crcPosition + 4)));
    }
    return batch;
  }

  /** Checksum in the header of a batch of `count`, as it was built. */
  batchCrc(count: number): number {
    const known = this.batchCrcs.get(count);
    return known === undefined ? 0 : new DataView(known.buffer).getUint32(0);
  }

  private end(count: number): number {
    return this.ends[count - 1] ?? batchHeaderBytes;
  }
}

const crcPosition = 17;

/** Room for a header, then the records; `ends[i]` is where record i ends. */
function buildRecords(
  messageBytes: number,
  countMax: number,
): { bytes: Uint8Array; ends: number[] } {
  const writer = new Writer(batchHeaderBytes + messageBytes + 32);
  const record = new Writer(messageBytes + 32);
  writer.reserve(batchHeaderBytes);
  const ends: number[] = [];
  for (let index = 0; index < countMax; index++) {
    record.reset();
    record.int8(0);
    record.varlong(0);
    record.varint(index);
    record.varint(-1);
    record.varint(messageBytes);
    record.raw(messageText(index, messageBytes));
    record.varint(0);
    if (index > 0 && writer.length + record.length + 5 > batchBytesMax) break;
    writer.varint(record.length);
    writer.raw(record.bytesWritten());
    ends.push(writer.length);
  }
  return { bytes: writer.take(), ends };
}

const words = [
  "order",
  "ledger",
  "amber",
  "river",
  "signal",
  "winter",
  "copper",
  "harbor",
  "lantern",
  "meadow",
  "orbit",
  "pepper",
  "quartz",
  "saddle",
  "thunder",
  "velvet",
  "walnut",
  "yellow",
  "zephyr",
  "cinder",
];

/** Printable JSON of exactly `bytes` bytes, different for each index. */
function messageText(index: number, bytes: number): Uint8Array {
  const head = `{"id":${index},"text":"`;
  const tail = '"}';
  let text = "";
  let seed = (index + 1) * 2_654_435_761;
  while (head.length + text.length + tail.length < bytes) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    text += `${words[seed % words.length] ?? "word"} `;
  }
  const room = Math.max(0, bytes - head.length - tail.length);
  const whole = `${head}${text.slice(0, room)}${tail}`;
  return new TextEncoder().encode(whole.slice(0, bytes).padEnd(bytes, "."));
}
