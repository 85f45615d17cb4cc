/** Retention, local retention and DeleteRecords over all tiers, as a client sees them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { registrySegments, walPartitions } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { batchOf, Kafka } from "./kafka.ts";

const dayMs = 86_400_000;
const earliest = -2;
/** Retention looks all the time; archives are made only where a test asks. */
const looking = ["-X", "log.initial.task.delay.ms=0", "-X", "log.retention.check.interval.ms=100"];
const onRequest = ["--wal-indexing-interval", "3600", "-X", "min_segment_age_secs=0"];

class Lab implements AsyncDisposable {
  readonly broker: BrokerProcess;
  kafka: Kafka;

  private constructor(broker: BrokerProcess, kafka: Kafka) {
    this.broker = broker;
    this.kafka = kafka;
  }

  static async start(args: readonly string[] = onRequest): Promise<Lab> {
    const broker = await startBroker({ args: [...args, ...looking] });
    return new Lab(broker, await Kafka.connect(broker.kafkaPort));
  }

  async restart(how: "stop" | "kill" = "stop"): Promise<void> {
    this.kafka.close();
    if (how === "kill") await this.broker.kill9();
    await this.broker.restart();
    this.kafka = await Kafka.connect(this.broker.kafkaPort);
  }

  /** A batch with one record per value, all of that age; returns its first offset. */
  async append(topic: string, values: readonly string[], ageMs: number): Promise<number> {
    const answer = await this.kafka.produce(topic, 0, batchOf(values, {}, Date.now() - ageMs));
    expect(answer.errorCode).toBe(0);
    return answer.baseOffset;
  }

  /** Seals and archives what there is. */
  async archive(): Promise<void> {
    const response = await fetch(`${this.broker.adminUrl}/admin/indexer/run`, { method: "POST" });
    expect(response.ok).toBe(true);
  }

  async logStart(topic: string): Promise<number> {
    return (await this.kafka.listOffset(topic, 0, earliest)).offset;
  }

  async special(topic: string, timestamp: number): Promise<number> {
    const partitions = [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp }];
    const { topics } = await this.kafka.client.request(listOffsetsApi, 11, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: topic, partitions }],
      timeoutMs: 10_000,
    });
    expect(topics[0]?.partitions[0]?.errorCode).toBe(0);
    return topics[0]?.partitions[0]?.offset ?? Number.NaN;
  }

  async wal(topic: string) {
    const found = (await walPartitions(this.broker)).find((one) => one.topic === topic);
    return found?.segments ?? [];
  }

  async archives(topic: string): Promise<number[]> {
    const all = await registrySegments(this.broker);
    return all.filter((one) => one.topic === topic).map(({ base_offset }) => base_offset);
  }

  objects(topic: string): string[] {
    const folder = join(this.broker.dataDir, "tantivy_indexes", topic, "partition-0");
    try {
      return readdirSync(folder).sort();
    } catch {
      return [];
    }
  }

  /** Archives of ten records each, of these ages, oldest first; "v0" to "v9" each. */
  async archived(topic: string, configs: Record<string, string>, ...ages: number[]) {
    await this.kafka.createTopic(topic, 1, { "retention.ms": "-1", ...configs });
    for (const age of ages) {
      await this.append(topic, ten, age);
      await this.archive();
    }
    expect(await this.archives(topic)).toEqual(ages.map((_, n) => n * 10));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kafka.close();
    await this.broker[Symbol.asyncDispose]();
  }
}

const ten = Array.from({ length: 10 }, (_, n) => `v${n}`);
const untilMs = 15_000;

