/** Kafka's rules for what may be appended: each breach is an error code and a text. (pure) */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type BatchHeader,
  batchHeaderBytes,
  compressionOf,
  isControl,
  noTimestamp,
  parseBatchHeader,
  sizeInBytes,
  timestampTypeOf,
} from "../protocol/record-batch.ts";
import type { RecordData } from "../protocol/records.ts";
import type { PartitionLogConfig, TopicCompression } from "./config.ts";
import type { BatchFacts, BatchFault } from "./ports.ts";

export interface RecordError {
  readonly batchIndex: number;
  readonly message: string;
}

export interface Rejection {
  readonly errorCode: number;
  readonly errorMessage: string;
  readonly recordErrors: readonly RecordError[];
}

/** Who appends: a client's batch is checked, the broker's own (coordinators) is trusted. */
export type AppendOrigin = "client" | "coordinator";

const recordErrorsMax = 100;
/** Records of a batch that are read on the event loop only to name those at fault. */
const recordsNamedMax = 20_000;

/** Exactly one v2 batch and what its header may say. */
export function checkHeader(
  batch: Uint8Array,
  config: PartitionLogConfig,
  origin: AppendOrigin | "marker",
): BatchHeader | Rejection {
  const header = parseBatchHeader(batch);
  if (typeof header === "string") return problemRejection(header, batch.length);
  const bytes = sizeInBytes(header);
  if (bytes !== batch.length) {
    return rejection(ErrorCode.INVALID_RECORD, "exactly one record batch per partition is allowed");
  }
  if (origin !== "marker" && isControl(header.attributes)) {
    return rejection(ErrorCode.INVALID_RECORD, "only markers are control records");
  }
  if (origin !== "client") return header;
  if (header.baseOffset !== 0) {
    const text = `the base offset of the batch is ${header.baseOffset} instead of 0`;
    return rejection(ErrorCode.INVALID_RECORD, text);
  }
  const tooLarge = checkSize(bytes, config);
  if (tooLarge !== null) return tooLarge;
  if (header.recordsCount <= 0 || header.lastOffsetDelta + 1 !== header.recordsCount) {
    const { lastOffsetDelta, recordsCount } = header;
    const text = `the batch counts ${recordsCount} records up to offset delta ${lastOffsetDelta}`;
    return rejection(ErrorCode.INVALID_RECORD, text);
  }
  if (header.producerId >= 0 && (header.baseSequence < 0 || header.producerEpoch < 0)) {
    return rejection(ErrorCode.INVALID_RECORD, "a batch with a producer id needs a sequence");
  }
  if (timestampTypeOf(header.attributes) !== "CreateTime") {
    const text = "producers may not set the timestamp type to LogAppendTime";
    return rejection(ErrorCode.INVALID_TIMESTAMP, text);
  }
  return header;
}

/** Of a batch as sent, and again as it is stored. */
export function checkSize(bytes: number, config: PartitionLogConfig): Rejection | null {
  const { maxMessageBytes } = config;
  if (bytes <= maxMessageBytes) return null;
  const text = `the batch takes ${bytes} bytes and max.message.bytes is ${maxMessageBytes}`;
  return rejection(ErrorCode.MESSAGE_TOO_LARGE, text);
}

/** What the topic makes of a batch of this codec; null: it stays as it is. */
export function recompressionOf(
  attributes: number,
  { compression }: PartitionLogConfig,
): TopicCompression | null {
  if (compression === null || compression.codec === compressionOf(attributes)) return null;
  return compression;
}

/** What the checksum and the records themselves break. */
export function checkFacts(facts: BatchFacts): Rejection | null {
  return facts.fault === null ? null : faultRejection(facts.fault);
}

/** True when the records must be read one by one to know. */
export function needsRecords(
  facts: BatchFacts,
  config: PartitionLogConfig,
  nowMs: number,
): boolean {
  if (config.compact && facts.keyless) return true;
  if (config.timestampType === "LogAppendTime") return false;
  if (facts.maxTimestamp - nowMs > config.timestampAfterMaxMs) return true;
  return config.timestampBeforeMaxMs < Number.MAX_SAFE_INTEGER;
}

