import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts, until } from "../../support/broker-process.ts";
import {
  type GoTests,
  goTestSources,
  pinnedGoVersion,
  prepareGoTests,
  runGoTests,
} from "../go-tests.ts";
import { cacheDir, installOnce, run } from "../setup.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";
import { exclusions, featureOf, shortTests } from "./tests.ts";

/**
 * sarama's functional tests. They expect five brokers behind toxiproxy, which breaks connections
 * on demand; here all five proxies lead to the one broker, and topics have one replica.
 */

const tests: GoTests = {
  module: "github.com/IBM/sarama",
  packagePath: ".",
  name: "sarama",
  tags: "functional",
  changes: {
    "functional_test.go": (text) => text.replaceAll(/(ReplicationFactor: +)3/g, "$11"),
  },
};

const toxiproxy = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0";
const toxiproxyDir = join(cacheDir, "toxiproxy");
/** Both fixed by the tests: the first proxy's address is the one the broker advertises. */
const firstProxyPort = 29_091;
const proxyCount = 5;
/** The newest version sarama knows by its name. */
const kafkaVersion = "4.1.0";

async function prepare(): Promise<string | null> {
  const missing = await prepareGoTests(tests);
  if (missing !== null) return missing;
  await installOnce("toxiproxy", toxiproxy, async () => {
    mkdirSync(toxiproxyDir, { recursive: true });
    await run(["env", `GOBIN=${toxiproxyDir}`, "go", "install", toxiproxy]);
  });
  return null;
}

/** The tests whose files are built for a broker only. */
function functionalTests(folder: string): string[] {
  const files = readdirSync(folder).filter((name) => /functional.*_test\.go$/.test(name));
  return files.flatMap((file) =>
    Array.from(
      readFileSync(join(folder, file), "utf8").matchAll(/^func (Test\w+)\(t \*testing\.T\)/gm),
      ([, name = ""]) => name,
    ),
  );
}

async function startProxies(upstream: string, apiPort: number): Promise<Bun.Subprocess> {
  const server = Bun.spawn([join(toxiproxyDir, "server"), "-port", `${apiPort}`], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
  try {
    await makeProxies(`http://127.0.0.1:${apiPort}`, upstream);
  } catch (error) {
    server.kill();
    throw error;
  }
  return server;
}

async function makeProxies(url: string, upstream: string): Promise<void> {
  await until("toxiproxy answers", 10_000, async () => {
    const answer = await fetch(`${url}/version`).catch(() => null);
    return answer?.ok === true;
  });
  for (let index = 0; index < proxyCount; index++) {
    const listen = `127.0.0.1:${firstProxyPort + index}`;
    const body = JSON.stringify({ name: `kafka${index + 1}`, listen, upstream, enabled: true });
    const answer = await fetch(`${url}/proxies`, { method: "POST", body });
    if (!answer.ok) throw new Error(`toxiproxy: ${await answer.text()}`);
  }
}

async function runAll({ bootstrap, scope }: SuiteContext): Promise<RunTest[]> {
  const cwd = goTestSources(tests);
  const all = functionalTests(cwd);
  const chosen = scope === "short" ? all.filter((name) => shortTests.includes(name)) : all;
  const [apiPort = 0] = await freePorts(1);
  const server = await startProxies(bootstrap, apiPort);
  try {
    return await runGoTests(tests, {
      cwd,
      env: { TOXIPROXY_ADDR: `http://127.0.0.1:${apiPort}`, KAFKA_VERSION: kafkaVersion },
      args: [`-test.run=^(${chosen.join("|")})$`],
      timeoutMs: scope === "short" ? 240_000 : 600_000,
    });
  } finally {
    server.kill();
    await server.exited;
  }
}

export const sarama: Suite = {
  name: "sarama",
  client: "github.com/IBM/sarama",
  version: pinnedGoVersion(tests.module),
  kind: "own tests",
  about: "its functional tests, through toxiproxy",
  // As its own brokers are set up.
  brokerArgs: ["--advertised-addr", `127.0.0.1:${firstProxyPort}`].concat([
    "-X",
    "auto.create.topics.enable=false",
    "-X",
    "group.initial.rebalance.delay.ms=0",
  ]),
  exclusions,
  featureOf,
  prepare,
  run: runAll,
};
