import { BrokerError } from "../lib/errors.ts";
import { batchCompressed, batchKeyless, status } from "./abi.ts";
import {
  type BatchCheck,
  type CompletionSink,
  int64,
  type NativeEngine,
  type ReadDone,
} from "./engine.ts";
import { isBatchStatus, NativeError } from "./native-error.ts";

/** A segment as the engine's jobs print it. */
interface SegmentJson {
  readonly id: number;
  readonly base: number;
  readonly last: number;
  readonly bytes: number;
  readonly records: number;
  readonly max_timestamp: number;
  readonly sealed: boolean;
  readonly cleaned: boolean;
  readonly first_append_ms: number;
}

interface OpenLogJson {
  readonly log: number;
  readonly log_start: number;
  readonly log_end: number;
  readonly segments: SegmentJson[];
  readonly epochs: [number, number][];
  readonly cut_bytes: number;
  readonly damaged: null | { file: string; position: number; reason: string };
  readonly clean: boolean;
  readonly producers: number;
}

interface LogReportJson {
  readonly segments: number;
  readonly bytes: number;
  readonly records: number;
  readonly findings: readonly {
    readonly file: string;
    readonly position: number;
    readonly reason: string;
    readonly first_offset: number | null;
    readonly last_offset: number | null;
  }[];
  readonly more: number;
}

interface AppendSink {
  appended(segmentId: number, position: number): void;
  appendFailed(error: BrokerError): void;
}

interface FactsJson {
  readonly max_timestamp: number;
  readonly keyless: boolean;
  readonly record_count: number;
}

type BatchFault = "crc" | "magic" | "length" | "count" | "attributes" | "records" | "too-large";

const producerEntryBytes = 48;
const controlBit = 0x20;
const abortKind = 0;
const commitKind = 1;

/** The engine's logs of record batches, as src/log/ports.ts asks for them. */
export class NativeWal {
  private readonly engine: NativeEngine;
  /** One sink per partition, wrapped once: an append allocates nothing here. */
  private readonly sinks = new WeakMap<AppendSink, CompletionSink>();

  constructor(engine: NativeEngine) {
    this.engine = engine;
  }

  async openLog(options: {
    dir: string;
    prefix: string;
    logId: string;
    partition: number;
    fromOffset: number;
    segmentIdNext: number;
    segmentBytesMax: number | null;
  }) {
    const { json, raw } = await this.engine.job<OpenLogJson>({
      op: "open_log",
      dir: options.dir,
      prefix: options.prefix,
      log_id: options.logId,
      partition: options.partition,
      from_offset: options.fromOffset,
      next_segment_id: options.segmentIdNext,
      kind: "batches",
      ...(options.segmentBytesMax === null ? {} : { segment_bytes_max: options.segmentBytesMax }),
    });
    return {
      log: json.log,
      start: json.log_start,
      end: json.log_end,
      segments: json.segments.map(segmentInfo),
      epochs: json.epochs,
      producers: decodeProducers(raw, json.producers),
      bytesCut: json.cut_bytes,
      damage: json.damaged,
      clean: json.clean,
    };
  }

  /** Reads a log's files, open or not, and changes nothing. */
  async verifyLog(options: { dir: string; prefix: string; logId: string; partition: number }) {
    const { json } = await this.engine.job<{ report: LogReportJson }>({
      op: "verify_log",
      dir: options.dir,
      prefix: options.prefix,
      log_id: options.logId,
      partition: options.partition,
      kind: "batches",
    });
    const { segments, bytes, records, findings, more } = json.report;
    return {
      ...{ segments, bytes, records, more },
      findings: findings.map((finding) => ({
        file: finding.file,
        reason: `at ${finding.position}: ${finding.reason}`,
        first: finding.first_offset,
        last: finding.last_offset,
      })),
    };
  }

  async closeLog(log: number): Promise<void> {
    await this.engine.job({ op: "close_log", log });
  }

  append(
    log: number,
    baseOffset: number,
    lastOffset: number,
    recordCount: number,
    leaderEpoch: number,
    batch: Uint8Array,
    sink: AppendSink,
  ): void {
    let completion = this.sinks.get(sink);
    if (completion === undefined) {
      completion = toCompletionSink(sink);
      this.sinks.set(sink, completion);
    }
    this.engine.submitAppend(
      log,
      baseOffset,
      lastOffset,
      recordCount,
      leaderEpoch,
      batch,
      completion,
    );
  }

  read(log: number, offset: number, offsetLimit: number, bytesMax: number): Promise<ReadDone> {
    return this.engine.readRange(log, offset, offsetLimit, bytesMax);
  }

  async seal(log: number) {
    const { json } = await this.engine.job<{ sealed: SegmentJson | null }>({ op: "seal", log });
    return json.sealed === null ? null : segmentInfo(json.sealed);
  }

  async setSegmentBytes(log: number, bytesMax: number): Promise<void> {
    await this.engine.job({ op: "set_segment_bytes", log, bytes_max: bytesMax });
  }

  async segments(log: number) {
    const { json } = await this.engine.job<{ segments: SegmentJson[] }>({ op: "segments", log });
    return json.segments.map(segmentInfo);
  }

  async release(log: number, ids: readonly number[]): Promise<number> {
    const { json } = await this.engine.job<{ bytes: number }>({ op: "release", log, ids });
    return json.bytes;
  }

