import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type GoTests,
  goTestSources,
  pinnedGoVersion,
  prepareGoTests,
  runGoTests,
} from "../go-tests.ts";
import type { Feature, RunTest, Suite, SuiteContext } from "../suite.ts";

/** All tests of franz-go's client package: chained consume-produce runs over groups, share groups
 * and transactions with exact counts, beside its unit tests. */

const tests: GoTests = {
  module: "github.com/twmb/franz-go",
  packagePath: "./pkg/kgo",
  name: "franz-go",
};

/** Records each chain carries; the project's own default is 500,000 on three brokers. */
const records = { short: 5_000, whole: 50_000 };
const timeoutMs = { short: 240_000, whole: 900_000 };

/** Helpers of its tests that talk to a broker: a test that calls none is about the client. */
const helpers = [
  "newTestClient",
  "newTestConsumer",
  "testChainETL",
  "tmpTopic\\w*",
  "tmpGroup",
  "tmpShareGroup",
  "testClientOpts",
  "getSeedBrokers",
];
const talks = new RegExp(`\\b(${helpers.join("|")})\\(`);
const talking = new Set<string>();

function readTalking(folder: string): void {
  for (const file of readdirSync(folder).filter((name) => name.endsWith("_test.go"))) {
    const text = readFileSync(join(folder, file), "utf8");
    for (const [body, name] of text.matchAll(/^func (Test\w+)\(.*?^\}/gms)) {
      if (name !== undefined && talks.test(body)) talking.add(name);
    }
  }
}

const rules: readonly (readonly [RegExp, Feature])[] = [
  [/Share/, "share"],
  [/Txn/, "txn"],
  [/848/, "cgroup"],
  [/Group|HookPollStart/, "group"],
  [/Produce|Issue769|Issue831|Issue1034/, "produce"],
  [/Ping|SCRAM|TopicRetrieval/, "connection"],
  [/./, "consume"],
];

function runAll(context: SuiteContext): Promise<RunTest[]> {
  const { bootstrap, scope } = context;
  const cwd = join(goTestSources(tests), tests.packagePath);
  readTalking(cwd);
  return runGoTests(tests, {
    cwd,
    env: {
      KGO_SEEDS: bootstrap,
      KGO_TEST_RF: "1",
      KGO_TEST_RECORDS: String(records[scope]),
    },
    args: [],
    timeoutMs: timeoutMs[scope],
  });
}

export const franzGo: Suite = {
  name: "franz-go",
  client: "github.com/twmb/franz-go",
  version: pinnedGoVersion(tests.module),
  kind: "own tests",
  about: "the tests of `pkg/kgo`",
  brokerArgs: [],
  exclusions: [
    { test: "TestSCRAMAuth*", reason: "logs in, which comes with security" },
    {
      test: "TestIssueProduceBrokerTooOldFailsRecords",
      reason: "wants a broker that advertises no Produce below version 3; Kafka advertises 0",
    },
  ],
  featureOf(test) {
    const top = test.split("/")[0] ?? test;
    if (!talking.has(top)) return "client";
    return rules.find(([pattern]) => pattern.test(test))?.[1] ?? "consume";
  },
  prepare: () => prepareGoTests(tests),
  run: runAll,
};
