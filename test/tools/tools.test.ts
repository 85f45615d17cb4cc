import { describe, expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTopics, kafkaAt, withAdmin } from "../clients/topics.ts";
import { until, withoutRebalanceDelay } from "../support/broker-process.ts";
import { ToolBench } from "./tool-bench.ts";

/**
 * Kafka's own command-line tools do their work on the broker and say so.
 */

const visibleMsMax = 10_000;
const firstTimestampMs = Date.UTC(2024, 0, 1);
const bench = await ToolBench.of("tools", { args: withoutRebalanceDelay });
const { check, output, tool, unique, scratchDir } = bench;

/** A topic with `perPartition` records in each partition, one second of timestamp apart. */
async function filledTopic(name: string, partitions: number, perPartition: number) {
  const topic = unique(name);
  await createTopics(bench.bootstrap, [topic], partitions);
  const producer = kafkaAt(bench.bootstrap).producer();
  await producer.connect();
  const messages = Array.from({ length: partitions * perPartition }, (_, i) => ({
    partition: i % partitions,
    key: `key ${i}`,
    value: `value ${i}`,
    timestamp: String(firstTimestampMs + Math.floor(i / partitions) * 1000),
  }));
  await producer.send({ topic, acks: -1, messages });
  await producer.disconnect();
  return topic;
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

/** `get-offsets` of one topic as lines `partition:offset`. */
async function offsets(topic: string, time: string): Promise<string[]> {
  const lines = linesOf(await output("get-offsets", "--topic", topic, "--time", time));
  return lines.map((line) => line.replace(`${topic}:`, ""));
}

/** The rows of a table that the groups tool prints, cells separated by one space. */
function rows(text: string): string[] {
  return linesOf(text)
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter((line) => !line.startsWith("GROUP ") && !line.startsWith("TOPIC "))
    .sort();
}

bench.suite("Kafka's command-line tools", () => {
  describe("kafka-topics", () => {
    check("creates with partitions and configs, and describes what it created", async () => {
      const topic = unique("create");
      const args = ["--topic", topic, "--partitions", "3", "--replication-factor", "1"];
      expect(
        await output("topics", "--create", ...args, "--config", "retention.ms=123456"),
      ).toContain(`Created topic ${topic}.`);
      const [head, ...partitions] = linesOf(await output("topics", "--describe", "--topic", topic));
      expect(head).toMatch(/TopicId: [\w-]{22}\t/);
      expect(head).toContain("PartitionCount: 3\tReplicationFactor: 1");
      expect(head).toMatch(/Configs: .*\bretention\.ms=123456\b/);
      expect(partitions).toHaveLength(3);
      for (const [i, line] of partitions.entries()) {
        expect(line).toMatch(
          new RegExp(`Partition: ${i}\\tLeader: (\\d+)\\tReplicas: \\1\\tIsr: \\1\\b`),
        );
      }
    });

    check("refuses a second topic of the same name", async () => {
      const topic = unique("twice");
      await output("topics", "--create", "--topic", topic);
      const { exit, stdout } = await tool("topics", "--create", "--topic", topic);
      expect({ exit, stdout }).toEqual({
        exit: 1,
        stdout: expect.stringContaining(`Topic '${topic}' already exists.`),
      });
    });

    check("refuses an invalid name and an unknown config", async () => {
      const badName = await tool("topics", "--create", "--topic", "no/slash");
      expect(badName.exit).toBe(1);
      const args = ["--topic", unique("bad-config"), "--config", "no.such.config=1"];
      const badConfig = await tool("topics", "--create", ...args);
      expect(badConfig.exit).toBe(1);
    });

    check("lists", async () => {
      const topic = unique("list");
      await output("topics", "--create", "--topic", topic);
      expect(linesOf(await output("topics", "--list"))).toContain(topic);
    });

    check("adds partitions and refuses to take some away", async () => {
      const topic = await filledTopic("alter", 2, 3);
      await output("topics", "--alter", "--topic", topic, "--partitions", "5");
      const text = await output("topics", "--describe", "--topic", topic);
      expect(text).toContain("PartitionCount: 5");
      expect(await offsets(topic, "latest")).toEqual(["0:3", "1:3", "2:0", "3:0", "4:0"]);
      const { exit, stdout } = await tool(
        "topics",
        "--alter",
        "--topic",
        topic,
        "--partitions",
        "1",
      );
      expect({ exit, stdout }).toEqual({
        exit: 1,
        stdout: expect.stringContaining("5 partition(s); 1 would not be an increase"),
      });
    });

    check("deletes, and a topic of the same name starts empty", async () => {
      const topic = await filledTopic("delete", 1, 5);
      await output("topics", "--delete", "--topic", topic);
      await until("the topic is gone", visibleMsMax, async () => {
        const listed = await withAdmin(bench.bootstrap, (admin) => admin.listTopics());
        return !listed.includes(topic);
      });
      const again = await tool("topics", "--delete", "--topic", topic);
      expect(again).toMatchObject({ exit: 1 });
      expect(again.stdout).toContain(`Topic '${topic}' does not exist as expected`);
      await createTopics(bench.bootstrap, [topic], 1);
      expect(await offsets(topic, "latest")).toEqual(["0:0"]);
    });
  });

  describe("kafka-configs", () => {
    const entity = (topic: string) => ["--entity-type", "topics", "--entity-name", topic];

    check("sets, shows and removes a topic's configs", async () => {
      const topic = unique("configs");
      await output("topics", "--create", "--topic", topic);
      const set = ["--alter", "--add-config", "retention.ms=86400000,max.message.bytes=2000000"];
      expect(await output("configs", ...entity(topic), ...set)).toContain(
        `Completed updating config for topic ${topic}.`,
      );
      const describeIt = () => output("configs", ...entity(topic), "--describe");
      expect(await describeIt()).toMatch(/^ {2}retention\.ms=86400000 .*DYNAMIC_TOPIC_CONFIG/m);
      expect(await describeIt()).toMatch(/^ {2}max\.message\.bytes=2000000 /m);
      await output("configs", ...entity(topic), "--alter", "--delete-config", "max.message.bytes");
      expect(await describeIt()).not.toContain("max.message.bytes");
      const all = await output("configs", ...entity(topic), "--describe", "--all");
      expect(all).toMatch(/^ {2}max\.message\.bytes=1048588 .*DEFAULT_CONFIG/m);
      expect(all).toMatch(/^ {2}cleanup\.policy=delete /m);
    });

    check("refuses a bad value and an unknown name, and changes nothing", async () => {
      const topic = unique("bad-configs");
      await output("topics", "--create", "--topic", topic, "--config", "retention.ms=123456");
      const add = (config: string) =>
        tool("configs", ...entity(topic), "--alter", "--add-config", config);
      const badValue = await add("retention.ms=soon");
      expect(badValue).toMatchObject({ exit: 1 });
      expect(badValue.stderr).toContain("InvalidConfigurationException");
      const badName = await add("no.such.config=1");
      expect(badName).toMatchObject({ exit: 1 });
      expect(badName.stderr).toContain("InvalidConfigurationException");
      const text = await output("configs", ...entity(topic), "--describe");
      expect(text).toMatch(/^ {2}retention\.ms=123456 /m);
      expect(text).not.toContain("no.such.config");
    });

    check("describes the broker", async () => {
      const { controller } = await withAdmin(bench.bootstrap, (admin) => admin.describeCluster());
      const id = String(controller ?? 1);
      const args = ["--entity-type", "brokers", "--entity-name", id, "--describe", "--all"];
      const text = await output("configs", ...args);
      expect(text).toContain(`All configs for broker ${id} are:`);
      expect(text).toMatch(/^ {2}log\.dirs=.+ sensitive=false/m);
    });
  });

  describe("kafka-consumer-groups", () => {
    /** A group without members that has read `count` of the topic's records. */
    async function emptyGroup(topic: string, count: number): Promise<string> {
      const group = unique("group");
      const args = ["--topic", topic, "--group", group, "--from-beginning"];
      const limits = ["--max-messages", String(count), "--timeout-ms", "20000"];
      expect(linesOf(await output("console-consumer", ...args, ...limits))).toHaveLength(count);
      return group;
    }

    check("lists and describes offsets, lag, state and members", async () => {
      const topic = await filledTopic("groups", 2, 10);
      const group = await emptyGroup(topic, 20);
      expect(linesOf(await output("consumer-groups", "--list"))).toContain(group);
      const states = rows(await output("consumer-groups", "--list", "--state"));
      expect(states).toContain(`${group} Empty`);
      const about = ["--describe", "--group", group];
      expect(rows(await output("consumer-groups", ...about))).toEqual([
        `${group} ${topic} 0 10 10 0 - - -`,
        `${group} ${topic} 1 10 10 0 - - -`,
      ]);
      const [state] = rows(await output("consumer-groups", ...about, "--state"));
      expect(state).toMatch(new RegExp(`^${group} .*${bench.bootstrap} \\(\\d+\\) .*Empty 0$`));
      expect(rows(await output("consumer-groups", ...about, "--members"))).toEqual([]);
    });

    check("describes a live member", async () => {
      const topic = await filledTopic("live", 2, 5);
      const group = unique("live-group");
      const consumer = kafkaAt(bench.bootstrap).consumer({ groupId: group });
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
      await consumer.run({ autoCommit: false, eachMessage: () => Promise.resolve() });
      await joined;
      try {
        const members = rows(
          await output("consumer-groups", "--describe", "--group", group, "--members"),
        );
        expect(members).toEqual([
          expect.stringMatching(
            new RegExp(`^${group} chronik-tests-\\S+ /127\\.0\\.0\\.1 chronik-tests 2$`),
          ),
        ]);
        const refused = await tool("consumer-groups", "--delete", "--group", group);
        expect(refused.stdout + refused.stderr).toContain("GroupNotEmptyException");
      } finally {
        await consumer.disconnect();
      }
    });

    check("resets offsets: a dry run changes nothing, --execute does", async () => {
      const topic = await filledTopic("reset", 1, 10);
      const group = await emptyGroup(topic, 10);
      const reset = async (...args: string[]) =>
        rows(await output("consumer-groups", "--reset-offsets", "--group", group, ...args));
      const current = async () => {
        const [line] = rows(await output("consumer-groups", "--describe", "--group", group));
        return line?.split(" ")[3];
      };
      const only = ["--topic", topic];
      expect(await reset(...only, "--to-earliest", "--dry-run")).toEqual([`${group} ${topic} 0 0`]);
      expect(await current()).toBe("10");
      expect(await reset(...only, "--to-earliest", "--execute")).toEqual([`${group} ${topic} 0 0`]);
      expect(await current()).toBe("0");
      const one = ["--topic", `${topic}:0`];
      expect(await reset(...one, "--to-offset", "4", "--execute")).toEqual([
        `${group} ${topic} 0 4`,
      ]);
      expect(await reset(...one, "--shift-by", "3", "--execute")).toEqual([
        `${group} ${topic} 0 7`,
      ]);
      const at = ["--to-datetime", "2024-01-01T00:00:02.500"];
      expect(await reset(...one, ...at, "--execute")).toEqual([`${group} ${topic} 0 3`]);
      expect(await reset(...one, "--to-latest", "--execute")).toEqual([`${group} ${topic} 0 10`]);
      expect(await current()).toBe("10");
    });

    check("deletes offsets and groups", async () => {
      const topic = await filledTopic("drop", 2, 5);
      const group = await emptyGroup(topic, 10);
      const about = ["--group", group];
      const dropped = await output(
        "consumer-groups",
        "--delete-offsets",
        ...about,
        "--topic",
        `${topic}:1`,
      );
      expect(rows(dropped)).toContain(`${topic} 1 Successful`);
      expect(rows(await output("consumer-groups", "--describe", ...about))).toEqual([
        `${group} ${topic} 0 5 5 0 - - -`,
      ]);
      expect(await output("consumer-groups", "--delete", ...about)).toContain(
        `Deletion of requested consumer groups ('${group}') was successful.`,
      );
      expect(linesOf(await output("consumer-groups", "--list"))).not.toContain(group);
      const again = await tool("consumer-groups", "--delete", ...about);
      expect(again.stdout + again.stderr).toContain("GroupIdNotFoundException");
    });
  });

  check("kafka-get-offsets: earliest, latest, by time and of the largest timestamp", async () => {
    const topic = await filledTopic("offsets", 2, 10);
    expect(await offsets(topic, "earliest")).toEqual(["0:0", "1:0"]);
    expect(await offsets(topic, "latest")).toEqual(["0:10", "1:10"]);
    expect(await offsets(topic, "max-timestamp")).toEqual(["0:9", "1:9"]);
    expect(await offsets(topic, "0")).toEqual(["0:0", "1:0"]);
    expect(await offsets(topic, String(firstTimestampMs + 4000))).toEqual(["0:4", "1:4"]);
    expect(await offsets(topic, String(firstTimestampMs + 4001))).toEqual(["0:5", "1:5"]);
    expect(await offsets(topic, String(firstTimestampMs + 60_000))).toEqual([]);
  });

  check("kafka-delete-records moves the log start, and reads begin there", async () => {
    const topic = await filledTopic("delete-records", 2, 10);
    const path = join(scratchDir, `${topic}.json`);
    const ask = async (partition: number, offset: number) => {
      const partitions = [{ topic, partition, offset }];
      writeFileSync(path, JSON.stringify({ version: 1, partitions }));
      return await tool("delete-records", "--offset-json-file", path);
    };
    expect((await ask(0, 6)).stdout).toContain(`partition: ${topic}-0\tlow_watermark: 6`);
    expect((await ask(1, -1)).stdout).toContain(`partition: ${topic}-1\tlow_watermark: 10`);
    expect(await offsets(topic, "earliest")).toEqual(["0:6", "1:10"]);
    expect(await offsets(topic, "latest")).toEqual(["0:10", "1:10"]);
    const read = ["--topic", topic, "--from-beginning", "--max-messages", "4"];
    const values = linesOf(await output("console-consumer", ...read, "--timeout-ms", "20000"));
    expect(values).toEqual(["value 12", "value 14", "value 16", "value 18"]);
    const beyond = await ask(0, 11);
    expect(beyond.stdout + beyond.stderr).toContain("OffsetOutOfRange");
  });

  check("kafka-log-dirs tells each partition's size", async () => {
    const topic = await filledTopic("log-dirs", 2, 10);
    const text = await output("log-dirs", "--describe", "--topic-list", topic);
    const json = linesOf(text).find((line) => line.startsWith("{")) ?? "{}";
    const { brokers } = JSON.parse(json) as {
      brokers: {
        logDirs: { error: string | null; partitions: { partition: string; size: number }[] }[];
      }[];
    };
    const dirs = brokers.flatMap(({ logDirs }) => logDirs);
    expect(dirs.map(({ error }) => error)).toEqual(dirs.map(() => null));
    const sizes = dirs.flatMap(({ partitions }) => partitions);
    expect(sizes.map(({ partition }) => partition).sort()).toEqual([`${topic}-0`, `${topic}-1`]);
    for (const { size } of sizes) expect(size).toBeGreaterThan(100);
  });

  check("kafka-producer-perf-test and kafka-consumer-perf-test move every record", async () => {
    const topic = unique("perf");
    await createTopics(bench.bootstrap, [topic], 3);
    const records = 20_000;
    const sent = await output(
      "producer-perf-test",
      ...["--topic", topic, "--num-records", String(records), "--record-size", "200"],
      ...["--throughput", "-1", "--command-property", "acks=all", "compression.type=lz4"],
    );
    expect(sent).toMatch(new RegExp(`^${records} records sent, [\\d.]+ records/sec`, "m"));
    const ends = (await offsets(topic, "latest")).map((line) => Number(line.split(":")[1]));
    expect(ends.reduce((sum, end) => sum + end, 0)).toBe(records);
    const read = ["--topic", topic, "--num-records", String(records), "--timeout", "20000"];
    const [head, row] = linesOf(await output("consumer-perf-test", ...read));
    const column = head?.split(", ").indexOf("data.consumed.in.nMsg") ?? -1;
    expect(Number(row?.split(", ")[column])).toBe(records);
  });

  check("kafka-e2e-latency gets each record back", async () => {
    const topic = unique("e2e");
    await createTopics(bench.bootstrap, [topic], 1);
    const { exit, stdout } = await bench.server.run("e2e-latency", [
      bench.bootstrap,
      topic,
      "200",
      "all",
      "100",
    ]);
    expect({ exit, stdout }).toEqual({
      exit: 0,
      stdout: expect.stringMatching(/Avg latency: [\d.]+ ms\nPercentiles: 50th = \d+, 99th = \d+/),
    });
    expect(await offsets(topic, "latest")).toEqual(["0:200"]);
  });

  check("kafka-broker-api-versions: every advertised version is one that Kafka knows", async () => {
    const text = await output("broker-api-versions");
    const apis = linesOf(text).filter((line) => line.startsWith("\t"));
    expect(apis.length).toBeGreaterThan(20);
    for (const name of ["Produce", "Fetch", "Metadata", "JoinGroup", "ApiVersions"]) {
      expect(text).toMatch(new RegExp(`^\\t${name}\\(\\d+\\): \\d+.* \\[usable: \\d+\\]`, "m"));
    }
    expect(text).not.toContain("NODE_TOO");
  });

  check("the console producer creates its topic, and the console consumer reads it", async () => {
    const topic = unique("console");
    const [stdinPath, stdoutPath] = [join(scratchDir, "in.txt"), join(scratchDir, "out.txt")];
    const lines = Array.from({ length: 100 }, (_, i) => `a:1,b:ü${i}\tkey ${i}\tvalue ${i}`);
    writeFileSync(stdinPath, `${lines.join("\n")}\n`);
    const reader = ["parse.key=true", "parse.headers=true"];
    const write = ["--bootstrap-server", bench.bootstrap, "--topic", topic].concat(
      reader.flatMap((property) => ["--reader-property", property]),
    );
    expect(await bench.server.run("console-producer", write, { stdinPath })).toMatchObject({
      exit: 0,
    });
    const formatter = ["print.key=true", "print.headers=true"];
    const read = ["--bootstrap-server", bench.bootstrap, "--topic", topic, "--from-beginning"]
      .concat(["--max-messages", "100", "--timeout-ms", "20000"])
      .concat(formatter.flatMap((property) => ["--formatter-property", property]));
    const result = await bench.server.run("console-consumer", read, { stdoutPath });
    expect(result.stderr).toContain("Processed a total of 100 messages");
    const got = linesOf(readFileSync(stdoutPath, "utf8"));
    expect(got.toSorted()).toEqual(lines.toSorted());
  });
});
