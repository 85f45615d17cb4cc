/**
 * Writes test/golden/group-records.json: keys and values of Kafka's own __consumer_offsets, in hex,
 * a few of each type. Usage: bun test/golden/read-group-records.ts 127.0.0.1:19400
 */
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";

const kafka = new Kafka({
  brokers: [process.argv[2] ?? "127.0.0.1:19400"],
  logLevel: logLevel.NOTHING,
});
const keptOfEach = 4;
const idleMs = 3000;
const consumer = kafka.consumer({ groupId: `group-records-${process.pid}` });
await consumer.connect();
await consumer.subscribe({ topic: "__consumer_offsets", fromBeginning: true });
const records: { key: string; value: string | null }[] = [];
const { promise: idle, resolve } = Promise.withResolvers<void>();
let timer = setTimeout(resolve, 10 * idleMs);
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ message }) => {
    clearTimeout(timer);
    timer = setTimeout(resolve, idleMs);
    if (message.key === null) return;
    const key = message.key.toString("hex");
    records.push({ key, value: message.value?.toString("hex") ?? null });
  },
});
await idle;
await consumer.disconnect();

const counts = new Map<string, number>();
const kept = records.filter(({ key, value }) => {
  const kind = `${key.slice(0, 4)} ${value === null}`;
  const count = (counts.get(kind) ?? 0) + 1;
  counts.set(kind, count);
  return count <= keptOfEach;
});
const rows = kept.map((record) => JSON.stringify(record)).join(",\n");
await Bun.write(join(import.meta.dir, "group-records.json"), `[\n${rows}\n]\n`);
console.log(`${kept.length} of ${records.length} records`, Object.fromEntries(counts));
process.exit(0);
