import { describe, expect, test } from "bun:test";
import { coordinatorTopics } from "../../src/broker-offsets.ts";
import type { Partitions } from "../../src/log/partitions.ts";
import { brokerConfigs } from "../../src/metadata/broker-configs.ts";
import {
  type ConfigLayers,
  checkTopicConfigs,
  describeBrokerConfigs,
  describeGroupConfigs,
  describeTopicConfigs,
  resolveTopicConfig,
} from "../../src/metadata/config-catalogue.ts";
import { ConfigSource } from "../../src/metadata/config-types.ts";
import { topicConfigs } from "../../src/metadata/topic-configs.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { openMetadata, spec } from "../support/metadata.ts";

const none = new Map<string, string>();
const bare: ConfigLayers = { nodeId: 1, staticConfigs: new Map(), brokerConfigs: new Map() };

function entryOf(name: string, configs: ReadonlyMap<string, string>, layers: ConfigLayers) {
  return describeTopicConfigs(configs, layers).find((entry) => entry.name === name);
}

describe("config catalogue", () => {
  test("defaults pass their own checks", () => {
    for (const { name, defaultValue, check } of topicConfigs.values()) {
      expect([name, check(defaultValue)]).toEqual([name, null]);
    }
    for (const { name, defaultValue, check } of brokerConfigs.values()) {
      if (defaultValue !== null) expect([name, check(defaultValue)]).toEqual([name, null]);
    }
  });

  test("every broker config a topic config leans on exists and can be changed", () => {
    for (const { brokerNames } of topicConfigs.values()) {
      for (const [index, { name }] of brokerNames.entries()) {
        expect([name, brokerConfigs.get(name)?.dynamic]).toEqual([name, index === 0]);
      }
    }
    expect([...brokerConfigs.keys()]).toEqual([...brokerConfigs.keys()].sort());
  });

  test("an internal config is shown where it is set, and takes the place of the public one", () => {
    const name = "internal.segment.bytes";
    expect(entryOf(name, none, bare)).toBeUndefined();
    expect(resolveTopicConfig(none, bare).segmentBytes).toBe(134_217_728);
    const set = new Map([[name, "2000"]]);
    expect(checkTopicConfigs(set, bare)).toBeNull();
    expect(entryOf(name, set, bare)).toMatchObject({ value: "2000", source: ConfigSource.TOPIC });
    expect(resolveTopicConfig(set, bare).segmentBytes).toBe(2000);
    expect(checkTopicConfigs(new Map([[name, "1023"]]), bare)).toContain("at least 1024");
  });

  test("Kafka's defaults", () => {
    const config = resolveTopicConfig(none, bare);
    expect(config).toMatchObject({
      retentionMs: 604_800_000,
      retentionBytes: -1,
      messageBytesMax: 1_048_588,
      insyncReplicasMin: 1,
      compressionType: "producer",
      compact: false,
      deletes: true,
      timestampAfterMsMax: 3_600_000,
      timestampBeforeMsMax: Number.MAX_SAFE_INTEGER,
      searchIndex: "full",
    });
  });

  test("the nearest layer wins, and the others are its synonyms", () => {
    const layers: ConfigLayers = {
      nodeId: 1,
      staticConfigs: new Map([["message.max.bytes", { value: "3000", explicit: true }]]),
      brokerConfigs: new Map([
        ["", new Map([["message.max.bytes", "2000"]])],
        ["1", new Map([["message.max.bytes", "1000"]])],
        ["2", new Map([["message.max.bytes", "7"]])],
      ]),
    };
    const own = new Map([["max.message.bytes", "500"]]);
    expect(entryOf("max.message.bytes", own, layers)?.synonyms).toEqual([
      { name: "max.message.bytes", value: "500", source: ConfigSource.TOPIC },
      { name: "message.max.bytes", value: "1000", source: ConfigSource.DYNAMIC_BROKER },
      { name: "message.max.bytes", value: "2000", source: ConfigSource.DYNAMIC_DEFAULT_BROKER },
      { name: "message.max.bytes", value: "3000", source: ConfigSource.STATIC_BROKER },
      { name: "message.max.bytes", value: "1048588", source: ConfigSource.DEFAULT },
    ]);
    expect(resolveTopicConfig(none, layers).messageBytesMax).toBe(1000);
    expect(entryOf("max.message.bytes", none, layers)?.source).toBe(ConfigSource.DYNAMIC_BROKER);
  });

  test("hours and minutes become milliseconds, and lose against milliseconds", () => {
    const withStatic = (...pairs: [string, string][]): ConfigLayers => ({
      ...bare,
      staticConfigs: new Map(pairs.map(([name, value]) => [name, { value, explicit: true }])),
    });
    const hours: [string, string] = ["log.retention.hours", "2"];
    expect(resolveTopicConfig(none, withStatic(hours)).retentionMs).toBe(7_200_000);
    const minutes: [string, string] = ["log.retention.minutes", "3"];
    expect(resolveTopicConfig(none, withStatic(hours, minutes)).retentionMs).toBe(180_000);
    const ms: [string, string] = ["log.retention.ms", "9"];
    expect(resolveTopicConfig(none, withStatic(hours, minutes, ms)).retentionMs).toBe(9);
    const forEver: [string, string] = ["log.retention.hours", "-1"];
    expect(resolveTopicConfig(none, withStatic(forEver)).retentionMs).toBe(-1);
  });

  test("chronik's own default of a broker config is a default, not a setting", () => {
    const staticConfigs = new Map([["log.segment.bytes", { value: "5000000", explicit: false }]]);
    const entry = entryOf("segment.bytes", none, { ...bare, staticConfigs });
    expect(entry).toMatchObject({ value: "5000000", source: ConfigSource.DEFAULT });
    const broker = describeBrokerConfigs({ ...bare, staticConfigs });
    expect(broker.find(({ name }) => name === "log.segment.bytes")).toMatchObject({
      value: "5000000",
      readOnly: false,
    });
    expect(broker.find(({ name }) => name === "num.partitions")?.readOnly).toBe(true);
  });

  test("groups follow the assignment interval their broker has at run time", async () => {
    const metadata = await openMetadata();
    const name = "group.consumer.assignment.interval.ms";
    const alter = async (resource: "broker" | "group", who: string, key: string, value: string) => {
      const operations = [{ name: key, kind: "set" as const, value }];
      const alteration = { resource, name: who, operations, replacesAll: false };
      const [outcome] = await metadata.alterConfigs([alteration], false);
      return outcome?.errorCode;
    };
    const topics = coordinatorTopics(metadata, {} as Partitions, 1);
    const interval = () => topics.groupConfig("g")?.get("consumer.assignment.interval.ms");
    const sources = () => {
      const layers = { ...metadata.layers };
      const own = metadata.image.groupConfigs.get("g") ?? none;
      const entries = describeGroupConfigs(own, layers);
      const entry = entries.find((one) => one.name === "consumer.assignment.interval.ms");
      return entry?.synonyms.map(({ value, source }) => [value, source]);
    };
    expect(topics.groupConfig("g")).toBeNull();
    expect(await alter("broker", "", name, "2000")).toBe(0);
    expect(interval()).toBe("2000");
    expect(await alter("broker", "1", name, "1500")).toBe(0);
    expect(interval()).toBe("1500");
    expect(await alter("group", "g", "consumer.assignment.interval.ms", "3000")).toBe(0);
    expect(interval()).toBe("3000");
    expect(sources()).toEqual([
      ["3000", ConfigSource.GROUP],
      ["1500", ConfigSource.DYNAMIC_BROKER],
      ["2000", ConfigSource.DYNAMIC_DEFAULT_BROKER],
      ["1000", ConfigSource.DEFAULT],
    ]);
    expect(topics.groupConfig("other")?.get("consumer.assignment.interval.ms")).toBe("1500");
    expect(await alter("broker", "1", name, "15001")).toBe(ErrorCode.INVALID_REQUEST);
    // As in Kafka 4.3 the other defaults of groups are read at start.
    const session = "group.consumer.session.timeout.ms";
    expect(await alter("broker", "1", session, "50000")).toBe(ErrorCode.INVALID_REQUEST);
  });

  test("producer.id.expiration.ms is what was set last, a broker's own first", async () => {
    const name = "producer.id.expiration.ms";
    const staticConfigs = new Map([[name, { value: "10000", explicit: true }]]);
    const journal = new MemoryJournal();
    const metadata = await openMetadata({ journal, staticConfigs });
    const set = async (who: string, value: string) => {
      const operations = [{ name, kind: "set" as const, value }];
      const alteration = { resource: "broker" as const, name: who, operations, replacesAll: false };
      const [outcome] = await metadata.alterConfigs([alteration], false);
      return [outcome?.errorCode, metadata.brokerNumber(name)];
    };
    expect(metadata.brokerNumber(name)).toBe(10_000);
    expect(await set("", "100000")).toEqual([0, 100_000]);
    expect(await set("1", "500")).toEqual([0, 500]);
    expect(await set("", "0")).toEqual([ErrorCode.INVALID_REQUEST, 500]);
    const again = await openMetadata({ journal, staticConfigs });
    expect(again.brokerNumber(name)).toBe(500);
  });

  test("a group config that follows no broker config tells its default as a synonym", () => {
    const reset = "share.auto.offset.reset";
    const own = new Map([[reset, "earliest"]]);
    const byDefault = { name: reset, value: "latest", source: ConfigSource.DEFAULT };
    const synonymsOf = (configs: ReadonlyMap<string, string>) =>
      describeGroupConfigs(configs, bare).find(({ name }) => name === reset)?.synonyms;
    expect(synonymsOf(none)).toEqual([byDefault]);
    expect(synonymsOf(own)).toEqual([
      { name: reset, value: "earliest", source: ConfigSource.GROUP },
      byDefault,
    ]);
  });

  const values: [string, string, boolean][] = [
    ["cleanup.policy", "compact,delete", true],
    ["cleanup.policy", "", true],
    ["cleanup.policy", "compact, delete", true],
    ["cleanup.policy", "delete,delete", false],
    ["cleanup.policy", "shred", false],
    ["retention.ms", "-1", true],
    ["retention.ms", "-2", false],
    ["retention.ms", "1.5", false],
    ["retention.ms", "9223372036854775807", true],
    ["retention.ms", "9223372036854775808", false],
    ["segment.bytes", "1048575", false],
    ["segment.bytes", "2147483648", false],
    ["min.insync.replicas", "2", true],
    ["min.insync.replicas", "0", false],
    ["compression.type", "producer", true],
    ["compression.type", "zstd", true],
    ["compression.type", "uncompressed", true],
    ["compression.type", "none", false],
    ["compression.type", "brotli", false],
    ["compression.gzip.level", "0", false],
    ["preallocate", "TRUE", true],
    ["preallocate", "yes", false],
    ["min.cleanable.dirty.ratio", "1.1", false],
    ["search.index", "keys", true],
    ["search.index", "all", false],
    ["leader.replication.throttled.replicas", "0:1,1:2", true],
    ["leader.replication.throttled.replicas", "x", false],
    ["no.such.config", "1", false],
  ];
  for (const [name, value, taken] of values) {
    test(`${name}=${value} is ${taken ? "taken" : "refused"}`, () => {
      expect(checkTopicConfigs(new Map([[name, value]]), bare) === null).toBe(taken);
    });
  }

  test("two configs that contradict each other are refused", () => {
    const configs = new Map([
      ["min.compaction.lag.ms", "10"],
      ["max.compaction.lag.ms", "9"],
    ]);
    expect(checkTopicConfigs(configs, bare)).toContain("above");
  });
});

