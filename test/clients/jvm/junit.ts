import { join } from "node:path";
import { brokerBin } from "../../support/broker-process.ts";
import type { RunTest, SuiteContext } from "../suite.ts";
import { type JvmParts, jvmClassPath } from "./prepare.ts";
import { runJvm } from "./run.ts";

/**
 * Kafka's own JUnit classes on brokers that the tests' JVM starts as processes, one for each
 * cluster a test asks for (`../kafka-integration/java/suite`).
 */

/** What `SuiteRunner.java` prints for a test; `method` is empty where a class says it. */
export interface JunitLine {
  readonly class: string;
  readonly method: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "aborted" | "skipped";
  readonly reason: string;
}

export interface JunitRun {
  readonly parts: JvmParts;
  /** Full names of classes, or Class#method. */
  readonly asked: readonly string[];
  /** Reasons by the names that `Exclusions.java` knows. */
  readonly exclusions: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** A broker run from its sources needs the Bun that runs this. */
const brokerCommand = brokerBin.endsWith(".ts") ? [process.execPath, brokerBin] : [brokerBin];
const detailCharsMax = 600;

export function junitTest(name: string, { outcome, reason }: JunitLine): RunTest {
  if (outcome === "passed") return { name, outcome };
  const detail = reason.slice(0, detailCharsMax);
  return { name, outcome: outcome === "failed" ? "failed" : "skipped", detail };
}

/** `Class.method [1]` as `Class#method`, which runs every form of it. */
export function methodOf(test: string): string {
  return test.replace(/ (itself|\[.*)$/, "").replace(/\.(?=[^.]+$)/, "#");
}

export interface JunitResult {
  readonly lines: readonly JunitLine[];
  /** The JVM itself, where it did not come to its end. */
  readonly failed: readonly RunTest[];
}

export async function runJunit(
  { parts, asked, exclusions, timeoutMs }: JunitRun,
  { scratchDir }: SuiteContext,
): Promise<JunitResult> {
  const exclusionsPath = join(scratchDir, "exclusions.json");
  await Bun.write(exclusionsPath, JSON.stringify(exclusions));
  const options = {
    classPath: jvmClassPath(parts),
    mainClass: "suite.SuiteRunner",
    args: asked,
    heapMb: 768,
    properties: {
      "suite.broker": brokerCommand.join("\n"),
      "suite.exclusions": exclusionsPath,
    },
  };
  const { exit, stdout, stderr } = await runJvm(options, timeoutMs);
  const lines = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as JunitLine);
  if (exit === 0) return { lines, failed: [] };
  const detail = `it ended with ${exit}: ${stderr.slice(-detailCharsMax)}`;
  return { lines, failed: [{ name: "the tests' JVM", outcome: "failed", detail }] };
}
