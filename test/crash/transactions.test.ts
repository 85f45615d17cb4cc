import { afterAll, expect, test } from "bun:test";
import type { WireClient } from "../../src/client/wire-client.ts";
import type { Decoded } from "../../src/protocol/api-codec.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { type ProduceResponse, produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { findCoordinatorApi } from "../../src/protocol/messages/10-find-coordinator.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { endTxnApi } from "../../src/protocol/messages/26-end-txn.ts";
import {
  batchesIn,
  isControl,
  isTransactional,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { buildBatch, parseRecords } from "../../src/protocol/records.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { unannouncedMoment } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { connectTo } from "./requester.ts";

const cycles = Number(process.env["CHRONIK_CRASH_TXN_CYCLES"] ?? 6);
const producers = 6;
const partitions = 3;
const topic = "transactions";

let broker: BrokerProcess | undefined;
afterAll(async () => await broker?.[Symbol.asyncDispose]());

type Fate = "committed" | "aborted" | "unknown";

/** One producer: a transaction after the other, each with a record in every partition. */
class Transactor {
  readonly fates = new Map<string, Fate>();
  private readonly id: string;
  private count = 0;
  private stopping = false;

  constructor(id: string) {
    this.id = id;
  }

  stop(): void {
    this.stopping = true;
  }

  /** Until the connection ends or `stop`. */
  async run(client: WireClient): Promise<void> {
    try {
      let producer = await this.init(client);
      while (!this.stopping) producer = await this.transaction(client, producer);
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
    }
  }

  /** Fences what may still be open, which aborts it. */
  async init(client: WireClient): Promise<{ producerId: number; producerEpoch: number }> {
    await client.request(findCoordinatorApi, 4, { keyType: 1, coordinatorKeys: [this.id] });
    let producer = { producerId: -1, producerEpoch: -1 };
    await until("the producer id is given", 10_000, async () => {
      const request = { transactionalId: this.id, transactionTimeoutMs: 60_000 };
      const { errorCode, producerId, producerEpoch } = await client.request(
        initProducerIdApi,
        4,
        request,
      );
      producer = { producerId, producerEpoch };
      const isBusy =
        errorCode === ErrorCode.CONCURRENT_TRANSACTIONS ||
        errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      if (!isBusy) expect(errorName(errorCode)).toBe("NONE");
      return !isBusy;
    });
    return producer;
  }

  private async transaction(
    client: WireClient,
    producer: { producerId: number; producerEpoch: number },
  ): Promise<{ producerId: number; producerEpoch: number }> {
    const value = `${this.id}/${this.count++}`;
    this.fates.set(value, "unknown");
    await until("the transaction before this one is complete", 10_000, async () => {
      const answer = await this.produce(client, producer, value);
      const errors =
        answer.responses[0]?.partitionResponses.map(({ errorCode }) => errorCode) ?? [];
      for (const code of errors)
        expect(["NONE", "CONCURRENT_TRANSACTIONS"]).toContain(errorName(code));
      return errors.every((code) => code === ErrorCode.NONE);
    });
    const committed = this.count % 3 !== 0;
    const { producerId, producerEpoch } = producer;
    const end = { transactionalId: this.id, producerId, producerEpoch, committed };
    const { errorCode, ...next } = await client.request(endTxnApi, 5, end);
    expect(errorName(errorCode)).toBe("NONE");
    this.fates.set(value, committed ? "committed" : "aborted");
    return next;
  }

  private produce(
    client: WireClient,
    producer: { producerId: number; producerEpoch: number },
    value: string,
  ): Promise<Decoded<ProduceResponse>> {
    const record = {
      offsetDelta: 0,
      timestamp: 1_700_000_000_000,
      key: null,
      value: new TextEncoder().encode(value),
      headers: [],
    };
    const { producerId, producerEpoch } = producer;
    const batch = { producerId, producerEpoch, baseSequence: 0, isTransactional: true };
    const records = buildBatch([record], batch, crc32c);
    const partitionData = Array.from({ length: partitions }, (_, index) => ({ index, records }));
    return client.request(produceApi, 12, {
      transactionalId: this.id,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [{ name: topic, partitionData }],
    });
  }
}

function isConnectionLoss(error: unknown): boolean {
  return error instanceof Error && error.name === "BrokerError";
}

/** What a read_committed consumer sees of one partition from an offset on; as Kafka's, it goes by
 * each answer's own list. */
async function readCommitted(
  client: WireClient,
  partition: number,
  from = 0,
  bytesMax = 1 << 20,
): Promise<string[]> {
  const values: string[] = [];
  for (let offset = from; ; ) {
    const aborted = new Set<number>();
    const answer = await client.request(fetchApi, 12, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: 1 << 24,
      isolationLevel: 1,
      topics: [
        { topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: bytesMax }] },
      ],
      forgottenTopicsData: [],
    });
    const [found] = answer.responses[0]?.partitions ?? [];
    if (found === undefined) throw new Error("no partition in the answer");
    expect(errorName(found.errorCode)).toBe("NONE");
    const ranges = [...(found.abortedTransactions ?? [])];
    const bytes = found.records ?? new Uint8Array();
    const before = offset;
    for (const { position, header } of batchesIn(bytes)) {
      const last = header.baseOffset + header.lastOffsetDelta;
      for (const range of ranges.filter(({ firstOffset }) => firstOffset <= last)) {
        aborted.add(range.producerId);
        ranges.splice(ranges.indexOf(range), 1);
      }
      offset = last + 1;
      if (isControl(header.attributes)) {
        aborted.delete(header.producerId);
        continue;
      }
      if (isTransactional(header.attributes) && aborted.has(header.producerId)) continue;
      for (const record of parseRecords(recordsPayload(bytes, position, header), header)) {
        if (header.baseOffset + record.offsetDelta < before) continue;
        values.push(new TextDecoder().decode(record.value ?? new Uint8Array()));
      }
    }
    if (offset === before) return values;
  }
}