describe("altering configs", () => {
  type Kind = "set" | "delete" | "append" | "subtract";

  async function alter(
    ...operations: [name: string, kind: Kind, value: string | null][]
  ): Promise<{ code: number | undefined; configs: Record<string, string> }> {
    const metadata = await openMetadata();
    await metadata.createTopics([spec("t", 1, [["retention.ms", "5"]])], false);
    const alteration = {
      resource: "topic" as const,
      name: "t",
      operations: operations.map(([name, kind, value]) => ({ name, kind, value })),
      replacesAll: false,
    };
    const [outcome] = await metadata.alterConfigs([alteration], false);
    const configs = Object.fromEntries(metadata.image.topicsByName.get("t")?.configs ?? []);
    return { code: outcome?.errorCode, configs };
  }

  test("set, delete, append and subtract", async () => {
    expect(await alter(["cleanup.policy", "append", "compact"])).toEqual({
      code: 0,
      configs: { "retention.ms": "5", "cleanup.policy": "delete,compact" },
    });
    const subtracted = await alter(["cleanup.policy", "subtract", "delete"]);
    expect(subtracted.configs["cleanup.policy"]).toBe("");
    expect(await alter(["retention.ms", "delete", null])).toEqual({ code: 0, configs: {} });
    expect((await alter(["retention.ms", "append", "1"])).code).toBe(ErrorCode.INVALID_CONFIG);
    expect((await alter(["retention.ms", "set", "x"])).configs).toEqual({ "retention.ms": "5" });
  });

  test("a broker's defaults of topics can be changed, other settings not", async () => {
    const metadata = await openMetadata();
    const set = (name: string, key: string, value: string) =>
      metadata.alterConfigs(
        [
          {
            resource: "broker",
            name,
            operations: [{ name: key, kind: "set", value }],
            replacesAll: false,
          },
        ],
        false,
      );
    expect((await set("", "log.retention.ms", "77"))[0]?.errorCode).toBe(0);
    expect(metadata.topicConfig("any").retentionMs).toBe(77);
    expect((await set("1", "log.retention.ms", "66"))[0]?.errorCode).toBe(0);
    expect(metadata.topicConfig("any").retentionMs).toBe(66);
    expect((await set("2", "log.retention.ms", "6"))[0]?.errorCode).toBe(ErrorCode.INVALID_REQUEST);
    expect((await set("", "num.partitions", "6"))[0]?.errorCode).toBe(ErrorCode.INVALID_REQUEST);
    expect((await set("", "nonsense", "6"))[0]?.errorCode).toBe(ErrorCode.INVALID_CONFIG);
    expect((await set("", "log.retention.ms", "-5"))[0]?.errorCode).toBe(ErrorCode.INVALID_REQUEST);
  });
});
