/** Bytes that are no Kafka requests, or lie about themselves: a closed connection, nothing more. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { ApiKey } from "../../src/protocol/api-key.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  apiVersionsApi,
  decodeApiVersionsResponse,
} from "../../src/protocol/messages/18-api-versions.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { apiCodecs, codecOf, encodeToBytes } from "../protocol/support/codecs.ts";
import { makeSample } from "../protocol/support/sample.ts";
import { messageSchemas } from "../protocol/support/schema.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { pending, within } from "../support/moments.ts";
import { Random } from "../support/random.ts";
import { Kafka } from "./kafka.ts";
import { frameOf, int32, RawSocket, requestFrame } from "./raw-socket.ts";

const MiB = 1 << 20;
/** Between all hostile input together; a leak of one frame a request would be far more. */
const growthBytesMax = 150 * MiB;
const sockets = 64;

let broker: BrokerProcess;
let canary: Kafka;
const random = Random.from("CHRONIK_CRASH_SEED");

beforeAll(async () => {
  broker = await startBroker();
  canary = await Kafka.connect(broker.kafkaPort);
  await canary.createTopic("canary");
  await canary.append("canary", 0, ["alive"]);
}, 30_000);

afterAll(async () => await broker?.[Symbol.asyncDispose]());

async function expectUnharmed(): Promise<void> {
  expect(await canary.values("canary", 0)).toEqual(["alive"]);
  expect(broker.log()).not.toMatch(/bug: |please report/);
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

interface Served {
  readonly name: string;
  readonly key: number;
  readonly version: number;
  readonly body: Uint8Array;
}

/** A whole valid request of every API in every version this broker says it serves. */
async function servedRequests(): Promise<Served[]> {
  const socket = await RawSocket.open(broker.kafkaPort);
  socket.send(
    requestFrame(apiVersionsApi, 0, 1, { clientSoftwareName: "", clientSoftwareVersion: "" }),
  );
  const frame = await socket.frame();
  if (!frame) throw new Error("no answer to ApiVersions");
  socket.close();
  const reader = new Reader(frame);
  reader.int32();
  return decodeApiVersionsResponse(reader, 0).apiKeys.flatMap(
    ({ apiKey, minVersion, maxVersion }) => {
      const name = `${apiCodecs.find(({ key }) => key === apiKey)?.name}`;
      const schema = messageSchemas.find((message) => message.name === `${name}Request`);
      if (!schema) throw new Error(`no schema of API ${apiKey}`);
      return Array.from({ length: maxVersion - minVersion + 1 }, (_, at) => {
        const version = minVersion + at;
        const sample = makeSample(schema, version, "full");
        const body = encodeToBytes(codecOf(schema.name), sample, version);
        return { name, key: apiKey, version, body };
      });
    },
  );
}

/** APIs whose answer to the same request is the same twice. */
const harmlessReads = new Set(["ListOffsets", "DescribeConfigs", "DescribeCluster"]);

/** Each job on a connection of its own, a bounded number at a time. */
async function onSockets<Job>(
  jobs: readonly Job[],
  work: (socket: RawSocket, job: Job) => Promise<void>,
): Promise<void> {
  const queue = jobs.values();
  const worker = async () => {
    for (const job of queue) {
      const socket = await RawSocket.open(broker.kafkaPort);
      await work(socket, job);
      socket.close();
    }
  };
  await Promise.all(Array.from({ length: sockets }, worker));
}

/** Resolves when the broker closed or answered, or did neither within a short time. */
async function outcome(
  socket: RawSocket,
  waitMs: number,
): Promise<"closed" | "answered" | "parked"> {
  const frame = await within(waitMs, socket.frame());
  if (frame === pending) return "parked";
  return frame === null ? "closed" : "answered";
}

test("every request cut short closes its connection", async () => {
  const requests = await servedRequests();
  expect(new Set(requests.map(({ name }) => name)).size).toBeGreaterThanOrEqual(26);
  const beforeBytes = residentBytes();
  const jobs = requests.flatMap((request) => {
    const { body } = request;
    const cuts = Array.from({ length: 8 }, () => random.between(0, body.length - 1));
    return body.length === 0
      ? []
      : cuts.map((cut) => ({ ...request, how: `cut at ${cut}`, sent: body.subarray(0, cut) }));
  });
  const wrong: string[] = [];
  await onSockets(jobs, async (socket, { name, key, version, how, sent }) => {
    socket.send(frameOf(key, version, 7, sent));
    // ApiVersions answers what it cannot read, as Kafka does.
    const end = await outcome(socket, 10_000);
    if (end !== "closed") wrong.push(`${name} v${version} ${how}: ${end}`);
  });
  expect(wrong).toEqual([]);
  expect(residentBytes() - beforeBytes).toBeLessThan(growthBytesMax);
  await expectUnharmed();
}, 120_000);

test("bytes behind a body are ignored, as Kafka does", async () => {
  const wrong: string[] = [];
  const jobs = (await servedRequests()).filter(({ name }) => harmlessReads.has(name));
  expect(new Set(jobs.map(({ name }) => name))).toEqual(harmlessReads);
  await onSockets(jobs, async (socket, { name, key, version, body }) => {
    socket.send(frameOf(key, version, 7, body));
    const plain = await socket.frame();
    socket.send(frameOf(key, version, 7, Buffer.concat([body, Buffer.alloc(3)])));
    const longer = await socket.frame();
    if (plain === null || longer === null || !plain.equals(longer)) {
      wrong.push(`${name} v${version}`);
    }
  });
  expect(wrong).toEqual([]);
}, 60_000);

test("absurd counts and lengths anywhere cost no memory", async () => {
  const beforeBytes = residentBytes();
  const poisons = [
    Buffer.from("7fffffff", "hex"),
    Buffer.from("ffffffff", "hex"),
    Buffer.from("ffffffff07", "hex"),
    Buffer.from("ffffffffffffffffffffff", "hex"),
    Buffer.from("8000", "hex"),
  ];
  const jobs = (await servedRequests()).flatMap(({ key, version, body }) =>
    poisons.map((poison) => {
      const cut = random.between(0, body.length);
      return frameOf(key, version, 7, Buffer.concat([body.subarray(0, cut), poison, body]));
    }),
  );
  await onSockets(jobs, async (socket, frame) => {
    socket.send(frame);
    await outcome(socket, 200);
  });
  expect(residentBytes() - beforeBytes).toBeLessThan(growthBytesMax);
  await expectUnharmed();
}, 120_000);

test("random changes to valid requests break nothing", async () => {
  const count = Number(process.env["CHRONIK_CRASH_MUTATIONS"] ?? 3000);
  const requests = await servedRequests();
  const beforeBytes = residentBytes();
  const jobs = Array.from({ length: count }, () => {
    const { key, version, body } = random.pick(requests);
    const frame = frameOf(key, version, 7, body);
    for (let changes = random.between(1, 6); changes > 0; changes--) {
      // Behind length, key and version, so that the request reaches its decoder.
      frame[random.between(8, frame.length - 1)] = random.between(0, 255);
    }
    return frame;
  });
  await onSockets(jobs, async (socket, frame) => {
    socket.send(frame);
    await outcome(socket, 100);
  });
  expect(residentBytes() - beforeBytes).toBeLessThan(growthBytesMax);
  await expectUnharmed();
}, 180_000);

test.each([
  ["minus one", int32(-1)],
  ["the smallest int32", int32(-(2 ** 31))],
  ["zero", int32(0)],
  ["less than a header", int32(7)],
  ["one above the limit", int32(100 * MiB + 1)],
  ["the largest int32", int32(2 ** 31 - 1)],
  ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["a TLS hello", Buffer.from("16030100f8010000f40303", "hex")],
  ["a Redis command", Buffer.from("*1\r\n$4\r\nPING\r\n")],
])("a frame length that is %s closes the connection", async (_what, bytes) => {
  const socket = await RawSocket.open(broker.kafkaPort);
  socket.send(bytes);
  await socket.untilClosed();
  expect(socket.framesHeld).toBe(0);
  await expectUnharmed();
});

test("a length that promises 100 MiB reserves them only as they come", async () => {
  const beforeBytes = residentBytes();
  const opened = await Promise.all(
    Array.from({ length: 20 }, () => RawSocket.open(broker.kafkaPort)),
  );
  for (const socket of opened) socket.send(int32(100 * MiB), Buffer.alloc(1000));
  // A connection of its own: what it sends is read after all of the above.
  const after = await Kafka.connect(broker.kafkaPort);
  await after.fetchAt("canary", 0, 0);
  after.close();
  expect(residentBytes() - beforeBytes).toBeLessThan(growthBytesMax);
  for (const socket of opened) socket.close();
  await expectUnharmed();
});

test("unknown APIs and versions: closed, but ApiVersions tells what there is", async () => {
  for (const [key, version] of [
    [999, 0],
    [-1, 0],
    [ApiKey.PRODUCE, 99],
    [ApiKey.PRODUCE, 2],
    [ApiKey.FETCH, -1],
    [ApiKey.METADATA, 32_767],
  ] as const) {
    const socket = await RawSocket.open(broker.kafkaPort);
    socket.send(frameOf(key, version, 5, Buffer.alloc(20)));
    await socket.untilClosed();
  }
  const socket = await RawSocket.open(broker.kafkaPort);
  socket.send(frameOf(ApiKey.API_VERSIONS, 99, 4242, Buffer.alloc(0)));
  const frame = await socket.frame();
  expect(frame?.readInt32BE(0)).toBe(4242);
  expect(frame?.readInt16BE(4)).toBe(ErrorCode.UNSUPPORTED_VERSION);
  // The connection goes on: clients ask again in a version they were told of.
  socket.send(
    requestFrame(apiVersionsApi, 0, 4243, { clientSoftwareName: "", clientSoftwareVersion: "" }),
  );
  expect((await socket.frame())?.readInt32BE(0)).toBe(4243);
  socket.close();
  await expectUnharmed();
});

test("the admin port takes no Kafka and goes on", async () => {
  const socket = await RawSocket.open(broker.adminPort);
  socket.send(frameOf(ApiKey.API_VERSIONS, 0, 1, Buffer.alloc(0)), Buffer.alloc(4096));
  await socket.untilClosed();
  expect((await fetch(`${broker.adminUrl}/livez`)).status).toBe(200);
});
