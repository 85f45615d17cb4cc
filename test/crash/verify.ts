import type { WireClient } from "../../src/client/wire-client.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { batchesIn, crcHolds, lastOffset, lastSequence } from "../../src/protocol/record-batch.ts";
import { type AckedLog, keptHash, partitionName } from "./acked-log.ts";

const fetchBytes = 8 << 20;
/** How long records below the high watermark may be waited for. */
const answerMsMax = 60_000;

/** Whole batches from an offset on; empty at the end of the log. */
export type ReadBatches = (offset: number) => Promise<Uint8Array>;

/**
 * Reads one partition on and on and checks: offsets dense, CRCs right, leader epochs never
 * falling, every producer's sequences contiguous (nothing lost in between, nothing twice), every
 * acknowledged batch at its offset with its bytes, and nothing that was read once ever different
 * or gone.
 */
export class PartitionChecker {
  /** Where reading goes on: everything below was checked. */
  next = 0;
  private sequences = new Map<number, number>();
  private leaderEpoch = -1;
  private readonly seen = new Map<number, bigint>();
  private readonly topic: string;
  private readonly partition: number;
  private readonly acked: AckedLog;

  constructor(topic: string, partition: number, acked: AckedLog) {
    this.topic = topic;
    this.partition = partition;
    this.acked = acked;
  }

  /** Reads this partition over a connection. */
  over(client: WireClient): ReadBatches {
    return (offset) => fetchRecords(client, this.topic, this.partition, offset);
  }

  /** Reads from where it stopped to the end. Throws at the first violation. */
  async readOn(read: ReadBatches): Promise<void> {
    // Told before reading began, so it must be there at the end of it.
    const told = [...this.acks().keys()].reduce((most, offset) => Math.max(most, offset), -1);
    while (await this.step(read)) {
      // One fetch after the other up to the end.
    }
    if (told >= this.next) throw this.wrong(`acknowledged offset ${told} is missing`);
    for (const [offset, { hash }] of this.acks()) {
      const found = this.seen.get(offset);
      if (offset < this.next && found !== hash) {
        const how = found === undefined ? "is not the base of a batch" : "holds another batch";
        throw this.wrong(`acknowledged offset ${offset} ${how}`);
      }
    }
  }

  /** Reads from offset 0 again; what was seen before must still be there, byte for byte. */
  async readAll(read: ReadBatches): Promise<void> {
    const before = this.next;
    this.next = 0;
    this.leaderEpoch = -1;
    this.sequences = new Map();
    await this.readOn(read);
    if (this.next < before) throw this.wrong(`the log ended at ${before} before`);
  }

  private async step(read: ReadBatches): Promise<boolean> {
    const bytes = await read(this.next);
    for (const { position, header } of batchesIn(bytes)) {
      if (header.baseOffset !== this.next) throw this.wrong(`offset ${header.baseOffset} found`);
      if (!crcHolds(bytes, position, header, crc32c)) throw this.wrong("the batch fails its CRC");
      if (header.partitionLeaderEpoch < this.leaderEpoch) {
        throw this.wrong(`epoch ${header.partitionLeaderEpoch} after ${this.leaderEpoch}`);
      }
      this.leaderEpoch = header.partitionLeaderEpoch;
      const wanted = this.sequences.get(header.producerId) ?? 0;
      if (header.baseSequence !== wanted) {
        const what = `sequence ${wanted} of producer ${header.producerId} expected`;
        throw this.wrong(`${what}, ${header.baseSequence} found`);
      }
      this.sequences.set(header.producerId, lastSequence(header) + 1);
      const hash = keptHash(bytes, position, header);
      const known = this.seen.get(header.baseOffset);
      if (known !== undefined && known !== hash) throw this.wrong("the batch was another before");
      this.seen.set(header.baseOffset, hash);
      this.next = lastOffset(header) + 1;
    }
    return bytes.length > 0;
  }

  private acks() {
    return this.acked.of(partitionName(this.topic, this.partition));
  }

  private wrong(what: string): Error {
    return new Error(`${partitionName(this.topic, this.partition)} at ${this.next}: ${what}`);
  }
}

/** Whole batches from `offset` on, as many as one fetch gives; empty at the end of the log. What a
 * bucket is slow to give is asked for again, as consumers do. */
export async function fetchRecords(
  client: WireClient,
  topic: string,
  partition: number,
  offset: number,
): Promise<Uint8Array> {
  const lateMs = performance.now() + answerMsMax;
  for (;;) {
    const answer = await fetchPartition(client, topic, partition, offset);
    const where = `fetch of ${topic}-${partition} at ${offset}`;
    if (answer.errorCode !== 0) throw new Error(`${where}: ${errorName(answer.errorCode)}`);
    const records = answer.records ?? new Uint8Array();
    if (records.length > 0 || answer.highWatermark <= offset) return records;
    if (performance.now() > lateMs) throw new Error(`${where}: no records`);
  }
}

/** The partition's part of one fetch response, errors included. */
export async function fetchPartition(
  client: WireClient,
  topic: string,
  partition: number,
  offset: number,
) {
  const response = await client.request(fetchApi, 12, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: fetchBytes,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic,
        partitions: [
          {
            partition,
            currentLeaderEpoch: -1,
            fetchOffset: offset,
            lastFetchedEpoch: -1,
            logStartOffset: -1,
            partitionMaxBytes: fetchBytes,
          },
        ],
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
  });
  const answer = response.responses[0]?.partitions[0];
  if (!answer) throw new Error(`fetch of ${topic}-${partition}: error ${response.errorCode}`);
  return answer;
}
