import { BrokerError } from "../../src/lib/errors.ts";
import type { TopicCompression } from "../../src/log/config.ts";
import type {
  AppendSink,
  BatchFacts,
  BatchFault,
  CleanReport,
  FileEntry,
  Files,
  OpenedLog,
  OpenLogOptions,
  RecompressedBatch,
  RecoveredBatch,
  SegmentInfo,
  TimeHit,
  Wal,
  WalRead,
} from "../../src/log/ports.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import {
  attributesOf,
  type BatchHeader,
  batchesIn,
  batchHeaderBytes,
  type CompressionType,
  compressionOf,
  crcHolds,
  isControl,
  lastSequence,
  parseBatchHeader,
  recordsPayload,
  sealBatch,
  sizeInBytes,
  writeBatchHeader,
} from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";

interface Frame {
  base: number;
  last: number;
  count: number;
  epoch: number;
  bytes: Uint8Array;
}

interface MemorySegment {
  id: number;
  sealed: boolean;
  firstAppendMs: number;
  frames: Frame[];
}

interface MemoryLog {
  nextId: number;
  segments: MemorySegment[];
}

/** What survives a crash: everything that was completed. Hand it to the next MemoryWal. */
export class MemoryDisk {
  readonly logs = new Map<string, MemoryLog>();
  readonly files = new Map<string, Uint8Array>();
  readonly dirs = new Set<string>();
}

interface Submitted {
  log: number;
  frame: Frame;
  sink: AppendSink;
}

export function noSpace(): BrokerError {
  return new BrokerError("CHRONIK_NO_SPACE", "no space left");
}

/**
 * The engine's behaviour in memory: contiguous offsets per log, completions in order, a failure
 * fails everything submitted behind it on that log, rotation by size. `auto` completes each append
 * in a microtask of its own; otherwise `complete` and `fail` do.
 */
export class MemoryWal implements Wal {
  readonly disk: MemoryDisk;
  readonly auto: boolean;
  segmentBytesMax = 1 << 30;
  /** Checked when an append completes: truthy fails it and all behind it. */
  failWhen: (frame: { base: number; last: number }) => BrokerError | null = () => null;
  /** Resolves validations only when told; null: at once. */
  validations: (() => void)[] | null = null;
  reads = 0;
  private readonly handles: { dir: string; log: MemoryLog }[] = [];
  private queue: Submitted[] = [];

  constructor(disk = new MemoryDisk(), auto = true) {
    this.disk = disk;
    this.auto = auto;
  }

  get submitted(): number {
    return this.queue.length;
  }

  openLog(options: OpenLogOptions): Promise<OpenedLog> {
    let log = this.disk.logs.get(options.dir);
    if (log === undefined) {
      log = { nextId: 0, segments: [] };
      this.disk.logs.set(options.dir, log);
      this.disk.dirs.add(options.dir);
    }
    log.nextId = Math.max(log.nextId, options.segmentIdNext);
    this.handles.push({ dir: options.dir, log });
    const frames = log.segments.flatMap((segment) => segment.frames);
    const past = frames.filter((frame) => frame.last >= options.fromOffset);
    const epochs: [number, number][] = [];
    for (const frame of past) {
      if (epochs.at(-1)?.[0] !== frame.epoch) epochs.push([frame.epoch, frame.base]);
    }
    return Promise.resolve({
      log: this.handles.length,
      start: frames[0]?.base ?? options.fromOffset,
      end: (frames.at(-1)?.last ?? options.fromOffset - 1) + 1,
      segments: log.segments.map(info),
      epochs,
      producers: past.flatMap(recovered),
      bytesCut: 0,
      damage: null,
      clean: true,
    });
  }

  closeLog(log: number): Promise<void> {
    this.log(log);
    return Promise.resolve();
  }

  append(
    log: number,
    base: number,
    last: number,
    count: number,
    epoch: number,
    batch: Uint8Array,
    sink: AppendSink,
  ): void {
    this.log(log);
    const frame = { base, last, count, epoch, bytes: new Uint8Array(batch) };
    this.queue.push({ log, frame, sink });
    if (this.auto) queueMicrotask(() => this.complete(1));
  }

