import { type JunitLine, junitTest, methodOf, runJunit } from "../jvm/junit.ts";
import { prepareJvm } from "../jvm/prepare.ts";
import type { RunTest, Suite } from "../suite.ts";
import { fullName, tests } from "./classes.ts";
import { excludedClasses, exclusionReasons, exclusions } from "./exclusions.ts";

/**
 * Kafka Streams' own integration tests, as published, on a cluster that is one chronik: a class
 * of ours stands in for the one that starts brokers inside the tests' JVM (`java/`), and starts
 * a process instead, fresh for each class, with the class's own broker properties.
 *
 * CHRONIK_STREAMS_TESTS: comma-separated classes or Class#method instead of all.
 */

const timeoutMs = { short: 540_000, whole: 2_400_000 };
const parts = { name: "streams-integration", uses: ["kafka-integration"] };

/** An invocation's display name is its parameters; a method's own begins with its name. */
function runTest(line: JunitLine): RunTest {
  const { class: className, method, name } = line;
  if (method === "") return junitTest(className, line);
  return junitTest(`${className}.${method}${name.startsWith(method) ? "" : ` ${name}`}`, line);
}

export const streamsIntegration: Suite = {
  name: "streams-integration",
  client: "kafka-streams",
  version: "4.3.1",
  kind: "own tests",
  about: "`kafka-streams-integration-tests`, a fresh broker for each class with its own settings",
  exclusions,
  brokerArgs: [],
  featureOf: () => "streams",
  prepare: () => prepareJvm(parts),
  async run(context) {
    const { scope, only } = context;
    const one = only?.map(methodOf) ?? process.env["CHRONIK_STREAMS_TESTS"]?.split(",");
    const asked = one === undefined ? tests[scope] : [one];
    const left = scope === "whole" && one === undefined ? [excludedClasses] : [];
    const runs = [...asked, ...left].map((names) => {
      const run = { parts, asked: names.map(fullName), exclusions: exclusionReasons };
      return runJunit({ ...run, timeoutMs: timeoutMs[scope] }, context);
    });
    const results = await Promise.all(runs);
    return results.flatMap(({ lines, failed }) => [...lines.map(runTest), ...failed]);
  },
};
