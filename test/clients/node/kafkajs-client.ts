import { createReadStream, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { CompressionTypes, type IHeaders, Kafka, type KafkaMessage, logLevel } from "kafkajs";
import type { InputRecord } from "../data.ts";
import { installCodecs } from "./codecs.ts";

/** kafkajs: produce|verify a topic a codec, or be a group member (see ../README.md). */

const mismatchesShownMax = 5;
const idleMsMax = 30_000;
const batchRecords = 500;

const codecTypes: Record<string, CompressionTypes> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

interface Message {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: IHeaders;
  readonly timestamp: string;
  readonly partition: number;
}

function fromBase64(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text, "base64");
}

/** kafkajs cannot send a null header value: it is sent, and expected back, as empty. */
function headersOf(record: InputRecord): IHeaders {
  const headers: Record<string, Buffer | Buffer[]> = {};
  for (const [name, text] of record.headers) {
    const value = fromBase64(text) ?? Buffer.alloc(0);
    const known = headers[name];
    if (known === undefined) headers[name] = value;
    else headers[name] = Array.isArray(known) ? [...known, value] : [known, value];
  }
  return headers;
}

async function load(path: string, count: number): Promise<Message[]> {
  const messages: Message[] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const record = JSON.parse(line) as InputRecord;
    messages.push({
      key: fromBase64(record.key),
      value: fromBase64(record.value),
      headers: headersOf(record),
      timestamp: String(record.timestamp),
      partition: record.partition,
    });
    if (messages.length === count) return messages;
  }
  throw new Error(`${path} holds only ${messages.length} records`);
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function byPartition(messages: readonly Message[]): Message[][] {
  const partitions: Message[][] = [];
  for (const message of messages) {
    partitions[message.partition] ??= [];
    partitions[message.partition]!.push(message);
  }
  return partitions;
}

async function produce(kafka: Kafka, topic: string, codec: string, messages: Message[]) {
  const mismatches: string[] = [];
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const next = new Map<number, bigint>();
  for (let at = 0; at < messages.length; at += batchRecords) {
    const batch = messages.slice(at, at + batchRecords);
    const answers = await producer.send({
      topic,
      acks: -1,
      compression: codecTypes[codec]!,
      messages: batch,
    });
    for (const { partition, baseOffset, errorCode } of answers) {
      const wanted = next.get(partition) ?? 0n;
      const size = batch.filter((message) => message.partition === partition).length;
      next.set(partition, wanted + BigInt(size));
      if (errorCode === 0 && BigInt(baseOffset ?? "-1") === wanted) continue;
      mismatches.push(`${topic}-${partition}: acknowledged at ${baseOffset}, not ${wanted}`);
    }
  }
  await producer.disconnect();
  return { records: messages.length, mismatches };
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

function sameHeaders(wanted: IHeaders, got: IHeaders | undefined): boolean {
  const flat = (headers: IHeaders) =>
    Object.entries(headers).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value]).map((one) => [name, one?.toString("hex")]),
    );
  const hex = (headers: IHeaders) => JSON.stringify(flat(headers));
  return hex(wanted) === hex(got ?? {});
}

function difference(want: Message | undefined, got: KafkaMessage, index: number): string | null {
  if (want === undefined) return "more records than were produced";
  if (got.offset !== String(index)) return `offset is not ${index}`;
  if (!sameBytes(got.key, want.key)) return "key differs";
  if (!sameBytes(got.value, want.value)) return "value differs";
  if (got.timestamp !== want.timestamp) return `timestamp ${got.timestamp}, not ${want.timestamp}`;
  if (!sameHeaders(want.headers, got.headers)) return "headers differ";
  return null;
}

