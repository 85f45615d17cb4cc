/** Topics, configs and quotas to the letter: every field of an answer. */
import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { alterConfigsApi } from "../../src/protocol/messages/33-alter-configs.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { describeClientQuotasApi } from "../../src/protocol/messages/48-describe-client-quotas.ts";
import { alterClientQuotasApi } from "../../src/protocol/messages/49-alter-client-quotas.ts";
import { alterUserScramCredentialsApi } from "../../src/protocol/messages/51-alter-user-scram-credentials.ts";
import { updateFeaturesApi } from "../../src/protocol/messages/57-update-features.ts";
import { listConfigResourcesApi } from "../../src/protocol/messages/74-list-config-resources.ts";
import { apiServer } from "../support/api-server.ts";
import { type Exchange, expectAnswers } from "../support/exact-answers.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { spec } from "../support/metadata.ts";

const throttleTimeMs = 0;
const { INVALID_REQUEST, REQUEST_TIMED_OUT } = ErrorCode;
const resource = { broker: 4, topic: 2, loggers: 8, metrics: 16, group: 32 };

describe("topics", () => {
  const failed = (name: string, errorCode: number, errorMessage: string | null) => ({
    name,
    topicId: "AAAAAAAAAAAAAAAAAAAAAA",
    errorCode,
    errorMessage,
    topicConfigErrorCode: 0,
    numPartitions: -1,
    replicationFactor: -1,
    configs: [],
  });
  const asked = (name: string, numPartitions = 1) => {
    return { name, numPartitions, replicationFactor: 1, assignments: [], configs: [] };
  };

  test("those that are not created are told one by one", async () => {
    const create = (timeoutMs: number, ...names: string[]) => ({
      timeoutMs,
      validateOnly: false,
      topics: names.map((name) => asked(name, 2)),
    });
    const prohibited = (name: string, other: string) => {
      return failed(
        name,
        INVALID_REQUEST,
        `Creation of internal topic ${name}${other} is prohibited.`,
      );
    };
    await expectAnswers([
      [
        createTopicsApi,
        7,
        create(-1, "a"),
        { throttleTimeMs, topics: [failed("a", REQUEST_TIMED_OUT, null)] },
      ],
      [
        createTopicsApi,
        7,
        create(0, "a", "a", "__cluster_metadata", "__consumer_offsets"),
        {
          throttleTimeMs,
          topics: [
            failed("a", INVALID_REQUEST, "Duplicate topic name."),
            prohibited("__cluster_metadata", ""),
            prohibited("__consumer_offsets", " with other than the broker's settings for it"),
          ],
        },
      ],
    ]);
  });

  test("a timeout of nothing is time enough; the new topic is told", async () => {
    await using api = await apiServer();
    const request = { topics: [asked("a", 2)], timeoutMs: 0, validateOnly: false };
    const { topics } = await api.client.request(createTopicsApi, 7, request);
    const { name, errorCode, errorMessage, numPartitions, replicationFactor } = topics[0] ?? {};
    expect([name, errorCode, errorMessage, numPartitions, replicationFactor]).toEqual([
      "a",
      0,
      null,
      2,
      1,
    ]);
  });

  test("partitions", async () => {
    const grow = (timeoutMs: number, ...topics: [string, number][]) => ({
      timeoutMs,
      validateOnly: false,
      topics: topics.map(([name, count]) => ({ name, count, assignments: null })),
    });
    const told = (name: string, errorCode: number, errorMessage: string | null) => ({
      throttleTimeMs,
      results: [{ name, errorCode, errorMessage }],
    });
    const twice = told("t", INVALID_REQUEST, "Duplicate topic name.");
    await expectAnswers([
      [createPartitionsApi, 3, grow(-1, ["t", 2]), told("t", REQUEST_TIMED_OUT, null)],
      [createPartitionsApi, 3, grow(0, ["t", 2], ["t", 3]), twice],
      [createPartitionsApi, 3, grow(0, ["t", 2]), told("t", 0, null)],
    ]);
  });
});