  async clean(
    log: number,
    rules: {
      keepFrom: number;
      stableEnd: number;
      aborted: readonly { producerId: number; firstOffset: number; lastOffset: number }[];
      tombstoneAgeMs: number;
    },
  ) {
    const { json } = await this.engine.job<{
      segments: number;
      bytes_before: number;
      bytes_after: number;
    }>({
      op: "clean",
      log,
      keep_from: rules.keepFrom,
      stable_end: rules.stableEnd,
      aborted: rules.aborted.map(({ producerId, firstOffset, lastOffset }) => ({
        producer_id: producerId,
        first_offset: firstOffset,
        last_offset: lastOffset,
      })),
      tombstone_age_ms: rules.tombstoneAgeMs,
    });
    return {
      segments: json.segments,
      bytesBefore: json.bytes_before,
      bytesAfter: json.bytes_after,
    };
  }

  async readTime(log: number, fromOffset: number, offsetLimit: number, target: number) {
    const { json } = await this.engine.job<{ offset: number; timestamp: number; epoch: number }>({
      op: "read_time",
      log,
      from_offset: fromOffset,
      offset_limit: offsetLimit,
      target,
    });
    if (json.offset < 0) return null;
    return { offset: json.offset, timestamp: json.timestamp, leaderEpoch: json.epoch };
  }

  checkBatch(batch: Uint8Array) {
    return batchFacts(this.engine.check(batch));
  }

  async validateBatch(batch: Uint8Array) {
    try {
      const { json } = await this.engine.job<FactsJson>({ op: "validate" }, batch);
      return recordFacts(json);
    } catch (error) {
      return faultyFacts(error);
    }
  }

  async recompressBatch(
    batch: Uint8Array,
    compression: { codec: string; level: number | null },
    bytesMax: number,
  ) {
    const { codec, level } = compression;
    const job = { op: "recompress", codec, level, batch_bytes_max: bytesMax };
    try {
      const { json, raw } = await this.engine.job<FactsJson & { batch_bytes: number }>(job, batch);
      const facts = recordFacts(json);
      return { facts, bytes: json.batch_bytes, batch: raw.length === 0 ? null : raw };
    } catch (error) {
      return { facts: faultyFacts(error), bytes: 0, batch: null };
    }
  }

  async decompress(codec: number, records: Uint8Array, bytesMax: number): Promise<Uint8Array> {
    const job = { op: "decompress", codec, bytes_max: bytesMax };
    return (await this.engine.job(job, records)).raw;
  }
}

function toCompletionSink(sink: AppendSink): CompletionSink {
  return {
    completed(code, segmentId, position) {
      if (code === status.OK) sink.appended(segmentId, position);
      else sink.appendFailed(new NativeError(code, ""));
    },
  };
}

function recordFacts(json: FactsJson) {
  return {
    fault: null,
    compressed: false,
    keyless: json.keyless,
    maxTimestamp: json.max_timestamp,
    recordCount: json.record_count,
  };
}

/** Of a batch that a job refused; throws what is no fault of the batch. */
function faultyFacts(error: unknown) {
  if (!(error instanceof NativeError) || !isBatchStatus(error.status)) throw error;
  return batchFacts({ code: error.status, flags: 0, maxTimestamp: -1, recordCount: 0 });
}

function batchFacts(check: BatchCheck) {
  return {
    fault: check.code === status.OK ? null : batchFault(check.code),
    compressed: (check.flags & batchCompressed) !== 0,
    keyless: (check.flags & batchKeyless) !== 0,
    maxTimestamp: check.maxTimestamp,
    recordCount: check.recordCount,
  };
}

function batchFault(code: number): BatchFault {
  switch (code) {
    case status.BATCH_CRC:
      return "crc";
    case status.BATCH_MAGIC:
      return "magic";
    case status.BATCH_LENGTH:
      return "length";
    case status.BATCH_COUNT:
      return "count";
    case status.BATCH_ATTRIBUTES:
      return "attributes";
    case status.BATCH_RECORDS:
      return "records";
    case status.BATCH_TOO_LARGE:
      return "too-large";
    default:
      throw new NativeError(code, "checking a batch failed");
  }
}

function segmentInfo(json: SegmentJson) {
  return {
    id: json.id,
    base: json.base,
    last: json.last,
    bytes: json.bytes,
    records: json.records,
    maxTimestamp: json.max_timestamp,
    sealed: json.sealed,
    cleaned: json.cleaned,
    firstAppendMs: json.first_append_ms,
  };
}

function decodeProducers(raw: Uint8Array, count: number) {
  if (raw.length !== count * producerEntryBytes) {
    throw new BrokerError(
      "CHRONIK_INTERNAL",
      `recovery reported ${count} producer entries in ${raw.length} bytes`,
    );
  }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  return Array.from({ length: count }, (_, index) => {
    const at = index * producerEntryBytes;
    const isControl = (view.getUint16(at + 10, true) & controlBit) !== 0;
    return {
      producerId: int64(view, at),
      producerEpoch: view.getInt16(at + 8, true),
      attributes: view.getUint16(at + 10, true),
      baseSequence: view.getInt32(at + 12, true),
      lastSequence: view.getInt32(at + 16, true),
      baseOffset: int64(view, at + 24),
      lastOffset: int64(view, at + 32),
      maxTimestamp: int64(view, at + 40),
      marker: isControl ? markerAt(view, at) : null,
    };
  });
}

/** Of a control batch the last sequence says the kind of its record. */
function markerAt(
  view: DataView,
  at: number,
): { commit: boolean; coordinatorEpoch: number } | null {
  const kind = view.getInt32(at + 16, true);
  if (kind !== abortKind && kind !== commitKind) return null;
  return { commit: kind === commitKind, coordinatorEpoch: view.getInt32(at + 20, true) };
}
