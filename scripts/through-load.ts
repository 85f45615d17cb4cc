import { WireClient } from "../src/client/wire-client.ts";
import { crc32c } from "../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../src/protocol/error-code.ts";
import { produceApi } from "../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../src/protocol/messages/01-fetch.ts";
import { initProducerIdApi } from "../src/protocol/messages/22-init-producer-id.ts";
import {
  batchesIn,
  crcHolds,
  lastOffset,
  recordsPayload,
  sizeInBytes,
} from "../src/protocol/record-batch.ts";
import { buildBatch, type RecordData } from "../src/protocol/records.ts";

/** What went in or came out of one partition. */
export interface Tally {
  readonly records: number;
  /** Of the batches. */
  readonly bytes: number;
  /** SHA-256 of all records as they lie in the batches, in order. */
  readonly checksum: string;
}

const recordsPerBatch = 250;
const inFlightMax = 5;
const fetchBytes = 8 << 20;
/** Answers in a row without a record, in front of the end: half a second each and more. */
const emptiesMax = 120;
const words =
  "amber birch cedar delta ember fjord grove heron inlet jetty kelp lagoon maple north ocean " +
  "pebble quartz river spruce tundra umber valley willow xenon yarrow zephyr";

/** JSON documents that are the same for the same partition, whoever makes them when. */
class Documents {
  private state: number;
  private readonly partition: number;
  private readonly vocabulary = words.split(" ");

  constructor(partition: number) {
    this.partition = partition;
    this.state = 0x9e3779b9 ^ (partition * 0x85ebca6b) || 1;
  }

  /** About 1 KiB. */
  next(n: number): Uint8Array {
    const text = Array.from({ length: 130 }, () => this.word()).join(" ");
    const document = {
      id: `${this.partition}-${n}`,
      user: `user-${this.random() % 100_000}`,
      amount: (this.random() % 1_000_000) / 100,
      tags: [this.word(), this.word()],
      text,
    };
    return Buffer.from(JSON.stringify(document));
  }

  private word(): string {
    return this.vocabulary[this.random() % this.vocabulary.length] ?? "";
  }

  private random(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }
}

/** Produces `bytes` to one partition, idempotent, five batches in flight; what the broker refuses
 * for now is sent again in its order. */
export class ThroughProducer {
  refused = 0;
  throttledMs = 0;
  private readonly topic: string;
  private readonly partition: number;
  private readonly documents: Documents;
  private readonly hasher = new Bun.CryptoHasher("sha256");
  private records = 0;
  private bytes = 0;
  private producerId = -1;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
    this.documents = new Documents(partition);
  }

  async run(port: number, bytes: number): Promise<Tally> {
    const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "through" });
    try {
      const ask = { transactionalId: null, transactionTimeoutMs: 0, producerId: -1 };
      const given = await client.request(initProducerIdApi, 4, { ...ask, producerEpoch: -1 });
      this.producerId = given.producerId;
      await this.sendAll(client, bytes);
    } finally {
      client.close();
    }
    return { records: this.records, bytes: this.bytes, checksum: this.hasher.digest("hex") };
  }

  /** Answers come in the order of the requests; after a refusal the rest of the window fails too
   * and all of it is sent again. */
  private async sendAll(client: WireClient, bytes: number): Promise<void> {
    const window: { batch: Uint8Array; answer: Promise<boolean> }[] = [];
    while (this.bytes < bytes || window.length > 0) {
      while (this.bytes < bytes && window.length < inFlightMax) {
        const batch = this.make();
        window.push({ batch, answer: this.send(client, batch) });
      }
      const first = window[0];
      if (first !== undefined && (await first.answer)) {
        window.shift();
        continue;
      }
      await Promise.all(window.map(({ answer }) => answer));
      for (const one of window) one.answer = this.send(client, one.batch);
    }
  }

  private make(): Uint8Array {
    const base = this.records;
    const records: RecordData[] = Array.from({ length: recordsPerBatch }, (_, offsetDelta) => ({
      offsetDelta,
      timestamp: 1_760_000_000_000 + base + offsetDelta,
      key: Buffer.from(`k${(base + offsetDelta) % 10_000}`),
      value: this.documents.next(base + offsetDelta),
      headers: [],
    }));
    const options = { producerId: this.producerId, producerEpoch: 0, baseSequence: base };
    const batch = buildBatch(records, options, crc32c);
    for (const { position, header } of batchesIn(batch)) {
      this.hasher.update(recordsPayload(batch, position, header));
    }
    this.records += recordsPerBatch;
    this.bytes += batch.length;
    return batch;
  }

  private async send(client: WireClient, records: Uint8Array): Promise<boolean> {
    const { responses, throttleTimeMs } = await client.request(produceApi, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: this.topic, partitionData: [{ index: this.partition, records }] }],
    });
    this.throttledMs += throttleTimeMs;
    const answer = responses[0]?.partitionResponses[0];
    const errorCode = answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (errorCode === ErrorCode.NONE) return true;
    if (errorCode !== ErrorCode.NOT_ENOUGH_REPLICAS) {
      throw new Error(`produce: ${errorName(errorCode)} ${answer?.errorMessage}`);
    }
    this.refused++;
    return false;
  }
}

/** Reads one partition from offset 0 to its end, one fetch after the other; throws where an offset
 * or a checksum is not as it should be. */
export async function consumeThrough(
  port: number,
  topic: string,
  partition: number,
): Promise<Tally> {
  const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "through" });
  const hasher = new Bun.CryptoHasher("sha256");
  let [next, bytes, empties] = [0, 0, 0];
  try {
    for (;;) {
      const { records, highWatermark } = await fetchFrom(client, topic, partition, next);
      if (next === highWatermark) break;
      // What is still on its way from the store is left out of an answer.
      if (records.length > 0) empties = 0;
      else if (++empties > emptiesMax) throw new Error(`${topic}-${partition} ends at ${next}`);
      for (const { position, header } of batchesIn(records)) {
        const where = `${topic}-${partition} at ${next}`;
        if (header.baseOffset !== next) throw new Error(`${where}: ${header.baseOffset} came`);
        if (!crcHolds(records, position, header, crc32c)) throw new Error(`${where}: wrong CRC`);
        hasher.update(recordsPayload(records, position, header));
        next = lastOffset(header) + 1;
        bytes += sizeInBytes(header);
      }
    }
  } finally {
    client.close();
  }
  return { records: next, bytes, checksum: hasher.digest("hex") };
}

async function fetchFrom(
  client: WireClient,
  topic: string,
  partition: number,
  fetchOffset: number,
): Promise<{ records: Uint8Array; highWatermark: number }> {
  const ask = { partition, currentLeaderEpoch: -1, fetchOffset, lastFetchedEpoch: -1 };
  const { responses } = await client.request(fetchApi, 12, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: fetchBytes,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      { topic, partitions: [{ ...ask, logStartOffset: -1, partitionMaxBytes: fetchBytes }] },
    ],
    forgottenTopicsData: [],
    rackId: "",
  });
  const answer = responses[0]?.partitions[0];
  if (answer?.errorCode !== 0) {
    const name = errorName(answer?.errorCode ?? -1);
    throw new Error(`fetch of ${topic}-${partition} at ${fetchOffset}: ${name}`);
  }
  return { records: answer.records ?? new Uint8Array(), highWatermark: answer.highWatermark };
}