  /** Completes the oldest `count` submitted appends. */
  complete(count = this.queue.length): void {
    for (let done = 0; done < count; done++) {
      const next = this.queue.shift();
      if (next === undefined) return;
      const log = this.log(next.log);
      const end = (log.segments.at(-1)?.frames.at(-1)?.last ?? next.frame.base - 1) + 1;
      const error =
        this.failWhen(next.frame) ??
        (end === next.frame.base ? null : new BrokerError("CHRONIK_OUT_OF_RANGE", "gap"));
      if (error !== null) {
        const behind = this.queue.filter((other) => other.log === next.log);
        this.queue = this.queue.filter((other) => other.log !== next.log);
        for (const failed of [next, ...behind]) failed.sink.appendFailed(error);
        continue;
      }
      const segment = this.write(log, next.frame);
      next.sink.appended(segment.id, bytesOf(segment) - next.frame.bytes.length - 80);
    }
  }

  read(log: number, offset: number, offsetLimit: number, bytesMax: number): Promise<WalRead> {
    this.reads++;
    const frames = this.log(log).segments.flatMap((segment) => segment.frames);
    if (offset < (frames[0]?.base ?? Number.POSITIVE_INFINITY)) {
      return Promise.reject(new BrokerError("CHRONIK_OUT_OF_RANGE", `offset ${offset}`));
    }
    const picked: Uint8Array[] = [];
    let bytes = 0;
    let nextOffset = offset;
    for (const frame of frames) {
      if (frame.last < offset) continue;
      if (frame.last >= offsetLimit) break;
      if (bytes > 0 && bytes + frame.bytes.length > bytesMax) break;
      picked.push(frame.bytes);
      bytes += frame.bytes.length;
      nextOffset = frame.last + 1;
    }
    return Promise.resolve({ bytes: Buffer.concat(picked), nextOffset });
  }

  seal(log: number): Promise<SegmentInfo | null> {
    const segment = this.log(log).segments.at(-1);
    if (segment === undefined || segment.sealed) return Promise.resolve(null);
    segment.sealed = true;
    return Promise.resolve(info(segment));
  }

  segments(log: number): Promise<readonly SegmentInfo[]> {
    return Promise.resolve(this.log(log).segments.map(info));
  }

  setSegmentBytes(_log: number, bytesMax: number): Promise<void> {
    this.segmentBytesMax = bytesMax;
    return Promise.resolve();
  }

  release(log: number, ids: readonly number[]): Promise<number> {
    const data = this.log(log);
    const gone = data.segments.filter((segment) => ids.includes(segment.id));
    if (gone.some((segment) => !segment.sealed)) throw new Error("released an active segment");
    data.segments = data.segments.filter((segment) => !ids.includes(segment.id));
    return Promise.resolve(gone.reduce((sum, segment) => sum + bytesOf(segment), 0));
  }

  clean(): Promise<CleanReport> {
    return Promise.reject(new Error("MemoryWal cleans nothing"));
  }

  readTime(log: number, from: number, limit: number, target: number): Promise<TimeHit | null> {
    const frames = this.log(log).segments.flatMap((segment) => segment.frames);
    return Promise.resolve(
      findTime(Buffer.concat(frames.map((f) => f.bytes)), from, limit, target),
    );
  }

  checkBatch(batch: Uint8Array): BatchFacts {
    const header = parseBatchHeader(batch);
    if (typeof header === "string") return faulty("length");
    if (!crcHolds(batch, 0, header, crc32c)) return faulty("crc");
    const compression = compressionOf(header.attributes);
    if (compression === null) return faulty("attributes");
    if (compression !== "none") {
      return {
        fault: null,
        compressed: true,
        keyless: false,
        maxTimestamp: header.maxTimestamp,
        recordCount: header.recordsCount,
      };
    }
    return inspect(header, recordsPayload(batch, 0, header));
  }

  async validateBatch(batch: Uint8Array): Promise<BatchFacts> {
    const copy = new Uint8Array(batch);
    if (this.validations !== null) {
      await new Promise<void>((resolve) => this.validations?.push(resolve));
    }
    const facts = this.checkBatch(copy);
    const header = parseBatchHeader(copy);
    if (facts.fault !== null || typeof header === "string" || !facts.compressed) return facts;
    return inspect(header, await this.decompress(1, recordsPayload(copy, 0, header)));
  }

