import { BrokerError } from "../lib/errors.ts";
import {
  type BatchHeader,
  batchesIn,
  isControl,
  isTransactional,
  lastOffset,
  recordsPayload,
} from "../protocol/record-batch.ts";
import { parseRecords } from "../protocol/records.ts";
import type { AbortedTransaction } from "./aborted-index.ts";
import { OpenTransactions } from "./open-transactions.ts";
import type { Wal } from "./ports.ts";

export interface ScannedLog {
  readonly wal: Wal;
  readonly log: number;
  /** First offset in the WAL now; null when it holds nothing. */
  readonly start: () => number | null;
}

/** Aborts as the log itself tells them. */
export interface ScannedAborts {
  /** Where the log began. */
  readonly start: number;
  readonly aborted: readonly AbortedTransaction[];
}

/** Parsed in one turn of the event loop. */
const readBytesMax = 512 << 10;
const scansMax = 4;
const abortType = 0;
const commitType = 1;

/**
 * The aborted transactions whose markers lie in [firstMarker, lastMarker], found in the log's
 * batches. A transaction that began in front of the log's start begins with its first batch that
 * is left. Costs a read of the whole log up to there; holds one piece of it at a time. Rejects
 * with a BrokerError where the log cannot be read, and with what `assertWanted`, asked before each
 * piece, throws.
 */
export async function scanAborted(
  log: ScannedLog,
  firstMarker: number,
  lastMarker: number,
  assertWanted: () => void,
): Promise<ScannedAborts> {
  for (let scans = 1; ; scans++) {
    const start = log.start() ?? Number.POSITIVE_INFINITY;
    try {
      const scan = scanFrom(log, start, firstMarker, lastMarker, assertWanted);
      return { start, aborted: await scan };
    } catch (error) {
      // Its first segment was released meanwhile: once more from where it begins now.
      const isReleased = error instanceof BrokerError && error.code === "CHRONIK_OUT_OF_RANGE";
      if (!isReleased || scans >= scansMax) throw error;
    }
  }
}

async function scanFrom(
  { wal, log }: ScannedLog,
  start: number,
  firstMarker: number,
  lastMarker: number,
  assertWanted: () => void,
): Promise<AbortedTransaction[]> {
  const found: AbortedTransaction[] = [];
  const replay = new MarkerReplay();
  for (let offset = start; offset <= lastMarker; ) {
    assertWanted();
    const piece = await wal.read(log, offset, lastMarker + 1, readBytesMax);
    if (piece.nextOffset <= offset) {
      throw new BrokerError("CHRONIK_CORRUPT", `the log has no batch at offset ${offset}`);
    }
    for (const { position, header } of batchesIn(piece.bytes)) {
      const aborted = replay.apply(header, piece.bytes, position);
      if (aborted !== null && aborted.lastOffset >= firstMarker) found.push(aborted);
    }
    offset = piece.nextOffset;
  }
  return found;
}

/** Which transactions the batches of a log begin and end, in order. */
class MarkerReplay {
  private readonly starts = new Map<number, number>();
  private readonly open = new OpenTransactions();

  /** The transaction that this batch aborts. */
  apply(header: BatchHeader, bytes: Uint8Array, position: number): AbortedTransaction | null {
    const { producerId, baseOffset, attributes } = header;
    if (producerId < 0) return null;
    const firstOffset = this.starts.get(producerId);
    if (!isControl(attributes)) {
      if (isTransactional(attributes) && firstOffset === undefined) {
        this.starts.set(producerId, baseOffset);
        this.open.begin(baseOffset, 0);
      }
      return null;
    }
    const type = controlType(header, bytes, position);
    const ends = type === abortType || type === commitType;
    if (!ends || firstOffset === undefined) return null;
    this.starts.delete(producerId);
    this.open.forget(firstOffset);
    if (type === commitType) return null;
    const end = lastOffset(header) + 1;
    const lastStableOffset = Math.min(this.open.firstUnstableOffset ?? end, end);
    return { producerId, firstOffset, lastOffset: end - 1, lastStableOffset };
  }
}

/** −1: the batch has no record, as cleaning may leave it. */
function controlType(header: BatchHeader, bytes: Uint8Array, position: number): number {
  const [record] = parseRecords(recordsPayload(bytes, position, header), header);
  const key = record?.key;
  if (key === null || key === undefined || key.length < 4) return -1;
  return new DataView(key.buffer, key.byteOffset, key.length).getInt16(2);
}