/** Archives all that may be, over and over, until the broker is gone. */
async function archiveUntilKilled(running: BrokerProcess): Promise<void> {
  for (;;) {
    try {
      await fetch(`${running.adminUrl}/admin/indexer/run`, { method: "POST" });
    } catch {
      return;
    }
  }
}

function check(seen: readonly string[][], transactors: readonly Transactor[]): void {
  const counts = new Map<string, number>();
  for (const value of seen.flat()) counts.set(value, (counts.get(value) ?? 0) + 1);
  for (const { fates } of transactors) {
    for (const [value, fate] of fates) {
      const count = counts.get(value) ?? 0;
      if (fate === "committed") expect([value, fate, count]).toEqual([value, fate, partitions]);
      else if (fate === "aborted") expect([value, fate, count]).toEqual([value, fate, 0]);
      // All of it or nothing.
      else expect([0, partitions]).toContain(count);
    }
  }
}

test(
  `transactions are whole after ${cycles} kills`,
  async () => {
    const random = Random.from("CHRONIK_CRASH_SEED");
    const running = await startBroker({ args: busyTierArgs });
    broker = running;
    const connect = connectTo(running.kafkaPort, "transactor");
    const admin = await connect();
    await admin.request(createTopicsApi, 5, {
      topics: [
        {
          name: topic,
          numPartitions: partitions,
          replicationFactor: 1,
          assignments: [],
          configs: [],
        },
      ],
      timeoutMs: 10_000,
    });
    admin.close();
    const transactors = Array.from({ length: producers }, (_, at) => new Transactor(`txn-${at}`));
    for (let cycle = 0; cycle < cycles; cycle++) {
      const clients = await Promise.all(transactors.map(() => connect()));
      const runs = transactors.map((one, at) => one.run(clients[at]!));
      const archiving = archiveUntilKilled(running);
      await unannouncedMoment(random, 150, 500);
      await running.kill9();
      await archiving;
      await Promise.all(runs);
      for (const client of clients) client.close();
      await running.restart();
    }
    const client = await connect();
    // What was open is aborted, what was decided gets its markers: then nothing is held back.
    await Promise.all(transactors.map((one) => one.init(client)));
    let seen: string[][] = [];
    await until("every partition shows the same transactions", 10_000, async () => {
      seen = await Promise.all(
        Array.from({ length: partitions }, (_, partition) => readCommitted(client, partition)),
      );
      return new Set(seen.map(({ length }) => length)).size === 1;
    });
    check(seen, transactors);
    // What was read from the WAL, archives, or some of both is the same from archives alone, also
    // in small pieces and from within transactions.
    await untilAllArchived(running);
    client.close();
    await running.restart();
    const late = await connect();
    for (const [partition, values] of seen.entries()) {
      expect(await readCommitted(late, partition)).toEqual(values);
      expect(await readCommitted(late, partition, 0, 100)).toEqual(values);
      for (const from of [1, 7, values.length >> 1]) {
        const rest = await readCommitted(late, partition, from);
        expect(rest).toEqual(values.slice(values.length - rest.length));
        expect(rest.length).toBeGreaterThanOrEqual(values.length - from);
      }
    }
    late.close();
    // A kill loses no file of aborted transactions.
    expect(running.log()).not.toContain("aborted transactions was lost");
    const metrics = await (await fetch(`${running.adminUrl}/metrics`)).text();
    expect(metrics).toContain(`\nchronik_transactional_ids ${producers}\n`);
    for (const name of ["ongoing", "completing"]) {
      expect(metrics).toContain(`\nchronik_transactions_${name} 0\n`);
    }
    const fates = transactors.flatMap(({ fates: all }) => [...all.values()]);
    expect(fates.filter((fate) => fate === "committed").length).toBeGreaterThan(cycles * 2);
    expect(fates).toContain("aborted");
  },
  60_000 + cycles * 10_000,
);
