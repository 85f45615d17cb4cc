/** @platformatic/kafka over its whole public API: it speaks new versions only. Its zstd needs a
 * newer Node than 20. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { bootstrap, runCases, unique, until } from "../node/harness.mjs";

const require = createRequire(`${process.env.PACKAGES}/`);
const library = await import(pathToFileURL(require.resolve("@platformatic/kafka")).href);
const { Admin, Consumer, Producer, stringDeserializers, stringSerializers } = library;

const base = { clientId: "surface", bootstrapBrokers: [bootstrap] };
const isolation = { readUncommitted: 0, readCommitted: 1 };
const topicResource = 2;

async function using(client, body) {
  try {
    return await body(client);
  } finally {
    await (client instanceof Admin ? client.close() : client.close(true));
  }
}

const withAdmin = (body) => using(new Admin(base), body);
const makeProducer = (options = {}) =>
  new Producer({ ...base, serializers: stringSerializers, ...options });
const makeConsumer = (options = {}) =>
  new Consumer({
    ...base,
    groupId: unique("group"),
    deserializers: stringDeserializers,
    maxWaitTime: 100,
    ...options,
  });

async function newTopic(partitions = 1) {
  const topic = unique("topic");
  await withAdmin((admin) => admin.createTopics({ topics: [topic], partitions, replicas: 1 }));
  return topic;
}

const numbered = (topic, count) =>
  Array.from({ length: count }, (_, i) => ({ topic, key: `k${i}`, value: `v${i}` }));

const send = (messages, options = {}) =>
  using(makeProducer(), (producer) => producer.send({ messages, acks: -1, ...options }));

async function read(topic, count, options = {}, consumerOptions = {}) {
  return using(makeConsumer(consumerOptions), async (consumer) => {
    const stream = await consumer.consume({
      topics: [topic],
      mode: "earliest",
      autocommit: false,
      ...options,
    });
    const seen = [];
    stream.on("data", (message) => seen.push(message));
    await until(`${count} messages`, () => seen.length >= count);
    await stream.close();
    return seen;
  });
}

const values = (seen) => seen.map(({ value }) => value);

function describeCodec(compression) {
  return [
    `produce: ${compression}`,
    async () => {
      const topic = await newTopic();
      await send(numbered(topic, 50), { compression });
      assert.deepEqual(values(await read(topic, 50)), values(numbered(topic, 50)));
    },
  ];
}

function groupCase(name, options) {
  return [
    name,
    async () => {
      const topic = await newTopic(4);
      const groupId = unique("group");
      await send(numbered(topic, 20));
      await using(makeConsumer({ groupId, ...options }), async (consumer) => {
        const stream = await consumer.consume({
          topics: [topic],
          mode: "committed",
          fallbackMode: "earliest",
          autocommit: false,
        });
        let count = 0;
        stream.on("data", async (message) => {
          await message.commit();
          count++;
        });
        await until("all are committed", () => count === 20);
        await stream.close();
      });
      const [{ topics }] = await withAdmin((admin) =>
        admin.listConsumerGroupOffsets({ groups: [groupId] }),
      );
      const total = topics
        .flatMap(({ partitions }) => partitions)
        .reduce((sum, { committedOffset }) => sum + Number(committedOffset), 0);
      assert.equal(total, 20);
    },
  ];
}

runCases([
  ...["none", "gzip", "snappy", "lz4"].map(describeCodec),
  [
    "produce: idempotent",
    async () => {
      const topic = await newTopic();
      const messages = numbered(topic, 20);
      await using(makeProducer({ idempotent: true }), async (producer) => {
        await producer.send({ messages });
        await producer.send({ messages });
      });
      assert.equal((await read(topic, 40)).length, 40);
    },
  ],
  [
    "produce: acks 0 and 1",
    async () => {
      const topic = await newTopic();
      await send(numbered(topic, 3), { acks: 0 });
      await send(numbered(topic, 3), { acks: 1 });
      assert.equal((await read(topic, 6)).length, 6);
    },
  ],
  [
    "produce: headers, timestamps, tombstones",
    async () => {
      const topic = await newTopic();
      const timestamp = 1_700_000_000_123n;
      await send([{ topic, key: "a", value: undefined, headers: { h: "1" }, timestamp }]);
      const [message] = await read(topic, 1);
      assert.equal(message.timestamp, timestamp);
      assert.equal(message.headers.get("h"), "1");
      assert.ok(message.value === undefined || message.value === null);
    },
  ],
  groupCase("group: reads and commits", {}),
  groupCase("cgroup: reads and commits", { groupProtocol: "consumer" }),
  [
    "group: two members share the partitions",
    async () => {
      const topic = await newTopic(4);
      const groupId = unique("group");
      const members = [makeConsumer({ groupId }), makeConsumer({ groupId })];
      await members[0].topics.trackAll(topic);
      await members[1].topics.trackAll(topic);
      await members[0].joinGroup({});
      await members[1].joinGroup({});
      const owned = ({ assignments }) => assignments?.flatMap(({ partitions }) => partitions) ?? [];
      await until("two each", () => members.every((member) => owned(member).length === 2));
      assert.deepEqual(members.flatMap(owned).sort(), [0, 1, 2, 3]);
      for (const member of members) await member.close(true);
    },
  ],
  [
    "group: listed, described, offsets altered and deleted, group deleted",
    async () => {
      const topic = await newTopic();
      const groupId = unique("group");
      await send(numbered(topic, 5));
      await withAdmin(async (admin) => {
        const partitionOffsets = [{ partition: 0, offset: 3n }];
        const topics = [{ name: topic, partitionOffsets }];
        await admin.alterConsumerGroupOffsets({ groupId, topics });
        assert.ok((await admin.listGroups()).has(groupId));
        const group = (await admin.describeGroups({ groups: [groupId] })).get(groupId);
        assert.equal(group.members.size, 0);
        const partitionIndexes = [0];
        const gone = { groupId, topics: [{ name: topic, partitionIndexes }] };
        await admin.deleteConsumerGroupOffsets(gone);
        await admin.deleteGroups({ groups: [groupId] }).catch((error) => {
          // The group vanishes with its last offset.
          assert.match(JSON.stringify(error.errors ?? []) + error.message, /GROUP|failed/i);
        });
        assert.ok(!(await admin.listGroups()).has(groupId));
      });
    },
  ],
  [
    "consume: offsets and lag",
    async () => {
      const topic = await newTopic(2);
      await send(numbered(topic, 10));
      await using(makeConsumer(), async (consumer) => {
        const latest = await consumer.listOffsets({ topics: [topic] });
        assert.equal(Number(latest.get(topic)[0] + latest.get(topic)[1]), 10);
        const first = await consumer.listOffsets({ topics: [topic], timestamp: -2n });
        assert.deepEqual(first.get(topic), [0n, 0n]);
      });
    },
  ],
  [
    "consume: from offsets given by hand",
    async () => {
      const topic = await newTopic();
      await send(numbered(topic, 10));
      const offsets = [{ topic, partition: 0, offset: 7n }];
      assert.deepEqual(values(await read(topic, 3, { mode: "manual", offsets })), [
        "v7",
        "v8",
        "v9",
      ]);
    },
  ],
  [
    "admin: topics and partitions",
    async () => {
      const topic = await newTopic();
      await withAdmin(async (admin) => {
        assert.ok((await admin.listTopics()).includes(topic));
        await assert.rejects(admin.createTopics({ topics: [topic] }));
        const [brokerId] = (await admin.metadata({ topics: [topic] })).brokers.keys();
        const assignments = [{ brokerIds: [brokerId] }, { brokerIds: [brokerId] }];
        const topics = [{ name: topic, count: 3, assignments }];
        await admin.createPartitions({ topics });
        const metadata = await admin.metadata({ topics: [topic], forceUpdate: true });
        assert.equal(metadata.topics.get(topic).partitionsCount, 3);
        await admin.deleteTopics({ topics: [topic] });
        assert.ok(!(await admin.listTopics()).includes(topic));
      });
    },
  ],
  [
    "admin: configs",
    async () => {
      const topic = await newTopic();
      await withAdmin(async (admin) => {
        const resource = { resourceType: topicResource, resourceName: topic };
        const set = { name: "retention.ms", configOperation: 0, value: "54321" };
        await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [set] }] });
        const [{ configs }] = await admin.describeConfigs({
          resources: [{ ...resource, configurationKeys: ["retention.ms"] }],
          includeSynonyms: true,
          includeDocumentation: true,
        });
        assert.equal(configs[0].value, "54321");
        const whole = [{ name: "retention.ms", value: "99" }];
        await admin.alterConfigs({ resources: [{ ...resource, configs: whole }] });
      });
    },
  ],
  [
    "admin: offsets, deleted records, log folders, coordinators",
    async () => {
      const topic = await newTopic();
      await send(numbered(topic, 10));
      await withAdmin(async (admin) => {
        const partitions = [{ partition: 0, offset: 4n }];
        const [deleted] = await admin.deleteRecords({ topics: [{ name: topic, partitions }] });
        assert.equal(deleted.partitions[0].lowWatermark, 4n);
        const asked = [{ partitionIndex: 0, timestamp: -2n }];
        const [listed] = await admin.listOffsets({ topics: [{ name: topic, partitions: asked }] });
        assert.equal(listed.partitions[0].offset, 4n);
        const topics = [{ name: topic, partitions: [0] }];
        const [{ results }] = await admin.describeLogDirs({ topics });
        assert.equal(results.flatMap((result) => result.topics).length, 1);
        const [coordinator] = await admin.findCoordinator({ keyType: 0, keys: ["g"] });
        assert.equal(coordinator.key, "g");
      });
    },
  ],
  [
    "admin: client quotas",
    () =>
      withAdmin(async (admin) => {
        const entityName = unique("client");
        const entities = [{ entityType: "client-id", entityName }];
        const ops = [{ key: "producer_byte_rate", value: 1_000_000, remove: false }];
        await admin.alterClientQuotas({ entries: [{ entities, ops }] });
        const components = [{ entityType: "client-id", matchType: 0, match: entityName }];
        const [described] = await admin.describeClientQuotas({ components });
        assert.equal(described.values[0].value, 1_000_000);
      }),
  ],
  [
    "txn: commit and abort, read_committed",
    async () => {
      const topic = await newTopic();
      const producer = makeProducer({ idempotent: true, transactionalId: unique("txn") });
      await using(producer, async () => {
        for (const [value, commit] of [
          ["a", true],
          ["b", false],
          ["c", true],
        ]) {
          const transaction = await producer.beginTransaction();
          await transaction.send({ messages: [{ topic, key: "k", value }] });
          await (commit ? transaction.commit() : transaction.abort());
        }
      });
      const committed = { isolationLevel: isolation.readCommitted };
      assert.deepEqual(values(await read(topic, 2, committed, committed)), ["a", "c"]);
      const all = { isolationLevel: isolation.readUncommitted };
      assert.deepEqual(values(await read(topic, 3, all, all)), ["a", "b", "c"]);
    },
  ],
]);
