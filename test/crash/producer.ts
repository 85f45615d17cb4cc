import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { buildBatch, type RecordData } from "../../src/protocol/records.ts";
import { type AckedLog, keptHash } from "./acked-log.ts";
import type { Connect, Requester } from "./requester.ts";

interface Pending {
  readonly sequence: number;
  readonly batch: Uint8Array;
  readonly records: number;
}

const inFlightMax = 5;
const retriable: readonly number[] = [
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
];

/** An idempotent producer with acks=all and five requests in flight, which after a lost connection
 * sends what was not answered again under the same sequences, as real clients do. */
export class CrashProducer {
  /** Batches answered with success. */
  acked = 0;
  failure: Error | null = null;
  private producerId = -1;
  private sequence = 0;
  private made = 0;
  private pending: Pending[] = [];
  private stopping = false;
  private readonly id: number;
  private readonly topic: string;
  private readonly partition: number;
  private readonly connect: Connect;
  private readonly log: AckedLog;

  constructor(id: number, topic: string, partition: number, connect: Connect, log: AckedLog) {
    this.id = id;
    this.topic = topic;
    this.partition = partition;
    this.connect = connect;
    this.log = log;
  }

  /** Runs until `stop`; connection losses are survived, everything else ends it with `failure`. */
  async run(): Promise<void> {
    while (!this.stopping && !this.failure) {
      const client = await this.tryConnect();
      if (!client) continue;
      try {
        await this.session(client);
      } catch (error) {
        if (error instanceof WrongAnswer) this.failure = error;
      } finally {
        client.close();
      }
    }
  }

  stop(): void {
    this.stopping = true;
  }

  private async tryConnect(): Promise<Requester | null> {
    try {
      return await this.connect();
    } catch {
      // The broker is down between a kill and its restart; the next try is soon enough.
      await Bun.sleep(5);
      return null;
    }
  }

  private async session(client: Requester): Promise<void> {
    if (this.producerId < 0) {
      const response = await client.request(initProducerIdApi, 4, {
        transactionalId: null,
        transactionTimeoutMs: 0,
        producerId: -1,
        producerEpoch: -1,
      });
      if (response.errorCode !== 0) return;
      this.producerId = response.producerId;
    }
    const answers: Promise<boolean>[] = this.pending.map((pending) => this.send(client, pending));
    for (;;) {
      while (!this.stopping && answers.length < inFlightMax) {
        const pending = this.make();
        this.pending.push(pending);
        answers.push(this.send(client, pending));
      }
      const next = answers.shift();
      if (!next || !(await next)) return;
    }
  }

  /** Resolves true when stored, false when it must be sent again. */
  private async send(client: Requester, pending: Pending): Promise<boolean> {
    const response = await client.request(produceApi, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [
        {
          name: this.topic,
          partitionData: [{ index: this.partition, records: pending.batch }],
        },
      ],
    });
    const answer = response.responses[0]?.partitionResponses[0];
    if (!answer) throw new WrongAnswer("produce response without partition");
    if (retriable.includes(answer.errorCode)) return false;
    if (answer.errorCode !== 0 || answer.baseOffset < 0) {
      throw new WrongAnswer(
        `producer ${this.id} sequence ${pending.sequence}: ${errorName(answer.errorCode)} offset ${answer.baseOffset}`,
      );
    }
    this.log.add(this.partition, {
      baseOffset: answer.baseOffset,
      records: pending.records,
      hash: keptHash(pending.batch),
    });
    this.pending = this.pending.filter((other) => other !== pending);
    this.acked++;
    return true;
  }

  private make(): Pending {
    const count = 1 + (this.made % 4);
    const records: RecordData[] = Array.from({ length: count }, (_, i) => ({
      offsetDelta: i,
      timestamp: 1_700_000_000_000 + this.made,
      key: Buffer.from(`p${this.id}-s${this.sequence + i}`),
      value: Buffer.alloc(20 + ((this.made * 37) % 1500), `v${this.id}.${this.sequence + i}.`),
      headers: [],
    }));
    const options = { producerId: this.producerId, producerEpoch: 0, baseSequence: this.sequence };
    const pending = {
      sequence: this.sequence,
      batch: buildBatch(records, options, crc32c),
      records: count,
    };
    this.sequence += count;
    this.made++;
    return pending;
  }
}

/** An answer no correct broker gives here; ends the run. */
class WrongAnswer extends Error {}
