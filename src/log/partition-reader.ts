import type { Clock } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { lastOffset, parseBatchHeader, sizeInBytes } from "../protocol/record-batch.ts";
import type { AbortedRange } from "./aborted-index.ts";
import type { ColdPace } from "./cold-pace.ts";
import type { ColdReader, TimeHit, Wal } from "./ports.ts";
import type { ReadStats } from "./read-stats.ts";
import type { Tail } from "./tail-cache.ts";

export interface ReadOptions {
  readonly offset: number;
  readonly bytesMax: number;
  /** High watermark or last stable offset: whole batches below it are returned. */
  readonly offsetLimit: number;
  /** Return the first batch even if it is larger than `bytesMax`; true unless given. */
  readonly firstBatchAnyway?: boolean;
  /** Tell which of it was aborted; false unless given. */
  readonly withAborted?: boolean;
  /** No more of archives once there is so much; as `bytesMax` unless given. */
  readonly coldBytesMax?: number;
  /** How long the reader waits for archives: those that are not there when it resolves are left
   * out, and stay on their way for the next read. Without end unless given. */
  readonly coldPatience?: () => Promise<void>;
}

export interface ReadResult {
  readonly errorCode: number;
  /** Whole batches back to back, in offset order. */
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
  /** One past the last offset in `chunks`; the requested offset where there is none. */
  readonly nextOffset: number;
  /** Some of it is of archives. */
  readonly isCold?: boolean;
  /** Where asked for: aborted transactions that overlap the batches, by first offset. */
  readonly aborted?: readonly AbortedRange[];
}

/** What the reader needs to know of its partition at the moment of a read. */
export interface ReadView {
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  /** First offset still in the WAL; null when it holds nothing. */
  readonly walStart: number | null;
}

export interface ReaderParts {
  readonly topicId: string;
  readonly partition: number;
  readonly log: number;
  readonly wal: Wal;
  readonly cold: ColdReader;
  readonly tail: Tail;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly reads: ReadStats;
  readonly coldPace: ColdPace;
  readonly view: () => ReadView;
  /** A range that should be readable is not. */
  readonly unreadable: (offset: number, error: BrokerError) => void;
}

interface Piece {
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
  readonly nextOffset: number;
  /** Of an archive. */
  readonly isCold?: boolean;
}

/** Bytes of archives that a reader whose patience ends waits for at a time: when it ends, what came
 * before is given. As much as one read of the store brings. */
const impatientBytesMax = 4 << 20;

/** A read without batches. */
export function emptyRead(errorCode: number, nextOffset: number): ReadResult {
  return { errorCode, chunks: [], bytes: 0, nextOffset };
}

/** One continuous log over tail cache, WAL and archives (R21): each piece starts where the one
 * before ended, so no border has a gap or a duplicate. */
export class PartitionReader {
  private readonly parts: ReaderParts;

  constructor(parts: ReaderParts) {
    this.parts = parts;
  }

  /** Synchronous when the tail cache holds `offset`. */
  read(options: ReadOptions): ReadResult | Promise<ReadResult> {
    const { offset, offsetLimit, bytesMax } = options;
    const view = this.parts.view();
    if (offset < view.logStartOffset || offset > view.logEndOffset) {
      return emptyRead(ErrorCode.OFFSET_OUT_OF_RANGE, offset);
    }
    if (offset >= offsetLimit) return emptyRead(ErrorCode.NONE, offset);
    // A batch has more than no bytes: nothing is read only to be thrown away.
    if (options.firstBatchAnyway === false && bytesMax <= 0) {
      return emptyRead(ErrorCode.NONE, offset);
    }
    const hit = this.parts.tail.read(offset, offsetLimit, bytesMax);
    if (hit === null) return this.readLower(options);
    this.tailRead(hit.bytes, options);
    return unlessTooLarge(options, hit);
  }

