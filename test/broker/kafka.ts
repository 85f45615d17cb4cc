import { WireClient } from "../../src/client/wire-client.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { offsetCommitApi } from "../../src/protocol/messages/08-offset-commit.ts";
import { offsetFetchApi } from "../../src/protocol/messages/09-offset-fetch.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { deleteTopicsApi } from "../../src/protocol/messages/20-delete-topics.ts";
import { deleteRecordsApi } from "../../src/protocol/messages/21-delete-records.ts";
import { initProducerIdApi } from "../../src/protocol/messages/22-init-producer-id.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import {
  type BatchHeader,
  batchesIn,
  lastOffset,
  recordsPayload,
  sizeInBytes,
} from "../../src/protocol/record-batch.ts";
import { type BatchOptions, buildBatch, parseRecords } from "../../src/protocol/records.ts";
import { until } from "../support/broker-process.ts";

const fetchBytes = 8 << 20;

export interface FoundBatch {
  readonly header: BatchHeader;
  readonly bytes: Uint8Array;
}

export interface FetchOptions {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
}

/** What tests ask of a broker over one connection, in single calls that throw on an error code
 * unless they return it. */
export class Kafka {
  readonly client: WireClient;

  private constructor(client: WireClient) {
    this.client = client;
  }

  static async connect(port: number): Promise<Kafka> {
    return new Kafka(await WireClient.open({ host: "127.0.0.1", port, clientId: "promise" }));
  }

  close(): void {
    this.client.close();
  }

  async createTopic(
    name: string,
    partitions = 1,
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const { topics } = await this.client.request(createTopicsApi, 5, {
      topics: [
        {
          name,
          numPartitions: partitions,
          replicationFactor: 1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        },
      ],
      timeoutMs: 30_000,
      validateOnly: false,
    });
    check(`create ${name}`, topics[0]?.errorCode);
  }

  /** null: back to the default. Returns the error code. */
  async alterTopicOr(
    name: string,
    configs: Readonly<Record<string, string | null>>,
  ): Promise<number> {
    const { responses } = await this.client.request(incrementalAlterConfigsApi, 1, {
      resources: [
        {
          resourceType: 2,
          resourceName: name,
          configs: Object.entries(configs).map(([key, value]) => ({
            name: key,
            configOperation: value === null ? 1 : 0,
            value,
          })),
        },
      ],
      validateOnly: false,
    });
    return responses[0]?.errorCode ?? -1;
  }

  async alterTopic(name: string, configs: Readonly<Record<string, string | null>>): Promise<void> {
    check(`alter ${name}`, await this.alterTopicOr(name, configs));
  }

  async deleteTopic(name: string): Promise<void> {
    const { responses } = await this.client.request(deleteTopicsApi, 5, {
      topicNames: [name],
      timeoutMs: 30_000,
    });
    check(`delete ${name}`, responses[0]?.errorCode);
  }

