import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npmPins, unpackNpm } from "../node/packages.ts";
import { cacheDir, ensureToolchain, installOnce, missingPrograms, run } from "../setup.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";
import { exclusions, featureOf, shortTests } from "./tests.ts";

/**
 * librdkafka's own tests. Its sources, tests included, come inside the npm package
 * @confluentinc/kafka-javascript; tests against its mock broker do not touch us and are left out.
 */

const source = "@confluentinc/kafka-javascript";
const folder = join(cacheDir, "librdkafka/package/deps/librdkafka");
const testsFolder = join(folder, "tests");
const needs = ["npm", "tar", "gcc", "g++", "make", "bash"];

async function prepare(): Promise<string | null> {
  const missing = missingPrograms(needs);
  if (missing !== null) return missing;
  const java = await ensureToolchain("java"); // some tests call Kafka's scripts
  if (java.status === "skipped") return java.reason;
  await installOnce("librdkafka", npmPins[source], async () => {
    await unpackNpm(source, "librdkafka");
    const off = ["--disable-curl", "--disable-gssapi", "--disable-optimization"];
    await run(["bash", "configure", ...off], folder);
    await run(["make", "-j2", "libs"], folder);
    await run(["make", "-j2", "-C", "tests", "build"], folder);
  });
  return null;
}

/** `bin/kafka-topics.sh` and the like, as the tests find them in an unpacked Kafka. */
function writeKafkaScripts(kafkaPath: string): void {
  const lib = join(cacheDir, "java/lib/*");
  const mainOf = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
  };
  mkdirSync(join(kafkaPath, "bin"), { recursive: true });
  for (const [name, main] of Object.entries(mainOf)) {
    const path = join(kafkaPath, "bin", name);
    writeFileSync(path, `#!/bin/sh\nexec java -XX:+UseSerialGC -cp '${lib}' ${main} "$@"\n`);
    chmodSync(path, 0o755);
  }
}

interface Report {
  readonly tests: Readonly<Record<string, { readonly state: string; readonly extra: string }>>;
}

async function runAll({ bootstrap, scope, scratchDir }: SuiteContext): Promise<RunTest[]> {
  const kafkaPath = join(scratchDir, "kafka");
  writeKafkaScripts(kafkaPath);
  const config = join(scratchDir, "test.conf");
  writeFileSync(config, `bootstrap.servers=${bootstrap}\ntest.timeout.multiplier=2\n`);
  const report = join(scratchDir, "report.json");
  const quick = scope === "short" ? ["-Q"] : [];
  const child = Bun.spawn(["./test-runner", "-p4", "-L", "-V", "4.3.0.0", ...quick], {
    cwd: testsFolder,
    env: {
      ...process.env,
      RDKAFKA_TEST_CONF: config,
      TEST_REPORT: report,
      KAFKA_PATH: kafkaPath,
      BROKERS: bootstrap,
      LD_LIBRARY_PATH: `${join(folder, "src")}:${join(folder, "src-cpp")}`,
      TESTS_SKIP: exclusions.map(({ test }) => test.slice(0, 4)).join(","),
      ...(scope === "short" ? { TESTS: shortTests.join(",") } : {}),
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: scope === "short" ? 240_000 : 2_400_000,
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  const text = Bun.stripANSI(`${output}\n${errors}`);
  const file = Bun.file(report);
  if (!(await file.exists())) throw new Error(`no report: ${text.slice(-3000)}`);
  return testsOf(JSON.parse(readFileSync(report, "utf8")) as Report, text, scope);
}

/** Tests of a client by itself, or by hand: no broker takes part. */
const notOurs = /_mock|_local|_ut$|<MAIN>|^8\d{3}_/;

function testsOf(report: Report, output: string, scope: SuiteContext["scope"]): RunTest[] {
  const found: RunTest[] = [];
  for (const [name, { state, extra }] of Object.entries(report.tests)) {
    if (notOurs.test(name)) continue;
    const reason = new RegExp(`\\| ${name} +\\| +\\w+ \\|[^|]*\\|(.*)`).exec(output)?.[1] ?? extra;
    if (state === "SKIPPED") {
      if (/negative test flags|Filtered/.test(reason)) continue; // flagged as local
      if (scope === "short" && !shortTests.includes(name.slice(0, 4))) continue;
    }
    const outcome = state === "PASSED" ? "passed" : state === "SKIPPED" ? "skipped" : "failed";
    const said = output
      .split("\n")
      .filter((line) => line.includes(`Test "${name}`) || line.includes(`[${name} `))
      .filter((line) => /fail|expected|###/i.test(line));
    found.push({ name, outcome, detail: [...said.slice(-5), reason.trim()].join("\n") });
  }
  return found;
}

export const librdkafka: Suite = {
  name: "librdkafka",
  client: `librdkafka (in ${source})`,
  version: npmPins[source],
  kind: "own tests",
  about: "its test runner, all tests that need a broker",
  brokerArgs: ["-X", "num.partitions=4", "-X", "group.initial.rebalance.delay.ms=0"],
  exclusions,
  featureOf,
  prepare,
  run: runAll,
};
