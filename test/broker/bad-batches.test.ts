/** Batches and names that lie: the exact Kafka error, and nothing appended. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { sealBatch } from "../../src/protocol/record-batch.ts";
import { busyTierArgs } from "../support/archives.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { bombs, withPayload } from "./compress.ts";
import { batchOf, Kafka } from "./kafka.ts";

const MiB = 1 << 20;
let broker: BrokerProcess;
let kafka: Kafka;

beforeAll(async () => {
  broker = await startBroker({ args: busyTierArgs });
  kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("honest");
  // Only a limit on old timestamps makes the broker open every batch.
  await kafka.createTopic("opened", 1, { "message.timestamp.before.max.ms": "9000000000000" });
  await kafka.append("honest", 0, ["first"]);
}, 30_000);

afterAll(async () => await broker?.[Symbol.asyncDispose]());

const { CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE } = ErrorCode;

/** A change of a good batch, sealed anew unless the checksum is what lies. */
interface Lie {
  readonly change: (batch: Buffer) => Buffer | undefined;
  readonly keepsCrc?: boolean;
  readonly error: number;
}

const lies: Readonly<Record<string, Lie>> = {
  "a checksum off by one bit": {
    change: (b) => set(b, () => b.writeUInt32BE((b.readUInt32BE(17) ^ 1) >>> 0, 17)),
    keepsCrc: true,
    error: CORRUPT_MESSAGE,
  },
  "a changed record under the old checksum": {
    change: (b) => set(b, () => b.writeUInt8(0x41, b.length - 2)),
    keepsCrc: true,
    error: CORRUPT_MESSAGE,
  },
  "a count above what is there": {
    change: (b) => set(b, () => b.writeInt32BE(4, 57)),
    error: INVALID_RECORD,
  },
  "a count and delta above what is there": {
    change: (b) => set(b, () => [b.writeInt32BE(1000, 57), b.writeInt32BE(999, 23)]),
    error: INVALID_RECORD,
  },
  "a count below what is there": {
    change: (b) => set(b, () => [b.writeInt32BE(1, 57), b.writeInt32BE(0, 23)]),
    error: INVALID_RECORD,
  },
  "a count of none": {
    change: (b) => set(b, () => [b.writeInt32BE(0, 57), b.writeInt32BE(-1, 23)]),
    error: INVALID_RECORD,
  },
  "a negative count": {
    change: (b) => set(b, () => b.writeInt32BE(-5, 57)),
    error: INVALID_RECORD,
  },
  "the largest delta": {
    change: (b) => set(b, () => [b.writeInt32BE(-(2 ** 31), 57), b.writeInt32BE(2 ** 31 - 1, 23)]),
    error: INVALID_RECORD,
  },
  "a base offset": { change: (b) => set(b, () => b.writeInt32BE(7, 4)), error: INVALID_RECORD },
  "magic 1": { change: (b) => set(b, () => b.writeUInt8(1, 16)), error: INVALID_RECORD },
  "magic 0": { change: (b) => set(b, () => b.writeUInt8(0, 16)), error: INVALID_RECORD },
  "magic 3": { change: (b) => set(b, () => b.writeUInt8(3, 16)), error: INVALID_RECORD },
  "the control bit": {
    change: (b) => set(b, () => b.writeInt16BE(0x20, 21)),
    error: INVALID_RECORD,
  },
  "the LogAppendTime bit": {
    change: (b) => set(b, () => b.writeInt16BE(0x08, 21)),
    error: INVALID_TIMESTAMP,
  },
  "codec 5": { change: (b) => set(b, () => b.writeInt16BE(5, 21)), error: INVALID_RECORD },
  "a producer without a sequence": {
    change: (b) => set(b, () => [b.writeBigInt64BE(5n, 43), b.writeInt16BE(0, 51)]),
    error: INVALID_RECORD,
  },
  "a length below a header": {
    change: (b) => set(b, () => b.writeInt32BE(10, 8)),
    error: CORRUPT_MESSAGE,
  },
  "a negative length": {
    change: (b) => set(b, () => b.writeInt32BE(-1, 8)),
    keepsCrc: true,
    error: CORRUPT_MESSAGE,
  },
  "a length beyond its end": {
    change: (b) => set(b, () => b.writeInt32BE(b.length, 8)),
    keepsCrc: true,
    error: INVALID_RECORD,
  },
  "two batches": { change: (b) => Buffer.concat([b, b]), keepsCrc: true, error: INVALID_RECORD },
  "half a header": { change: (b) => b.subarray(0, 40), keepsCrc: true, error: INVALID_RECORD },
  "more than max.message.bytes": {
    change: () => Buffer.from(batchOf(["x".repeat(2 * MiB)])),
    keepsCrc: true,
    error: MESSAGE_TOO_LARGE,
  },
};

