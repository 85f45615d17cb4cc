import type { ApiHandler, RequestContext } from "../../src/api/context.ts";
import { type GroupConfig, groupConfigDefaults } from "../../src/group/config.ts";
import { GroupCoordinator } from "../../src/group/coordinator.ts";
import type {
  CoordinatorTopics,
  LogReplay,
  OffsetsLog,
  OffsetsRecord,
  ShareStates,
  TransactionalWriter,
  TransactionMarker,
} from "../../src/group/ports.ts";
import { recordsBytes } from "../../src/group/record-batches.ts";
import { deferred } from "../../src/lib/deferred.ts";
import type { BrokerError } from "../../src/lib/errors.ts";
import { emptyImage, type MetadataImage } from "../../src/metadata/image.ts";
import type { Decoded } from "../../src/protocol/api-codec.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { FakeClock } from "../support/fake-clock.ts";

interface StoredRecord extends OffsetsRecord {
  readonly producerId?: number;
  readonly marker?: TransactionMarker;
}

/** A partition of `__consumer_offsets` in memory; holds writes back or fails them when told to. */
export class MemoryOffsetsLog implements OffsetsLog {
  readonly durable: StoredRecord[] = [];
  appendCount = 0;
  /** A larger batch is refused. */
  batchBytesMax = 1_048_588;
  /** Appends that still succeed; null: all. */
  appendsLeft: number | null = null;
  /** How many records were durable after each append. */
  readonly ends: number[] = [];
  /** Writes wait for `release` while true. */
  isHeld = false;
  errorCode: number = ErrorCode.NONE;
  throwsOnAppend = false;
  replayGate: Promise<void> = Promise.resolve();
  replayFailure: Error | null = null;
  private held: (() => void)[] = [];

  append(
    records: readonly StoredRecord[],
    writer?: TransactionalWriter,
  ): Promise<{ errorCode: number; baseOffset: number }> {
    this.appendCount++;
    if (this.throwsOnAppend) return Promise.reject(new Error("disk on fire"));
    const errorCode = this.refusal(records) || (writer?.check() ?? 0);
    const done = deferred<{ errorCode: number; baseOffset: number }>();
    const finish = (): void => {
      const baseOffset = this.durable.length;
      if (errorCode === ErrorCode.NONE) this.store(records, writer);
      done.resolve({ errorCode, baseOffset });
    };
    if (this.isHeld) this.held.push(finish);
    else finish();
    return done.promise;
  }

  appendMarker(marker: TransactionMarker): Promise<{ errorCode: number }> {
    return this.append([{ key: new Uint8Array(), value: null, timestamp: 0, marker }]);
  }

  private refusal(records: readonly StoredRecord[]): number {
    if (recordsBytes(records) > this.batchBytesMax) return ErrorCode.MESSAGE_TOO_LARGE;
    if (this.appendsLeft === 0) return ErrorCode.KAFKA_STORAGE_ERROR;
    if (this.appendsLeft !== null) this.appendsLeft--;
    return this.errorCode;
  }

  private store(records: readonly StoredRecord[], writer: TransactionalWriter | undefined): void {
    const producer = writer === undefined ? {} : { producerId: writer.producerId };
    this.durable.push(...records.map((record) => ({ ...record, ...producer })));
    this.ends.push(this.durable.length);
  }

  async replay(onto: LogReplay): Promise<void> {
    await this.replayGate;
    if (this.replayFailure !== null) throw this.replayFailure;
    for (const [offset, stored] of this.durable.entries()) {
      const { key: storedKey, value: storedValue, producerId, marker } = stored;
      if (marker !== undefined) {
        onto.marker(marker.producerId, marker.commit);
        continue;
      }
      // The log's buffer is reused after the call, so what is kept must be a copy.
      const key = new Uint8Array(storedKey);
      const value = storedValue === null ? null : new Uint8Array(storedValue);
      onto.record(key, value, producerId ?? -1, offset);
      key.fill(255);
      value?.fill(255);
    }
  }

  release(): void {
    for (const finish of this.held.splice(0)) finish();
  }

  /** Lets go of one held write, the newest first: a log that answers out of turn. */
  releaseNewest(): void {
    this.held.pop()?.();
  }
}

export class MemoryTopics implements CoordinatorTopics {
  readonly partitionCount: number;
  readonly logs = new Map<number, MemoryOffsetsLog>();
  readonly topics = new Map<string, { id: string; partitions: number }>([
    ["t1", { id: "AAAAAAAAAAAAAAAAAAAAAQ", partitions: 3 }],
    ["t2", { id: "AAAAAAAAAAAAAAAAAAAAAg", partitions: 1 }],
  ]);

  constructor(partitionCount = 50) {
    this.partitionCount = partitionCount;
  }