  /** Error code, base offset and log append time of one appended batch. */
  async produce(topic: string, partition: number, batch: Uint8Array | null, acks = -1) {
    const { responses } = await this.client.request(produceApi, 9, {
      transactionalId: null,
      acks,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records: batch }] }],
    });
    const answer = responses[0]?.partitionResponses[0];
    if (!answer) throw new Error("a produce response without the partition");
    return answer;
  }

  /** Appends one record per value, a batch each; returns the first offset. */
  async append(topic: string, partition: number, values: readonly string[]): Promise<number> {
    const answers = await Promise.all(
      values.map((value) => this.produce(topic, partition, batchOf([value]))),
    );
    for (const { errorCode } of answers) check(`produce to ${topic}`, errorCode);
    return answers[0]?.baseOffset ?? -1;
  }

  async fetchOnce(
    topic: string,
    asks: readonly { partition: number; offset: number }[],
    options: FetchOptions = {},
  ) {
    const { maxWaitMs = 0, minBytes = 0, maxBytes = fetchBytes } = options;
    const response = await this.client.request(fetchApi, 12, {
      replicaId: -1,
      maxWaitMs,
      minBytes,
      maxBytes,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic,
          partitions: asks.map(({ partition, offset }) => ({
            partition,
            currentLeaderEpoch: -1,
            fetchOffset: offset,
            lastFetchedEpoch: -1,
            logStartOffset: -1,
            partitionMaxBytes: maxBytes,
          })),
        },
      ],
      forgottenTopicsData: [],
      rackId: "",
    });
    return response.responses[0]?.partitions ?? [];
  }

  /** One fetch's answer for one partition, its error code included. */
  async fetchAt(topic: string, partition: number, offset: number) {
    const [answer] = await this.fetchOnce(topic, [{ partition, offset }]);
    if (!answer) throw new Error("a fetch response without the partition");
    return answer;
  }

  /** Every batch from `offset` to the end, copied. What a bucket is slow to give is asked for
   * again. */
  async readAll(topic: string, partition: number, offset = 0): Promise<FoundBatch[]> {
    const found: FoundBatch[] = [];
    let askedMs = performance.now();
    for (let next = offset; ; ) {
      const answer = await this.fetchAt(topic, partition, next);
      const where = `fetch ${topic}-${partition} at ${next}`;
      check(where, answer.errorCode);
      const records = answer.records ?? new Uint8Array();
      if (records.length > 0) askedMs = performance.now();
      else if (answer.highWatermark <= next) return found;
      else if (performance.now() - askedMs > 60_000) throw new Error(`${where}: no records`);
      for (const { position, header } of batchesIn(records)) {
        const bytes = records.slice(position, position + sizeInBytes(header));
        found.push({ header, bytes });
        next = lastOffset(header) + 1;
      }
    }
  }

  /** The values of all records from `offset` to the end; for uncompressed batches. */
  async values(topic: string, partition: number, offset = 0): Promise<string[]> {
    const batches = await this.readAll(topic, partition, offset);
    return batches.flatMap(({ bytes }) => valuesOf(bytes));
  }

  async listOffset(topic: string, partition: number, timestamp: number) {
    const { topics } = await this.client.request(listOffsetsApi, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [
        {
          name: topic,
          partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }],
        },
      ],
    });
    const answer = topics[0]?.partitions[0];
    if (!answer) throw new Error("a ListOffsets response without the partition");
    return answer;
  }

  async deleteRecords(topic: string, partition: number, offset: number): Promise<number> {
    const { topics } = await this.client.request(deleteRecordsApi, 2, {
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
      timeoutMs: 30_000,
    });
    const answer = topics[0]?.partitions[0];
    check(`delete records of ${topic}`, answer?.errorCode);
    return answer?.lowWatermark ?? -1;
  }

  /** As a consumer without group membership; the coordinator may still be loading. */
  async commit(
    group: string,
    topic: string,
    offset: number,
    committedMetadata = `at ${offset}`,
  ): Promise<void> {
    let errorCode = -1;
    await until(`a commit of ${group}`, 10_000, async () => {
      const { topics } = await this.client.request(offsetCommitApi, 7, {
        groupId: group,
        generationIdOrMemberEpoch: -1,
        memberId: "",
        topics: [
          {
            name: topic,
            partitions: [
              {
                partitionIndex: 0,
                committedOffset: offset,
                committedMetadata,
              },
            ],
          },
        ],
      });
      errorCode = topics[0]?.partitions[0]?.errorCode ?? -1;
      return !isCoordinatorBusy(errorCode);
    });
    check(`commit of ${group}`, errorCode);
  }

  async committed(group: string, topic: string): Promise<number> {
    let found = { errorCode: -1, offset: -1 };
    await until(`the offsets of ${group}`, 10_000, async () => {
      const { errorCode, topics } = await this.client.request(offsetFetchApi, 7, {
        groupId: group,
        topics: [{ name: topic, partitionIndexes: [0] }],
      });
      const partition = topics[0]?.partitions[0];
      found = {
        errorCode: errorCode || (partition?.errorCode ?? 0),
        offset: partition?.committedOffset ?? -1,
      };
      return !isCoordinatorBusy(found.errorCode);
    });
    check(`offsets of ${group}`, found.errorCode);
    return found.offset;
  }

  async producerId(): Promise<number> {
    const response = await this.client.request(initProducerIdApi, 4, {
      transactionalId: null,
      transactionTimeoutMs: 0,
      producerId: -1,
      producerEpoch: -1,
    });
    check("InitProducerId", response.errorCode);
    return response.producerId;
  }
}

/** Values of the records in whole uncompressed batches. */
export function valuesOf(batches: Uint8Array): string[] {
  return [...batchesIn(batches)].flatMap(({ position, header }) =>
    parseRecords(recordsPayload(batches, position, header), header).map(({ value }) =>
      Buffer.from(value ?? []).toString(),
    ),
  );
}

function isCoordinatorBusy(errorCode: number): boolean {
  const { COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR } = ErrorCode;
  const busy: readonly number[] = [
    COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE,
    NOT_COORDINATOR,
  ];
  return busy.includes(errorCode);
}

function check(what: string, errorCode: number | undefined): void {
  if (errorCode !== 0) throw new Error(`${what}: ${errorName(errorCode ?? -1)}`);
}

/** One uncompressed batch with a record for each value. */
export function batchOf(
  values: readonly string[],
  options: BatchOptions = {},
  timestamp = 1_700_000_000_000,
): Uint8Array {
  const records = values.map((value, offsetDelta) => ({
    offsetDelta,
    timestamp: timestamp + offsetDelta,
    key: null,
    value: Buffer.from(value),
    headers: [],
  }));
  return buildBatch(records, options, crc32c);
}