describe("configs", () => {
  const wrongDescribe: [number, string, number, string][] = [
    [resource.topic, "none", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""],
    [resource.group, "", INVALID_REQUEST, "Group name must not be empty"],
    [resource.metrics, "", INVALID_REQUEST, "Client metrics subscription name must not be empty"],
    [77, "x", INVALID_REQUEST, "Unsupported resource type: 77"],
    [
      resource.broker,
      "7",
      INVALID_REQUEST,
      "Unexpected broker id, expected 1 or empty string, but received 7",
    ],
    [resource.broker, "x", INVALID_REQUEST, "Broker id must be an integer, but it is: x"],
    [resource.loggers, "", INVALID_REQUEST, "Broker id must not be empty"],
    [resource.loggers, "7", INVALID_REQUEST, "Unexpected broker id, expected 1 but received 7"],
  ];

  test("what cannot be described", async () => {
    await expectAnswers(
      wrongDescribe.map(([resourceType, resourceName, errorCode, errorMessage]): Exchange => {
        const about = { resourceType, resourceName };
        const results = [{ errorCode, errorMessage, ...about, configs: [] }];
        const request = { resources: [{ ...about, configurationKeys: null }] };
        return [describeConfigsApi, 4, request, { throttleTimeMs, results }];
      }),
    );
  });

  test("synonyms and documentation only where asked for; nothing set is no error", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("t")], false);
    const ask = async (resourceType: number, resourceName: string, isLong: boolean) => {
      const about = { resourceType, resourceName, configurationKeys: null };
      const asked = { includeSynonyms: isLong, includeDocumentation: isLong };
      const request = { resources: [about], ...asked };
      const { results } = await api.client.request(describeConfigsApi, 4, request);
      expect([results[0]?.errorCode, results[0]?.errorMessage]).toEqual([0, ""]);
      return results[0]?.configs ?? [];
    };
    const long = await ask(resource.topic, "t", true);
    expect(long.some(({ synonyms }) => synonyms.length > 0)).toBe(true);
    expect(long.every(({ documentation }) => (documentation ?? "") !== "")).toBe(true);
    const short = await ask(resource.topic, "t", false);
    expect(short.length).toBe(long.length);
    expect(short.every(({ synonyms }) => synonyms.length === 0)).toBe(true);
    expect(short.every(({ documentation }) => documentation === null)).toBe(true);
    expect(await ask(resource.loggers, "1", true)).toEqual([]);
    expect((await ask(resource.metrics, "unknown", true)).length).toBeGreaterThan(0);
  });

  const set = (name: string, value: string | null, configOperation = 0) => {
    return { name, value, configOperation };
  };
  type Set = ReturnType<typeof set>;
  const wrongAlter: [number, string, Set[], number, string | null][] = [
    [77, "x", [set("a", "b")], INVALID_REQUEST, "Unknown resource type 77"],
    [
      resource.topic,
      "t",
      [set("retention.ms", "1"), set("retention.ms", "2")],
      INVALID_REQUEST,
      "Error due to duplicate config keys",
    ],
    [
      resource.topic,
      "t",
      [set("retention.ms", "1", 9)],
      INVALID_REQUEST,
      "Unknown config operation 9",
    ],
    [
      resource.topic,
      "t",
      [set("retention.ms", null), set("cleanup.policy", null, 2)],
      INVALID_REQUEST,
      "Null value not supported for : retention.ms, cleanup.policy",
    ],
    [
      resource.topic,
      "t",
      [set("retention.ms", null)],
      INVALID_REQUEST,
      "Null value not supported for : retention.ms",
    ],
    [resource.broker, "1", [set("log.retention.ms", "5")], 0, null],
    [
      resource.loggers,
      "x",
      [set("a", "INFO")],
      INVALID_REQUEST,
      "Node id must be an integer, but it is: x",
    ],
    [
      resource.loggers,
      "7",
      [set("a", "INFO")],
      INVALID_REQUEST,
      "Unexpected node id. Expected 1, but received 7",
    ],
    [
      resource.loggers,
      "1",
      [set("a", "INFO", 2)],
      INVALID_REQUEST,
      "APPEND operation is not allowed for the BROKER_LOGGER resource",
    ],
    [
      resource.loggers,
      "1",
      [set("a", "INFO", 3)],
      INVALID_REQUEST,
      "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
    ],
    [
      resource.loggers,
      "1",
      [set("a", "INFO")],
      ErrorCode.INVALID_CONFIG,
      "Logger a does not exist!",
    ],
    [resource.loggers, "1", [], 0, null],
    [resource.group, "g", [set("consumer.session.timeout.ms", "50000")], 0, null],
    [resource.topic, "t", [set("retention.ms", null, 1)], 0, null],
  ];

  test("what cannot be altered, and what can", async () => {
    await expectAnswers(
      wrongAlter.map(([resourceType, resourceName, configs, errorCode, errorMessage]): Exchange => {
        const about = { resourceType, resourceName };
        const responses = [{ errorCode, errorMessage, ...about }];
        const request = { resources: [{ ...about, configs }], validateOnly: false };
        return [incrementalAlterConfigsApi, 1, request, { throttleTimeMs, responses }];
      }),
    );
  });

  test("a resource named twice is altered by neither; the old API replaces all", async () => {
    const about = { resourceType: resource.topic, resourceName: "t" };
    const one = { ...about, configs: [{ name: "retention.ms", value: "5" }] };
    const refused = {
      errorCode: INVALID_REQUEST,
      errorMessage: "Each resource must appear at most once.",
      ...about,
    };
    const done = { errorCode: 0, errorMessage: null, ...about };
    await expectAnswers([
      [
        alterConfigsApi,
        2,
        { resources: [one, one], validateOnly: false },
        { throttleTimeMs, responses: [refused, refused] },
      ],
      [
        alterConfigsApi,
        2,
        { resources: [one], validateOnly: false },
        { throttleTimeMs, responses: [done] },
      ],
    ]);
  });

  test("subtracting takes an item out of a list; groups with configs are listed", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("t")], false);
    const alter = (resourceType: number, resourceName: string, config: Set) => {
      const resources = [{ resourceType, resourceName, configs: [config] }];
      const request = { resources, validateOnly: false };
      return api.client.request(incrementalAlterConfigsApi, 1, request);
    };
    const policies = () =>
      api.metadata.image.topicsByName.get("t")?.configs.get("cleanup.policy") ?? null;
    await alter(resource.topic, "t", set("cleanup.policy", "delete,compact"));
    const both = policies();
    await alter(resource.topic, "t", set("cleanup.policy", "compact", 3));
    expect([both, policies()]).toEqual(["delete,compact", "delete"]);
    await alter(resource.group, "g", set("consumer.session.timeout.ms", "50000"));
    const listed = await api.client.request(listConfigResourcesApi, 1, { resourceTypes: [32] });
    expect(listed).toEqual({
      throttleTimeMs,
      errorCode: 0,
      configResources: [{ resourceName: "g", resourceType: 32 }],
    });
  });
});

