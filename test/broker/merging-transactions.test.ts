/** Archives with commits and aborts, some of transactions over several of them, become one: readers
 * of both isolations get the same from every offset on, and producers go on where they were. */
import { expect, test } from "bun:test";
import type { WireClient } from "../../src/client/wire-client.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { endTxnApi } from "../../src/protocol/messages/26-end-txn.ts";
import {
  batchesIn,
  isControl,
  isTransactional,
  lastOffset,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { buildBatch, parseRecords } from "../../src/protocol/records.ts";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { startBroker, until } from "../support/broker-process.ts";
import { Random } from "../support/random.ts";
import { Kafka } from "./kafka.ts";

const topic = "ledger";
const rounds = 90;
/** Four fill a segment, and an archive. */
const valueBytes = 250_000;
const nameBytes = 12;
const busy: readonly number[] = [
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
];

/** `named` alone where the value is small, as the answers are compared. */
function recordsOf(name: string, producer: Parameters<typeof buildBatch>[1], bytes: number) {
  const value = Buffer.from(name.padEnd(bytes, "x"));
  const record = { offsetDelta: 0, timestamp: Date.now(), key: null, value, headers: [] };
  return buildBatch([record], producer, crc32c);
}

/** Asks until the coordinator is not busy. */
async function settled<T extends { errorCode: number }>(ask: () => Promise<T>): Promise<T> {
  let answer: T | undefined;
  await until("the coordinator answers", 20_000, async () => {
    answer = await ask();
    return !busy.includes(answer.errorCode);
  });
  if (answer === undefined) throw new Error("no answer");
  expect(errorName(answer.errorCode)).toBe("NONE");
  return answer;
}

class Producer {
  private readonly client: WireClient;
  private readonly id: string;
  private now = { producerId: -1, producerEpoch: -1 };
  private sequence = 0;
  isOpen = false;

  constructor(client: WireClient, id: string) {
    this.client = client;
    this.id = id;
  }

  async init(): Promise<void> {
    const request = { transactionalId: this.id, transactionTimeoutMs: 120_000 };
    this.now = await settled(() => this.client.request(initProducerIdApi, 4, request));
  }

  async send(name: string, bytes: number): Promise<void> {
    const { producerId, producerEpoch } = this.now;
    const fields = { producerId, producerEpoch, baseSequence: this.sequence };
    const records = recordsOf(name, { ...fields, isTransactional: true }, bytes);
    await settled(async () => {
      const { responses } = await this.client.request(produceApi, 12, {
        transactionalId: this.id,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
      });
      return { errorCode: responses[0]?.partitionResponses[0]?.errorCode ?? -1 };
    });
    this.sequence++;
    this.isOpen = true;
  }

  async end(committed: boolean): Promise<void> {
    const request = { transactionalId: this.id, ...this.now, committed };
    const { producerId, producerEpoch } = await settled(() =>
      this.client.request(endTxnApi, 5, request),
    );
    // Each transaction has an epoch of its own (KIP-890).
    if (producerEpoch !== this.now.producerEpoch) this.sequence = 0;
    this.now = { producerId, producerEpoch };
    this.isOpen = false;
  }
}

interface Seen {
  readonly offset: number;
  readonly name: string;
}

/** Records from `from` to the end, as Kafka's consumer gives them to its application. */
async function consume(
  client: WireClient,
  from: number,
  committed: boolean,
  bytesMax: number,
): Promise<Seen[]> {
  const seen: Seen[] = [];
  for (let offset = from; ; ) {
    const partition = { partition: 0, fetchOffset: offset, partitionMaxBytes: bytesMax };
    const answer = await client.request(fetchApi, 12, {
      ...{ maxWaitMs: 0, minBytes: 0, maxBytes: 1 << 26, isolationLevel: committed ? 1 : 0 },
      ...{ topics: [{ topic, partitions: [partition] }], forgottenTopicsData: [] },
    });
    const [found] = answer.responses[0]?.partitions ?? [];
    expect(errorName(found?.errorCode ?? -1)).toBe("NONE");
    const ranges = [...(found?.abortedTransactions ?? [])];
    const bytes = found?.records ?? new Uint8Array();
    const aborting = new Set<number>();
    const before = offset;
    for (const { position, header } of batchesIn(bytes)) {
      while (ranges[0] && ranges[0].firstOffset <= lastOffset(header)) {
        aborting.add(ranges.shift()?.producerId ?? -1);
      }
      offset = lastOffset(header) + 1;
      const records = parseRecords(recordsPayload(bytes, position, header), header);
      if (isControl(header.attributes)) {
        if (records[0]?.key?.at(-1) === 0) aborting.delete(header.producerId);
        continue;
      }
      if (isTransactional(header.attributes) && aborting.has(header.producerId)) continue;
      for (const { offsetDelta, value } of records) {
        const at = header.baseOffset + offsetDelta;
        const name = Buffer.from(value ?? []).toString("utf8", 0, nameBytes);
        if (at >= before) seen.push({ offset: at, name: name.replaceAll("x", "") });
      }
    }
    if (offset === before) return seen;
  }
}

/** What was sent and, once decided, what became of it. */
async function feed(client: WireClient, kafka: Kafka, random: Random): Promise<string[]> {
  const producers = ["a", "b", "c"].map((id) => new Producer(client, id));
  for (const one of producers) await one.init();
  const open = new Map<Producer, string[]>();
  const kept: string[] = [];
  const end = async (one: Producer, committed: boolean) => {
    await one.end(committed);
    if (committed) kept.push(...(open.get(one) ?? []));
    open.delete(one);
  };
  for (let round = 0; round < rounds; round++) {
    const name = `r${round}`;
    const bytes = random.next() < 0.5 ? valueBytes : 100;
    if (random.next() < 0.3) {
      const answer = await kafka.produce(topic, 0, recordsOf(name, {}, bytes));
      expect(answer.errorCode).toBe(0);
      kept.push(name);
      continue;
    }
    const one = random.pick(producers);
    if (one.isOpen && random.next() < 0.4) await end(one, random.next() < 0.5);
    await one.send(name, bytes);
    open.set(one, [...(open.get(one) ?? []), name]);
  }
  for (const one of producers) if (one.isOpen) await end(one, random.next() < 0.5);
  return kept;
}

/** Both isolations, from every offset, in one piece and batch by batch. */
async function everything(client: WireClient, end: number): Promise<Seen[][]> {
  const all: Seen[][] = [];
  for (const committed of [true, false]) {
    const whole = await consume(client, 0, committed, 1 << 26);
    all.push(whole);
    expect(await consume(client, 0, committed, 1)).toEqual(whole);
    for (let from = 0; from < end; from++) {
      const rest = whole.filter(({ offset }) => offset >= from);
      expect(await consume(client, from, committed, 1 << 22)).toEqual(rest);
    }
  }
  return all;
}

test("transactions over many archives are the same to readers when these are merged", async () => {
  const random = Random.from("CHRONIK_MERGE_SEED");
  const small = ["-X", "indexer.archive_bytes_max=1MiB", "-X", "limits.tail_cache_bytes_max=0"];
  await using first = await startBroker({ args: [...busyTierArgs, ...small] });
  let kafka = await Kafka.connect(first.kafkaPort);
  await kafka.createTopic(topic, 1, { "retention.ms": "-1", "search.index": "keys" });
  const producerId = await kafka.producerId();
  const idempotent = (baseSequence: number) =>
    recordsOf("last", { producerId, producerEpoch: 0, baseSequence }, 100);
  expect((await kafka.produce(topic, 0, idempotent(0))).errorCode).toBe(0);
  const kept = ["last", ...(await feed(kafka.client, kafka, random)), "last"];
  const last = await kafka.produce(topic, 0, idempotent(1));
  expect(last.errorCode).toBe(0);
  await untilAllArchived(first);
  const { offset: end } = await kafka.listOffset(topic, 0, -1);
  const before = await everything(kafka.client, end);
  expect(before[0]?.map(({ name }) => name).sort()).toEqual(kept.sort());
  const archives = (await registrySegments(first)).length;
  expect(archives).toBeGreaterThan(5);
  kafka.close();
  await first.stop();

  await using second = await startBroker({ dataDir: first.dataDir, args: busyTierArgs });
  kafka = await Kafka.connect(second.kafkaPort);
  await until("the archives are merged", 60_000, async () => {
    const segments = await registrySegments(second);
    return segments.length < archives / 2 && segments.some(({ generation }) => generation > 1);
  });
  expect(await everything(kafka.client, end)).toEqual(before);
  // Sent once more, the last batch is known; the next one goes on behind it.
  expect((await kafka.produce(topic, 0, idempotent(1))).baseOffset).toBe(last.baseOffset);
  expect((await kafka.produce(topic, 0, idempotent(2))).baseOffset).toBe(end);
  kafka.close();
}, 240_000);
