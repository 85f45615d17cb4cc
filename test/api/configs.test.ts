import { describe, expect, test } from "bun:test";
import { groupConfigs } from "../../src/metadata/group-configs.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { alterConfigsApi } from "../../src/protocol/messages/33-alter-configs.ts";
import * as incremental from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { apiServer } from "../support/api-server.ts";
import { spec } from "../support/metadata.ts";

const topicType = 2;
const brokerType = 4;

function resource(resourceType: number, resourceName: string, keys: string[] | null = null) {
  return { resourceType, resourceName, configurationKeys: keys };
}

describe("DescribeConfigs", () => {
  for (const version of [1, 2, 3, 4]) {
    test(`v${version}: topic, broker, keys, synonyms, documentation`, async () => {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("t", 1, [["cleanup.policy", "compact"]])], false);
      const resources = [
        resource(topicType, "t"),
        resource(brokerType, "1"),
        resource(topicType, "x"),
      ];
      const includeDocumentation = version >= 3;
      const request = { resources, includeSynonyms: true, includeDocumentation };
      const { results } = await api.client.request(describeConfigsApi, version, request);
      const [topic, broker, unknown] = results;
      expect(topic?.configs.length).toBe(35);
      expect(topic?.configs.find(({ name }) => name === "cleanup.policy")).toMatchObject({
        value: "compact",
        configSource: 1,
        configType: version >= 3 ? 7 : 0,
        readOnly: false,
        synonyms: [
          { name: "cleanup.policy", value: "compact", source: 1 },
          { name: "log.cleanup.policy", value: "delete", source: 5 },
        ],
      });
      const documented = topic?.configs.every(({ documentation }) => (documentation ?? "") !== "");
      expect(documented).toBe(version >= 3);
      const byName = new Map(broker?.configs.map((config) => [config.name, config.value]));
      expect(byName.get("default.replication.factor")).toBe("1");
      expect(byName.get("num.partitions")).toBe("1");
      expect(unknown?.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      const named = await api.client.request(describeConfigsApi, version, {
        resources: [
          resource(topicType, "t", ["retention.ms", "nope"]),
          resource(topicType, "t", []),
        ],
      });
      expect(named.results[0]?.configs.map(({ name }) => name)).toEqual(["retention.ms"]);
      expect(named.results[0]?.configs[0]?.synonyms).toEqual([]);
      expect(named.results[1]?.configs.length).toBe(35);
    });
  }

  test("what was set at run time for the cluster, and resources that are not served", async () => {
    await using api = await apiServer();
    const resources = [
      resource(brokerType, ""),
      resource(brokerType, "9"),
      resource(32, "group"),
      resource(32, ""),
      resource(8, "7"),
      resource(8, "1"),
      resource(16, ""),
      resource(99, "1"),
      resource(topicType, "a/b"),
    ];
    const { results } = await api.client.request(describeConfigsApi, 4, { resources });
    expect(results.map(({ errorCode, configs }) => [errorCode, configs.length])).toEqual([
      [0, 0],
      [ErrorCode.INVALID_REQUEST, 0],
      [ErrorCode.NONE, groupConfigs.size],
      [ErrorCode.INVALID_REQUEST, 0],
      [ErrorCode.INVALID_REQUEST, 0],
      [0, 0],
      [ErrorCode.INVALID_REQUEST, 0],
      [ErrorCode.INVALID_REQUEST, 0],
      [ErrorCode.INVALID_TOPIC_EXCEPTION, 0],
    ]);
  });
});

