/** Clients that are slow, silent, greedy or in a hurry. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { fetchApi } from "../../src/protocol/messages/01-fetch.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { Random } from "../support/random.ts";
import { batchOf, Kafka } from "./kafka.ts";
import { RawSocket, requestFrame } from "./raw-socket.ts";

const MiB = 1 << 20;
let broker: BrokerProcess;
let kafka: Kafka;

beforeAll(async () => {
  broker = await startBroker();
  kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("data", 2);
}, 30_000);

afterAll(async () => await broker?.[Symbol.asyncDispose]());

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

function produceFrame(correlationId: number, partition: number, acks: number, value: string) {
  const records = batchOf([value]);
  return requestFrame(produceApi, 9, correlationId, {
    transactionalId: null,
    acks,
    timeoutMs: 10_000,
    topicData: [{ name: "data", partitionData: [{ index: partition, records }] }],
  });
}

function fetchFrame(correlationId: number, partition: number, offset: number, maxWaitMs: number) {
  const ask = { partition, currentLeaderEpoch: -1, fetchOffset: offset, lastFetchedEpoch: -1 };
  return requestFrame(fetchApi, 12, correlationId, {
    replicaId: -1,
    maxWaitMs,
    minBytes: maxWaitMs > 0 ? 64 * MiB : 1,
    maxBytes: 8 * MiB,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      { topic: "data", partitions: [{ ...ask, logStartOffset: -1, partitionMaxBytes: 8 * MiB }] },
    ],
    forgottenTopicsData: [],
    rackId: "",
  });
}

function metadataFrame(correlationId: number) {
  return requestFrame(metadataApi, 9, correlationId, {
    topics: null,
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
}

function listOffsetsFrame(correlationId: number) {
  return requestFrame(listOffsetsApi, 7, correlationId, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [
      {
        name: "data",
        partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }],
      },
    ],
  });
}

test("pipelined requests are answered in their order, slow ones included", async () => {
  const random = Random.from("CHRONIK_CRASH_SEED");
  const socket = await RawSocket.open(broker.kafkaPort);
  const count = 600;
  const frames = Array.from({ length: count }, (_, id) => {
    switch (random.between(0, 9)) {
      case 0:
        return fetchFrame(id, 0, 0, random.between(1, 10));
      case 1:
      case 2:
        return metadataFrame(id);
      case 3:
      case 4:
        return listOffsetsFrame(id);
      default:
        return produceFrame(id, random.between(0, 1), -1, `pipelined ${id}`);
    }
  });
  socket.send(...frames);
  for (let id = 0; id < count; id++) {
    const frame = await socket.frame();
    expect(frame?.readInt32BE(0)).toBe(id);
  }
  socket.close();
}, 60_000);

test("acks=0 gets no response, and its records are there", async () => {
  const socket = await RawSocket.open(broker.kafkaPort);
  const before = (await kafka.listOffset("data", 1, -1)).offset;
  const silent = Array.from({ length: 50 }, (_, at) => produceFrame(at, 1, 0, `silent ${at}`));
  socket.send(...silent, metadataFrame(777));
  expect((await socket.frame())?.readInt32BE(0)).toBe(777);
  await until("the silent records are there", 10_000, async () => {
    return (await kafka.listOffset("data", 1, -1)).offset === before + 50;
  });
  expect(socket.framesHeld).toBe(0);
  // What fails has no answer either: the connection ends.
  socket.send(produceFrame(1, 9, 0, "no such partition"));
  expect(await socket.frame()).toBe(null);
});

test("a request that comes byte by byte is served like any other", async () => {
  const socket = await RawSocket.open(broker.kafkaPort);
  await socket.trickle(Buffer.concat([metadataFrame(1), produceFrame(2, 0, -1, "slowly")]));
  expect((await socket.frame())?.readInt32BE(0)).toBe(1);
  expect((await socket.frame())?.readInt32BE(0)).toBe(2);
  socket.close();
});

test("fetchers that never read cost little, and others are served", async () => {
  await kafka.createTopic("bulk");
  const value = "b".repeat(900_000);
  for (let at = 0; at < 12; at++) await kafka.append("bulk", 0, [value]);
  const ask = { currentLeaderEpoch: -1, lastFetchedEpoch: -1, logStartOffset: -1 };
  const greedy = requestFrame(fetchApi, 12, 1, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 8 * MiB,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic: "bulk",
        partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 8 * MiB, ...ask }],
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
  });
  const before = residentBytes();
  const sockets: RawSocket[] = [];
  const fetchers = 130;
  for (let at = 0; at < fetchers; at++) {
    const socket = await RawSocket.open(broker.kafkaPort);
    socket.socket.pause();
    // 80 MiB asked for on each, none of it read.
    socket.send(...Array.from({ length: 10 }, () => greedy));
    sockets.push(socket);
  }
  const tookMs: number[] = [];
  for (let at = 0; at < 50; at++) {
    const startMs = performance.now();
    await kafka.append("data", 0, ["while others sleep"]);
    tookMs.push(performance.now() - startMs);
  }
  const grownMiB = () => Math.round((residentBytes() - before) / MiB);
  console.log(
    `${fetchers} fetchers of 80 MiB that never read: ${grownMiB()} MiB more at once, slowest ` +
      `produce beside them ${Math.round(Math.max(...tookMs))} ms`,
  );
  // What waits for slow readers leaves others less to read at a time (256 MiB in all); without
  // that these would keep 1,300 MiB for good.
  await until("memory is given back", 20_000, async () => {
    await kafka.append("data", 0, ["meanwhile"]);
    return grownMiB() < 600;
  });
  for (const socket of sockets) socket.close();
}, 60_000);

test("connections come and go by the thousand", async () => {
  const opened = await Promise.all(
    Array.from({ length: 1_000 }, () => RawSocket.open(broker.kafkaPort)),
  );
  opened[999]?.send(metadataFrame(5));
  expect((await opened[999]?.frame())?.readInt32BE(0)).toBe(5);
  for (const socket of opened) socket.close();
  await kafka.append("data", 0, ["still here"]);
}, 60_000);
