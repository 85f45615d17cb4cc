import type { ApiHandler, RequestContext, Services } from "../../src/api/context.ts";
import { FetchSessions } from "../../src/fetch/fetch-sessions.ts";
import type { Partition } from "../../src/log/partition.ts";
import {
  type BrokerImage,
  emptyImage,
  type MetadataImage,
  type TopicImage,
} from "../../src/metadata/image.ts";
import type { Decoded } from "../../src/protocol/api-codec.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { ClientQuotas } from "../../src/quota/client-quotas.ts";
import { type LabOptions, LogLab, topicA, topicB } from "./log-lab.ts";

function topicImage(
  ref: typeof topicA,
  partitions: number,
  replicas: readonly number[],
): TopicImage {
  return {
    name: ref.name,
    id: ref.id,
    internal: false,
    configs: new Map(),
    partitions: Array.from({ length: partitions }, (_, index) => ({
      index,
      leader: 1,
      leaderEpoch: 0,
      replicas,
      isr: [1],
    })),
  };
}

const broker: BrokerImage = {
  id: 1,
  rack: "r",
  endpoints: [{ listener: "PLAINTEXT", host: "one", port: 9092 }],
};

/** Handlers over partitions in memory: topic "a" has three partitions of which two are open; topic
 * "b" is known to metadata only. */
export class ApiLab {
  readonly log: LogLab;
  readonly quotas: ClientQuotas;
  /** What handlers asked for, 0 included. */
  readonly throttles: number[] = [];
  /** Answers that hold records of archives. */
  waysGiven = 0;
  /** What the next requests take. */
  workMs = 0;
  readonly abort = new AbortController();
  readonly session = { id: 1, listener: "PLAINTEXT" };
  readonly services: Services;
  clientId: string | null = "test";
  private nextSessionId = 1;
  readonly fetchSessions = new FetchSessions(
    { sessionsMax: 10, bytesMax: 1 << 20 },
    () => this.nextSessionId++,
  );
  producerIds: () => Promise<{ producerId: number; producerEpoch: 0 }> = () =>
    Promise.resolve({ producerId: 77, producerEpoch: 0 });

  /** `replicas` of every partition; broker 1 alone is in sync. */
  constructor(
    options: LabOptions & { indexing?: boolean } = {},
    replicas: readonly number[] = [1],
  ) {
    this.log = new LogLab(options);
    const windows = { count: 11, lengthMs: 1000 };
    const { clock } = this.log;
    this.quotas = new ClientQuotas({ clock, windows, controllerWindows: windows, entitiesMax: 9 });
    const topics = [topicImage(topicA, 3, replicas), topicImage(topicB, 1, replicas)];
    const image: MetadataImage = {
      ...emptyImage,
      brokers: new Map([[1, broker]]),
      topicsByName: new Map(topics.map((topic) => [topic.name, topic])),
      topicsById: new Map(topics.map((topic) => [topic.id, topic])),
    };
    // The rooms these handlers use, and nothing else.
    this.services = {
      config: {
        limits: { fetchBytesMax: 55 << 20 },
        indexer: { enableWalIndexing: options.indexing ?? true },
      },
      clock: this.log.clock,
      logger: { warn: () => undefined },
      metadata: { image },
      partitions: this.log.partitions,
      fetchSessions: this.fetchSessions,
      quotas: this.quotas,
      producerIds: { next: () => this.producerIds() },
    } as unknown as Services;
  }

  async open(
    config: Parameters<LogLab["open"]>[0] = {},
    leaderEpoch = 0,
  ): Promise<[Partition, Partition]> {
    return [
      await this.log.open(config, leaderEpoch, topicA, 0),
      await this.log.open(config, leaderEpoch, topicA, 1),
    ];
  }

  /** Through the codec in both directions, as a client of that version. */
  async call<Req, Res>(
    handler: ApiHandler<Req, Res>,
    request: Req,
    version: number,
  ): Promise<Decoded<Res> | null> {
    const { codec } = handler;
    const sent = new Writer();
    codec.encodeRequest(sent, request, version);
    const frame = sent.take();
    const sentBytes = frame.length;
    const decoded = codec.decodeRequest(new Reader(frame), version);
    const context = {
      header: { apiKey: codec.key, apiVersion: version, correlationId: 1, clientId: this.clientId },
      services: this.services,
      session: this.session,
      client: { user: "ANONYMOUS", clientId: this.clientId ?? "" },
      requestBytes: sentBytes,
      workMs: () => this.workMs,
      throttle: (throttleMs: number) => this.throttles.push(throttleMs),
      giveWay: () => {
        this.waysGiven++;
      },
      signal: this.abort.signal,
    } as unknown as RequestContext;
    const response = await handler.handle(context, decoded, version);
    if (response === null) return null;
    const answered = new Writer();
    codec.encodeResponse(answered, response, version);
    const reader = new Reader(answered.take());
    const result = codec.decodeResponse(reader, version);
    if (reader.remaining > 0) throw new Error(`${reader.remaining} bytes behind the response`);
    return result;
  }
}