/** Of a batch of very many records (a few bytes can decompress to millions) what the facts alone
 * are enough to reject: nothing is named, and nothing is decompressed for it. */
export function checkMany(
  facts: BatchFacts,
  config: PartitionLogConfig,
  nowMs: number,
): Rejection | null {
  if (facts.recordCount <= recordsNamedMax) return null;
  if (config.compact && facts.keyless) {
    const text = "a compacted topic takes no record without a key";
    return rejection(ErrorCode.INVALID_RECORD, text);
  }
  const problem = timestampProblem(facts.maxTimestamp, config, nowMs);
  return problem === null ? null : rejection(ErrorCode.INVALID_TIMESTAMP, problem);
}

/** Keys and timestamps of each record; the whole batch is rejected with the errors of each. */
export function checkRecords(
  records: readonly RecordData[],
  config: PartitionLogConfig,
  nowMs: number,
): Rejection | null {
  const keyless: RecordError[] = [];
  const mistimed: RecordError[] = [];
  for (const [batchIndex, record] of records.entries()) {
    if (config.compact && record.key === null) {
      keyless.push({ batchIndex, message: "a compacted topic takes no record without a key" });
    }
    const message = timestampProblem(record.timestamp, config, nowMs);
    if (message !== null) mistimed.push({ batchIndex, message });
  }
  const recordErrors = (keyless.length > 0 ? keyless : mistimed).slice(0, recordErrorsMax);
  const [first] = recordErrors;
  if (first === undefined) return null;
  return {
    errorCode: keyless.length > 0 ? ErrorCode.INVALID_RECORD : ErrorCode.INVALID_TIMESTAMP,
    errorMessage: `${keyless.length + mistimed.length} records were rejected: ${first.message}`,
    recordErrors,
  };
}

export function rejection(errorCode: number, errorMessage: string): Rejection {
  return { errorCode, errorMessage, recordErrors: [] };
}

function timestampProblem(
  timestamp: number,
  config: PartitionLogConfig,
  nowMs: number,
): string | null {
  if (config.timestampType === "LogAppendTime" || timestamp === noTimestamp) return null;
  if (timestamp - nowMs > config.timestampAfterMaxMs) {
    return `timestamp ${timestamp} is later than ${config.timestampAfterMaxMs} ms from now`;
  }
  if (nowMs - timestamp > config.timestampBeforeMaxMs) {
    return `timestamp ${timestamp} is earlier than ${config.timestampBeforeMaxMs} ms ago`;
  }
  return null;
}

function problemRejection(
  problem: "truncated" | "bad-length" | "bad-magic",
  bytes: number,
): Rejection {
  switch (problem) {
    case "truncated": {
      const text = `no whole record batch in ${bytes} bytes; its header takes ${batchHeaderBytes}`;
      return rejection(ErrorCode.INVALID_RECORD, text);
    }
    case "bad-magic":
      return rejection(ErrorCode.INVALID_RECORD, "only record batches of format v2 are accepted");
    case "bad-length":
      return rejection(ErrorCode.CORRUPT_MESSAGE, "the length of the record batch is impossible");
  }
}

function faultRejection(fault: BatchFault): Rejection {
  switch (fault) {
    case "crc":
      return rejection(ErrorCode.CORRUPT_MESSAGE, "the checksum of the record batch is wrong");
    case "length":
      return rejection(ErrorCode.CORRUPT_MESSAGE, "the length of the record batch is wrong");
    case "magic":
      return rejection(ErrorCode.INVALID_RECORD, "only record batches of format v2 are accepted");
    case "count":
      return rejection(ErrorCode.INVALID_RECORD, "the batch does not hold what it counts");
    case "attributes":
      return rejection(ErrorCode.INVALID_RECORD, "the attributes of the batch are not valid");
    case "records":
      return rejection(ErrorCode.INVALID_RECORD, "the records of the batch cannot be read");
    case "too-large":
      return rejection(ErrorCode.MESSAGE_TOO_LARGE, "the batch decompresses to too many bytes");
  }
}
