import type { BrokerProcess } from "../support/broker-process.ts";

/** What a test is about; `docs/compatibility.md` counts by it. In the order of its columns. */
export const features = {
  connection: "connections, versions, metadata",
  produce: "producing, idempotence",
  consume: "consuming, offsets, timestamps",
  group: "consumer groups, classic",
  cgroup: "consumer groups, KIP-848",
  share: "share groups",
  txn: "transactions",
  admin: "administration",
  streams: "Kafka Streams",
  connect: "Kafka Connect, MirrorMaker",
  client: "the client by itself",
} as const;
export type Feature = keyof typeof features;

/** One test as its suite's own runner reported it; `skipped`: not run, for whatever reason. */
export interface RunTest {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** What was printed by a test that failed, or why one was skipped; its end, if long. */
  readonly detail?: string;
}

/** A test that is not asked for. */
export interface Exclusion {
  /** The test's name; `*` stands for any text. */
  readonly test: string;
  /** One sentence: why the test cannot run, or cannot pass, against one broker of any kind. */
  readonly reason: string;
}

export interface SuiteContext {
  /** The broker this run has for itself; a suite may kill and restart it. */
  readonly broker: BrokerProcess;
  /** `host:port`, the same as the broker's. */
  readonly bootstrap: string;
  /** `short`: what CI has time for. `whole`: all there is. */
  readonly scope: "short" | "whole";
  /** Empty at the start, removed at the end. */
  readonly scratchDir: string;
  /** The tests that are asked for, by name, or null for all; who cannot choose runs all. */
  readonly only: readonly string[] | null;
  /** True for tests on the allow-list: a runner that can leave tests out leaves these out. */
  isExcluded(test: string): boolean;
}

/** One client's conformance suite: others' tests run unchanged, or a program of ours. */
export interface Suite {
  /** The folder below `test/clients/` that holds it. */
  readonly name: string;
  /** The library under test, as its registry names it. */
  readonly client: string;
  readonly version: string;
  /** `own tests`: the project's tests as published. `program`: ours, over its public API. */
  readonly kind: "own tests" | "program";
  /** What runs, in one sentence, for the table. */
  readonly about: string;
  readonly exclusions: readonly Exclusion[];
  /** Further flags of the broker. */
  readonly brokerArgs: readonly string[];
  featureOf(test: string): Feature;
  /** Brings what the suite needs from the registries; the reason when a toolchain is missing. */
  prepare(): Promise<string | null>;
  /** Runs it; gives every test there is in this scope, those left out as `skipped`. */
  run(context: SuiteContext): Promise<readonly RunTest[]>;
}

/** One line of `results.json`. */
export interface TestResult {
  readonly name: string;
  readonly feature: Feature;
  readonly outcome: "passed" | "failed" | "excluded";
  /** Passed when it was run once more, having failed. */
  readonly attempts?: 2;
  /** Of a failed test: what it said. Of an excluded one: why it is. */
  readonly reason?: string;
}

/** `test/clients/<suite>/results.json`: what the last whole run gave. */
export interface SuiteResults {
  readonly format: 1;
  readonly suite: string;
  readonly client: string;
  readonly version: string;
  readonly kind: Suite["kind"];
  readonly about: string;
  /** By name, so that two runs with the same outcome write the same file. */
  readonly tests: readonly TestResult[];
}

/** Whether a pattern of the allow-list names a test. */
export function matches(pattern: string, test: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join("[^]*")}$`).test(test);
}

const reasonCharsMax = 600;

/**
 * The verdict on a run: what is on the allow-list and did not pass is excluded; a test that left
 * itself out and is not on the list failed, and so does an entry of the list that names no test
 * (only a whole run can tell).
 */
export function judgeSuite(
  suite: Suite,
  ran: readonly RunTest[],
  { scope, only }: Pick<SuiteContext, "scope" | "only">,
): SuiteResults {
  const tests = ran.map((test): TestResult => {
    const exclusion = suite.exclusions.find(({ test: pattern }) => matches(pattern, test.name));
    const common = { name: test.name, feature: suite.featureOf(test.name) };
    if (test.outcome === "passed") return { ...common, outcome: "passed" };
    if (exclusion !== undefined)
      return { ...common, outcome: "excluded", reason: exclusion.reason };
    const detail = (test.detail ?? "").trim().slice(-reasonCharsMax);
    const reason = test.outcome === "skipped" ? `left itself out: ${detail}` : detail;
    return { ...common, outcome: "failed", reason };
  });
  if (scope === "whole" && only === null) {
    for (const { test: pattern } of suite.exclusions) {
      if (ran.some(({ name }) => matches(pattern, name))) continue;
      const reason = "this entry of the allow-list names no test";
      tests.push({ name: pattern, feature: "client", outcome: "failed", reason });
    }
  }
  if (tests.length === 0) throw new Error(`${suite.name}: no test ran`);
  const { name, client, version, kind, about } = suite;
  tests.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { format: 1, suite: name, client, version, kind, about, tests };
}

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly excluded: number;
}

export function tally(tests: readonly TestResult[]): Tally {
  const count = (outcome: TestResult["outcome"]) =>
    tests.filter((test) => test.outcome === outcome).length;
  return { passed: count("passed"), failed: count("failed"), excluded: count("excluded") };
}