  /** First record with timestamp ≥ `target` (−1: largest timestamp) in [log start, `limit`). */
  async findTime(target: number, limit: number): Promise<TimeHit | null> {
    for (;;) {
      const before = this.borders();
      const found = await this.findTimeOnce(target, limit).catch(settledError);
      // A segment released while we looked is seen in neither tier: look again.
      if (this.borders() !== before) continue;
      if (found instanceof BrokerError) throw found;
      return found;
    }
  }

  /** Another one once anything left the WAL. */
  private borders(): string {
    const { cold, topicId, partition } = this.parts;
    const archivedEnd = cold.archivedRange(topicId, partition)?.end ?? 0;
    const { logStartOffset, walStart } = this.parts.view();
    return `${Math.max(archivedEnd, logStartOffset)} ${walStart}`;
  }

  private async findTimeOnce(target: number, limit: number): Promise<TimeHit | null> {
    const { cold, wal, topicId, partition, log } = this.parts;
    const { logStartOffset, walStart } = this.parts.view();
    // What local retention keeps in the WAL needs no archive.
    const isInWal = walStart !== null && walStart <= logStartOffset;
    const archived = isInWal ? null : cold.archivedRange(topicId, partition);
    let best: TimeHit | null = null;
    if (archived !== null && archived.end > logStartOffset) {
      best = await cold.findTime(topicId, partition, target, logStartOffset);
      if (best !== null && best.offset >= limit) best = null;
      if (best !== null && target >= 0) return best;
    }
    if (walStart === null) return best;
    const from = Math.max(logStartOffset, walStart, archived?.end ?? 0);
    if (from >= limit) return best;
    const hit = await wal.readTime(log, from, limit, target);
    if (best === null || hit === null) return best ?? hit;
    return hit.timestamp > best.timestamp ? hit : best;
  }

  private tailRead(bytes: number, { coldPatience }: ReadOptions): void {
    this.parts.reads.answered("tail", bytes);
    // The broker's own readers have no patience that ends; nobody feels what they wait.
    if (bytes > 0 && coldPatience !== undefined) this.parts.coldPace.tailRead();
  }

  private async readLower(options: ReadOptions): Promise<ReadResult> {
    const { offsetLimit, bytesMax, coldBytesMax = bytesMax } = options;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let coldLeft = coldBytesMax;
    let isCold = false;
    let offset = options.offset;
    while (offset < offsetLimit && (bytes === 0 || bytes < bytesMax)) {
      let piece: Piece;
      try {
        piece = await this.piece(offset, bytesMax - bytes, coldLeft, options);
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error;
        this.parts.unreadable(offset, error);
        if (bytes > 0) break;
        return emptyRead(ErrorCode.KAFKA_STORAGE_ERROR, offset);
      }
      // Only the very first batch may exceed the limit; pieces return their first one anyway.
      if (piece.nextOffset <= offset || (bytes > 0 && bytes + piece.bytes > bytesMax)) break;
      chunks.push(...piece.chunks);
      bytes += piece.bytes;
      offset = piece.nextOffset;
      if (piece.isCold === true) {
        coldLeft -= piece.bytes;
        isCold = true;
      }
      if (coldLeft <= 0) break;
    }
    return unlessTooLarge(options, { chunks, bytes, nextOffset: offset, isCold });
  }

  /** What the fastest tier that holds `offset` has of it. */
  private async piece(
    offset: number,
    bytesMax: number,
    coldLeft: number,
    options: ReadOptions,
  ): Promise<Piece> {
    const { offsetLimit, coldPatience } = options;
    const tail = this.parts.tail.read(offset, offsetLimit, bytesMax);
    const { reads, clock } = this.parts;
    if (tail !== null) {
      this.tailRead(tail.bytes, options);
      return tail;
    }
    const startMs = clock.monotonicMs();
    const { walStart } = this.parts.view();
    if (walStart !== null && offset >= walStart) {
      try {
        const { wal, log } = this.parts;
        const hit = await wal.read(log, offset, offsetLimit, bytesMax);
        if (hit.nextOffset > offset) {
          reads.timed("wal", hit.bytes.length, clock.monotonicMs() - startMs);
          return { chunks: [hit.bytes], bytes: hit.bytes.length, nextOffset: hit.nextOffset };
        }
      } catch (error) {
        // Released between the look and the read: the archive has it.
        const released = error instanceof BrokerError && error.code === "CHRONIK_OUT_OF_RANGE";
        if (!released) throw error;
      }
    }
    const isPatient = coldPatience === undefined;
    const coldMax = Math.min(bytesMax, coldLeft, isPatient ? bytesMax : impatientBytesMax);
    const piece = isPatient
      ? await this.coldPiece(offset, offsetLimit, coldMax)
      : await this.pacedPiece(offset, offsetLimit, coldMax, coldPatience());
    if (piece.bytes > 0) reads.timed("archive", piece.bytes, clock.monotonicMs() - startMs);
    return piece;
  }