  log(partition: number): MemoryOffsetsLog {
    const log = this.logs.get(partition) ?? new MemoryOffsetsLog();
    this.logs.set(partition, log);
    return log;
  }

  offsetsLog(partition: number): Promise<OffsetsLog> {
    this.topics.set("__consumer_offsets", {
      id: "AAAAAAAAAAAAAAAAAAAA_w",
      partitions: this.partitionCount,
    });
    return Promise.resolve(this.log(partition));
  }

  topicExists(name: string): boolean {
    return this.topics.has(name);
  }

  topicId(name: string): string | null {
    return this.topics.get(name)?.id ?? null;
  }

  topicName(id: string): string | null {
    for (const [name, topic] of this.topics) if (topic.id === id) return name;
    return null;
  }

  topicsVersion = 1;
  readonly groupConfigs = new Map<string, ReadonlyMap<string, string>>();

  topicNames(): Iterable<string> {
    return this.topics.keys();
  }

  groupConfig(groupId: string): ReadonlyMap<string, string> | null {
    return this.groupConfigs.get(groupId) ?? null;
  }

  partitionCountOf(topic: string): number | null {
    return this.topics.get(topic)?.partitions ?? null;
  }
}

/** Share states as a set of names; `refuse` makes the next changes fail. */
export class MemoryShareStates implements ShareStates {
  readonly names = new Set<string>();
  refuse: number = ErrorCode.NONE;

  has(groupId: string, topicId: string, partition: number): boolean {
    return this.names.has(`${groupId}:${topicId}:${partition}`);
  }

  initialize(
    groupId: string,
    _epoch: number,
    partitions: readonly { readonly topicId: string; readonly partition: number }[],
  ): Promise<number[]> {
    if (this.refuse === ErrorCode.NONE) {
      for (const one of partitions) this.names.add(`${groupId}:${one.topicId}:${one.partition}`);
    }
    return Promise.resolve(partitions.map(() => this.refuse));
  }

  remove(
    groupId: string,
    partitions: readonly { readonly topicId: string; readonly partition: number }[],
  ): Promise<number[]> {
    if (this.refuse === ErrorCode.NONE) {
      for (const one of partitions) this.names.delete(`${groupId}:${one.topicId}:${one.partition}`);
    }
    return Promise.resolve(partitions.map(() => this.refuse));
  }
}

/** One broker's coordinator over memory; `restart` builds the next one over the same logs. */
export class Harness {
  readonly clock = new FakeClock();
  readonly topics: MemoryTopics;
  readonly problems: BrokerError[] = [];
  readonly config: GroupConfig;
  readonly shareStates = new MemoryShareStates();
  /** Of the metadata handlers see the features alone. */
  image: MetadataImage = emptyImage;
  groups: GroupCoordinator;
  private uuidCount = 0;

  constructor(config: Partial<GroupConfig> = {}, topics = new MemoryTopics()) {
    this.config = { ...groupConfigDefaults, initialRebalanceDelayMs: 0, ...config };
    this.topics = topics;
    this.groups = this.build();
  }

  /** The log a group is kept in. */
  logOf(groupId: string): MemoryOffsetsLog {
    return this.topics.log(this.groups.partitionFor(groupId));
  }

  /** As after kill -9: nothing is closed, only what was durable is there. */
  async restart(): Promise<void> {
    this.groups = this.build();
    await this.groups.start();
  }

  /** Sends a request through both codecs of one version, as a client would. */
  async call<Req, Res>(
    handler: ApiHandler<Req, Res>,
    version: number,
    request: Req,
    clientId = "c",
  ): Promise<Decoded<Res>> {
    const { codec } = handler;
    const wire = new Writer();
    codec.encodeRequest(wire, request, version);
    const requestBytes = wire.take();
    const decoded = codec.decodeRequest(new Reader(requestBytes), version);
    const context = {
      session: { id: 1, listener: "plain", clientHost: "/127.0.0.1", clientId },
      services: { groups: this.groups, metadata: { image: this.image } },
    } as unknown as RequestContext;
    const pending = handler.handle(context, decoded, version);
    // The frame's buffer is reused once the handler has returned.
    requestBytes.fill(255);
    const response = await pending;
    if (response === null) throw new Error("no response");
    codec.encodeResponse(wire, response, version);
    return codec.decodeResponse(new Reader(wire.take()), version);
  }

  private build(): GroupCoordinator {
    return new GroupCoordinator({
      config: this.config,
      topics: this.topics,
      nodes: { coordinatorOf: () => ({ nodeId: 1, host: "broker", port: 9092 }) },
      shareStates: this.shareStates,
      clock: this.clock,
      onProblem: (error) => this.problems.push(error),
      uuid: () => `u${++this.uuidCount}`,
    });
  }
}

/** Lets everything that is not waiting for a timer or a held write run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