function set(batch: Buffer, write: () => unknown): Buffer {
  write();
  return batch;
}

describe("a batch with", () => {
  test.each(Object.entries(lies))("%s", async (_what, { change, keepsCrc = false, error }) => {
    const good = Buffer.from(batchOf(["one", "two", "three"]));
    const bad = change(good) ?? good;
    if (!keepsCrc && bad.readInt32BE(8) === bad.length - 12) sealBatch(bad, 0, crc32c);
    const answer = await kafka.produce("honest", 0, bad);
    expect(answer).toMatchObject({ errorCode: error, baseOffset: -1 });
    expect(await kafka.values("honest", 0)).toEqual(["first"]);
  });

  test("nothing at all", async () => {
    expect((await kafka.produce("honest", 0, null)).errorCode).toBe(INVALID_RECORD);
    expect((await kafka.produce("honest", 0, new Uint8Array())).errorCode).toBe(INVALID_RECORD);
  });
});

test("acks that Kafka does not know are refused", async () => {
  const { errorCode } = await kafka.produce("honest", 0, batchOf(["x"]), 2);
  expect(errorCode).toBe(ErrorCode.INVALID_REQUIRED_ACKS);
});

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

test("decompression bombs are refused, and cost no more than the limit of one batch", async () => {
  const wide = { "max.message.bytes": `${8 * MiB}` };
  const deep = { "message.timestamp.before.max.ms": "9000000000000", ...wide };
  await kafka.createTopic("bombs-opened", 1, deep);
  await kafka.createTopic("bombs", 1, wide);
  const bombBytes = 300 * MiB;
  const sent = bombs(bombBytes).map(({ codec, payload }) =>
    withPayload(batchOf(["boom"]), codec, payload),
  );
  const before = residentBytes();
  for (const topic of ["bombs-opened", "bombs"]) {
    for (const bomb of sent) {
      const { errorCode } = await kafka.produce(topic, 0, bomb);
      const refusals: readonly number[] = [MESSAGE_TOO_LARGE, INVALID_RECORD, CORRUPT_MESSAGE];
      expect(refusals).toContain(errorCode);
    }
    expect((await kafka.listOffset(topic, 0, -1)).offset).toBe(0);
  }
  // The limit of one unpacked batch, and room for what allocators keep.
  expect(residentBytes() - before).toBeLessThan(400 * MiB);
  expect(await kafka.values("honest", 0)).toEqual(["first"]);
}, 120_000);

const names = [
  "",
  ".",
  "..",
  "../../escape",
  "a/../b",
  "/etc/passwd",
  "nul\0byte",
  "new\nline",
  "x".repeat(250),
  "ünicode",
  "sp ace",
  "%2e%2e",
  "-\u202e",
];

test("hostile topic names are refused and leave nothing on disk", async () => {
  const { topics } = await kafka.client.request(createTopicsApi, 5, {
    topics: names.map((name) => ({
      name,
      numPartitions: 1,
      replicationFactor: 1,
      assignments: [],
      configs: [],
    })),
    timeoutMs: 10_000,
    validateOnly: false,
  });
  for (const { name, errorCode } of topics) {
    expect({ name, errorCode }).toEqual({ name, errorCode: ErrorCode.INVALID_TOPIC_EXCEPTION });
  }
  const seen = await kafka.client.request(metadataApi, 9, {
    topics: names.map((name) => ({ name })),
    allowAutoTopicCreation: true,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
  for (const { name, errorCode } of seen.topics) {
    const refused: readonly number[] = [
      ErrorCode.INVALID_TOPIC_EXCEPTION,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ];
    expect({ name, isRefused: refused.includes(errorCode) }).toEqual({ name, isRefused: true });
  }
  for (const name of names) {
    expect((await kafka.produce(name, 0, batchOf(["x"]))).errorCode).not.toBe(0);
  }
  expect(existsSync(join(dirname(broker.dataDir), "escape"))).toBe(false);
  const folders = readdirSync(join(broker.dataDir, "wal"));
  expect(folders.filter((name) => !/^[\w.-]+$/.test(name) || names.includes(name))).toEqual([]);
});

test("names that differ in '.' and '_' only do not live side by side", async () => {
  await kafka.createTopic("a.b");
  await expect(kafka.createTopic("a_b")).rejects.toThrow("INVALID_TOPIC_EXCEPTION");
});

test("hostile group and client names are just names", async () => {
  for (const group of ["../../x", "nul\0", "x".repeat(200), "🦆"]) {
    await kafka.commit(group, "honest", 1);
    expect(await kafka.committed(group, "honest")).toBe(1);
  }
});