  /** Readers of archives wait for those at the ends of logs, as long as they have patience. */
  private async pacedPiece(
    offset: number,
    offsetLimit: number,
    bytesMax: number,
    patience: Promise<void>,
  ): Promise<Piece> {
    const turn = this.parts.coldPace.turn(bytesMax);
    let bytes = 0;
    try {
      if (turn.wait !== null) {
        const has = turn.wait.promise.then(() => true);
        const isOver = patience.then(() => false);
        if (!(await Promise.race([has, isOver]))) return nothingAt(offset);
      }
      const cold = this.coldPiece(offset, offsetLimit, bytesMax);
      const piece = await this.orNothing(cold, offset, patience);
      bytes = piece.bytes;
      return piece;
    } finally {
      turn.end(bytes);
    }
  }

  /** Nothing where `patience` ends before the archives answer. */
  private async orNothing(
    reading: Promise<Piece>,
    offset: number,
    patience: Promise<void>,
  ): Promise<Piece> {
    const isOver = patience.then(() => null);
    const piece = await Promise.race([reading, isOver]);
    if (piece !== null) return piece;
    // Nobody waits for it any more: what it fails with is told all the same.
    reading.catch((error: unknown) => {
      if (error instanceof BrokerError) this.parts.unreadable(offset, error);
    });
    return nothingAt(offset);
  }

  private async coldPiece(offset: number, offsetLimit: number, bytesMax: number): Promise<Piece> {
    const { cold, topicId, partition } = this.parts;
    const read = await cold.read(topicId, partition, offset, bytesMax, offsetLimit);
    if (read.nextOffset > offset) {
      const { chunks } = read;
      checkOrder(chunks, offset);
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      return { chunks, bytes, nextOffset: read.nextOffset, isCold: true };
    }
    const { logStartOffset } = this.parts.view();
    // Deleted while we read: not a hole.
    if (offset < logStartOffset) return nothingAt(offset);
    throw new BrokerError(
      "CHRONIK_HOLE",
      `partition ${partition} of topic ${topicId} has no offset ${offset} in WAL or archives`,
    );
  }
}

function nothingAt(nextOffset: number): Piece {
  return { chunks: [], bytes: 0, nextOffset };
}

/** Archived batches lie one behind the other from the one that holds `offset` on; between them may
 * be holes, which the archives vouch for. */
function checkOrder(chunks: readonly Uint8Array[], offset: number): void {
  let end = offset;
  let isFirst = true;
  for (const chunk of chunks) {
    for (let position = 0; position < chunk.length; ) {
      const header = parseBatchHeader(chunk, position);
      const isBehind =
        typeof header !== "string" &&
        lastOffset(header) >= end &&
        (isFirst || header.baseOffset >= end);
      if (!isBehind) {
        throw new BrokerError("CHRONIK_CORRUPT", `archived batches break off at offset ${end}`);
      }
      isFirst = false;
      end = lastOffset(header) + 1;
      position += sizeInBytes(header);
    }
  }
}

function settledError(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  throw error;
}

function unlessTooLarge(options: ReadOptions, piece: Piece): ReadResult {
  if (options.firstBatchAnyway === false && piece.bytes > options.bytesMax) {
    return emptyRead(ErrorCode.NONE, options.offset);
  }
  return { errorCode: ErrorCode.NONE, ...piece };
}
