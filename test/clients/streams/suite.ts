import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrokerProcess, withoutRebalanceDelay } from "../../support/broker-process.ts";
import { unannouncedMoment } from "../../support/moments.ts";
import { Random } from "../../support/random.ts";
import { jvmClassPath, prepareJvm } from "../jvm/prepare.ts";
import { jvmCommand, runJvm } from "../jvm/run.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";

/**
 * Kafka's StreamsSmokeTest: an application of windows, joins, aggregates and foreign keys, with
 * exactly_once_v2, and a driver that checks every result. The broker is killed while records
 * flow. CHRONIK_STREAMS_SEED repeats the wait before the kills.
 */

interface Load {
  readonly seconds: number;
  readonly keys: number;
  readonly recordsPerKey: number;
  readonly kills: number;
}

/** The whole load is that of the test as published. */
const loads: Record<SuiteContext["scope"], Load> = {
  short: { seconds: 15, keys: 10, recordsPerKey: 100, kills: 1 },
  whole: { seconds: 90, keys: 20, recordsPerKey: 1000, kills: 3 },
};
const verifyMsMax = 600_000;
const detailChars = 1500;
const classPath = () => jvmClassPath({ name: "streams" });
const test = "StreamsSmokeTest, exactly_once_v2, broker killed";

async function startApplication(bootstrap: string, scratchDir: string) {
  const stateDir = join(scratchDir, "state");
  mkdirSync(stateDir, { recursive: true });
  const path = join(scratchDir, "streams.properties");
  const lines = [
    `bootstrap.servers=${bootstrap}`,
    "processing.guarantee=exactly_once_v2",
    "replication.factor=1",
    "num.stream.threads=2",
    "commit.interval.ms=500",
    `state.dir=${stateDir}`,
  ];
  await Bun.write(path, `${lines.join("\n")}\n`);
  const command = jvmCommand({
    classPath: classPath(),
    mainClass: "org.apache.kafka.streams.tests.StreamsSmokeTest",
    args: [path, "process"],
    isLong: true,
  });
  const output = Bun.file(join(scratchDir, "application.log"));
  const child = Bun.spawn(command, { stdin: "ignore", stdout: output, stderr: output });
  return { child, log: () => Bun.file(join(scratchDir, "application.log")).text() };
}

/** Kills come spread over the time in which records are produced. */
async function disturb(broker: BrokerProcess, { seconds, kills }: Load): Promise<void> {
  const random = Random.from("CHRONIK_STREAMS_SEED");
  const slotMs = (seconds * 1000) / (kills + 1);
  for (let kill = 0; kill < kills; kill++) {
    await unannouncedMoment(random, slotMs, slotMs * 1.5);
    await broker.kill9();
    await broker.restart();
  }
}

async function smoke({ broker, bootstrap, scope, scratchDir }: SuiteContext): Promise<RunTest> {
  const load = loads[scope];
  const driving = runJvm(
    {
      classPath: classPath(),
      mainClass: "SmokeDriver",
      args: [bootstrap, ...[load.seconds, load.keys, load.recordsPerKey].map(String)],
      isLong: true,
    },
    load.seconds * 1000 + verifyMsMax,
  );
  const application = await startApplication(bootstrap, scratchDir);
  try {
    await disturb(broker, load);
    const { exit, stdout, stderr } = await driving;
    if (exit === 0) return { name: test, outcome: "passed" };
    const said = `${stdout.slice(-detailChars)}\n${stderr.slice(-detailChars)}`;
    const log = (await application.log()).slice(-detailChars);
    const detail = `the driver ended with ${exit}: ${said}\napplication: ${log}`;
    return { name: test, outcome: "failed", detail };
  } finally {
    application.child.kill("SIGKILL");
    await application.child.exited;
  }
}

export const streams: Suite = {
  name: "streams",
  client: "kafka-streams",
  version: "4.3.1",
  kind: "own tests",
  about: "StreamsSmokeTest with exactly_once_v2, the broker killed while records flow",
  exclusions: [],
  brokerArgs: withoutRebalanceDelay,
  featureOf: () => "streams",
  prepare: () => prepareJvm({ name: "streams" }),
  run: async (context) => [await smoke(context)],
};
