import type { WireClient } from "../../src/client/wire-client.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { parseBatchHeader } from "../../src/protocol/record-batch.ts";
import { buildBatch, type RecordData } from "../../src/protocol/records.ts";
import { type AckedLog, keptHash, partitionName } from "./acked-log.ts";
import type { Connect } from "./requester.ts";

export interface Target {
  readonly topic: string;
  readonly partition: number;
}

/** One partition's batch of a request. */
interface Part extends Target {
  readonly batch: Uint8Array;
  readonly sequence: number;
  readonly records: number;
  /** −1 until acknowledged. */
  baseOffset: number;
}

type Pending = readonly Part[];

const inFlightMax = 5;
const valueBytesMax = 1500;

/** An idempotent producer with acks=all and five requests in flight, which after a lost connection
 * sends what was not answered again under the same sequences, as real clients do. Each request
 * carries one batch for every target. */
export class CrashProducer {
  /** The first answer that no correct broker gives here. */
  failure: Error | null = null;
  private producerId = -1;
  private sequence = 0;
  private made = 0;
  private pending: Pending[] = [];
  /** The newest acknowledged requests: as many as a broker remembers of a producer. */
  private recent: Pending[] = [];
  private stopping = false;
  private readonly id: number;
  private readonly targets: readonly Target[];
  private readonly connect: Connect;
  private readonly log: AckedLog;

  constructor(id: number, targets: readonly Target[], connect: Connect, log: AckedLog) {
    this.id = id;
    this.targets = targets;
    this.connect = connect;
    this.log = log;
  }

  /** Runs until `stop` and everything sent is answered; connection losses are survived, a wrong
   * answer ends it with `failure`. May be run again. */
  async run(): Promise<void> {
    this.stopping = false;
    while (!this.failure && (!this.stopping || this.pending.length > 0)) {
      const client = await this.connect().catch(() => null);
      if (client === null) {
        // The broker is down between a kill and its restart.
        await Bun.sleep(5);
        continue;
      }
      await this.session(client);
    }
  }

  /** Sends nothing new; what is in flight is still brought to its answer. */
  stop(): void {
    this.stopping = true;
  }

  /** Sends the newest acknowledged batches once more; each must get the offset it has. */
  async repeat(): Promise<void> {
    const client = await this.connect();
    try {
      for (const request of this.recent) await this.exchange(client, request);
    } finally {
      client.close();
    }
  }

  private async session(client: WireClient): Promise<void> {
    const answers: Promise<boolean>[] = [];
    try {
      if (this.producerId < 0) this.producerId = await askProducerId(client);
      for (const pending of this.pending) answers.push(this.send(client, pending));
      for (;;) {
        while (!this.stopping && answers.length < inFlightMax) {
          const pending = this.make();
          this.pending.push(pending);
          answers.push(this.send(client, pending));
        }
        const next = answers.shift();
        if (next === undefined || !(await next)) return;
      }
    } catch (error) {
      if (error instanceof WrongAnswer) this.failure ??= error;
    } finally {
      client.close();
      await Promise.all(answers);
    }
  }

  /** True when stored; false when the connection was lost or the answer is wrong. */
  private async send(client: WireClient, pending: Pending): Promise<boolean> {
    try {
      const unanswered = pending.filter(({ baseOffset }) => baseOffset < 0);
      await this.exchange(client, unanswered);
    } catch (error) {
      if (error instanceof WrongAnswer) this.failure ??= error;
      return false;
    }
    this.pending = this.pending.filter((other) => other !== pending);
    this.recent = [...this.recent, pending].slice(-inFlightMax);
    return true;
  }

  private async exchange(client: WireClient, parts: readonly Part[]): Promise<void> {
    const byTopic = Map.groupBy(parts, ({ topic }) => topic);
    const { responses } = await client.request(produceApi, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [...byTopic].map(([name, ofTopic]) => ({
        name,
        partitionData: ofTopic.map(({ partition, batch }) => ({
          index: partition,
          records: batch,
        })),
      })),
    });
    for (const part of parts) {
      const answer = responses
        .find(({ name }) => name === part.topic)
        ?.partitionResponses.find(({ index }) => index === part.partition);
      this.take(part, answer);
    }
  }

  private take(part: Part, answer: { errorCode: number; baseOffset: number } | undefined): void {
    const where = `producer ${this.id} ${part.topic}-${part.partition} sequence ${part.sequence}`;
    if (answer === undefined) throw new WrongAnswer(`${where}: no answer in the response`);
    if (answer.errorCode !== ErrorCode.NONE || answer.baseOffset < 0) {
      const name = errorName(answer.errorCode);
      throw new WrongAnswer(`${where}: ${name} offset ${answer.baseOffset}`);
    }
    if (part.baseOffset >= 0 && part.baseOffset !== answer.baseOffset) {
      throw new WrongAnswer(`${where}: offset ${answer.baseOffset} after ${part.baseOffset}`);
    }
    const header = parseBatchHeader(part.batch);
    if (typeof header === "string") throw new Error(`own batch is ${header}`);
    this.log.add(partitionName(part.topic, part.partition), {
      baseOffset: answer.baseOffset,
      records: part.records,
      hash: keptHash(part.batch, 0, header),
    });
    part.baseOffset = answer.baseOffset;
  }

  private make(): Pending {
    const count = 1 + (this.made % 4);
    const sequence = this.sequence;
    const options = { producerId: this.producerId, producerEpoch: 0, baseSequence: sequence };
    const pending = this.targets.map(({ topic, partition }) => {
      const records: RecordData[] = Array.from({ length: count }, (_, i) => ({
        offsetDelta: i,
        timestamp: 1_700_000_000_000 + this.made,
        key: Buffer.from(`p${this.id}-s${sequence + i}`),
        value: Buffer.alloc(
          20 + ((this.made * 37) % valueBytesMax),
          `v${this.id}.${partition}.${sequence + i}.`,
        ),
        headers: [],
      }));
      const batch = buildBatch(records, options, crc32c);
      return { topic, partition, batch, sequence, records: count, baseOffset: -1 };
    });
    this.sequence += count;
    this.made++;
    return pending;
  }
}

async function askProducerId(client: WireClient): Promise<number> {
  const response = await client.request(initProducerIdApi, 4, {
    transactionalId: null,
    transactionTimeoutMs: 0,
    producerId: -1,
    producerEpoch: -1,
  });
  if (response.errorCode !== ErrorCode.NONE) {
    throw new WrongAnswer(`InitProducerId: ${errorName(response.errorCode)}`);
  }
  return response.producerId;
}

/** An answer no correct broker gives here; ends the run. */
class WrongAnswer extends Error {}
