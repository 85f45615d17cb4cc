import { withoutRebalanceDelay } from "../../support/broker-process.ts";
import { jvmClassPath, prepareJvm } from "../jvm/prepare.ts";
import { runJvm } from "../jvm/run.ts";
import type { Feature, RunTest, Suite } from "../suite.ts";

/** The command-line tools and clients of Kafka 3.9: what a user has who did not upgrade. */

const parts = { name: "tools-3.9", pom: "pom-3.9.xml" } as const;
const toolMsMax = 60_000;
const detailChars = 600;

interface ToolCase {
  readonly name: string;
  readonly main: string;
  readonly args: readonly string[];
  /** What the output must hold. */
  readonly says: RegExp;
  readonly feature: Feature;
}

/** In this order: later ones look at what earlier ones did. */
function cases(bootstrap: string): ToolCase[] {
  const server = ["--bootstrap-server", bootstrap];
  const tools = "org.apache.kafka.tools";
  const group = "old-group";
  const admin = { feature: "admin" } as const;
  return [
    {
      name: "kafka-topics --create",
      main: `${tools}.TopicCommand`,
      args: [...server, "--create", "--topic", "old", "--partitions", "3"],
      says: /Created topic old/,
      ...admin,
    },
    {
      name: "kafka-topics --describe",
      main: `${tools}.TopicCommand`,
      args: [...server, "--describe", "--topic", "old"],
      says: /PartitionCount: 3/,
      ...admin,
    },
    {
      name: "kafka-producer-perf-test, idempotent",
      main: `${tools}.ProducerPerformance`,
      args: ["--topic", "old", "--num-records", "5000", "--record-size", "100"].concat([
        ...["--throughput", "-1", "--producer-props", `bootstrap.servers=${bootstrap}`],
        "acks=all",
      ]),
      says: /5000 records sent/,
      feature: "produce",
    },
    {
      name: "kafka-producer-perf-test, transactional",
      main: `${tools}.ProducerPerformance`,
      args: ["--topic", "old", "--num-records", "1000", "--record-size", "100"].concat([
        ...["--throughput", "-1", "--transactional-id", "old", "--transaction-duration-ms", "200"],
        ...["--producer-props", `bootstrap.servers=${bootstrap}`],
      ]),
      says: /1000 records sent/,
      feature: "txn",
    },
    {
      name: "kafka-verifiable-consumer",
      main: `${tools}.VerifiableConsumer`,
      args: [...server, "--topic", "old", "--group-id", group, "--max-messages", "6000"].concat([
        "--reset-policy",
        "earliest",
      ]),
      says: /"name":"shutdown_complete"/,
      feature: "group",
    },
    {
      name: "kafka-get-offsets",
      main: `${tools}.GetOffsetShell`,
      args: [...server, "--topic", "old", "--time", "earliest"],
      says: /old:0:0\s+old:1:0\s+old:2:0/,
      feature: "consume",
    },
    {
      name: "kafka-consumer-groups --describe",
      main: `${tools}.consumer.group.ConsumerGroupCommand`,
      args: [...server, "--describe", "--group", group],
      says: /old-group\s+old\s+\d+\s+\d+\s+\d+/,
      feature: "group",
    },
    {
      name: "kafka-transactions list",
      main: `${tools}.TransactionsCommand`,
      args: [...server, "list"],
      says: /old\s+\d+\s+\d+\s+Complete/,
      feature: "txn",
    },
    {
      name: "kafka-topics --delete",
      main: `${tools}.TopicCommand`,
      args: [...server, "--delete", "--topic", "old"],
      says: /^/,
      ...admin,
    },
  ];
}

const featureByName = new Map(cases("").map(({ name, feature }) => [name, feature]));

async function runCase({ name, main, args, says }: ToolCase): Promise<RunTest> {
  const jvm = { classPath: jvmClassPath(parts), mainClass: main, args };
  const { exit, stdout, stderr } = await runJvm(jvm, toolMsMax);
  if (exit === 0 && says.test(stdout)) return { name, outcome: "passed" };
  const detail = `exit ${exit}\n${stdout.slice(-detailChars)}\n${stderr.slice(-detailChars)}`;
  return { name, outcome: "failed", detail };
}

export const tools39: Suite = {
  name: "tools-3.9",
  client: "kafka-tools",
  version: "3.9.1",
  kind: "program",
  about: "command-line tools, producer, consumer and admin client of an older Kafka",
  exclusions: [],
  brokerArgs: withoutRebalanceDelay,
  featureOf: (test) => featureByName.get(test) ?? "client",
  prepare: () => prepareJvm(parts),
  async run({ bootstrap }) {
    const results: RunTest[] = [];
    for (const each of cases(bootstrap)) results.push(await runCase(each));
    return results;
  },
};
