import type { WireClient } from "../client/wire-client.ts";
import { BrokerError } from "../lib/errors.ts";
import type { Crc32c } from "../protocol/crc32c.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import { fetchApi } from "../protocol/messages/01-fetch.ts";
import { batchesIn, crcHolds, isControl, lastOffset } from "../protocol/record-batch.ts";

/** The last version that names topics. */
const fetchVersionMax = 12;
const fetchBytesMax = 16 * 1024 * 1024;
const partitionBytesMax = 4 * 1024 * 1024;
const waitMsMax = 500;

/** One batch as it came back. */
export interface BatchRead {
  readonly partition: number;
  readonly baseOffset: number;
  readonly count: number;
  readonly lastOffset: number;
  /** As its header says; checked when the reader checks. */
  readonly crc: number;
}

export interface ReaderOptions {
  readonly client: WireClient;
  readonly topic: string;
  /** Offset to go on from, by partition; those partitions are read. */
  readonly positions: Map<number, number>;
  /** Checked on every batch; null: batches are taken as they are. */
  readonly crc: Crc32c | null;
}

/** Reads some partitions over one connection, in order, and insists that nothing is missing. */
export class BenchReader {
  private readonly options: ReaderOptions;
  private readonly version: number;

  constructor(options: ReaderOptions) {
    this.options = options;
    this.version = options.client.versionOf(fetchApi, fetchVersionMax);
  }

  get positions(): Map<number, number> {
    return this.options.positions;
  }

  /** One fetch. Empty when nothing new came within half a second. Throws BrokerError at any error,
   * gap, repetition or wrong checksum. */
  async read(): Promise<BatchRead[]> {
    const { client, topic, positions } = this.options;
    const partitions = [...positions].map(([partition, fetchOffset]) => {
      return { partition, fetchOffset, partitionMaxBytes: partitionBytesMax };
    });
    const answer = await client.request(fetchApi, this.version, {
      maxWaitMs: waitMsMax,
      minBytes: 1,
      maxBytes: fetchBytesMax,
      topics: [{ topic, partitions }],
    });
    const batches: BatchRead[] = [];
    if (answer.errorCode !== ErrorCode.NONE) throw failed(`Fetch: ${errorName(answer.errorCode)}`);
    for (const { partitions: results } of answer.responses) {
      for (const { partitionIndex, errorCode, records } of results) {
        if (errorCode !== ErrorCode.NONE) {
          throw failed(`Fetch from partition ${partitionIndex}: ${errorName(errorCode)}`);
        }
        if (records !== null) this.take(partitionIndex, records, batches);
      }
    }
    return batches;
  }

  private take(partition: number, records: Uint8Array, batches: BatchRead[]): void {
    const { crc, positions } = this.options;
    for (const { header, position } of batchesIn(records)) {
      const at = positions.get(partition) ?? 0;
      const last = lastOffset(header);
      // A fetch may begin inside a batch; what lies before was read already.
      if (last < at) continue;
      if (header.baseOffset > at) {
        throw failed(`partition ${partition}: offset ${header.baseOffset} came, not ${at}`);
      }
      if (crc !== null && !crcHolds(records, position, header, crc)) {
        throw failed(`partition ${partition}: the batch at ${header.baseOffset} is corrupt`);
      }
      positions.set(partition, last + 1);
      const count = isControl(header.attributes) ? 0 : header.recordsCount;
      batches.push({
        partition,
        baseOffset: header.baseOffset,
        count,
        lastOffset: last,
        crc: header.crc,
      });
    }
  }
}

function failed(reason: string): BrokerError {
  return new BrokerError("CHRONIK_BENCH", reason);
}