  /** To and from gzip only. */
  async recompressBatch(
    batch: Uint8Array,
    { codec }: TopicCompression,
    bytesMax: number,
  ): Promise<RecompressedBatch> {
    const copy = new Uint8Array(batch);
    const facts = await this.validateBatch(copy);
    const header = parseBatchHeader(copy);
    if (facts.fault !== null || typeof header === "string") return { facts, bytes: 0, batch: null };
    const payload = recordsPayload(copy, 0, header);
    const zipped = compressionOf(header.attributes) === "gzip";
    const records = zipped ? Bun.gunzipSync(new Uint8Array(payload)) : payload;
    if (codec !== "gzip" && codec !== "none") throw new Error("MemoryWal knows gzip only");
    const packed = codec === "gzip" ? Bun.gzipSync(new Uint8Array(records)) : records;
    const made = withPayload(copy, header, packed, codec);
    return { facts, bytes: made.length, batch: made.length > bytesMax ? null : made };
  }

  /** gzip only. */
  decompress(codec: number, records: Uint8Array): Promise<Uint8Array> {
    if (codec !== 1) throw new Error("MemoryWal decompresses gzip only");
    return Promise.resolve(Bun.gunzipSync(new Uint8Array(records)));
  }

  private log(handle: number): MemoryLog {
    const entry = this.handles[handle - 1];
    if (entry === undefined) throw new Error(`no log ${handle}`);
    return entry.log;
  }

  private write(log: MemoryLog, frame: Frame): MemorySegment {
    let segment = log.segments.at(-1);
    if (segment !== undefined && !segment.sealed && bytesOf(segment) >= this.segmentBytesMax) {
      segment.sealed = true;
    }
    if (segment === undefined || segment.sealed) {
      segment = { id: log.nextId++, sealed: false, firstAppendMs: 0, frames: [] };
      log.segments.push(segment);
    }
    segment.frames.push(frame);
    return segment;
  }
}

/** Files and folders in memory, with failures on demand. */
export class MemoryFiles implements Files {
  readonly disk: MemoryDisk;
  /** Returns an error for a path whose write must fail. */
  failWrite: (path: string) => BrokerError | null = () => null;

  constructor(disk: MemoryDisk) {
    this.disk = disk;
  }

  writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const error = this.failWrite(path);
    if (error !== null) return Promise.reject(error);
    this.disk.files.set(path, new Uint8Array(bytes));
    return Promise.resolve();
  }

  readFile(path: string, position = 0, length = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    const bytes = this.disk.files.get(path);
    if (bytes === undefined) return Promise.reject(new BrokerError("CHRONIK_NOT_FOUND", path));
    return Promise.resolve(bytes.subarray(position, position + length));
  }

  removeFile(path: string): Promise<void> {
    if (this.disk.files.delete(path)) return Promise.resolve();
    return Promise.reject(new BrokerError("CHRONIK_NOT_FOUND", path));
  }

  makeDir(path: string): Promise<void> {
    this.disk.dirs.add(path);
    return Promise.resolve();
  }

  rename(from: string, to: string): Promise<void> {
    const moved = (path: string) => to + path.slice(from.length);
    const below = (path: string) => path === from || path.startsWith(`${from}/`);
    for (const map of [this.disk.files, this.disk.logs] as Map<string, unknown>[]) {
      for (const [path, value] of [...map]) {
        if (!below(path)) continue;
        map.delete(path);
        map.set(moved(path), value);
      }
    }
    for (const path of [...this.disk.dirs]) {
      if (!below(path)) continue;
      this.disk.dirs.delete(path);
      this.disk.dirs.add(moved(path));
    }
    return Promise.resolve();
  }

  removeDir(path: string): Promise<void> {
    const below = (key: string) => key === path || key.startsWith(`${path}/`);
    for (const map of [this.disk.files, this.disk.logs]) {
      for (const key of [...map.keys()]) if (below(key)) map.delete(key);
    }
    for (const key of [...this.disk.dirs]) if (below(key)) this.disk.dirs.delete(key);
    return Promise.resolve();
  }

  listDir(path: string): Promise<readonly FileEntry[]> {
    const names = new Map<string, FileEntry>();
    const all = [...this.disk.files.keys(), ...this.disk.dirs, ...this.disk.logs.keys()];
    for (const key of all) {
      if (!key.startsWith(`${path}/`)) continue;
      const [name = ""] = key.slice(path.length + 1).split("/");
      const bytes = this.disk.files.get(`${path}/${name}`)?.length;
      names.set(name, { name, dir: bytes === undefined, bytes: bytes ?? 0 });
    }
    if (names.size === 0 && !this.disk.dirs.has(path)) {
      return Promise.reject(new BrokerError("CHRONIK_NOT_FOUND", path));
    }
    return Promise.resolve([...names.values()]);
  }
}

