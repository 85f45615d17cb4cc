/** What the log needs from other rooms. Structural: native/wal.ts, native/files.ts and
 * tier/read/ satisfy these without importing them; broker.ts is where that is checked.
 * Offsets are numbers below 2^53; `bytes` are sizes; timestamps are milliseconds. */
import type { BrokerError } from "../lib/errors.ts";
import type { AbortedTransaction } from "./aborted-index.ts";
import type { TopicCompression } from "./config.ts";

/** Of a frame in front of its batch, about; the exact size of a segment comes with sealing. */
export const frameHeaderBytes = 80;

/** Told about appends of one log in the order they were submitted. */
export interface AppendSink {
  /** Durable: written and fsynced at `position` of segment `segmentId`. */
  appended(segmentId: number, position: number): void;
  /** Not in the log. Every append submitted behind it, until all are answered, fails too. */
  appendFailed(error: BrokerError): void;
}

export interface SegmentInfo {
  readonly id: number;
  readonly base: number;
  /** Offset of the last record. */
  readonly last: number;
  readonly bytes: number;
  readonly records: number;
  readonly maxTimestamp: number;
  /** Rotated: never written again. */
  readonly sealed: boolean;
  /** Compacted: offsets in it may have gaps. */
  readonly cleaned: boolean;
  /** Wall clock of the first append. */
  readonly firstAppendMs: number;
}

/** An idempotent batch found by recovery. */
export interface RecoveredBatch {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly attributes: number;
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly maxTimestamp: number;
  /** What a control batch ends; null: it is data, or a control record of another kind. */
  readonly marker: { readonly commit: boolean; readonly coordinatorEpoch: number } | null;
}

export interface Damage {
  readonly file: string;
  readonly position: number;
  readonly reason: string;
}

export interface OpenLogOptions {
  /** The partition's directory; created when missing. */
  readonly dir: string;
  /** File names are `{prefix}_{segment id}.log`. */
  readonly prefix: string;
  /** Sixteen bytes of the topic id as 32 hex digits. */
  readonly logId: string;
  readonly partition: number;
  /** Frames from here on are reported (epochs, producers); below, the checkpoint knows. */
  readonly fromOffset: number;
  /** Segment ids below are not used again. */
  readonly segmentIdNext: number;
  /** null: the engine's default. */
  readonly segmentBytesMax: number | null;
}

export interface OpenedLog {
  readonly log: number;
  readonly start: number;
  readonly end: number;
  /** In offset order. */
  readonly segments: readonly SegmentInfo[];
  readonly epochs: readonly (readonly [epoch: number, startOffset: number])[];
  readonly producers: readonly RecoveredBatch[];
  readonly bytesCut: number;
  readonly damage: Damage | null;
  readonly clean: boolean;
}

export interface WalRead {
  /** Whole batches back to back, checksums verified. */
  readonly bytes: Uint8Array;
  /** Last offset returned + 1; the requested offset when empty. */
  readonly nextOffset: number;
}

export interface CleanRules {
  /** Only segments that end below are rewritten. */
  readonly keepFrom: number;
  /** Transactions below are decided: those that `aborted` does not name committed. */
  readonly stableEnd: number;
  /** All that overlap the log. Their records go, their markers stay. */
  readonly aborted: readonly AbortedTransaction[];
  /** Tombstones and markers that old go, when nothing is left of what they deleted or ended. */
  readonly tombstoneAgeMs: number;
}

