/** `compression.type` of the broker is the default of its topics, and of its own topics never. */
import { expect, test } from "bun:test";
import { compressionOf } from "../../src/protocol/record-batch.ts";
import { startBroker } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

const args = ["-X", "compression.type=lz4", "-X", "compression.lz4.level=12"];

async function codecs(kafka: Kafka, topic: string, partition = 0) {
  const batches = await kafka.readAll(topic, partition);
  return batches.map(({ header }) => compressionOf(header.attributes));
}

test("a broker's codec holds for topics without one, and over a restart", async () => {
  await using broker = await startBroker({ args });
  let kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("default");
  await kafka.createTopic("kept", 1, { "compression.type": "producer" });
  for (const topic of ["default", "kept"]) await kafka.append(topic, 0, ["one", "two"]);
  expect(await codecs(kafka, "default")).toEqual(["lz4", "lz4"]);
  expect(await codecs(kafka, "kept")).toEqual(["none", "none"]);
  await kafka.commit("group", "default", 2);
  const own = new Set<string | null>();
  for (let partition = 0; partition < 50; partition++) {
    for (const codec of await codecs(kafka, "__consumer_offsets", partition)) own.add(codec);
  }
  expect(own).toEqual(new Set(["none"]));
  kafka.close();
  await broker.kill9();
  await broker.restart();
  kafka = await Kafka.connect(broker.kafkaPort);
  expect(await kafka.committed("group", "default")).toBe(2);
  await kafka.append("default", 0, ["three"]);
  expect(await codecs(kafka, "default")).toEqual(["lz4", "lz4", "lz4"]);
  kafka.close();
}, 60_000);