/** First record with timestamp ≥ `target` (−1: the largest) in whole batches back to back. */
export function findTime(
  batches: Uint8Array,
  from: number,
  limit: number,
  target: number,
): TimeHit | null {
  let best: TimeHit | null = null;
  for (const { position, header } of batchesIn(batches)) {
    for (const record of parseRecords(recordsPayload(batches, position, header), header)) {
      const offset = header.baseOffset + record.offsetDelta;
      if (offset < from || offset >= limit) continue;
      const hit = { offset, timestamp: record.timestamp, leaderEpoch: header.partitionLeaderEpoch };
      if (target >= 0 && record.timestamp >= target) return hit;
      if (target < 0 && (best === null || record.timestamp > best.timestamp)) best = hit;
    }
  }
  return best;
}

/** The batch with other records bytes, as a codec made them. */
export function withPayload(
  batch: Uint8Array,
  header: BatchHeader,
  payload: Uint8Array,
  compression: CompressionType,
): Uint8Array {
  const made = Buffer.concat([batch.subarray(0, batchHeaderBytes), payload]);
  const attributes = (header.attributes & ~7) | attributesOf({ compression });
  const batchLength = made.length - 12;
  writeBatchHeader(made, 0, { ...header, attributes, batchLength });
  sealBatch(made, 0, crc32c);
  return made;
}

function faulty(fault: BatchFault): BatchFacts {
  return { fault, compressed: false, keyless: false, maxTimestamp: -1, recordCount: 0 };
}

function inspect(header: BatchHeader, payload: Uint8Array): BatchFacts {
  try {
    const records = parseRecords(payload, header);
    return {
      fault: null,
      compressed: false,
      keyless: records.some((record) => record.key === null),
      maxTimestamp: records.reduce((max, record) => Math.max(max, record.timestamp), -1),
      recordCount: records.length,
    };
  } catch {
    return faulty("records");
  }
}

function info(segment: MemorySegment): SegmentInfo {
  return {
    id: segment.id,
    base: segment.frames[0]?.base ?? 0,
    last: segment.frames.at(-1)?.last ?? -1,
    bytes: bytesOf(segment),
    records: segment.frames.reduce((sum, frame) => sum + frame.count, 0),
    maxTimestamp: 0,
    sealed: segment.sealed,
    cleaned: false,
    firstAppendMs: segment.firstAppendMs,
  };
}

function bytesOf(segment: MemorySegment): number {
  return segment.frames.reduce((sum, frame) => sum + frame.bytes.length + 80, 0);
}

function recovered(frame: Frame): RecoveredBatch[] {
  const header = parseBatchHeader(frame.bytes);
  if (typeof header === "string" || header.producerId < 0) return [];
  if (sizeInBytes(header) !== frame.bytes.length) throw new Error("a frame holds one batch");
  return [
    {
      producerId: header.producerId,
      producerEpoch: header.producerEpoch,
      attributes: header.attributes,
      baseSequence: header.baseSequence,
      lastSequence: lastSequence(header),
      baseOffset: frame.base,
      lastOffset: frame.last,
      maxTimestamp: header.maxTimestamp,
      marker: isControl(header.attributes) ? markerOf(header, frame.bytes) : null,
    },
  ];
}

function markerOf(header: BatchHeader, bytes: Uint8Array): RecoveredBatch["marker"] {
  const [record] = parseRecords(recordsPayload(bytes, 0, header), header);
  if (record === undefined) return null;
  const key = Buffer.from(record.key ?? []);
  const value = Buffer.from(record.value ?? []);
  return { commit: key.readInt16BE(2) === 1, coordinatorEpoch: value.readInt32BE(2) };
}
