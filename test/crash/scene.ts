import type { WireClient } from "../../src/client/wire-client.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import type { BrokerProcess } from "../support/broker-process.ts";
import { AckedLog } from "./acked-log.ts";
import { CrashProducer, type Target } from "./producer.ts";
import { type Connect, connectTo } from "./requester.ts";
import { PartitionChecker } from "./verify.ts";

export interface TopicPlan {
  readonly name: string;
  readonly partitions: number;
  readonly configs?: Readonly<Record<string, string>>;
}

/** Topics under load from idempotent producers, and the checkers of all their partitions. */
export class Scene {
  readonly acked = new AckedLog();
  private readonly connect: Connect;
  private readonly broker: BrokerProcess;
  private readonly producers: CrashProducer[];
  private readonly checkers: PartitionChecker[];
  private running: Promise<void>[] = [];

  private constructor(broker: BrokerProcess, topics: readonly TopicPlan[], targets: Target[][]) {
    this.broker = broker;
    this.connect = connectTo(broker.kafkaPort, "crash");
    this.producers = targets.map(
      (list, id) => new CrashProducer(id, list, this.connect, this.acked),
    );
    this.checkers = topics.flatMap(({ name, partitions }) =>
      Array.from({ length: partitions }, (_, at) => new PartitionChecker(name, at, this.acked)),
    );
    this.resume();
  }

  /** Creates the topics and starts one producer for each list of targets. */
  static async begin(
    broker: BrokerProcess,
    topics: readonly TopicPlan[],
    targets: Target[][],
  ): Promise<Scene> {
    const client = await connectTo(broker.kafkaPort, "crash")();
    try {
      const { topics: made } = await client.request(createTopicsApi, 5, {
        topics: topics.map(({ name, partitions, configs = {} }) => ({
          name,
          numPartitions: partitions,
          replicationFactor: 1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        })),
        timeoutMs: 30_000,
        validateOnly: false,
      });
      const bad = made.find(({ errorCode }) => errorCode !== 0);
      if (bad) throw new Error(`topic ${bad.name}: ${errorName(bad.errorCode)}`);
    } finally {
      client.close();
    }
    return new Scene(broker, topics, targets);
  }

  /** Offsets checked so far, over all partitions. */
  get checkedOffsets(): number {
    return this.checkers.reduce((sum, { next }) => sum + next, 0);
  }

  /** Throws the first wrong answer a producer got. */
  assertHealthy(): void {
    for (const { failure } of this.producers) if (failure) throw failure;
  }

  /** Reads what is new in every partition while the load goes on. */
  async checkNew(): Promise<void> {
    await this.check((checker, client) => checker.readOn(checker.over(client)));
  }

  /** Reads every partition from its first offset. */
  async checkAll(): Promise<void> {
    await this.check((checker, client) => checker.readAll(checker.over(client)));
  }

  /** Ends the load; everything that was sent is answered when this resolves. */
  async pause(): Promise<void> {
    for (const producer of this.producers) producer.stop();
    await Promise.all(this.running);
    this.assertHealthy();
  }

  /** The same producers go on where they stopped. */
  resume(): void {
    this.running = this.producers.map((producer) => producer.run());
  }

  /** While paused: sends what was acknowledged last once more; the same offsets must come back. */
  async repeatLast(): Promise<void> {
    for (const producer of this.producers) await producer.repeat();
  }

  private async check(
    read: (checker: PartitionChecker, client: WireClient) => Promise<void>,
  ): Promise<void> {
    this.assertHealthy();
    const client = await this.connect();
    try {
      for (const checker of this.checkers) await read(checker, client);
    } catch (error) {
      const log = this.broker.log().slice(-6000);
      throw new Error(`${error instanceof Error ? error.message : error}\n${log}`);
    } finally {
      client.close();
    }
  }
}
