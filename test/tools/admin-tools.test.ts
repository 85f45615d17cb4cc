import { describe, expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createTopics } from "../clients/topics.ts";
import { ToolBench } from "./tool-bench.ts";

/**
 * Kafka's administrators' tools against one broker without an authorizer: what they change, they
 * find changed; what cannot be, they are told so.
 */

const bench = await ToolBench.of("admin");
const { check, output, said, tool, unique, scratchDir } = bench;

async function newTopic(name: string): Promise<string> {
  const topic = unique(name);
  await createTopics(bench.bootstrap, [topic], 1);
  return topic;
}

bench.suite("Kafka's administrators' tools", () => {
  check("kafka-acls: no authorizer", async () => {
    expect(await said("acls", "--list")).toContain("No Authorizer is configured on the broker");
    const add = ["--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "t"];
    expect(await said("acls", ...add)).toContain("No Authorizer is configured");
  });

  check("kafka-features: describes levels, refuses what would lose metadata", async () => {
    const described = await output("features", "describe");
    expect(described).toMatch(
      /metadata\.version\s+\S+ 3\.3-IV3\s+\S+ 4\.3-IV0\s+FinalizedVersionLevel: 4\.3-IV0\s/,
    );
    const downgrade = await tool("features", "downgrade", "--release-version", "4.2");
    expect(downgrade.exit).toBe(1);
    const unknown = await said("features", "upgrade", "--feature", "kraft.version=1");
    expect(unknown).toContain("does not support this feature");
    const lower = ["downgrade", "--feature", "transaction.version=1"];
    expect(await output("features", ...lower, "--dry-run")).toContain("can be downgraded");
    expect(await output("features", ...lower)).toContain("was downgraded to 1");
    const level = () => output("features", "describe");
    expect(await level()).toMatch(/transaction\.version.*FinalizedVersionLevel: 1\s/);
    await output("features", "upgrade", "--feature", "transaction.version=2");
    expect(await level()).toMatch(/transaction\.version.*FinalizedVersionLevel: 2\s/);
  });

  check("kafka-leader-election: never needed, unknown partitions are named", async () => {
    const topic = await newTopic("election");
    const elect = ["--election-type", "preferred", "--topic"];
    expect(await output("leader-election", ...elect, topic, "--partition", "0")).toContain(
      `Valid replica already elected for partitions ${topic}-0`,
    );
    const none = await tool("leader-election", ...elect, topic, "--partition", "7");
    expect(none.exit).toBe(1);
    expect(none.stdout + none.stderr).toContain(`No such partition as ${topic}-7`);
    await output("leader-election", "--election-type", "unclean", "--all-topic-partitions");
  });

  check("kafka-reassign-partitions: the one assignment there is", async () => {
    const topic = await newTopic("reassign");
    const path = join(scratchDir, `${topic}.json`);
    const plan = (replicas: number[]) => {
      const partitions = [{ topic, partition: 0, replicas, log_dirs: replicas.map(() => "any") }];
      writeFileSync(path, JSON.stringify({ version: 1, partitions }));
      return ["--reassignment-json-file", path];
    };
    const file = plan([1]);
    expect(
      await output("reassign-partitions", ...file, "--execute", "--throttle", "1000"),
    ).toContain(`Successfully started partition reassignment for ${topic}-0`);
    expect(await output("reassign-partitions", ...file, "--verify")).toContain(
      `Reassignment of partition ${topic}-0 is completed.`,
    );
    expect(await output("reassign-partitions", "--list")).toContain(
      "No partition reassignments found.",
    );
    const elsewhere = await tool("reassign-partitions", ...plan([7]), "--execute");
    expect(elsewhere.exit).toBe(1);
  });

  check("kafka-metadata-quorum: one voter, which leads", async () => {
    const status = await output("metadata-quorum", "describe", "--status");
    expect(status).toMatch(/LeaderId:\s+1\n/);
    expect(status).toMatch(/CurrentObservers:\s+\[\]/);
    const replication = await output("metadata-quorum", "describe", "--replication");
    expect(replication).toMatch(/^1\s+\S+\s+\d+\s+0\s+\d+\s+\d+\s+Leader/m);
  });

  check("kafka-client-metrics: subscriptions are kept, listed and deleted", async () => {
    const name = unique("metrics");
    const set = ["--metrics", "org.apache.kafka.producer.", "--interval", "60000"];
    const alter = ["--alter", "--name", name, ...set, "--match", "client_id=a"];
    expect(await output("client-metrics", ...alter)).toContain(
      `Altered client metrics config for ${name}.`,
    );
    expect(await output("client-metrics", "--describe", "--name", name)).toMatch(
      /interval\.ms=60000[\s\S]*match=client_id=a[\s\S]*metrics=org\.apache\.kafka\.producer\./,
    );
    expect(await output("client-metrics", "--list")).toContain(name);
    const wrong = await tool("client-metrics", "--alter", "--name", name, "--interval", "5");
    expect(wrong.exit).toBe(1);
    await output("client-metrics", "--delete", "--name", name);
    expect(await output("client-metrics", "--list")).not.toContain(name);
  });

  check("kafka-delegation-tokens: not on a plain listener", async () => {
    const path = join(scratchDir, "client.properties");
    writeFileSync(path, "");
    const create = ["--create", "--max-life-time-period", "-1", "--command-config", path];
    expect(await said("delegation-tokens", ...create)).toContain("DelegationToken");
  });

  describe("kafka-configs", () => {
    check("keeps SCRAM credentials of users, without telling keys", async () => {
      const user = unique("user");
      const about = ["--entity-type", "users", "--entity-name", user];
      const secret = "SCRAM-SHA-256=[iterations=8192,password=secret]";
      await output("configs", ...about, "--alter", "--add-config", secret);
      expect(await output("configs", ...about, "--describe")).toContain(
        `SCRAM credential configs for user-principal '${user}' are SCRAM-SHA-256=iterations=8192`,
      );
      await output("configs", ...about, "--alter", "--delete-config", "SCRAM-SHA-256");
      expect(await output("configs", ...about, "--describe")).not.toContain("iterations");
    });

    check("changes what brokers give topics, refuses what is read at start", async () => {
      const all = ["--entity-type", "brokers", "--entity-default"];
      const set = ["--alter", "--add-config", "log.retention.ms=123456789"];
      await output("configs", ...all, ...set);
      expect(await output("configs", ...all, "--describe")).toContain("log.retention.ms=123456789");
      const topic = unique("retained");
      await output("topics", "--create", "--topic", topic);
      const ofTopic = ["--entity-type", "topics", "--entity-name", topic, "--describe", "--all"];
      expect(await output("configs", ...ofTopic)).toMatch(/^ {2}retention\.ms=123456789 /m);
      await output("configs", ...all, "--alter", "--delete-config", "log.retention.ms");
      expect(await output("configs", ...all, "--describe")).not.toContain("log.retention.ms");
      const one = ["--entity-type", "brokers", "--entity-name", "1"];
      const fixed = await tool("configs", ...one, "--alter", "--add-config", "node.id=3");
      expect(fixed.stdout + fixed.stderr).toContain("Cannot update these configs dynamically");
    });

    check("tells loggers, groups and subscriptions", async () => {
      await output(
        "configs",
        "--entity-type",
        "broker-loggers",
        "--entity-name",
        "1",
        "--describe",
      );
      const group = ["--entity-type", "groups", "--entity-name", unique("group")];
      await output(
        "configs",
        ...[...group, "--alter", "--add-config", "consumer.session.timeout.ms=50000"],
      );
      expect(await output("configs", ...group, "--describe")).toContain(
        "consumer.session.timeout.ms=50000",
      );
    });
  });
});
