import { BrokerError } from "../lib/errors.ts";
import type { Files, OpenedLog, Wal } from "../log/ports.ts";
import { crc32c } from "../protocol/crc32c.ts";
import {
  type BatchHeader,
  batchesIn,
  batchHeaderBytes,
  batchLogOverheadBytes,
  crcHolds,
  currentMagic,
  isControl,
  isTransactional,
  noProducerEpoch,
  noProducerId,
  noSequence,
  recordsPayload,
  sealBatch,
  sizeInBytes,
  writeBatchHeader,
} from "../protocol/record-batch.ts";
import { buildBatch, buildEndTxnMarker, parseRecords } from "../protocol/records.ts";
import { uuidToBytes } from "../protocol/uuid.ts";
import type { AbortedProducer, CutRecord } from "./cut-offsets.ts";
import { damaged, type LogHead } from "./format.ts";
import { restoredCheckpoint } from "./restored-partition.ts";

export interface LogPlace {
  readonly wal: Wal;
  readonly files: Files;
  /** `{wal}/{topic}/{partition}`. */
  readonly dir: string;
  readonly topicId: string;
  readonly partition: number;
}

/** What a replay is told of a log, in its order. */
export interface LogVisitor {
  record(key: Uint8Array, value: Uint8Array | null, producer: AbortedProducer): void;
  marker(producerId: number, commit: boolean): void;
}

const readBytesMax = 1 << 20;
const recordsPerBatchMax = 500;
const commitType = 1;

/** The WAL of an internal topic's partition, built from the backup's batches. Compaction left holes
 * between them: they are filled with batches of no records, so that no offset moves. */
export class RestoredLog {
  private readonly place: LogPlace;
  private opened: OpenedLog;
  private start = -1;
  /** First offset in the WAL: at the log start or before it. */
  private base = -1;
  private end = -1;
  private epoch = 0;

  private constructor(place: LogPlace, opened: OpenedLog) {
    this.place = place;
    this.opened = opened;
  }

  static async open(place: LogPlace): Promise<RestoredLog> {
    return new RestoredLog(place, await openLog(place));
  }

  /** The pieces of one log come in order; a hole between two means that a part is missing. */
  async add(head: LogHead, data: Uint8Array, key: string): Promise<void> {
    if (head.reset) {
      const [first] = batchesIn(data);
      // The log start may lie within a batch, which is kept whole.
      await this.restart(head.from, Math.min(head.from, first?.header.baseOffset ?? head.from));
    }
    const name = `${head.topicId}-${head.partition}`;
    if (this.end < 0) throw damaged(key, `it holds no beginning of the log ${name}`);
    if (head.from !== this.end && !head.reset) {
      throw damaged(key, `the log ${name} ends at ${this.end} and goes on at ${head.from}`);
    }
    const writes: Promise<void>[] = [];
    let seen = 0;
    for (const { position, header } of batchesIn(data)) {
      const size = sizeInBytes(header);
      const batch = data.subarray(position, position + size);
      const isWhole = crcHolds(data, position, header, crc32c);
      if (!isWhole || header.baseOffset < this.end || header.baseOffset >= head.to) {
        throw damaged(key, `the batch at offset ${header.baseOffset} of ${name} is damaged`);
      }
      writes.push(...this.fillTo(header.baseOffset), this.append(batch, header));
      seen += size;
    }
    if (seen !== data.length) throw damaged(key, `a batch of ${name} is cut short`);
    writes.push(...this.fillTo(head.to));
    await Promise.all(writes);
  }

  /** Hands over every record and marker. */
  async replay(visitor: LogVisitor): Promise<void> {
    for (let at = Math.max(0, this.base); at < this.end; ) {
      const read = await this.place.wal.read(this.opened.log, at, this.end, readBytesMax);
      if (read.nextOffset <= at) throw new BrokerError("CHRONIK_RESTORE", "a log cannot be read");
      for (const { position, header } of batchesIn(read.bytes)) {
        visitBatch(read.bytes, position, header, visitor);
      }
      at = read.nextOffset;
    }
  }

  async appendRecords(records: readonly CutRecord[]): Promise<void> {
    for (let at = 0; at < records.length; at += recordsPerBatchMax) {
      const some = records.slice(at, at + recordsPerBatchMax);
      const batch = buildBatch(
        some.map((record, offsetDelta) => ({ ...record, offsetDelta, headers: [] })),
        { baseOffset: Math.max(0, this.end), partitionLeaderEpoch: this.epoch },
        crc32c,
      );
      await this.appendNew(batch);
    }
  }

