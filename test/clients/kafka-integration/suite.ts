import { join } from "node:path";
import { brokerBin } from "../../support/broker-process.ts";
import { jvmClassPath, prepareJvm } from "../jvm/prepare.ts";
import { runJvm } from "../jvm/run.ts";
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
const detailCharsMax = 600;

/** What `java/suite/SuiteRunner.java` prints for a test. */
interface Line {
  readonly class: string;
  readonly method: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "aborted" | "skipped";
  readonly reason: string;
}

/** The same test in one invocation and in another that differs only inside Kafka's brokers. */
const isDuplicate = ({ reason }: Line) => reason.startsWith("duplicate:");

function runTest({ class: className, method, name, outcome, reason }: Line): RunTest {
  const title = method === "" ? `${className} itself` : `${className}.${name}`;
  if (outcome === "passed") return { name: title, outcome };
  const detail = reason.slice(0, detailCharsMax);
  return { name: title, outcome: outcome === "failed" ? "failed" : "skipped", detail };
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

/** A broker run from its sources needs the Bun that runs this. */
const brokerCommand = brokerBin.endsWith(".ts") ? [process.execPath, brokerBin] : [brokerBin];

export const kafkaIntegration: Suite = {
  name: "kafka-integration",
  client: "kafka-clients",
  version: "4.3.1",
  kind: "own tests",
  about: "`kafka-clients-integration-tests`, a fresh broker for each test with its own settings",
  exclusions,
  brokerArgs: [],
  featureOf,
  prepare: () => prepareJvm({ name: "kafka-integration" }),
  async run({ scope, scratchDir }) {
    const exclusionsPath = join(scratchDir, "exclusions.json");
    await Bun.write(exclusionsPath, JSON.stringify(exclusionReasons));
    const asked = process.env["CHRONIK_KAFKA_TESTS"]?.split(",");
    const options = {
      classPath: jvmClassPath({ name: "kafka-integration" }),
      mainClass: "suite.SuiteRunner",
      args: asked ?? (scope === "short" ? shortTests : testClasses),
      heapMb: 768,
      properties: {
        "suite.broker": brokerCommand.join("\n"),
        "suite.exclusions": exclusionsPath,
      },
    };
    const { exit, stdout, stderr } = await runJvm(options, timeoutMs[scope]);
    const lines = stdout
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Line);
    const results = lines.filter((line) => !isDuplicate(line)).map(runTest);
    if (exit === 0) return results;
    const detail = `it ended with ${exit}: ${stderr.slice(-detailCharsMax)}`;
    return [...results, { name: "the tests' JVM", outcome: "failed", detail }];
  },
};
