/** @confluentinc/kafka-javascript over its kafkajs-like API: librdkafka underneath. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { bootstrap, runCases, unique, until } from "../node/harness.mjs";
import { commonCases } from "../node/kafkajs-cases.mjs";

const require = createRequire(`${process.env.PACKAGES}/`);
const { KafkaJS } = require("@confluentinc/kafka-javascript");

const kafka = new KafkaJS.Kafka({
  kafkaJS: { brokers: [bootstrap], logLevel: KafkaJS.logLevel.NOTHING },
});

async function connected(client) {
  await client.connect();
  return client;
}

const api = {
  codecs: ["gzip", "snappy", "lz4", "zstd"],
  emptyValue: null, // its reader makes no difference
  manualRun: {},
  admin: () => connected(kafka.admin()),
  producer({ codec = "none", ...options }) {
    return connected(kafka.producer({ kafkaJS: { compression: codec, ...options } }));
  },
  consumer(options) {
    const kafkaJS = { fromBeginning: true, maxWaitTimeInMs: 100, ...options };
    return connected(kafka.consumer({ kafkaJS }));
  },
  subscribe: (consumer, topics) => consumer.subscribe({ topics }),
  offsetsOf: (_, consumer, topics) => ({ consumer, topics }),
};

runCases([
  ...commonCases(api),
  [
    "cgroup: a member of the consumer protocol reads and commits",
    async () => {
      const topic = unique("topic");
      const admin = await api.admin();
      await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] });
      const producer = await api.producer({});
      await producer.send({ topic, messages: [{ value: "1" }, { value: "2" }] });
      await producer.disconnect();
      const groupId = unique("group");
      const consumer = await connected(
        kafka.consumer({
          "group.protocol": "consumer",
          "group.id": groupId,
          "auto.offset.reset": "earliest",
        }),
      );
      await consumer.subscribe({ topics: [topic] });
      const seen = [];
      await consumer.run({ eachMessage: async ({ message }) => void seen.push(message.value) });
      await until("both", () => seen.length === 2);
      await consumer.disconnect();
      const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
      const total = partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
      assert.equal(total, 2);
      await admin.disconnect();
    },
  ],
]);