async function verify(kafka: Kafka, topic: string, messages: Message[]) {
  const wanted = byPartition(messages);
  const mismatches: string[] = [];
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const endTotal = ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  const consumer = kafka.consumer({ groupId: `verify-${topic}-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const next = new Map<number, number>();
  let records = 0;
  let lastMs = Date.now();
  const done = Promise.withResolvers<void>();
  const idle = setInterval(() => {
    if (Date.now() - lastMs < idleMsMax) return;
    mismatches.push(`nothing arrived for ${idleMsMax} ms before the end offsets`);
    done.resolve();
  }, 1000);
  if (endTotal === 0) done.resolve();
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch }) => {
      lastMs = Date.now();
      for (const message of batch.messages) {
        const index = next.get(batch.partition) ?? 0;
        next.set(batch.partition, index + 1);
        const found = difference(wanted[batch.partition]?.[index], message, index);
        if (found) mismatches.push(`${topic}-${batch.partition}@${message.offset}: ${found}`);
      }
      records += batch.messages.length;
      if (records >= endTotal) done.resolve();
      return Promise.resolve();
    },
  });
  await done.promise;
  clearInterval(idle);
  await consumer.disconnect();
  return { records, mismatches };
}

async function member(kafka: Kafka, flags: Record<string, string>): Promise<void> {
  const consumer = kafka.consumer({
    groupId: flags["group"]!,
    sessionTimeout: Number(flags["session-timeout-ms"]),
    rebalanceTimeout: 10_000,
    heartbeatInterval: 500,
    maxWaitTimeInMs: 200,
  });
  const { GROUP_JOIN, REBALANCING } = consumer.events;
  consumer.on(REBALANCING, () => print({ event: "assignment", partitions: [] }));
  consumer.on(GROUP_JOIN, ({ payload }) => {
    const partitions = payload.memberAssignment[flags["topic"]!] ?? [];
    print({ event: "assignment", partitions: partitions.toSorted((a, b) => a - b) });
  });
  await consumer.connect();
  await consumer.subscribe({ topic: flags["topic"]!, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat }) => {
      const { topic, partition } = batch;
      const [first, last] = [Number(batch.firstOffset()), Number(batch.lastOffset())];
      print({ event: "consumed", partition, first, last });
      try {
        await consumer.commitOffsets([{ topic, partition, offset: String(last + 1) }]);
        print({ event: "committed", offsets: { [partition]: last + 1 } });
      } catch (error) {
        print({ event: "commit-failed", error: String(error) });
      }
      await heartbeat();
    },
  });
  process.stdin.resume();
  process.stdin.on("end", () => {
    void consumer.disconnect().then(() => {
      print({ event: "closed" });
      process.exit(0);
    });
  });
}

function clientVersion(): string {
  const entry = Bun.resolveSync("kafkajs/package.json", import.meta.dir);
  const found = JSON.parse(readFileSync(join(dirname(entry), "package.json"), "utf8"));
  return (found as { version: string }).version;
}

const verb = process.argv[2];
const { values } = parseArgs({
  args: process.argv.slice(3),
  options: Object.fromEntries(
    ["bootstrap", "topic", "codecs", "records", "input", "group", "id"]
      .concat(["session-timeout-ms", "assignor", "null-headers-as-empty"])
      .map((name) => [name, { type: "string" as const }]),
  ),
});
const flags = values as Record<string, string>;
installCodecs();
const kafka = new Kafka({
  clientId: flags["id"] ?? "kafkajs-program",
  brokers: flags["bootstrap"]!.split(","),
  logLevel: logLevel.ERROR,
});
if (verb === "member") {
  await member(kafka, flags);
} else {
  const count = Number(flags["records"]);
  const messages = await load(flags["input"]!, count);
  const version = clientVersion();
  let failed = false;
  for (const codec of flags["codecs"]!.split(",")) {
    const startedMs = performance.now();
    const topic = `${flags["topic"]}-${codec}`;
    const { records, mismatches } =
      verb === "produce"
        ? await produce(kafka, topic, codec, messages)
        : await verify(kafka, topic, messages);
    const ms = Math.round(performance.now() - startedMs);
    const detail = mismatches.slice(0, mismatchesShownMax);
    const result = { client: "kafkajs", version, action: verb, codec, records };
    print({ ...result, mismatches: mismatches.length, ms, detail });
    failed ||= mismatches.length > 0 || records !== count;
  }
  process.exit(failed ? 1 : 0);
}
