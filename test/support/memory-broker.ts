import type { ApiHandler } from "../../src/api/context.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  type ProduceRequest,
  type ProduceResponse,
  produceApi,
} from "../../src/protocol/messages/00-produce.ts";
import {
  type FetchRequest,
  type FetchResponse,
  fetchApi,
} from "../../src/protocol/messages/01-fetch.ts";
import {
  type ListOffsetsRequest,
  type ListOffsetsResponse,
  listOffsetsApi,
} from "../../src/protocol/messages/02-list-offsets.ts";
import { parseBatchHeader, patchBaseOffset } from "../../src/protocol/record-batch.ts";
import { adminHandlers } from "./admin-handlers.ts";
import { type ApiServer, apiServer } from "./api-server.ts";

/** What the broker does wrong, if anything, with the n-th batch it takes. */
export interface Fault {
  readonly batch: number;
  readonly kind: "lose" | "repeat" | "corrupt" | "shift" | "error" | "negative-offset";
}

interface Log {
  end: number;
  readonly batches: { readonly base: number; readonly last: number; readonly bytes: Uint8Array }[];
}

/** A broker whose log is an array: enough for the benchmark, and dishonest when told to be. */
export function memoryBroker(fault: Fault | null = null): Promise<ApiServer> {
  const logs = new Map<string, Log>();
  let taken = 0;
  const logOf = (topic: string | undefined, partition: number): Log => {
    const key = `${topic}-${partition}`;
    const log = logs.get(key) ?? { end: 0, batches: [] };
    logs.set(key, log);
    return log;
  };

  const append = (log: Log, records: Uint8Array): { errorCode: number; baseOffset: number } => {
    const kind = fault !== null && taken === fault.batch ? fault.kind : "none";
    taken += 1;
    if (kind === "error") return { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, baseOffset: -1 };
    const bytes = new Uint8Array(records);
    const header = parseBatchHeader(bytes);
    if (typeof header === "string") return { errorCode: ErrorCode.CORRUPT_MESSAGE, baseOffset: -1 };
    const put = (copy: Uint8Array): number => {
      const base = log.end + (kind === "shift" ? 1 : 0);
      patchBaseOffset(copy, 0, base);
      log.batches.push({ base, last: base + header.lastOffsetDelta, bytes: copy });
      log.end = base + header.lastOffsetDelta + 1;
      return base;
    };
    if (kind === "corrupt") bytes[100] = (bytes[100] ?? 0) ^ 1;
    const baseOffset = kind === "lose" ? log.end : put(bytes);
    if (kind === "repeat") put(new Uint8Array(bytes));
    return { errorCode: 0, baseOffset: kind === "negative-offset" ? -1 : baseOffset };
  };

  const produce: ApiHandler<ProduceRequest, ProduceResponse> = {
    codec: produceApi,
    minVersion: 3,
    maxVersion: 11,
    async handle(_context, request) {
      await new Promise((resolve) => setImmediate(resolve));
      const responses = request.topicData.map(({ name, partitionData }) => ({
        name,
        partitionResponses: partitionData.map(({ index, records }) => ({
          index,
          ...append(logOf(name, index), records ?? new Uint8Array()),
        })),
      }));
      return request.acks === 0 ? null : { responses };
    },
  };
  const fetch: ApiHandler<FetchRequest, FetchResponse> = {
    codec: fetchApi,
    minVersion: 4,
    maxVersion: 12,
    async handle(_context, request) {
      await new Promise((resolve) => setImmediate(resolve));
      const responses = request.topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, fetchOffset }) => {
          const log = logOf(topic, partition);
          const from = log.batches.findIndex(({ last }) => last >= fetchOffset);
          const few = (log.batches[from]?.bytes.length ?? 0) > 100_000 ? 4 : 50;
          const batches = from < 0 ? [] : log.batches.slice(from, from + few);
          return {
            partitionIndex: partition,
            errorCode: 0,
            highWatermark: log.end,
            abortedTransactions: null,
            records: Buffer.concat(batches.map(({ bytes }) => bytes)),
          };
        }),
      }));
      return { throttleTimeMs: 0, responses };
    },
  };
  const listOffsets: ApiHandler<ListOffsetsRequest, ListOffsetsResponse> = {
    codec: listOffsetsApi,
    minVersion: 1,
    maxVersion: 7,
    handle(_context, request) {
      const topics = request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => {
          const offset = timestamp === -2 ? 0 : logOf(name, partitionIndex).end;
          return { partitionIndex, errorCode: 0, offset, timestamp: -1 };
        }),
      }));
      return { topics };
    },
  };
  const admin = adminHandlers(async () => ({ totalBytes: -1, usableBytes: -1 }));
  return apiServer({ handlers: [...admin, produce, fetch, listOffsets], advertiseOwnPort: true });
}
