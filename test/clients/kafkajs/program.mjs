/** kafkajs over its whole public API. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { bootstrap, runCases, unique } from "../node/harness.mjs";
import { commonCases } from "../node/kafkajs-cases.mjs";

const require = createRequire(`${process.env.PACKAGES}/`);
const {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  CompressionTypes,
  ConfigResourceTypes,
  Kafka,
  logLevel,
  ResourcePatternTypes,
} = require("kafkajs");

const kafka = new Kafka({
  clientId: "surface",
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
});
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };

async function connected(client) {
  await client.connect();
  return client;
}

const api = {
  codecs: ["gzip"],
  emptyValue: Buffer.alloc(0),
  manualRun: { autoCommit: false },
  admin: () => connected(kafka.admin()),
  async producer({ codec = "none", acks, ...options }) {
    const producer = await connected(
      kafka.producer({ maxInFlightRequests: 1, allowAutoTopicCreation: false, ...options }),
    );
    const send = producer.send;
    const more = { compression: codecs[codec], ...(acks === undefined ? {} : { acks }) };
    return { ...producer, send: (batch) => send({ ...batch, ...more }) };
  },
  consumer: ({ autoCommit: _, ...options }) =>
    connected(kafka.consumer({ maxWaitTimeInMs: 100, ...options })),
  subscribe: (consumer, topics) => consumer.subscribe({ topics, fromBeginning: true }),
  offsetsOf: (consumerGroupId, _, topics) => ({ consumerGroupId, topics }),
};

async function withAdmin(body) {
  const admin = await api.admin();
  try {
    return await body(admin);
  } finally {
    await admin.disconnect();
  }
}

async function newTopic(admin, numPartitions = 1) {
  const topic = unique("topic");
  await admin.createTopics({ topics: [{ topic, numPartitions }] });
  return topic;
}

const configResource = (name) => ({ type: ConfigResourceTypes.TOPIC, name });

runCases([
  ...commonCases(api),
  [
    "produce: several topics in one batch",
    () =>
      withAdmin(async (admin) => {
        const topics = [await newTopic(admin), await newTopic(admin)];
        const producer = await connected(kafka.producer());
        const topicMessages = topics.map((topic) => ({ topic, messages: [{ value: topic }] }));
        await producer.sendBatch({ topicMessages });
        await producer.disconnect();
        for (const topic of topics) {
          assert.equal((await admin.fetchTopicOffsets(topic))[0].high, "1");
        }
      }),
  ],
  [
    "admin: cluster",
    () =>
      withAdmin(async (admin) => {
        const { brokers, controller, clusterId } = await admin.describeCluster();
        assert.equal(brokers.length, 1);
        assert.equal(controller, brokers[0].nodeId);
        assert.ok(clusterId.length > 0);
      }),
  ],
  [
    "admin: partitions are added",
    () =>
      withAdmin(async (admin) => {
        const topic = await newTopic(admin);
        await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
        assert.equal((await admin.fetchTopicOffsets(topic)).length, 3);
      }),
  ],
  [
    "admin: configs described and altered",
    () =>
      withAdmin(async (admin) => {
        const topic = await newTopic(admin);
        const configEntries = [{ name: "retention.ms", value: "12345" }];
        await admin.alterConfigs({ resources: [{ ...configResource(topic), configEntries }] });
        const { resources } = await admin.describeConfigs({
          includeSynonyms: true,
          resources: [{ ...configResource(topic), configNames: ["retention.ms"] }],
        });
        assert.equal(resources[0].configEntries[0].configValue, "12345");
        const broker = await admin.describeConfigs({
          resources: [{ type: ConfigResourceTypes.BROKER, name: "1" }],
        });
        assert.ok(broker.resources[0].configEntries.length > 20);
      }),
  ],
  [
    "admin: group offsets set and reset",
    () =>
      withAdmin(async (admin) => {
        const topic = await newTopic(admin);
        const groupId = unique("group");
        const producer = await connected(kafka.producer());
        await producer.send({ topic, messages: [{ value: "1" }, { value: "2" }] });
        await producer.disconnect();
        const offset = async () =>
          (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset;
        await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "1" }] });
        assert.equal(await offset(), "1");
        await admin.resetOffsets({ groupId, topic, earliest: true });
        assert.equal(Number(await offset()) <= 0, true);
      }),
  ],
  [
    "admin: reassignments of one broker",
    () =>
      withAdmin(async (admin) => {
        const topic = await newTopic(admin);
        const { brokers } = await admin.describeCluster();
        const replicas = brokers.map(({ nodeId }) => nodeId);
        const partitionAssignment = [{ partition: 0, replicas }];
        await admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment }] });
        const { topics } = await admin.listPartitionReassignments({});
        assert.deepEqual(topics, []);
      }),
  ],
  [
    "admin: ACLs answer that security is disabled",
    () =>
      withAdmin(async (admin) => {
        const filter = {
          resourceType: AclResourceTypes.TOPIC,
          resourceName: "t",
          resourcePatternType: ResourcePatternTypes.LITERAL,
          operation: AclOperationTypes.ANY,
          permissionType: AclPermissionTypes.ANY,
        };
        await assert.rejects(admin.describeAcls(filter), { type: "SECURITY_DISABLED" });
      }),
  ],
  [
    "consume: batches, resolved one by one",
    () =>
      withAdmin(async (admin) => {
        const topic = await newTopic(admin);
        const producer = await connected(kafka.producer());
        const messages = Array.from({ length: 10 }, (_, i) => ({ value: `${i}` }));
        await producer.send({ topic, messages });
        await producer.disconnect();
        const consumer = await api.consumer({ groupId: unique("group") });
        await api.subscribe(consumer, [topic]);
        const ended = new Promise((resolve, reject) => {
          consumer.run({
            eachBatchAutoResolve: false,
            eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
              for (const message of batch.messages) resolveOffset(message.offset);
              await heartbeat();
              if (batch.lastOffset() === "9") resolve(batch.highWatermark);
            },
          }).catch(reject);
        });
        assert.equal(await ended, "10");
        await consumer.disconnect();
      }),
  ],
]);