  async appendAbort(producer: AbortedProducer, timestamp: number): Promise<void> {
    const { producerId, producerEpoch } = producer;
    const fields = { result: "abort", coordinatorEpoch: 0, producerId, producerEpoch } as const;
    const options = { ...fields, timestamp, partitionLeaderEpoch: this.epoch };
    const batch = buildEndTxnMarker(options, crc32c);
    new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(this.end));
    await this.appendNew(batch);
  }

  /** The log as a broker opens it. */
  async close(): Promise<void> {
    const { wal, files, dir, topicId, partition } = this.place;
    await wal.closeLog(this.opened.log);
    if (this.start < 0) return;
    // Frames from the log end of the checkpoint on tell epochs and producers.
    const range = { logStart: this.start, logEnd: this.start, archivedTo: 0, lostTo: this.start };
    const bytes = restoredCheckpoint({ topicId, partition }, range, [], []);
    await files.writeFile(`${dir}/checkpoint`, bytes);
  }

  private async restart(logStart: number, from: number): Promise<void> {
    const { wal, files, dir } = this.place;
    if (this.end >= 0) {
      await wal.closeLog(this.opened.log);
      await files.removeDir(dir);
      await files.makeDir(dir);
      this.opened = await openLog(this.place);
    }
    this.start = logStart;
    this.base = from;
    this.end = from;
  }

  private fillTo(offset: number): Promise<void>[] {
    if (offset <= this.end) return [];
    const batch = emptyBatch(this.end, offset - 1, this.epoch);
    const [at] = batchesIn(batch);
    return at === undefined ? [] : [this.append(batch, at.header)];
  }

  private async appendNew(batch: Uint8Array): Promise<void> {
    if (this.end < 0) await this.restart(0, 0);
    const [at] = batchesIn(batch);
    if (at !== undefined) await this.append(batch, at.header);
  }

  private append(batch: Uint8Array, header: BatchHeader): Promise<void> {
    const { baseOffset, lastOffsetDelta, recordsCount, partitionLeaderEpoch } = header;
    const last = baseOffset + lastOffsetDelta;
    this.end = last + 1;
    this.epoch = Math.max(this.epoch, partitionLeaderEpoch);
    return new Promise((resolve, reject) => {
      const sink = { appended: () => resolve(), appendFailed: reject };
      const { log } = this.opened;
      const { wal } = this.place;
      wal.append(log, baseOffset, last, recordsCount, partitionLeaderEpoch, batch, sink);
    });
  }
}

async function openLog({ wal, dir, topicId, partition }: LogPlace): Promise<OpenedLog> {
  return await wal.openLog({
    dir,
    prefix: `wal_${partition}`,
    logId: Buffer.from(uuidToBytes(topicId)).toString("hex"),
    partition,
    fromOffset: 0,
    segmentIdNext: 0,
    segmentBytesMax: null,
  });
}

function emptyBatch(base: number, last: number, partitionLeaderEpoch: number): Uint8Array {
  const batch = new Uint8Array(batchHeaderBytes);
  writeBatchHeader(batch, 0, {
    baseOffset: base,
    batchLength: batchHeaderBytes - batchLogOverheadBytes,
    partitionLeaderEpoch,
    magic: currentMagic,
    crc: 0,
    attributes: 0,
    lastOffsetDelta: last - base,
    baseTimestamp: -1,
    maxTimestamp: -1,
    producerId: noProducerId,
    producerEpoch: noProducerEpoch,
    baseSequence: noSequence,
    recordsCount: 0,
  });
  sealBatch(batch, 0, crc32c);
  return batch;
}

function visitBatch(
  bytes: Uint8Array,
  position: number,
  header: BatchHeader,
  visitor: LogVisitor,
): void {
  const { producerId, producerEpoch, attributes } = header;
  const records = parseRecords(recordsPayload(bytes, position, header), header);
  if (isControl(attributes)) {
    const key = records[0]?.key;
    if (!key || key.length < 4) return;
    visitor.marker(producerId, Buffer.from(key).readInt16BE(2) === commitType);
    return;
  }
  const isInTransaction = isTransactional(attributes);
  const writer = isInTransaction ? producerId : noProducerId;
  for (const { key, value } of records) {
    if (key !== null) visitor.record(key, value, { producerId: writer, producerEpoch });
  }
}
