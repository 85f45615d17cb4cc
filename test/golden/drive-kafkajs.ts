/** What kafkajs can say, for scripts/capture.ts: admin, producer, transaction, group. */
import { CompressionTypes, Kafka, logLevel } from "kafkajs";

const kafka = new Kafka({
  brokers: [process.argv[2] ?? "127.0.0.1:19400"],
  clientId: "drive-kafkajs",
  logLevel: logLevel.NOTHING,
});
const topic = "golden-kafkajs";
const groupId = "golden-kafkajs-group";

const admin = kafka.admin();
await admin.connect();
await admin.createTopics({ topics: [{ topic, numPartitions: 2 }], waitForLeaders: true });
await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });

const producer = kafka.producer();
await producer.connect();
await producer.send({
  topic,
  acks: 0,
  messages: [{ key: "k", value: "without acks", partition: 0 }],
});
await producer.send({ topic, messages: [{ key: null, value: "v", headers: { trace: "1" } }] });
await producer.send({ topic, compression: CompressionTypes.GZIP, messages: [{ value: "zipped" }] });
await producer.disconnect();

const transactional = kafka.producer({ transactionalId: "golden-kafkajs-txn", idempotent: true });
await transactional.connect();
const transaction = await transactional.transaction();
await transaction.send({ topic, messages: [{ value: "in a transaction" }] });
await transaction.sendOffsets({
  consumerGroupId: groupId,
  topics: [{ topic, partitions: [{ partition: 0, offset: "1" }] }],
});
await transaction.commit();
const aborted = await transactional.transaction();
await aborted.send({ topic, messages: [{ value: "aborted" }] });
await aborted.abort();
await transactional.disconnect();

const consumer = kafka.consumer({ groupId });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
const { promise: seen, resolve } = Promise.withResolvers<void>();
let count = 0;
await consumer.run({
  eachMessage: async () => {
    count++;
    if (count === 3) resolve();
  },
});
await seen;
await consumer.commitOffsets([{ topic, partition: 0, offset: "1" }]);
await consumer.disconnect();

await admin.fetchTopicOffsets(topic);
await admin.fetchOffsets({ groupId, topics: [topic] });
await admin.describeGroups([groupId]);
await admin.listGroups();
await admin.describeConfigs({
  includeSynonyms: false,
  resources: [{ type: 2, name: topic, configNames: ["retention.ms"] }],
});
await admin.alterConfigs({
  validateOnly: true,
  resources: [{ type: 2, name: topic, configEntries: [{ name: "retention.ms", value: "1000" }] }],
});
await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "-1" }] });
await admin.deleteGroups([groupId]);
await admin.deleteTopics({ topics: [topic] });
await admin.disconnect();
