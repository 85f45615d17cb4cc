import { createHash } from "node:crypto";
import { WireClient } from "../../src/client/wire-client.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { batchesIn, lastOffset } from "../../src/protocol/record-batch.ts";
import { batchOf, Kafka } from "../broker/kafka.ts";

export interface ColdScan {
  readonly records: number;
  readonly bytes: number;
  /** Over the batches' bytes. */
  readonly sha256: string;
  readonly fetches: number;
  /** Fetches answered without records before the end: the store was not there in time. */
  readonly empty: number;
  /** Of each fetch, in milliseconds. */
  readonly fetchMs: readonly number[];
}

/** Reads a partition from offset 0 up to `end` as a consumer does, 1 MiB a fetch; throws where an
 * offset is missing or comes twice. `pause` is called after each fetch with the bytes so far. */
export async function scan(
  port: number,
  topic: string,
  end: number,
  partition = 0,
  pause?: (bytes: number) => Promise<void>,
): Promise<ColdScan> {
  const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "scan" });
  const hash = createHash("sha256");
  const fetchMs: number[] = [];
  let bytes = 0;
  let empty = 0;
  let next = 0;
  try {
    while (next < end) {
      const startMs = performance.now();
      const records = await fetchAt(client, topic, partition, next);
      fetchMs.push(performance.now() - startMs);
      if (records.length === 0) empty++;
      if (empty > 200) throw new Error(`nothing to read at ${next}`);
      for (const { header } of batchesIn(records)) {
        if (header.baseOffset !== next) throw new Error(`${header.baseOffset} instead of ${next}`);
        next = lastOffset(header) + 1;
      }
      hash.update(records);
      bytes += records.length;
      await pause?.(bytes);
    }
  } finally {
    client.close();
  }
  const sha256 = hash.digest("hex");
  return { records: next, bytes, sha256, fetches: fetchMs.length, empty, fetchMs };
}

/** The records of one fetch, which waits half a second. */
export async function fetchAt(
  client: WireClient,
  topic: string,
  partition: number,
  fetchOffset: number,
): Promise<Uint8Array> {
  const { responses } = await client.request(fetchApi, 12, {
    replicaId: -1,
    maxWaitMs: 500,
    minBytes: 1,
    maxBytes: 50 << 20,
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
            fetchOffset,
            lastFetchedEpoch: -1,
            logStartOffset: -1,
            partitionMaxBytes: 1 << 20,
          },
        ],
      },
    ],
  });
  const answer = responses[0]?.partitions[0];
  if (answer?.errorCode !== 0) throw new Error(`fetch at ${fetchOffset}: ${answer?.errorCode}`);
  return answer.records ?? new Uint8Array(0);
}

/** A JSON record that compresses about as real ones do. */
function recordText(index: number, bytes: number): string {
  const words = [];
  for (let i = 0, seed = index * 2_654_435_761; words.length * 11 < bytes - 60; i++) {
    seed = (Math.imul(seed ^ (seed >>> 15), 2_246_822_519) + i) >>> 0;
    words.push(seed.toString(36), i % 3 === 0 ? "delivered" : "north");
  }
  return JSON.stringify({ id: index, kind: "event", text: words.join(" ").slice(0, bytes - 40) });
}

/** Appends `records` records of about `recordBytes` of JSON-like text, 500 a batch. */
export async function fill(
  port: number,
  topic: string,
  records: number,
  recordBytes = 1_000,
): Promise<void> {
  const kafka = await Kafka.connect(port);
  try {
    for (let first = 0; first < records; first += 500) {
      const values = Array.from({ length: Math.min(500, records - first) }, (_, i) =>
        recordText(first + i, recordBytes),
      );
      const { errorCode } = await kafka.produce(topic, 0, batchOf(values));
      if (errorCode !== 0) throw new Error(`produce to ${topic}: ${errorCode}`);
    }
  } finally {
    kafka.close();
  }
}
