import { describe, expect, test } from "bun:test";
import { deferred } from "../../src/lib/deferred.ts";
import type { Decoded } from "../../src/protocol/api-codec.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { type MetadataRequest, metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { deleteTopicsApi } from "../../src/protocol/messages/20-delete-topics.ts";
import { describeLogDirsApi } from "../../src/protocol/messages/35-describe-log-dirs.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { describeClusterApi } from "../../src/protocol/messages/60-describe-cluster.ts";
import {
  type DescribeTopicPartitionsRequest,
  type DescribeTopicPartitionsResponse,
  describeTopicPartitionsApi,
} from "../../src/protocol/messages/75-describe-topic-partitions.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { type ApiServer, apiServer } from "../support/api-server.ts";
import { spec } from "../support/metadata.ts";
import { until } from "../support/network.ts";

function named(...names: string[]): { name: string }[] {
  return names.map((name) => ({ name }));
}

function versions(codec: { minVersion: number; maxVersion: number }, from = 0): number[] {
  const all = Array.from({ length: codec.maxVersion + 1 }, (_, version) => version);
  return all.filter((version) => version >= Math.max(from, codec.minVersion));
}

describe("Metadata", () => {
  for (const version of versions(metadataApi)) {
    test(`v${version}: known, unknown and auto-created topics`, async () => {
      await using api = await apiServer({ metadata: { numPartitions: 4 } });
      await api.metadata.createTopics([spec("known", 2)], false);
      const ask = async (request: MetadataRequest) => {
        const { topics } = await api.client.request(metadataApi, version, request);
        return topics.map(({ name, errorCode, partitions }) => [
          name,
          errorCode,
          partitions.length,
        ]);
      };
      const created = await ask({ topics: named("known", "new") });
      expect(created).toEqual([
        ["known", 0, 2],
        ["new", 0, 4],
      ]);
      if (version >= 4) {
        const request = { topics: named("other"), allowAutoTopicCreation: false };
        expect(await ask(request)).toEqual([["other", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0]]);
      }
      const all = await ask({ topics: version === 0 ? [] : null });
      expect(all.map(([name]) => name)).toEqual(["known", "new"]);
      if (version > 0) expect(await ask({ topics: [] })).toEqual([]);
      expect(await ask({ topics: named("bad/name") })).toEqual([
        ["bad/name", ErrorCode.INVALID_TOPIC_EXCEPTION, 0],
      ]);
    });
  }

  test("auto-creation can be switched off at the broker", async () => {
    await using api = await apiServer({ topic: { autoCreate: false } });
    const { topics } = await api.client.request(metadataApi, 9, { topics: named("a") });
    expect(topics[0]?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(api.metadata.image.topicsByName.size).toBe(0);
  });

  test("topics by id from v12 on, and not before", async () => {
    await using api = await apiServer();
    const [made] = await api.metadata.createTopics([spec("a")], false);
    const topicId = made?.topic?.id ?? "";
    const request = {
      topics: [
        { name: null, topicId },
        { name: null, topicId: "ZZZZZZZZZZZZZZZZZZZZZA" },
      ],
    };
    for (const version of [12, 13]) {
      const { topics } = await api.client.request(metadataApi, version, request);
      expect(topics.map(({ name, errorCode }) => [name, errorCode])).toEqual([
        ["a", 0],
        [null, ErrorCode.UNKNOWN_TOPIC_ID],
      ]);
    }
    for (const version of [10, 11]) {
      const { topics } = await api.client.request(metadataApi, version, request);
      expect(topics.map(({ errorCode }) => errorCode)).toEqual([
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_REQUEST,
      ]);
    }
  });

  test("a topic somebody else is creating has no leader yet; its creator waits", async () => {
    await using api = await apiServer();
    const opened = deferred<void>();
    api.metadata.subscribe(() => opened.promise);
    const asked = api.client.request(metadataApi, 9, { topics: named("a") });
    await until(() => api.metadata.image.topicsByName.has("a"));
    await using second = await secondClient(api);
    const early = await second.client.request(metadataApi, 9, {
      topics: named("a"),
      allowAutoTopicCreation: false,
    });
    expect(early.topics[0]?.partitions[0]).toMatchObject({
      errorCode: ErrorCode.LEADER_NOT_AVAILABLE,
      leaderId: -1,
    });
    opened.resolve();
    expect((await asked).topics[0]?.partitions[0]).toMatchObject({ errorCode: 0, leaderId: 1 });
  });

  test("operations are told when asked for", async () => {
    await using api = await apiServer();
    const request = {
      topics: named("a"),
      includeClusterAuthorizedOperations: true,
      includeTopicAuthorizedOperations: true,
    };
    const asked = await api.client.request(metadataApi, 8, request);
    expect(asked.clusterAuthorizedOperations).toBe(8096);
    expect(asked.topics[0]?.topicAuthorizedOperations).toBe(3576);
    const plain = await api.client.request(metadataApi, 8, { topics: named("a") });
    expect(plain.clusterAuthorizedOperations).toBe(-2147483648);
    expect(plain.topics[0]?.topicAuthorizedOperations).toBe(-2147483648);
  });

  test("cluster id, controller and addresses", async () => {
    await using api = await apiServer();
    const answer = await api.client.request(metadataApi, 9, { topics: [] });
    expect(answer.clusterId).toBe(api.metadata.image.clusterId);
    expect(answer.controllerId).toBe(1);
    expect(answer.brokers).toEqual([{ nodeId: 1, host: "localhost", port: 9092, rack: null }]);
    const cluster = await api.client.request(describeClusterApi, 2, {
      includeClusterAuthorizedOperations: true,
    });
    expect(cluster).toMatchObject({
      errorCode: 0,
      clusterId: answer.clusterId,
      controllerId: 1,
      clusterAuthorizedOperations: 8096,
      brokers: [{ brokerId: 1, host: "localhost", port: 9092, isFenced: false }],
    });
  });
});

async function secondClient(api: ApiServer) {
  const { WireClient } = await import("../../src/client/wire-client.ts");
  const options = { host: "127.0.0.1", port: api.server.port, clientId: "second" };
  const client = await WireClient.connect(options);
  return { client, [Symbol.asyncDispose]: async () => client.close() };
}

describe("CreateTopics, DeleteTopics, CreatePartitions", () => {
  const topic = (name: string, changes: object = {}) => ({
    name,
    numPartitions: 2,
    replicationFactor: 1,
    assignments: [],
    configs: [],
    ...changes,
  });

  for (const version of versions(createTopicsApi)) {
    test(`CreateTopics v${version}`, async () => {
      await using api = await apiServer();
      const topics = [topic("a", { configs: [{ name: "retention.ms", value: "5" }] }), topic("b/")];
      const answer = await api.client.request(createTopicsApi, version, { topics });
      const [a, b] = answer.topics;
      expect(a).toMatchObject({ name: "a", errorCode: 0, errorMessage: null });
      expect(b?.errorCode).toBe(ErrorCode.INVALID_TOPIC_EXCEPTION);
      if (version >= 5) {
        expect(a?.numPartitions).toBe(2);
        expect(a?.replicationFactor).toBe(1);
        expect(a?.configs?.find(({ name }) => name === "retention.ms")).toEqual({
          name: "retention.ms",
          value: "5",
          readOnly: false,
          configSource: 1,
          isSensitive: false,
        });
      }
      const id = api.metadata.image.topicsByName.get("a")?.id ?? "";
      expect(a?.topicId).toBe(version >= 7 ? id : zeroUuid);
    });
  }

  test("an internal config is taken and not told with the topic", async () => {
    await using api = await apiServer();
    const configs = [{ name: "internal.segment.bytes", value: "2000" }];
    const request = { topics: [topic("a", { configs })] };
    const answer = await api.client.request(createTopicsApi, 7, request);
    expect(answer.topics[0]?.errorCode).toBe(0);
    const names = answer.topics[0]?.configs?.map(({ name }) => name);
    expect(names).toContain("segment.bytes");
    expect(names).not.toContain("internal.segment.bytes");
    expect(api.metadata.image.topicsByName.get("a")?.configs).toEqual(
      new Map([["internal.segment.bytes", "2000"]]),
    );
  });

  test("validateOnly creates nothing; -1 means the defaults", async () => {
    await using api = await apiServer({ metadata: { numPartitions: 3 } });
    const defaults = topic("a", { numPartitions: -1, replicationFactor: -1 });
    const request = { topics: [defaults], validateOnly: true };
    const answer = await api.client.request(createTopicsApi, 7, request);
    expect(answer.topics[0]).toMatchObject({
      errorCode: 0,
      numPartitions: 3,
      replicationFactor: 1,
    });
    expect(api.metadata.image.topicsByName.size).toBe(0);
  });

  test("a name given twice fails, its neighbours do not", async () => {
    await using api = await apiServer();
    const reserved = ["__cluster_metadata", "__consumer_offsets"];
    const topics = ["a", "a", "b", ...reserved].map((name) => topic(name));
    const answer = await api.client.request(createTopicsApi, 7, { topics });
    expect(answer.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual([
      ["b", 0],
      ["a", ErrorCode.INVALID_REQUEST],
      ...reserved.map((name) => [name, ErrorCode.INVALID_REQUEST]),
    ]);
  });

  test("topics of coordinators are created as these would, or not at all", async () => {
    await using api = await apiServer();
    const ask = async (name: string, parts: object) => {
      const topics = [topic(name, parts)];
      const answer = await api.client.request(createTopicsApi, 7, { topics });
      return [answer.topics[0]?.errorCode, answer.topics[0]?.numPartitions];
    };
    const refused = [ErrorCode.INVALID_REQUEST, -1];
    const [offsets, transactions] = ["__consumer_offsets", "__transaction_state"];
    const compact = { name: "cleanup.policy", value: "compact" };
    const byHand = [{ partitionIndex: 0, brokerIds: [1] }];
    expect(await ask(offsets, { numPartitions: 49 })).toEqual(refused);
    const deletes = { numPartitions: 50, configs: [{ ...compact, value: "delete" }] };
    expect(await ask(offsets, deletes)).toEqual(refused);
    const assigned = { numPartitions: -1, replicationFactor: -1, assignments: byHand };
    expect(await ask(offsets, assigned)).toEqual(refused);
    expect(api.metadata.image.topicsByName.size).toBe(0);
    expect(await ask(offsets, { numPartitions: 50, configs: [compact] })).toEqual([0, 50]);
    expect(await ask(transactions, { numPartitions: -1, replicationFactor: -1 })).toEqual([0, 30]);
    expect(await ask("__share_group_state", { numPartitions: 20 })).toEqual([0, 20]);
    const exists = ErrorCode.TOPIC_ALREADY_EXISTS;
    expect(await ask(offsets, { numPartitions: 3 })).toEqual([exists, -1]);
    const configsOf = (name: string) => [
      ...(api.metadata.image.topicsByName.get(name)?.configs ?? []),
    ];
    expect(configsOf(transactions)).toEqual([
      ["cleanup.policy", "compact"],
      ["compression.type", "producer"],
      ["segment.bytes", "1048576"],
    ]);
    expect(configsOf("__share_group_state")).toContainEqual(["retention.ms", "-1"]);
  });

  test("a topic is internal by its name alone", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("__consumer_offsets", 3)], false);
    const { topics } = await api.client.request(metadataApi, 9, { topics: null });
    expect(topics[0]).toMatchObject({ name: "__consumer_offsets", isInternal: true });
  });

  for (const version of versions(deleteTopicsApi)) {
    test(`DeleteTopics v${version}`, async () => {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("a"), spec("b")], false);
      const id = api.metadata.image.topicsByName.get("b")?.id ?? "";
      const request =
        version >= 6
          ? {
              timeoutMs: 1,
              topics: [
                { name: "a", topicId: zeroUuid },
                { name: null, topicId: id },
                { name: "x", topicId: zeroUuid },
              ],
            }
          : { timeoutMs: 1, topicNames: ["a", "b", "x"] };
      const { responses } = await api.client.request(deleteTopicsApi, version, request);
      const errors = Object.fromEntries(responses.map((one) => [one.name, one.errorCode]));
      expect(errors).toEqual({ a: 0, b: 0, x: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
      expect(api.metadata.image.topicsByName.size).toBe(0);
      expect(api.metadata.image.tombstones.size).toBe(2);
    });
  }

  test("a topic named by name and by id is refused once, told by its name", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("a")], false);
    const topicId = api.metadata.image.topicsByName.get("a")?.id ?? "";
    const neither = { name: null, topicId: zeroUuid };
    const topics = [{ name: "a", topicId: zeroUuid }, { name: null, topicId }, neither, neither];
    const request = { timeoutMs: 1, topics };
    const { responses } = await api.client.request(deleteTopicsApi, 6, request);
    const { INVALID_REQUEST } = ErrorCode;
    expect(responses.map((one) => [one.name, one.topicId, one.errorCode])).toEqual([
      ["a", topicId, INVALID_REQUEST],
      [null, zeroUuid, INVALID_REQUEST],
      [null, zeroUuid, INVALID_REQUEST],
    ]);
    expect(api.metadata.image.topicsByName.size).toBe(1);
  });

  test("deletion can be switched off; internal topics are never deleted", async () => {
    await using api = await apiServer({ topic: { deleteEnabled: false } });
    await api.metadata.createTopics([spec("a")], false);
    const ask = async (server: ApiServer, version: number, name: string) => {
      const request = { timeoutMs: 1, topicNames: [name] };
      return (await server.client.request(deleteTopicsApi, version, request)).responses[0]
        ?.errorCode;
    };
    expect(await ask(api, 5, "a")).toBe(ErrorCode.TOPIC_DELETION_DISABLED);
    expect(await ask(api, 2, "a")).toBe(ErrorCode.INVALID_REQUEST);
    await using enabled = await apiServer();
    await enabled.metadata.createTopics([spec("__consumer_offsets")], false);
    const refused = await ask(enabled, 5, "__consumer_offsets");
    expect(refused).toBe(ErrorCode.INVALID_TOPIC_EXCEPTION);
  });

  for (const version of versions(createPartitionsApi)) {
    test(`CreatePartitions v${version}`, async () => {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("a"), spec("b", 3), spec("c")], false);
      const request = {
        timeoutMs: 1,
        validateOnly: false,
        topics: [
          { name: "a", count: 4, assignments: null },
          { name: "b", count: 3, assignments: null },
          { name: "c", count: 2, assignments: [{ brokerIds: [1] }] },
          { name: "x", count: 2, assignments: null },
        ],
      };
      const { results } = await api.client.request(createPartitionsApi, version, request);
      expect(results.map(({ name, errorCode }) => [name, errorCode])).toEqual([
        ["a", 0],
        ["b", ErrorCode.INVALID_PARTITIONS],
        ["c", 0],
        ["x", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      ]);
      const counts = [...api.metadata.image.topicsByName.values()].map(
        (one) => one.partitions.length,
      );
      expect(counts).toEqual([4, 3, 2]);
    });
  }
});

