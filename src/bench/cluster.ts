import { WireClient } from "../client/wire-client.ts";
import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import { listOffsetsApi } from "../protocol/messages/02-list-offsets.ts";
import { metadataApi } from "../protocol/messages/03-metadata.ts";
import { createTopicsApi } from "../protocol/messages/19-create-topics.ts";

export interface BenchAddress {
  readonly host: string;
  readonly port: number;
}

/** The last versions that name topics instead of giving their ids. */
const metadataVersionMax = 9;
const listOffsetsVersionMax = 7;
const leaderWaitMs = 100;
const leaderTriesMax = 100;
const clientId = "chronik-bench";
/** Kafka's default of `max.message.bytes`. */
const messageBytesMaxDefault = 1_048_588;
/** Header, lengths and deltas around one message. */
const batchOverheadBytes = 128;

/** What a broker says until it has taken over a new topic. */
const notYetErrors: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
]);

export const latest = -1;
export const earliest = -2;

/** One topic of a running cluster: who leads its partitions, and connections to them. */
export class Cluster {
  readonly topic: string;
  /** Leader's address by partition. */
  private readonly leaders: readonly BenchAddress[];
  private readonly clock: Clock;
  private readonly admin = new Map<string, WireClient>();
  private readonly clients: WireClient[] = [];

  private constructor(topic: string, leaders: readonly BenchAddress[], clock: Clock) {
    this.topic = topic;
    this.leaders = leaders;
    this.clock = clock;
  }

  /** Finds the topic, or makes it with so many partitions. Rejects with BrokerError. */
  static async open(
    bootstrap: readonly BenchAddress[],
    topic: string,
    wanted: { readonly partitions: number; readonly messageBytes: number },
    clock: Clock,
  ): Promise<Cluster> {
    const client = await connectAny(bootstrap);
    try {
      if ((await findLeaders(client, topic)) === null) {
        await createTopic(client, topic, wanted);
      }
      for (let attempt = 0; attempt < leaderTriesMax; attempt++) {
        const leaders = await findLeaders(client, topic);
        if (leaders !== null && leaders.length > 0) return new Cluster(topic, leaders, clock);
        await new Promise<void>((resolve) => clock.schedule(leaderWaitMs, resolve));
      }
    } finally {
      client.close();
    }
    throw new BrokerError("CHRONIK_BENCH", `topic ${topic} has no leaders`);
  }

  get partitionCount(): number {
    return this.leaders.length;
  }

  /** `count` connections, spread over the leaders; each with the partitions it can serve. */
  async connect(count: number): Promise<{ client: WireClient; partitions: number[] }[]> {
    const byLeader = new Map<string, { address: BenchAddress; partitions: number[] }>();
    for (const [partition, address] of this.leaders.entries()) {
      const key = `${address.host}:${address.port}`;
      const group = byLeader.get(key) ?? { address, partitions: [] };
      byLeader.set(key, group);
      group.partitions.push(partition);
    }
    const groups = [...byLeader.values()];
    const connected: { client: WireClient; partitions: number[] }[] = [];
    for (let index = 0; index < Math.max(count, groups.length); index++) {
      const group = groups[index % groups.length];
      assert(group !== undefined, "a topic has a leader");
      const client = await WireClient.connect({ ...group.address, clientId });
      this.clients.push(client);
      connected.push({ client, partitions: group.partitions });
    }
    return connected;
  }

  /** Offsets of all partitions: `latest` or `earliest`. Waits for a new topic's leaders. */
  async offsets(timestamp: number): Promise<number[]> {
    const found: number[] = [];
    for (const partition of this.leaders.keys()) {
      found.push(await this.offset(partition, timestamp));
    }
    return found;
  }

  close(): void {
    for (const client of [...this.clients, ...this.admin.values()]) client.close();
  }

  private async offset(partition: number, timestamp: number): Promise<number> {
    const address = this.leaders[partition];
    assert(address !== undefined, "the partition has a leader");
    const client = await this.adminOf(address);
    const version = client.versionOf(listOffsetsApi, listOffsetsVersionMax);
    const partitions = [{ partitionIndex: partition, timestamp }];
    const request = { replicaId: -1, topics: [{ name: this.topic, partitions }] };
    let code: number = ErrorCode.UNKNOWN_SERVER_ERROR;
    for (let attempt = 0; attempt < leaderTriesMax; attempt++) {
      const answer = await client.request(listOffsetsApi, version, request);
      const result = answer.topics[0]?.partitions[0];
      if (result?.errorCode === ErrorCode.NONE) return result.offset;
      code = result?.errorCode ?? code;
      if (!notYetErrors.has(code)) break;
      await new Promise<void>((resolve) => this.clock.schedule(leaderWaitMs, resolve));
    }
    throw new BrokerError("CHRONIK_BENCH", `ListOffsets failed: ${errorName(code)}`);
  }

  private async adminOf(address: BenchAddress): Promise<WireClient> {
    const key = `${address.host}:${address.port}`;
    const client = this.admin.get(key) ?? (await WireClient.connect({ ...address, clientId }));
    this.admin.set(key, client);
    return client;
  }
}

async function connectAny(bootstrap: readonly BenchAddress[]): Promise<WireClient> {
  let failure: unknown = new BrokerError("CHRONIK_BENCH", "no bootstrap server was named");
  for (const address of bootstrap) {
    try {
      return await WireClient.connect({ ...address, clientId });
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** null: there is no such topic. Empty: not all of its partitions have a leader yet. */
async function findLeaders(client: WireClient, topic: string): Promise<BenchAddress[] | null> {
  const version = client.versionOf(metadataApi, metadataVersionMax);
  const answer = await client.request(metadataApi, version, {
    topics: [{ name: topic }],
    ...(version >= 4 ? { allowAutoTopicCreation: false } : {}),
  });
  const found = answer.topics[0];
  if (found?.errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) return null;
  if (found === undefined || found.errorCode !== ErrorCode.NONE) {
    const code = found?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (code === ErrorCode.LEADER_NOT_AVAILABLE) return [];
    throw new BrokerError("CHRONIK_BENCH", `topic ${topic}: ${errorName(code)}`);
  }
  const brokers = new Map(answer.brokers.map((broker) => [broker.nodeId, broker]));
  const leaders: BenchAddress[] = [];
  for (const { partitionIndex, leaderId } of found.partitions) {
    const broker = brokers.get(leaderId);
    if (broker === undefined) return [];
    leaders[partitionIndex] = { host: broker.host, port: broker.port };
  }
  return leaders;
}

/** `max.message.bytes` grows with messages that its default would refuse. */
async function createTopic(
  client: WireClient,
  topic: string,
  wanted: { readonly partitions: number; readonly messageBytes: number },
): Promise<void> {
  const batchBytesMax = wanted.messageBytes + batchOverheadBytes;
  const configs =
    batchBytesMax > messageBytesMaxDefault
      ? [{ name: "max.message.bytes", value: String(batchBytesMax) }]
      : [];
  const version = client.versionOf(createTopicsApi);
  const answer = await client.request(createTopicsApi, version, {
    topics: [
      {
        name: topic,
        numPartitions: wanted.partitions,
        replicationFactor: version >= 4 ? -1 : 1,
        assignments: [],
        configs,
      },
    ],
  });
  const result = answer.topics[0];
  const code = result?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
  if (code === ErrorCode.NONE || code === ErrorCode.TOPIC_ALREADY_EXISTS) return;
  const reason = result?.errorMessage ?? errorName(code);
  throw new BrokerError("CHRONIK_BENCH", `topic ${topic} could not be created: ${reason}`);
}