describe("IncrementalAlterConfigs and AlterConfigs", () => {
  const op = (name: string, configOperation: number, value: string | null) => {
    return { name, configOperation, value };
  };

  for (const version of [0, 1]) {
    test(`IncrementalAlterConfigs v${version}: each resource on its own`, async () => {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("a"), spec("b"), spec("c"), spec("d")], false);
      const resources: [number, string, ReturnType<typeof op>[], number][] = [
        [topicType, "a", [op("retention.ms", 0, "7"), op("cleanup.policy", 2, "compact")], 0],
        [topicType, "b", [op("retention.ms", 0, "x")], ErrorCode.INVALID_CONFIG],
        [topicType, "c", [op("nope", 0, "1")], ErrorCode.INVALID_CONFIG],
        [topicType, "x", [op("retention.ms", 0, "1")], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
        [topicType, "x y", [op("retention.ms", 0, "1")], ErrorCode.INVALID_TOPIC_EXCEPTION],
        [topicType, "d", [op("retention.ms", 0, null)], ErrorCode.INVALID_REQUEST],
        [topicType, "", [], ErrorCode.INVALID_REQUEST],
        [brokerType, "", [op("log.retention.ms", 0, "5")], 0],
        [brokerType, "1", [op("node.id", 0, "5")], ErrorCode.INVALID_REQUEST],
        [brokerType, "7", [], ErrorCode.INVALID_REQUEST],
        [16, "metrics", [op("interval.ms", 0, "500")], 0],
        [16, "metrics 2", [op("interval.ms", 0, "5")], ErrorCode.INVALID_REQUEST],
        [8, "1", [op("root", 0, "INFO")], ErrorCode.INVALID_CONFIG],
        [8, "7", [op("root", 0, "INFO")], ErrorCode.INVALID_REQUEST],
        [99, "1", [], ErrorCode.INVALID_REQUEST],
      ];
      const request = {
        validateOnly: false,
        resources: resources.map(([resourceType, resourceName, configs]) => {
          return { resourceType, resourceName, configs };
        }),
      };
      const answer = await api.client.request(
        incremental.incrementalAlterConfigsApi,
        version,
        request,
      );
      expect(answer.responses.map((one) => [one.resourceName, one.errorCode])).toEqual(
        resources.map(([, name, , code]) => [name, code]),
      );
      expect(api.metadata.topicConfig("a")).toMatchObject({ retentionMs: 7, compact: true });
      expect(api.metadata.topicConfig("b").retentionMs).toBe(5);
    });
  }

  test("log cleaner and logins: dynamic configs are kept, others not", async () => {
    await using api = await apiServer();
    const alter = async (resourceName: string, name: string, value: string) => {
      const resources = [{ resourceType: brokerType, resourceName, configs: [op(name, 0, value)] }];
      const request = { validateOnly: false, resources };
      const answer = await api.client.request(incremental.incrementalAlterConfigsApi, 1, request);
      return answer.responses[0]?.errorCode;
    };
    const { INVALID_REQUEST } = ErrorCode;
    expect(await alter("1", "log.cleaner.backoff.ms", "15001")).toBe(0);
    expect(await alter("", "log.cleaner.io.max.bytes.per.second", "1.5")).toBe(0);
    expect(await alter("1", "log.cleaner.backoff.ms", "-1")).toBe(INVALID_REQUEST);
    expect(await alter("1", "log.cleaner.threads", "x")).toBe(INVALID_REQUEST);
    expect(await alter("1", "log.cleaner.enable", "true")).toBe(INVALID_REQUEST);
    expect(await alter("1", "sasl.kerberos.min.time.before.relogin", "58000")).toBe(0);
    expect(await alter("1", "sasl.login.refresh.window.factor", "0.4")).toBe(INVALID_REQUEST);
    const resources = [resource(brokerType, "1", ["log.cleaner.backoff.ms"])];
    const ask = { resources, includeDocumentation: true };
    const { results } = await api.client.request(describeConfigsApi, 4, ask);
    expect(results[0]?.configs).toMatchObject([
      { value: "15001", configSource: 2, readOnly: false },
    ]);
    expect(results[0]?.configs[0]?.documentation).toStartWith("Without effect in chronik");
  });

  test("duplicates and unknown operations are refused, validateOnly changes nothing", async () => {
    await using api = await apiServer();
    await api.metadata.createTopics([spec("a"), spec("b"), spec("c")], false);
    const set = (resourceName: string, ...configs: ReturnType<typeof op>[]) => {
      return { resourceType: topicType, resourceName, configs };
    };
    const ask = async (validateOnly: boolean, ...resources: ReturnType<typeof set>[]) => {
      const request = { validateOnly, resources };
      const { responses } = await api.client.request(
        incremental.incrementalAlterConfigsApi,
        1,
        request,
      );
      return responses.map(({ errorCode }) => errorCode);
    };
    const { INVALID_REQUEST } = ErrorCode;
    const seven = op("retention.ms", 0, "7");
    expect(await ask(false, set("a", seven), set("a", seven), set("b", seven))).toEqual([
      INVALID_REQUEST,
      INVALID_REQUEST,
      0,
    ]);
    expect(await ask(false, set("c", seven, seven))).toEqual([INVALID_REQUEST]);
    expect(await ask(false, set("c", op("retention.ms", 9, "7")))).toEqual([INVALID_REQUEST]);
    expect(await ask(true, set("c", seven))).toEqual([0]);
    expect(api.metadata.image.topicsByName.get("c")?.configs.size).toBe(0);
    expect(api.metadata.topicConfig("b").retentionMs).toBe(7);
  });

  for (const version of [0, 1, 2]) {
    test(`AlterConfigs v${version} replaces everything that was set`, async () => {
      await using api = await apiServer();
      await api.metadata.createTopics([spec("a", 1, [["retention.ms", "7"]])], false);
      const request = {
        validateOnly: false,
        resources: [
          {
            resourceType: topicType,
            resourceName: "a",
            configs: [{ name: "flush.ms", value: "9" }],
          },
        ],
      };
      const { responses } = await api.client.request(alterConfigsApi, version, request);
      expect(responses.map(({ errorCode }) => errorCode)).toEqual([0]);
      const configs = [...(api.metadata.image.topicsByName.get("a")?.configs ?? [])];
      expect(configs).toEqual([["flush.ms", "9"]]);
    });
  }
});
