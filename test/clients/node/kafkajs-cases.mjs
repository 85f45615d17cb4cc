/** Cases over the API that kafkajs and @confluentinc/kafka-javascript have in common. */
import assert from "node:assert/strict";
import { unique, until } from "./harness.mjs";

/**
 * `api` makes the library's objects: `admin()`, `producer(options)`, `consumer(options)`, each
 * connected; `subscribe(consumer, topics)` from the beginning; `manualRun`: options of `run` for
 * commits by hand; `emptyValue`: what an empty value is read back as; `offsetsOf`: what a transaction takes as consumed offsets.
 */
export function commonCases(api) {
  async function withAdmin(body) {
    const admin = await api.admin();
    try {
      return await body(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async function newTopic(numPartitions = 1, configEntries = []) {
    const topic = unique("topic");
    const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }];
    await withAdmin((admin) => admin.createTopics({ topics }));
    return topic;
  }

  async function send(topic, messages, options = {}) {
    const producer = await api.producer(options);
    try {
      return await producer.send({ topic, messages });
    } finally {
      await producer.disconnect();
    }
  }

  /** Reads until `count` messages came; leaves the group. */
  async function read(topics, count, options = {}) {
    const groupId = options.groupId ?? unique("group");
    const consumer = await api.consumer({ groupId, ...options });
    const seen = [];
    try {
      await api.subscribe(consumer, topics);
      await consumer.run({
        eachMessage: async ({ topic, partition, message }) => {
          seen.push({ topic, partition, message });
        },
      });
      await until(`${count} messages`, () => seen.length >= count);
    } finally {
      await consumer.disconnect();
    }
    return seen;
  }

  const texts = (seen) => seen.map(({ message }) => message.value?.toString() ?? null);
  const numbered = (count) => Array.from({ length: count }, (_, i) => ({ value: `v${i}` }));

  return [
    [
      "produce: offsets are dense, keys choose partitions",
      async () => {
        const topic = await newTopic(3);
        const messages = numbered(30).map((message, i) => ({ ...message, key: `k${i % 5}` }));
        const values = messages.map(({ value }) => value).sort();
        await send(topic, messages);
        const seen = await read([topic], 30);
        assert.deepEqual(texts(seen).sort(), values);
        const partitionOf = new Map();
        for (const { partition, message } of seen) {
          const key = message.key.toString();
          assert.equal(partitionOf.get(key) ?? partition, partition);
          partitionOf.set(key, partition);
        }
      },
    ],
    ...["none", ...api.codecs].map((codec) => [
      `produce: ${codec}`,
      async () => {
        const topic = await newTopic();
        await send(topic, numbered(50), { codec });
        assert.deepEqual(
          texts(await read([topic], 50)),
          numbered(50).map(({ value }) => value),
        );
      },
    ]),
    ...[0, 1, -1].map((acks) => [
      `produce: acks ${acks}`,
      async () => {
        const topic = await newTopic();
        await send(topic, numbered(5), { acks });
        assert.equal((await read([topic], 5)).length, 5);
      },
    ]),
    [
      "produce: idempotent",
      async () => {
        const topic = await newTopic();
        await send(topic, numbered(100), { idempotent: true });
        assert.deepEqual(
          texts(await read([topic], 100)),
          numbered(100).map(({ value }) => value),
        );
      },
    ],
    [
      "produce: null and empty values, headers, timestamps",
      async () => {
        const topic = await newTopic();
        const timestamp = "1700000000123";
        await send(topic, [
          { key: "a", value: null, timestamp, headers: { h: "1", bytes: Buffer.from([0, 255]) } },
          { key: "b", value: "", timestamp },
        ]);
        const [first, second] = (await read([topic], 2)).map(({ message }) => message);
        assert.equal(first.value, null);
        assert.equal(first.timestamp, timestamp);
        assert.equal(first.headers.h.toString(), "1");
        assert.deepEqual([...first.headers.bytes], [0, 255]);
        assert.deepEqual(second.value, api.emptyValue);
      },
    ],
    [
      "consume: seek back and forth",
      async () => {
        const topic = await newTopic();
        await send(topic, numbered(20));
        const consumer = await api.consumer({ groupId: unique("group") });
        const seen = [];
        await api.subscribe(consumer, [topic]);
        await consumer.run({
          eachMessage: async ({ message }) => void seen.push(Number(message.offset)),
        });
        await until("all", () => seen.length >= 20);
        seen.length = 0;
        consumer.seek({ topic, partition: 0, offset: "15" });
        await until("the last five", () => seen.length >= 5);
        assert.deepEqual(seen.slice(0, 5), [15, 16, 17, 18, 19]);
        await consumer.disconnect();
      },
    ],
    [
      "consume: pause and resume",
      async () => {
        const topic = await newTopic();
        const consumer = await api.consumer({ groupId: unique("group") });
        const seen = [];
        await api.subscribe(consumer, [topic]);
        await consumer.run({ eachMessage: async ({ message }) => void seen.push(message.offset) });
        await send(topic, numbered(3));
        await until("three", () => seen.length === 3);
        consumer.pause([{ topic }]);
        await send(topic, numbered(3));
        await new Promise((resolve) => setTimeout(resolve, 1500));
        assert.equal(seen.length, 3);
        consumer.resume([{ topic }]);
        await until("six", () => seen.length === 6);
        await consumer.disconnect();
      },
    ],
    [
      "group: two members share, one leaves, commits stay",
      async () => {
        const topic = await newTopic(4);
        const groupId = unique("group");
        const owned = new Map();
        const start = async (name) => {
          const consumer = await api.consumer({ groupId });
          await api.subscribe(consumer, [topic]);
          await consumer.run({
            eachMessage: async ({ partition, message }) => {
              owned.set(`${partition}`, [...(owned.get(`${partition}`) ?? []), name]);
              assert.ok(message.value);
            },
          });
          return consumer;
        };
        const one = await start("one");
        const two = await start("two");
        const each = [0, 1, 2, 3].map((partition) => ({ partition, value: "x" }));
        const sendUntilShared = async () => {
          owned.clear();
          await send(topic, each);
          await until("all four", () => owned.size === 4);
          return new Set([...owned.values()].flat()).size === 2;
        };
        await until("both own something", sendUntilShared, 45_000);
        await two.disconnect();
        await until("the first owns all", async () => {
          owned.clear();
          await send(topic, each);
          await until("all four", () => owned.size === 4);
          return [...owned.values()].flat().every((name) => name === "one");
        });
        await one.disconnect();
        const [{ partitions }] = await withAdmin((admin) =>
          admin.fetchOffsets({ groupId, topics: [topic] }),
        );
        const ends = await withAdmin((admin) => admin.fetchTopicOffsets(topic));
        for (const { partition, offset } of partitions) {
          assert.equal(offset, ends.find((end) => end.partition === partition).high);
        }
      },
    ],
    [
      "group: a commit by hand is where the next member starts",
      async () => {
        const topic = await newTopic();
        const groupId = unique("group");
        await send(topic, numbered(10));
        const first = await api.consumer({ groupId, autoCommit: false });
        await api.subscribe(first, [topic]);
        let count = 0;
        await first.run({ ...api.manualRun, eachMessage: async () => void count++ });
        await until("all", () => count === 10);
        await first.commitOffsets([{ topic, partition: 0, offset: "7" }]);
        await first.disconnect();
        assert.deepEqual(texts(await read([topic], 3, { groupId })), ["v7", "v8", "v9"]);
      },
    ],
    [
      "group: described, listed, deleted",
      async () => {
        const topic = await newTopic();
        const groupId = unique("group");
        await send(topic, numbered(1));
        await read([topic], 1, { groupId });
        await withAdmin(async (admin) => {
          const { groups } = await admin.listGroups();
          assert.ok(groups.some((group) => group.groupId === groupId));
          await until("the group is empty", async () => {
            const described = await admin.describeGroups([groupId]);
            return described.groups[0].members.length === 0;
          });
          await admin.deleteGroups([groupId]);
          const after = await admin.listGroups();
          assert.ok(!after.groups.some((group) => group.groupId === groupId));
        });
      },
    ],
    [
      "admin: topics are created once, listed, described, deleted",
      async () => {
        const topic = await newTopic(2);
        await withAdmin(async (admin) => {
          assert.ok((await admin.listTopics()).includes(topic));
          const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
          const [described] = metadata.topics ?? metadata;
          assert.equal(described.partitions.length, 2);
          const again = { topics: [{ topic, numPartitions: 2 }] };
          const outcome = await admin.createTopics(again).catch(() => false);
          assert.equal(outcome, false);
          await admin.deleteTopics({ topics: [topic] });
          await until("gone", async () => !(await admin.listTopics()).includes(topic));
        });
      },
    ],
    [
      "admin: offsets of topics, by time too",
      async () => {
        const topic = await newTopic();
        const messages = [1000, 2000, 3000].map((ms) => ({ value: `${ms}`, timestamp: `${ms}` }));
        await send(topic, messages);
        await withAdmin(async (admin) => {
          const [{ high, low }] = await admin.fetchTopicOffsets(topic);
          assert.deepEqual([low, high], ["0", "3"]);
          const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp(topic, 1500);
          assert.equal(offset, "1");
        });
      },
    ],
    [
      "admin: records before an offset are deleted",
      async () => {
        const topic = await newTopic();
        await send(topic, numbered(10));
        await withAdmin(async (admin) => {
          await admin.fetchTopicOffsets(topic); // kafkajs wants to know the topic first
          const partitions = [{ partition: 0, offset: "4" }];
          await admin.deleteTopicRecords({ topic, partitions });
          const [{ low }] = await admin.fetchTopicOffsets(topic);
          assert.equal(low, "4");
        });
        assert.equal(texts(await read([topic], 6))[0], "v4");
      },
    ],
    [
      "txn: what was committed is read, what was aborted is not",
      async () => {
        const topic = await newTopic();
        const options = { transactionalId: unique("txn"), idempotent: true };
        const producer = await api.producer(options);
        for (const [value, commit] of [
          ["a", true],
          ["b", false],
          ["c", true],
        ]) {
          const transaction = await producer.transaction();
          await transaction.send({ topic, messages: [{ value }] });
          await (commit ? transaction.commit() : transaction.abort());
        }
        await producer.disconnect();
        assert.deepEqual(texts(await read([topic], 2)), ["a", "c"]);
      },
    ],
    [
      "txn: consumed offsets are part of the transaction",
      async () => {
        const topic = await newTopic();
        const groupId = unique("group");
        await send(topic, numbered(2));
        const consumer = await api.consumer({ groupId, autoCommit: false });
        await api.subscribe(consumer, [topic]);
        const producer = await api.producer({ transactionalId: unique("txn"), idempotent: true });
        const done = Promise.withResolvers ? Promise.withResolvers() : deferred();
        await consumer.run({
          ...api.manualRun,
          eachMessage: async ({ message }) => {
            if (message.offset !== "0") return;
            const transaction = await producer.transaction();
            await transaction.send({ topic, messages: [{ value: "made" }] });
            const partitions = [{ partition: 0, offset: "1" }];
            await transaction.sendOffsets(api.offsetsOf(groupId, consumer, [{ topic, partitions }]));
            await transaction.commit();
            done.resolve();
          },
        });
        await done.promise;
        await consumer.disconnect();
        await producer.disconnect();
        const [{ partitions }] = await withAdmin((admin) =>
          admin.fetchOffsets({ groupId, topics: [topic] }),
        );
        assert.equal(partitions[0].offset, "1");
      },
    ],
  ];
}

/** Node 20 has no Promise.withResolvers. */
function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