export interface CleanReport {
  /** Segments rewritten. */
  readonly segments: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface TimeHit {
  readonly offset: number;
  readonly timestamp: number;
  readonly leaderEpoch: number;
}

export type BatchFault =
  | "crc"
  | "magic"
  | "length"
  | "count"
  | "attributes"
  | "records"
  | "too-large";

export interface BatchFacts {
  readonly fault: BatchFault | null;
  /** The records are compressed and were not looked at: `validateBatch` does. */
  readonly compressed: boolean;
  /** A record has no key. */
  readonly keyless: boolean;
  readonly maxTimestamp: number;
  readonly recordCount: number;
}

export interface RecompressedBatch {
  /** Of the batch that was given. */
  readonly facts: BatchFacts;
  /** Size of the new batch; 0 with a fault. */
  readonly bytes: number;
  /** null with a fault, or when there are more bytes than were allowed. */
  readonly batch: Uint8Array | null;
}

/** The write-ahead log of many partitions. Failures are BrokerError with the engine's codes. */
export interface Wal {
  openLog(options: OpenLogOptions): Promise<OpenedLog>;
  closeLog(log: number): Promise<void>;
  /** Copies `batch` before returning. */
  append(
    log: number,
    baseOffset: number,
    lastOffset: number,
    recordCount: number,
    leaderEpoch: number,
    batch: Uint8Array,
    sink: AppendSink,
  ): void;
  /** CHRONIK_OUT_OF_RANGE below the first segment. */
  read(log: number, offset: number, offsetLimit: number, bytesMax: number): Promise<WalRead>;
  /** Rotates a non-empty active segment; null when there was none. */
  seal(log: number): Promise<SegmentInfo | null>;
  segments(log: number): Promise<readonly SegmentInfo[]>;
  /** Another size at which segments are rotated, from the next append on. */
  setSegmentBytes(log: number, bytesMax: number): Promise<void>;
  /** Unlinks sealed segments, oldest first; bytes freed. */
  release(log: number, ids: readonly number[]): Promise<number>;
  /** Compacts sealed segments: the last record of each key stays. */
  clean(log: number, rules: CleanRules): Promise<CleanReport>;
  /** First record with timestamp ≥ `target` (−1: the one with the largest timestamp). */
  readTime(
    log: number,
    fromOffset: number,
    offsetLimit: number,
    target: number,
  ): Promise<TimeHit | null>;
  /** Pure and synchronous: structure, CRC and uncompressed records. */
  checkBatch(batch: Uint8Array): BatchFacts;
  /** The same with compressed records looked at, on a worker. */
  validateBatch(batch: Uint8Array): Promise<BatchFacts>;
  /** `validateBatch`, and the batch of the same records in another codec: all of its header but
   * the codec, the length and the checksum stays. */
  recompressBatch(
    batch: Uint8Array,
    compression: TopicCompression,
    bytesMax: number,
  ): Promise<RecompressedBatch>;
  /** The records of one compressed batch, at most `bytesMax`. */
  decompress(codec: number, records: Uint8Array, bytesMax: number): Promise<Uint8Array>;
}

export interface FileEntry {
  readonly name: string;
  readonly dir: boolean;
  readonly bytes: number;
}

/** Small durable files. A missing file is a BrokerError CHRONIK_NOT_FOUND. */
export interface Files {
  /** Replaces the file as a whole, durably. */
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  /** All of it, or up to `length` bytes from `position` on. */
  readFile(path: string, position?: number, length?: number): Promise<Uint8Array>;
  removeFile(path: string): Promise<void>;
  makeDir(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  removeDir(path: string): Promise<void>;
  listDir(path: string): Promise<readonly FileEntry[]>;
}

/** What was moved out of the WAL. Rejections mean "this range only" is unreadable now. */
export interface ColdReader {
  /** Contiguous archived offsets [start, end) of a partition; null when there are none. */
  archivedRange(topicId: string, partition: number): { start: number; end: number } | null;
  /** Whole batches from the one holding `offset`, or the first after it where compaction left a
   * hole, of last offsets below `offsetLimit`, at most `bytesMax` but one at least. `nextOffset` is
   * one past what was read or is a hole: `offset` when that is not archived. */
  read(
    topicId: string,
    partition: number,
    offset: number,
    bytesMax: number,
    offsetLimit: number,
  ): Promise<{ readonly chunks: readonly Uint8Array[]; readonly nextOffset: number }>;
  /** As Wal.readTime over archived records at or past `fromOffset`. */
  findTime(
    topicId: string,
    partition: number,
    target: number,
    fromOffset: number,
  ): Promise<TimeHit | null>;
  /** Aborted transactions of archived batches that overlap [from, to), in any order; one may be
   * named twice. */
  abortedTransactions(
    topicId: string,
    partition: number,
    from: number,
    to: number,
  ): Promise<readonly ArchivedAbort[]>;
}

/** Transactional records of `producerId` from `firstOffset` to the marker at `lastOffset` were
 * aborted. */
export interface ArchivedAbort {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

/** For brokers without tiering, and tests. */
export const noColdReader: ColdReader = {
  archivedRange: () => null,
  read: (_id, _partition, offset) => Promise.resolve({ chunks: [], nextOffset: offset }),
  findTime: () => Promise.resolve(null),
  abortedTransactions: () => Promise.resolve([]),
};
