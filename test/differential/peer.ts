import { WireClient } from "../../src/client/wire-client.ts";
import type { ApiCodec, Decoded } from "../../src/protocol/api-codec.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { batchesIn, sizeInBytes } from "../../src/protocol/record-batch.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";

/** One case: asks, and notes what was answered. */
export type Case = (peer: Peer) => Promise<void>;

/** An answer in comparable form; `texts` are the error messages, apart from the rest. */
export interface Note {
  readonly label: string;
  readonly body: string;
  readonly texts: string;
}

/** After which a broker is taken not to answer at all. */
const silenceMs = 10_000;
const recentMs = 3_600_000;

/** Lists whose order means nothing: Kafka answers in the order of a hash map. */
const unordered: ReadonlySet<string> = new Set([
  "topics",
  "responses",
  "results",
  "groups",
  "members",
  "entries",
  "entity",
  "values",
  "configResources",
  "transactionStates",
  "activeProducers",
  "replicaElectionResults",
  "resultsByTransaction",
  "topicResults",
  "resultsByTopicV3AndBelow",
  "resultsByPartition",
  "unknownStateFilters",
]);

/**
 * One of the two brokers. What must differ between them (ids, addresses, the time of day) gets the
 * number of its first appearance in place of its value.
 */
export class Peer {
  readonly port: number;
  readonly notes: Note[] = [];
  private client: WireClient | null = null;
  private readonly aliases = new Map<string, string>();
  /** While elements are brought into order, which no id may decide. */
  private ordering = false;

  constructor(port: number) {
    this.port = port;
  }

  /** A second connection, for what happens side by side. */
  async connection(): Promise<WireClient> {
    return await WireClient.connect({ host: "127.0.0.1", port: this.port, clientId: "differ" });
  }

  close(): void {
    this.client?.close();
    this.client = null;
  }

  async ask<Q, R>(codec: ApiCodec<Q, R>, version: number, request: Q): Promise<Decoded<R>> {
    this.client ??= await this.connection();
    return await this.client.request(codec, version, request);
  }

  /** Asks in one version and notes the answer, or that the connection ended. */
  async note<Q, R>(
    label: string,
    codec: ApiCodec<Q, R>,
    version: number,
    request: Q,
    waitMs = silenceMs,
  ) {
    const name = `${codec.name} v${version} ${label}`;
    return await this.record(name, waitMs, () => this.ask(codec, version, request));
  }

  private async record<A>(name: string, waitMs: number, ask: () => Promise<A>): Promise<A | null> {
    try {
      const late = Bun.sleep(waitMs).then(() => Promise.reject(new Error("no answer")));
      const answer = await Promise.race([ask(), late]);
      this.add(name, answer);
      return answer;
    } catch (error) {
      this.client?.close();
      this.client = null;
      this.add(name, {
        connection: error instanceof Error ? error.message.replace(/\d{4,}/, "<port>") : "ended",
      });
      return null;
    }
  }

  /** As `note`, with a body that need not be a request. */
  async noteBytes<Q, R>(
    label: string,
    codec: ApiCodec<Q, R>,
    version: number,
    body: Uint8Array,
    waitMs = silenceMs,
  ): Promise<void> {
    this.aliases.clear();
    await this.record(`${codec.name} v${version} ${label}`, waitMs, async () => {
      this.client ??= await this.connection();
      return await this.client.requestEncoded(codec, version, (writer) => writer.raw(body));
    });
  }

  /** The same request in every version of a range. */
  async every<Q, R>(
    label: string,
    codec: ApiCodec<Q, R>,
    [from, to]: readonly [number, number],
    request: (version: number) => Q,
  ): Promise<void> {
    for (let version = from; version <= to; version++) {
      await this.note(label, codec, version, request(version));
    }
  }

  add(label: string, answer: unknown): void {
    const texts: string[] = [];
    const body = JSON.stringify(this.plain("", answer, texts), null, 1);
    this.notes.push({ label, body, texts: texts.join("\n") });
  }

  private plain(key: string, value: unknown, texts: string[]): unknown {
    if (value instanceof Uint8Array) return key === "records" ? batches(value) : [...value];
    if (Array.isArray(value)) return this.sorted(key, value, texts);
    if (typeof value === "object" && value !== null) {
      const entries = Object.entries(value).map(([name, inner]) => [
        name,
        this.plain(name, inner, texts),
      ]);
      return Object.fromEntries(entries);
    }
    if (/errorMessage$/i.test(key)) {
      texts.push(`${value}`);
      return value === null ? null : value === "" ? "" : "<text>";
    }
    if (/errorCode$/i.test(key)) return errorName(Number(value));
    return this.scalar(key, value);
  }

  private sorted(key: string, value: readonly unknown[], texts: string[]): unknown {
    const isSet = unordered.has(key) || (key === "partitions" && isSetOfPartitions(value));
    const inOrder = isSet ? this.ordered(key, value) : value;
    return inOrder.map((item) => this.plain(key, item, texts));
  }

  private ordered(key: string, value: readonly unknown[]): readonly unknown[] {
    const before = this.ordering;
    this.ordering = true;
    const keyed = value.map((item) => [JSON.stringify(this.plain(key, item, [])), item] as const);
    this.ordering = before;
    return keyed.toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, item]) => item);
  }

  private scalar(key: string, value: unknown): unknown {
    if (typeof value === "number") {
      if (key === "port") return value > 0 ? "<port>" : value;
      if (/^(usable|total)Bytes$/.test(key)) return value > 0 ? "<bytes>" : value;
      if (key === "partitionSize") return value > 0 ? "<bytes>" : value;
      if (key === "finalizedFeaturesEpoch") return value >= 0 ? "<epoch>" : value;
      if (key === "sessionId") return value > 0 ? this.alias("session", value) : value;
      if (key === "producerId") return value >= 0 ? this.alias("producer", value) : value;
      if (Math.abs(value - Date.now()) < recentMs) return "<now>";
      return value;
    }
    if (typeof value !== "string" || value === "") return value;
    if (key === "clusterId" || key === "host" || key === "logDir") return `<${key}>`;
    if (key === "topicId") return value === zeroUuid ? "<none>" : this.alias("topic", value);
    if (/^(memberId|leader)$/.test(key)) return this.alias("member", value);
    return value;
  }

  private alias(kind: string, value: string | number): string {
    if (this.ordering) return `<${kind}>`;
    const key = `${kind} ${value}`;
    const known = this.aliases.get(key);
    if (known !== undefined) return known;
    const count = [...this.aliases.keys()].filter((other) => other.startsWith(kind)).length;
    const alias = `<${kind} ${count + 1}>`;
    this.aliases.set(key, alias);
    return alias;
  }
}

/** By number only, or by number and size. */
function isSetOfPartitions([first]: readonly unknown[]): boolean {
  if (typeof first === "number") return true;
  return typeof first === "object" && first !== null && "partitionSize" in first;
}

function batches(bytes: Uint8Array): unknown {
  return [...batchesIn(bytes)].map(({ header }) => ({
    base: header.baseOffset,
    records: header.recordsCount,
    bytes: sizeInBytes(header),
    epoch: header.partitionLeaderEpoch,
    attributes: header.attributes,
    sequence: header.baseSequence,
  }));
}
