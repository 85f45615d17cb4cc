import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pinnedPythonVersion, preparePython, runPytest } from "../pytest.ts";
import { cacheDir, installOnce, pythonBin, run } from "../setup.ts";
import type { Feature, RunTest, Suite, SuiteContext } from "../suite.ts";

/** kafka-python's integration tests, out of its source package. */

const version = pinnedPythonVersion("kafka-python");
const folder = join(cacheDir, "kafka-python");
const sources = join(folder, `kafka_python-${version}`);

/** What the client must infer from our ApiVersions; a test of its own checks that. */
const inferredVersion = "4.3";

const files = ["admin", "consumer", "producer"].map(
  (n) => `test/integration/test_${n}_integration.py`,
);

async function prepare(): Promise<string | null> {
  const missing = await preparePython();
  if (missing !== null) return missing;
  await installOnce("kafka-python", `${version} ${await Bun.file(shim).text()}`, async () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const pip = [pythonBin, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder];
    await run([...pip, "--no-binary", ":all:", `kafka-python==${version}`]);
    const archive = readdirSync(folder).find((name) => name.endsWith(".tar.gz"));
    if (archive === undefined) throw new Error("pip brought no source package");
    await run(["tar", "xzf", join(folder, archive), "-C", folder]);
    // The source package leaves out what makes its folder of tests a package.
    writeFileSync(join(sources, "test/__init__.py"), "");
    copyFileSync(shim, join(sources, "test/service.py"));
  });
  return null;
}

const shim = join(import.meta.dir, "service.py");

function runAll({ bootstrap, scratchDir, scope }: SuiteContext): Promise<RunTest[]> {
  const short = ["-k", "not high_throughput and not search_many_partitions"];
  return runPytest({
    cwd: sources,
    env: {
      KAFKA_URI: `PLAINTEXT://${bootstrap}`,
      KAFKA_VERSION: inferredVersion,
      KAFKA_ROOT: scratchDir,
    },
    args: [...files, "--timeout=120", "--log-level=ERROR", ...(scope === "short" ? short : [])],
    scratchDir,
    timeoutMs: 900_000,
  });
}

const rules: readonly (readonly [RegExp, Feature])[] = [
  [/transactional/, "txn"],
  [/^test_admin.*(group|offsets)/, "group"],
  [/^test_admin/, "admin"],
  [/test_group|heartbeat|offset_commit/, "group"],
  [/version_infer/, "connection"],
  [/^test_producer/, "produce"],
  [/./, "consume"],
];

export const kafkaPython: Suite = {
  name: "kafka-python",
  client: "kafka-python",
  version,
  kind: "own tests",
  about: "its integration tests of admin, consumer and producer",
  // As its own fixtures set their broker up: node 0, four partitions, short sessions.
  brokerArgs: ["-X", "node.id=0", "-X", "num.partitions=4"].concat([
    "-X",
    "group.min.session.timeout.ms=1000",
    "-X",
    "group.initial.rebalance.delay.ms=0",
  ]),
  exclusions: [
    {
      test: "test_admin_integration::test_create_describe_delete_acls",
      reason: "needs an authorizer, which comes with security; without one Kafka refuses as we do",
    },
    {
      test: "test_consumer_integration::test_kafka_consumer_offsets_for_time_old",
      reason: "is for brokers before 0.10.1 only",
    },
  ],
  featureOf: (test) => rules.find(([pattern]) => pattern.test(test))?.[1] ?? "consume",
  prepare,
  run: runAll,
};