describe("DescribeTopicPartitions", () => {
  test("pages through everything without a gap or a repetition", async () => {
    await using api = await apiServer();
    const specs = [spec("b", 5), spec("a", 3), spec("c", 1), spec("d", 7)];
    await api.metadata.createTopics(specs, false);
    for (const responsePartitionLimit of [1, 2, 3, 4, 8, 16, 100]) {
      const seen: string[] = [];
      let cursor: { topicName: string; partitionIndex: number } | null = null;
      do {
        const request: DescribeTopicPartitionsRequest = {
          topics: [],
          responsePartitionLimit,
          cursor,
        };
        const answer: Decoded<DescribeTopicPartitionsResponse> = await api.client.request(
          describeTopicPartitionsApi,
          0,
          request,
        );
        const count = answer.topics.reduce((sum, { partitions }) => sum + partitions.length, 0);
        expect(count).toBeLessThanOrEqual(responsePartitionLimit);
        for (const { name, partitions } of answer.topics) {
          for (const { partitionIndex } of partitions) seen.push(`${name}-${partitionIndex}`);
        }
        cursor = answer.nextCursor;
      } while (cursor !== null);
      const all = [..."abcd"].flatMap((name) => {
        const count = specs.find((one) => one.name === name)?.numPartitions ?? 0;
        return Array.from({ length: count }, (_, index) => `${name}-${index}`);
      });
      expect(seen).toEqual(all);
    }
  });

  test("unknown topics, and a cursor that cannot be", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("a")], false);
    const ask = async (cursor: { topicName: string; partitionIndex: number } | null) => {
      const request = { topics: named("a", "x", "b/"), cursor };
      const answer = await api.client.request(describeTopicPartitionsApi, 0, request);
      return answer.topics.map(({ name, errorCode }) => [name, errorCode]);
    };
    expect(await ask(null)).toEqual([
      ["a", 0],
      ["b/", ErrorCode.INVALID_TOPIC_EXCEPTION],
      ["x", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
    const refused = ["a", "x", "b/"].map((name) => [name, ErrorCode.INVALID_REQUEST]);
    expect(await ask({ topicName: "zz", partitionIndex: 0 })).toEqual(refused);
    expect(await ask({ topicName: "a", partitionIndex: -1 })).toEqual(refused);
  });
});

describe("DescribeLogDirs", () => {
  for (const version of versions(describeLogDirsApi)) {
    test(`v${version}`, async () => {
      const partitions = [
        { topic: "a", index: 0, bytes: 10 },
        { topic: "a", index: 1, bytes: 20 },
        { topic: "b", index: 0, bytes: 30 },
      ];
      await using api = await apiServer({ partitions });
      const all = await api.client.request(describeLogDirsApi, version, { topics: null });
      const sizes = (answer: typeof all) =>
        answer.results[0]?.topics.map(({ name, partitions: of }) => [
          name,
          of.map(({ partitionSize }) => partitionSize),
        ]);
      expect(all.results[0]?.logDir).toBe("/data");
      expect(all.results[0]?.totalBytes).toBe(version >= 4 ? 1000 : -1);
      expect(sizes(all)).toEqual([
        ["a", [10, 20]],
        ["b", [30]],
      ]);
      const topics = [{ topic: "a", partitions: [1, 9] }];
      const some = await api.client.request(describeLogDirsApi, version, { topics });
      expect(sizes(some)).toEqual([["a", [20]]]);
    });
  }
});
