import type { WireClient } from "../client/wire-client.ts";
import type { Clock } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import { type ProduceResponse, produceApi } from "../protocol/messages/00-produce.ts";
import { metadataApi } from "../protocol/messages/03-metadata.ts";
import type { Workload } from "./workload.ts";

/** The last version that names topics and is not tied to transactions. */
const produceVersionMax = 11;
const requestsInFlightMax = 5;
const produceTimeoutMs = 30_000;

/** Messages that became ready to be sent at the same moment. */
export interface ReadyGroup {
  count: number;
  readonly readyMs: number;
}

/** One batch that the broker took. `baseOffset` is −1 with acks=0, which has no answer. */
export interface Acknowledged {
  readonly partition: number;
  readonly baseOffset: number;
  readonly count: number;
  readonly groups: readonly ReadyGroup[];
}

export interface ProducerOptions {
  readonly client: WireClient;
  readonly partitions: readonly number[];
  readonly topic: string;
  readonly acks: -1 | 0 | 1;
  readonly workload: Workload;
  readonly clock: Clock;
  readonly onAcknowledged: (batch: Acknowledged) => void;
  /** The run has failed; said once for each error. */
  readonly onError: (reason: string) => void;
}

/**
 * One connection of the closed loop: what waits joins the next batch, at most five requests are in
 * flight, no linger. Batches go to its partitions in turn.
 */
export class BenchProducer {
  private readonly options: ProducerOptions;
  private readonly version: number;
  private groups: ReadyGroup[] = [];
  private waiting = 0;
  private inFlight = 0;
  private turn = 0;
  private stopped = false;
  private onIdle: (() => void) | null = null;

  constructor(options: ProducerOptions) {
    this.options = options;
    this.version = options.client.versionOf(produceApi, produceVersionMax);
  }

  /** `count` messages are ready now. */
  offer(count: number): void {
    if (this.stopped) return;
    this.groups.push({ count, readyMs: this.options.clock.monotonicMs() });
    this.waiting += count;
    if (this.options.acks !== 0) this.sendWaiting();
  }

  /** Sends nothing more; resolves when all that was sent is answered. */
  async stop(): Promise<void> {
    this.stopped = true;
    if (this.inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
    });
  }

  /** acks=0: sends what is offered as fast as the socket takes it, until `stop`. */
  async runUnanswered(): Promise<void> {
    const { client } = this.options;
    try {
      while (!this.stopped && this.waiting > 0) {
        const batch = this.take();
        client.sendEncoded(produceApi, this.version, (writer) =>
          produceApi.encodeRequest(writer, this.requestOf(batch), this.version),
        );
        await client.flushed();
        this.options.onAcknowledged({ ...batch, baseOffset: -1 });
      }
      // Answered only when everything before it was served.
      await client.request(metadataApi, client.versionOf(metadataApi, 1), { topics: [] });
    } catch (error) {
      this.fail(errorText(error));
    }
  }

  private sendWaiting(): void {
    while (!this.stopped && this.waiting > 0 && this.inFlight < requestsInFlightMax) {
      const batch = this.take();
      this.inFlight += 1;
      this.options.client
        .request(produceApi, this.version, this.requestOf(batch))
        .then((answer) => this.answered(batch, answer))
        .catch((error: unknown) => this.fail(errorText(error)))
        .finally(() => this.finished());
    }
  }

  /** All that waits, up to one batch. */
  private take(): Omit<Acknowledged, "baseOffset"> {
    const { partitions, workload } = this.options;
    const count = Math.min(this.waiting, workload.countMax);
    const partition = partitions[this.turn++ % partitions.length] ?? 0;
    this.waiting -= count;
    const groups: ReadyGroup[] = [];
    let left = count;
    for (let group = this.groups[0]; group !== undefined && left > 0; group = this.groups[0]) {
      const taken = Math.min(left, group.count);
      groups.push({ count: taken, readyMs: group.readyMs });
      left -= taken;
      group.count -= taken;
      if (group.count === 0) this.groups.shift();
    }
    return { partition, count, groups };
  }

  private requestOf(batch: { readonly partition: number; readonly count: number }) {
    const { topic, acks, workload } = this.options;
    const records = workload.batch(batch.count);
    return {
      acks,
      timeoutMs: produceTimeoutMs,
      topicData: [{ name: topic, partitionData: [{ index: batch.partition, records }] }],
    };
  }

  private answered(
    batch: Omit<Acknowledged, "baseOffset">,
    answer: Decoded<ProduceResponse>,
  ): void {
    const result = answer.responses[0]?.partitionResponses[0];
    if (result === undefined || result.errorCode !== ErrorCode.NONE) {
      const code = result?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
      this.fail(`Produce to partition ${batch.partition}: ${errorName(code)}`);
    } else if (result.baseOffset < 0) {
      this.fail(`Produce to partition ${batch.partition}: base offset ${result.baseOffset}`);
    } else {
      this.options.onAcknowledged({ ...batch, baseOffset: result.baseOffset });
    }
  }

  private finished(): void {
    this.inFlight -= 1;
    this.sendWaiting();
    if (this.inFlight === 0) this.onIdle?.();
  }

  private fail(reason: string): void {
    this.stopped = true;
    this.options.onError(reason);
  }
}
