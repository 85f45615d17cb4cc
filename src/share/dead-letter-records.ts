import { BrokerError, ProtocolError } from "../lib/errors.ts";
import {
  type BatchHeader,
  batchesIn,
  batchHeaderBytes,
  compressionOf,
  isControl,
  lastOffset,
  recordsPayload,
} from "../protocol/record-batch.ts";
import { parseRecords, type RecordData, type RecordHeader } from "../protocol/records.ts";

/** What the dead letter queue tells of a record (KIP-1191). */
export interface DeadLetterContext {
  readonly groupId: string;
  readonly topic: string;
  readonly partition: number;
  readonly deliveryCount: number;
  readonly isRejected: boolean;
}

/** A record that is not delivered any more; without a body it cannot, or may not, be copied. */
export interface DeadLetter {
  readonly offset: number;
  readonly body: Pick<RecordData, "key" | "value" | "headers"> | null;
}

/** Records of a log, as far as one batch of the dead letter queue goes. */
export interface Gathered {
  /** In offset order; offsets without a record are left out. */
  readonly letters: readonly DeadLetter[];
  /** One past the last offset that was looked at. */
  readonly next: number;
}

export interface GatherRange {
  readonly first: number;
  readonly last: number;
  /** The records themselves, not only where they are. */
  readonly copies: boolean;
  /** Bytes of records that end the gathering; one is gathered in any case. */
  readonly bytesMax: number;
}

/** `codec`: 1 gzip, 2 snappy, 3 lz4, 4 zstd. Rejects with a BrokerError, one of CHRONIK_BATCH_…
 * where the records are at fault. */
export type Decompress = (codec: number, records: Uint8Array) => Promise<Uint8Array>;

const codecMask = 0x07;
/** Lengths, deltas and attributes of a record, and the lengths of one of its headers, at most. */
const recordOverheadBytes = 40;
const headerOverheadBytes = 10;

const text = new TextEncoder();
const reasons = {
  rejected: "Offset rejected by client.",
  spent: "Offset delivery count exceeded the threshold.",
};

/** The headers of Kafka 4.4, behind those the record had. */
export function deadLetterHeaders(context: DeadLetterContext, offset: number): RecordHeader[] {
  const { topic, partition, groupId, deliveryCount, isRejected } = context;
  const told: readonly (readonly [string, string])[] = [
    ["topic", topic],
    ["partition", String(partition)],
    ["offset", String(offset)],
    ["group", groupId],
    ["delivery.count", String(deliveryCount)],
    ["message", isRejected ? reasons.rejected : reasons.spent],
  ];
  return told.map(([name, value]) => ({
    key: `__dlq.errors.${name}`,
    value: text.encode(value),
  }));
}

/** The records that go into the next batch, at least one, within `bytesMax` otherwise. */
export function deadLetterRecords(
  context: DeadLetterContext,
  letters: readonly DeadLetter[],
  bytesMax: number,
  timestamp: number,
): RecordData[] {
  const records: RecordData[] = [];
  let bytes = batchHeaderBytes;
  for (const { offset, body } of letters) {
    const headers = [...(body?.headers ?? []), ...deadLetterHeaders(context, offset)];
    const offsetDelta = records.length;
    const { key = null, value = null } = body ?? {};
    const record = { offsetDelta, timestamp, key, value, headers };
    bytes += recordBytes(record);
    if (bytes > bytesMax && records.length > 0) break;
    records.push(record);
  }
  return records;
}

/** An upper bound. */
function recordBytes({ key, value, headers }: Omit<RecordData, "offsetDelta">): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const one of headers) {
    bytes += headerOverheadBytes + Buffer.byteLength(one.key) + (one.value?.length ?? 0);
  }
  return bytes;
}

/** The records of [first, last] that `chunks` (whole batches from `first` on) hold. */
export async function gather(
  chunks: readonly Uint8Array[],
  range: GatherRange,
  decompress: Decompress,
): Promise<Gathered> {
  const letters: DeadLetter[] = [];
  let next = range.first;
  let bytes = 0;
  for (const chunk of chunks) {
    for (const { position, header } of batchesIn(chunk)) {
      if (lastOffset(header) < range.first) continue;
      if (header.baseOffset > range.last) return { letters, next: range.last + 1 };
      for (const letter of await lettersIn(chunk, position, header, range, decompress)) {
        bytes += bytesOf(letter);
        if (bytes > range.bytesMax && letters.length > 0) return { letters, next: letter.offset };
        letters.push(letter);
      }
      next = Math.min(lastOffset(header), range.last) + 1;
    }
  }
  return { letters, next };
}

async function lettersIn(
  chunk: Uint8Array,
  position: number,
  header: BatchHeader,
  range: GatherRange,
  decompress: Decompress,
): Promise<DeadLetter[]> {
  if (isControl(header.attributes)) return [];
  let records: readonly RecordData[];
  try {
    const stored = recordsPayload(chunk, position, header);
    const isPlain = compressionOf(header.attributes) === "none";
    const payload = isPlain ? stored : await decompress(header.attributes & codecMask, stored);
    records = parseRecords(payload, header);
  } catch (error) {
    if (!isAboutTheBatch(error)) throw error;
    // It decompresses to too much, or holds no records: told without what it holds.
    return withoutBodies(header, range);
  }
  const letters: DeadLetter[] = [];
  for (const { offsetDelta, key, value, headers } of records) {
    const offset = header.baseOffset + offsetDelta;
    if (offset < range.first || offset > range.last) continue;
    letters.push({ offset, body: range.copies ? { key, value, headers } : null });
  }
  return letters;
}

/** Not of an engine that is busy or closed: what the batch holds is still there to be copied. */
function isAboutTheBatch(error: unknown): boolean {
  if (error instanceof ProtocolError) return true;
  return error instanceof BrokerError && error.code.startsWith("CHRONIK_BATCH_");
}

function withoutBodies(header: BatchHeader, range: GatherRange): DeadLetter[] {
  const first = Math.max(header.baseOffset, range.first);
  const last = Math.min(lastOffset(header), range.last);
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    offset: first + index,
    body: null,
  }));
}

function bytesOf({ body }: DeadLetter): number {
  return body === null ? recordOverheadBytes : recordBytes({ ...body, timestamp: 0 });
}