describe("with archives", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start();
  }, 60_000);
  afterAll(async () => await lab?.[Symbol.asyncDispose]());

  test("records past retention.ms go from archive and WAL, the rest is served", async () => {
    await lab.archived("old", {}, 9 * dayMs, 8 * dayMs, dayMs);
    await lab.append("old", ["tail"], 0);
    expect(lab.objects("old")).toHaveLength(3);
    await lab.kafka.alterTopic("old", { "retention.ms": null });
    await until("the log start is 20", untilMs, async () => (await lab.logStart("old")) === 20);
    await until("the objects are gone", untilMs, () => lab.objects("old").length === 1);
    expect(await lab.archives("old")).toEqual([20]);
    const below = await lab.kafka.fetchAt("old", 0, 19);
    expect(below.errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    expect(await lab.kafka.values("old", 0, 20)).toEqual([...ten, "tail"]);
    expect((await lab.kafka.listOffset("old", 0, Date.now() - 20 * dayMs)).offset).toBe(20);
    await lab.restart("kill");
    expect(await lab.logStart("old")).toBe(20);
    expect(await lab.kafka.values("old", 0, 20)).toEqual([...ten, "tail"]);
  }, 60_000);

  test("retention.bytes counts all tiers, whole archives at a time", async () => {
    await lab.archived("large", {}, 0, 0, 0, 0);
    const batchBytes = batchOf(ten).length;
    await lab.kafka.alterTopic("large", { "retention.bytes": String(batchBytes * 3 - 1) });
    await until("one archive went", untilMs, async () => (await lab.logStart("large")) === 10);
    await lab.kafka.alterTopic("large", { "retention.bytes": String(batchBytes) });
    await until("two more went", untilMs, async () => (await lab.logStart("large")) === 30);
    expect(await lab.kafka.values("large", 0, 30)).toEqual(ten);
  }, 60_000);

  test("when all has expired the log is empty and goes on at its end", async () => {
    await lab.archived("over", {}, 9 * dayMs);
    await lab.append("over", ["unsealed"], 9 * dayMs);
    await lab.kafka.alterTopic("over", { "retention.ms": String(dayMs) });
    await until("the log start is 11", untilMs, async () => (await lab.logStart("over")) === 11);
    await until("all is gone", untilMs, async () => {
      return (await lab.archives("over")).length + (await lab.wal("over")).length === 0;
    });
    for (const again of [false, true]) {
      if (again) await lab.restart("kill");
      // The last archived offset stays known; the record behind it went from the WAL.
      expect(await lab.special("over", -5)).toBe(9);
      expect(await lab.special("over", -6)).toBe(-1);
    }
    await lab.restart();
    expect(await lab.append("over", ["again"], 0)).toBe(11);
    expect(await lab.kafka.values("over", 0, 11)).toEqual(["again"]);
    await lab.archive();
    expect(await lab.archives("over")).toEqual([11]);
    expect(await lab.kafka.values("over", 0, 11)).toEqual(["again"]);
  }, 60_000);

  test("neither compaction alone nor an empty policy deletes by age", async () => {
    for (const policy of ["compact", ""]) {
      const topic = `kept-${policy}`;
      await lab.kafka.createTopic(topic, 1, { "cleanup.policy": policy, "retention.ms": "1" });
    }
    const keyed = await lab.kafka.produce("kept-", 0, batchOf(ten, {}, Date.now() - dayMs));
    expect(keyed.errorCode).toBe(0);
    await lab.kafka.createTopic("gone", 1, { "retention.ms": "1" });
    await lab.append("gone", ten, dayMs);
    await until("a topic that deletes", untilMs, async () => (await lab.logStart("gone")) === 10);
    expect(await lab.logStart("kept-")).toBe(0);
    await lab.kafka.alterTopic("kept-", { "cleanup.policy": "compact,delete" });
    await until("both delete", untilMs, async () => (await lab.logStart("kept-")) === 10);
  }, 60_000);

  test("local.retention keeps the WAL of what is archived; without it the WAL goes", async () => {
    const keeps = { "local.retention.ms": "3600000" };
    await lab.archived("local", keeps, dayMs, 0);
    await lab.append("local", ["open"], 0);
    await until("what is older went", untilMs, async () => (await lab.wal("local")).length === 2);
    expect(await lab.special("local", -4)).toBe(10);
    expect(await lab.special("local", -5)).toBe(19);
    expect(await lab.special("local", -6)).toBe(20);
    expect(await lab.kafka.values("local", 0, 0)).toEqual([...ten, ...ten, "open"]);
    await lab.restart("kill");
    await lab.archive();
    expect(await lab.special("local", -4)).toBe(10);
    await lab.kafka.alterTopic("local", { "local.retention.ms": null });
    await lab.archive();
    expect(await lab.wal("local")).toEqual([]);
    expect(await lab.special("local", -4)).toBe(21);
    expect(await lab.special("local", -5)).toBe(20);
    expect(await lab.special("local", -6)).toBe(-1);
    expect(await lab.kafka.values("local", 0, 0)).toEqual([...ten, ...ten, "open"]);
  }, 60_000);

  test("remote.log.copy.disable stops archiving; what is archived stays readable", async () => {
    await lab.archived("copied", {}, 0);
    await lab.kafka.alterTopic("copied", { "remote.log.copy.disable": "true" });
    await lab.append("copied", ten, 0);
    await lab.archive();
    expect(await lab.archives("copied")).toEqual([0]);
    expect((await lab.wal("copied")).map(({ state }) => state)).toEqual(["active"]);
    expect(await lab.kafka.values("copied", 0)).toEqual([...ten, ...ten]);
    await lab.kafka.alterTopic("copied", { "remote.log.copy.disable": "false" });
    await lab.archive();
    expect(await lab.archives("copied")).toEqual([0, 10]);
  }, 60_000);

  test("DeleteRecords cuts archives and WAL, keeps a half-deleted one, and lasts", async () => {
    await lab.archived("cut", {}, 0, 0);
    await lab.append("cut", ten, 0);
    expect(await lab.kafka.deleteRecords("cut", 0, 15)).toBe(15);
    expect((await lab.kafka.fetchAt("cut", 0, 14)).errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    await until("the first archive went", untilMs, () => lab.objects("cut").length === 1);
    expect(await lab.archives("cut")).toEqual([10]);
    expect(await lab.kafka.deleteRecords("cut", 0, 25)).toBe(25);
    await lab.restart("kill");
    expect(await lab.logStart("cut")).toBe(25);
    await until("no archive is left", untilMs, () => lab.objects("cut").length === 0);
    // Half of this segment is deleted already: it is archived whole, and read from the log start.
    await lab.archive();
    expect(await lab.archives("cut")).toEqual([20]);
    expect(await lab.wal("cut")).toEqual([]);
    expect((await lab.kafka.fetchAt("cut", 0, 24)).errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
    expect(await lab.kafka.values("cut", 0, 25)).toEqual(ten);
    expect(await lab.kafka.deleteRecords("cut", 0, -1)).toBe(30);
    await until("the last one went", untilMs, () => lab.objects("cut").length === 0);
    expect(await lab.append("cut", ["next"], 0)).toBe(30);
    await lab.archive();
    await lab.restart();
    expect(await lab.kafka.values("cut", 0, 30)).toEqual(["next"]);
  }, 60_000);

  test("limits that contradict each other are refused, as Kafka does", async () => {
    const make = async (configs: Record<string, string>) => {
      const { topics } = await lab.kafka.client.request(createTopicsApi, 5, {
        topics: [
          {
            name: `tiered-${crypto.randomUUID()}`,
            numPartitions: 1,
            replicationFactor: 1,
            assignments: [],
            configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
          },
        ],
        timeoutMs: 10_000,
        validateOnly: false,
      });
      return topics[0]?.errorCode;
    };
    const tiered = { "remote.storage.enable": "true" };
    const { INVALID_CONFIG, NONE } = ErrorCode;
    expect(await make({ ...tiered, "local.retention.ms": "604800001" })).toBe(INVALID_CONFIG);
    expect(await make({ ...tiered, "local.retention.ms": "604800000" })).toBe(NONE);
    expect(await make({ ...tiered, "local.retention.ms": "-1" })).toBe(INVALID_CONFIG);
    expect(await make({ "local.retention.ms": "-1" })).toBe(NONE);
  });

  test("the rule and how to keep for ever are printed at the start", () => {
    const text = lab.broker.log();
    expect(text).toContain("records older than 7 days, over all tiers, are deleted");
    expect(text).toContain("topic.retention_ms=-1");
    expect(text).not.toContain("not enforced");
  });
});

test("segment.bytes and segment.ms count on a running topic", async () => {
  await using lab = await Lab.start(["--no-wal-indexing"]);
  await lab.kafka.createTopic("sized", 1, { "segment.bytes": "8388608" });
  const large = "x".repeat(400_000);
  for (let n = 0; n < 4; n++) await lab.append("sized", [large], 0);
  expect(await lab.wal("sized")).toHaveLength(1);
  await lab.kafka.alterTopic("sized", { "segment.bytes": "1048576" });
  for (let n = 0; n < 4; n++) await lab.append("sized", [large], 0);
  expect((await lab.wal("sized")).map((one) => one.last_offset)).toEqual([3, 5, 7]);
  await lab.kafka.alterTopic("sized", { "segment.bytes": "4194304" });
  for (let n = 0; n < 4; n++) await lab.append("sized", [large], 0);
  expect((await lab.wal("sized")).map((one) => one.last_offset)).toEqual([3, 5, 11]);
  await lab.restart("kill");
  expect(await lab.kafka.values("sized", 0)).toEqual(Array.from({ length: 12 }, () => large));
}, 60_000);

test("without indexing, retention deletes WAL segments", async () => {
  await using lab = await Lab.start(["--no-wal-indexing"]);
  await lab.kafka.createTopic("wal", 1, { "retention.ms": "-1", "segment.bytes": "1048576" });
  const large = "x".repeat(400_000);
  for (let n = 0; n < 6; n++) await lab.append("wal", [large], n < 3 ? 2 * dayMs : 0);
  expect(await lab.wal("wal")).toHaveLength(3);
  await lab.kafka.alterTopic("wal", { "retention.ms": String(dayMs) });
  // Two to a segment; the third old one lies with a young one.
  await until("the log start is 2", untilMs, async () => (await lab.logStart("wal")) === 2);
  await until("its file is gone", untilMs, async () => (await lab.wal("wal")).length === 2);
  await lab.kafka.alterTopic("wal", { "retention.bytes": "800000" });
  await until("the log start is 4", untilMs, async () => (await lab.logStart("wal")) === 4);
  await lab.restart("kill");
  expect(await lab.kafka.values("wal", 0, 4)).toEqual([large, large]);
  expect(await lab.special("wal", -4)).toBe(4);
}, 60_000);
