import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startBroker } from "../../support/broker-process.ts";
import { npmPins, unpackNpm } from "../node/packages.ts";
import { cacheDir, ensureToolchain, installOnce, missingPrograms, run } from "../setup.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";
import {
  adminLeftOut,
  adminParts,
  brokenNetTests,
  consumerSuffix,
  consumerTests,
  exclusions,
  featureOf,
  noAutoCreateTests,
  shortTests,
} from "./tests.ts";

/**
 * librdkafka's own tests. Its sources, tests included, come inside the npm package
 * @confluentinc/kafka-javascript; tests against its mock broker do not touch us and are left out.
 */

const source = "@confluentinc/kafka-javascript";
/** Its sources, configured and built. */
export const librdkafkaDir: string = join(cacheDir, "librdkafka/package/deps/librdkafka");
const testsFolder = join(librdkafkaDir, "tests");
const needs = ["npm", "tar", "gcc", "g++", "make", "bash"];

async function prepare(): Promise<string | null> {
  const missing = missingPrograms(needs);
  if (missing !== null) return missing;
  const java = await ensureToolchain("java"); // some tests call Kafka's scripts
  if (java.status === "skipped") return java.reason;
  await installOnce("librdkafka", npmPins[source], async () => {
    await unpackNpm(source, "librdkafka");
    const off = ["--disable-curl", "--disable-gssapi", "--disable-optimization"];
    await run(["bash", "configure", ...off], librdkafkaDir);
    await run(["make", "-j2", "libs"], librdkafkaDir);
    await run(["make", "-j2", "-C", "tests", "build"], librdkafkaDir);
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

/** One start of its test runner. */
interface Pass {
  /** Appended to the tests' names. */
  readonly suffix: string;
  readonly bootstrap: string;
  /** The first four digits of each; null for all. */
  readonly tests: readonly string[] | null;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Runs by its parts. */
const adminTest = "0081";
const isAdmin = (name: string) => name.startsWith(adminTest);
const isOfAdmin = ({ tests }: Pass) => tests?.[0] === adminTest;

const skipped = exclusions
  .map(({ test }) => test)
  .filter((test) => !test.endsWith(consumerSuffix))
  .map((test) => test.slice(0, 4));

async function runPass(pass: Pass, { scope, scratchDir }: SuiteContext): Promise<RunTest[]> {
  const kafkaPath = join(scratchDir, "kafka");
  writeKafkaScripts(kafkaPath);
  const config = join(scratchDir, "test.conf");
  writeFileSync(config, `bootstrap.servers=${pass.bootstrap}\ntest.timeout.multiplier=2\n`);
  const report = join(scratchDir, "report.json");
  rmSync(report, { force: true });
  const child = Bun.spawn(["./test-runner", "-p4", "-L", "-V", "4.3.0.0", ...pass.flags], {
    cwd: testsFolder,
    env: {
      ...process.env,
      RDKAFKA_TEST_CONF: config,
      TEST_REPORT: report,
      KAFKA_PATH: kafkaPath,
      BROKERS: pass.bootstrap,
      LD_LIBRARY_PATH: `${join(librdkafkaDir, "src")}:${join(librdkafkaDir, "src-cpp")}`,
      TESTS_SKIP: skipped.filter((test) => !isAdmin(test) || !isOfAdmin(pass)).join(","),
      ...(pass.tests === null ? {} : { TESTS: pass.tests.join(",") }),
      ...pass.env,
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: scope === "short" ? 240_000 : 1_500_000,
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  const text = Bun.stripANSI(`${output}\n${errors}`);
  if (!existsSync(report)) {
    const detail = `the runner ended without a report: ${text.slice(-3000)}`;
    if (pass.tests === null) throw new Error(detail);
    return pass.tests.map((name) => ({ name: `${name}${pass.suffix}`, outcome: "failed", detail }));
  }
  return testsOf(JSON.parse(readFileSync(report, "utf8")) as Report, text, pass);
}

/** Tests of a client by itself (0186 too), or by hand: no broker takes part. */
const notOurs = /_mock|_local|_ut$|<MAIN>|^8\d{3}_|^0186_/;

function testsOf(report: Report, output: string, pass: Pass): RunTest[] {
  const found: RunTest[] = [];
  for (const [name, { state, extra }] of Object.entries(report.tests)) {
    if (notOurs.test(name) || isAdmin(name) !== isOfAdmin(pass)) continue;
    if (pass.tests !== null && !pass.tests.includes(name.slice(0, 4))) continue;
    const reason = new RegExp(`\\| ${name} +\\| +\\w+ \\|[^|]*\\|(.*)`).exec(output)?.[1] ?? extra;
    if (state === "SKIPPED" && /negative test flags|Filtered/.test(reason)) continue; // local
    const outcome = state === "PASSED" ? "passed" : state === "SKIPPED" ? "skipped" : "failed";
    const said = output
      .split("\n")
      .filter((line) => line.includes(`Test "${name}`) || line.includes(`[${name} `))
      .filter((line) => /fail|expected|###/i.test(line));
    const detail = [state, ...said.slice(-5), reason.trim()].join("\n");
    found.push({ name: `${name}${pass.suffix}`, outcome, detail });
  }
  return found;
}

/** As `runPass`. A test that takes too long ends the runner: what never ran then runs again. */
async function runToTheEnd(pass: Pass, context: SuiteContext): Promise<RunTest[]> {
  const found = new Map<string, RunTest>();
  for (let tests = pass.tests; tests === null || tests.length > 0; ) {
    const before = found.size;
    const ran = await runPass({ ...pass, tests }, context);
    const ended = ran.filter(({ detail }) => !/^(DNS|RUNNING)\b/.test(detail ?? ""));
    for (const test of ended) found.set(test.name, test);
    const left = ran.filter((test) => !found.has(test.name));
    if (found.size === before) return [...found.values(), ...left];
    tests = left.map(({ name }) => name.slice(0, 4));
  }
  return [...found.values()];
}

const adminTitle = (part: string) => `0081_admin (${part})`;

async function runAdminParts(base: Pass, context: SuiteContext): Promise<RunTest[]> {
  const { only } = context;
  const results: RunTest[] = [];
  for (const part of adminParts) {
    const name = adminTitle(part);
    if (only !== null && !only.includes(name)) continue;
    const env = { SUBTESTS: `do_test_${part}` };
    const ran = await runPass({ ...base, tests: [adminTest], env }, context);
    results.push(...ran.map((test) => ({ ...test, name })));
  }
  const reason = "not asked for";
  results.push({ name: adminTitle(adminLeftOut), outcome: "skipped", detail: reason });
  return results;
}

/** Twice at most: what ends the runner is not the broker's doing. */
async function runAlone(base: Pass, test: string, context: SuiteContext): Promise<RunTest[]> {
  const pass = { ...base, tests: [test] };
  const ran = await runPass(pass, context);
  return ran.every(({ outcome }) => outcome === "passed") ? ran : await runPass(pass, context);
}

/** All tests as they are; those that want no topics to come by themselves, on a broker set so; and
 * those of consumers once more with the consumer protocol. */
async function runAll(context: SuiteContext): Promise<RunTest[]> {
  const { bootstrap, scope, only } = context;
  const base: Pass = { suffix: "", bootstrap, tests: null, flags: [], env: {} };
  const asked = (suffix: string) =>
    only
      ?.filter((name) => name.endsWith(consumerSuffix) === (suffix !== "") && !isAdmin(name))
      .map((name) => name.slice(0, 4)) ?? null;
  if (scope === "short") {
    return runToTheEnd({ ...base, tests: asked("") ?? shortTests, flags: ["-Q"] }, context);
  }
  const all = await runToTheEnd({ ...base, tests: asked(""), flags: ["-E"] }, context);
  for (const test of brokenNetTests) {
    if (asked("")?.includes(test) !== false) all.push(...(await runAlone(base, test, context)));
  }
  const admin = await runAdminParts(base, context);
  const asConsumers = {
    suffix: consumerSuffix,
    tests: asked(consumerSuffix) ?? consumerTests,
    flags: ["-Q"],
    env: { TEST_CONSUMER_GROUP_PROTOCOL: "consumer" },
  };
  const consumer = await runToTheEnd({ ...base, ...asConsumers }, context);
  if (only !== null) return [...all, ...admin, ...consumer];
  await using other = await startBroker({
    args: [...brokerArgs, "-X", "auto.create.topics.enable=false"],
  });
  const scenario = { tests: noAutoCreateTests, flags: ["-s", "noautocreate"] };
  const extra = await runPass({ ...base, bootstrap: other.bootstrap, ...scenario }, context);
  const ran = new Map(extra.filter((test) => test.outcome !== "skipped").map((t) => [t.name, t]));
  return [...all.map((test) => ran.get(test.name) ?? test), ...admin, ...consumer];
}

/** As librdkafka's own set-up of its clusters. */
const brokerArgs = ["num.partitions=4", "group.share.min.record.lock.duration.ms=1000"].flatMap(
  (setting) => ["-X", setting],
);

export const librdkafka: Suite = {
  name: "librdkafka",
  client: `librdkafka (in ${source})`,
  version: npmPins[source],
  kind: "own tests",
  about: "its test runner, all tests that need a broker",
  brokerArgs,
  exclusions,
  featureOf,
  prepare,
  run: runAll,
};
