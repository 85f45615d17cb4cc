import { type JunitLine, junitTest, methodOf, runJunit } from "../jvm/junit.ts";
import { prepareJvm } from "../jvm/prepare.ts";
import type { Feature, RunTest, Suite } from "../suite.ts";
import { shortTests, testClasses } from "./classes.ts";
import { exclusionReasons, exclusions } from "./exclusions.ts";

/**
 * Kafka's own client integration tests, as published, on a cluster that is one chronik: a class
 * of ours stands in for the one that starts brokers inside the tests' JVM (`java/`), and starts
 * a process instead, fresh for each test, with the test's own server properties.
 *
 * CHRONIK_KAFKA_TESTS: comma-separated classes or Class#method instead of all.
 */

const timeoutMs = { short: 540_000, whole: 5_400_000 };
const parts = { name: "kafka-integration" };

/** The same test in one invocation and in another that differs only inside Kafka's brokers. */
const isDuplicate = ({ reason }: JunitLine) => reason.startsWith("duplicate:");

function runTest(line: JunitLine): RunTest {
  const { class: className, method, name } = line;
  return junitTest(method === "" ? `${className} itself` : `${className}.${name}`, line);
}

function featureOf(test: string): Feature {
  if (/^Share/.test(test)) return "share";
  if (/Transaction|Fence|DescribeProducers|ProducerIdExpiration/.test(test)) return "txn";
  if (/^(Producer|SocketServer)/.test(test)) return "produce";
  if (/^(PlaintextConsumer(Assign|Fetch)|ListOffsets|ConcurrentListOffsets)/.test(test))
    return "consume";
  if (/^(PlaintextConsumer|Consumer|DynamicGroup|GroupAuth)/.test(test))
    return /Async|GroupProtocolConsumer|DynamicGroup|Re2J/.test(test) ? "cgroup" : "group";
  return "admin";
}

function withPackage(asked: string): string {
  const [className = ""] = asked.split("#");
  const full = testClasses.find((name) => name === className || name.endsWith(`.${className}`));
  return asked.replace(className, full ?? className);
}

export const kafkaIntegration: Suite = {
  name: "kafka-integration",
  client: "kafka-clients",
  version: "4.3.1",
  kind: "own tests",
  about: "`kafka-clients-integration-tests`, a fresh broker for each test with its own settings",
  exclusions,
  brokerArgs: [],
  featureOf,
  prepare: () => prepareJvm(parts),
  async run(context) {
    const { scope, only } = context;
    const asked =
      only?.map((test) => withPackage(methodOf(test))) ??
      process.env["CHRONIK_KAFKA_TESTS"]?.split(",") ??
      (scope === "short" ? shortTests : testClasses);
    const run = { parts, asked, exclusions: exclusionReasons, timeoutMs: timeoutMs[scope] };
    const { lines, failed } = await runJunit(run, context);
    return [...lines.filter((line) => !isDuplicate(line)).map(runTest), ...failed];
  },
};