describe("client quotas", () => {
  const entity = [{ entityType: "user", entityName: "u" }];
  const alter = (validateOnly: boolean, remove: boolean, key = "producer_byte_rate") => ({
    entries: [{ entity, ops: [{ key, value: 5, remove }] }],
    validateOnly,
  });
  const find = { components: [{ entityType: "user", matchType: 0, match: "u" }], strict: true };
  const altered = { throttleTimeMs, entries: [{ errorCode: 0, errorMessage: null, entity }] };
  const found = (...entries: object[]) => {
    return { throttleTimeMs, errorCode: 0, errorMessage: "", entries };
  };
  const kept = { entity, values: [{ key: "producer_byte_rate", value: 5 }] };

  test("validated only, set, removed", async () => {
    await expectAnswers([
      [alterClientQuotasApi, 1, alter(true, false), altered],
      [describeClientQuotasApi, 1, find, found()],
      [alterClientQuotasApi, 1, alter(false, false), altered],
      [describeClientQuotasApi, 1, find, found(kept)],
      [alterClientQuotasApi, 1, alter(false, true), altered],
      [describeClientQuotasApi, 1, find, found()],
    ]);
  });

  test("a quota that there is not", async () => {
    await using api = await apiServer();
    const request = alter(false, false, "no_such");
    const { entries } = await api.client.request(alterClientQuotasApi, 1, request);
    expect(entries.map(({ errorCode }) => errorCode)).toEqual([INVALID_REQUEST]);
  });
});

test("what could not be written did not happen, and nobody is told it did", async () => {
  const journal = new MemoryJournal();
  await using api = await apiServer({ metadata: { journal } });
  await api.metadata.createTopics([spec("t")], false);
  const { version } = api.metadata.image;
  journal.failing = true;
  const { client } = api;
  const entity = [{ entityType: "user", entityName: "u" }];
  const ops = [{ key: "producer_byte_rate", value: 5, remove: false }];
  const quotas = { entries: [{ entity, ops }], validateOnly: false };
  const salt = new Uint8Array([1]);
  const credential = { name: "u", mechanism: 1, iterations: 4096, salt, saltedPassword: salt };
  const credentials = { deletions: [], upsertions: [credential] };
  const lower = { feature: "group.version", maxVersionLevel: 0, upgradeType: 2 };
  const configs = [{ name: "retention.ms", value: "5", configOperation: 0 }];
  const resources = [{ resourceType: resource.topic, resourceName: "t", configs }];
  const topic = { name: "n", numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
  const growth = { name: "t", count: 9, assignments: null };
  const validateOnly = false;
  const timeoutMs = 1;
  const codes = [
    (await client.request(alterClientQuotasApi, 1, quotas)).entries[0]?.errorCode,
    (await client.request(alterUserScramCredentialsApi, 0, credentials)).results[0]?.errorCode,
    (await client.request(updateFeaturesApi, 2, { featureUpdates: [lower] })).errorCode,
    (await client.request(incrementalAlterConfigsApi, 1, { resources, validateOnly })).responses[0]
      ?.errorCode,
    (await client.request(createTopicsApi, 7, { topics: [topic], timeoutMs, validateOnly }))
      .topics[0]?.errorCode,
    (await client.request(createPartitionsApi, 3, { topics: [growth], timeoutMs, validateOnly }))
      .results[0]?.errorCode,
  ];
  expect(codes).toEqual(codes.map(() => ErrorCode.KAFKA_STORAGE_ERROR));
  expect(api.metadata.image.version).toBe(version);
});
