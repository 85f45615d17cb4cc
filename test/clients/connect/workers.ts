import { join } from "node:path";
import { freePorts, until } from "../../support/broker-process.ts";
import { jvmClassPath } from "../jvm/prepare.ts";
import { jvmCommand } from "../jvm/run.ts";

/** Kafka Connect and MirrorMaker 2 as processes of their own. */

const readyMsMax = 90_000;
const logShownChars = 2000;
const classPath = () => jvmClassPath({ name: "connect" });

/** Rounds are short: what a connector wrote is to be seen at once. */
const quick = ["offset.flush.interval.ms=1000", "scheduled.rebalance.max.delay.ms=1000"];

export interface Worker extends AsyncDisposable {
  log(): Promise<string>;
}

export interface ConnectWorker extends Worker {
  /** Creates or changes a connector, and waits until it and a task of it run. */
  connector(name: string, config: Readonly<Record<string, string>>): Promise<void>;
  restart(): Promise<void>;
}

async function start(
  scratchDir: string,
  name: string,
  mainClass: string,
  lines: readonly string[],
  args: readonly string[] = [],
) {
  const configPath = join(scratchDir, `${name}.properties`);
  const log = Bun.file(join(scratchDir, `${name}-${crypto.randomUUID()}.log`));
  await Bun.write(configPath, `${lines.join("\n")}\n`);
  const command = jvmCommand({
    classPath: classPath(),
    mainClass,
    args: [configPath, ...args],
    logLevel: "WARN",
  });
  const child = Bun.spawn(command, { stdin: "ignore", stdout: log, stderr: log });
  return {
    child,
    log: async () => (await log.text()).slice(-logShownChars),
    async end() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** A distributed worker with exactly-once sources; its group and topics have the name in them. */
export async function startConnect(
  bootstrap: string,
  scratchDir: string,
  name: string,
): Promise<ConnectWorker> {
  const [port] = (await freePorts(1)) as [number];
  const url = `http://127.0.0.1:${port}`;
  const json = "org.apache.kafka.connect.storage.StringConverter";
  const lines = [
    `bootstrap.servers=${bootstrap}`,
    `group.id=${name}`,
    `key.converter=${json}`,
    `value.converter=${json}`,
    ...["config", "offset", "status"].flatMap((kind) => [
      `${kind}.storage.topic=${name}-${kind}s`,
      `${kind}.storage.replication.factor=1`,
    ]),
    "offset.storage.partitions=3",
    "status.storage.partitions=1",
    "exactly.once.source.support=enabled",
    `listeners=${url}`,
    ...quick,
  ];
  const begin = async () => {
    const worker = await start(
      scratchDir,
      name,
      "org.apache.kafka.connect.cli.ConnectDistributed",
      lines,
    );
    await until(`Connect serves ${url}`, readyMsMax, async () => {
      if (worker.child.exitCode !== null) throw new Error(`Connect ended: ${await worker.log()}`);
      return (await get(`${url}/connectors`)) !== null;
    });
    return worker;
  };
  let worker = await begin();
  return {
    log: () => worker.log(),
    async connector(connector, config) {
      await until(`connector ${connector} is taken`, readyMsMax, async () => {
        const response = await fetch(`${url}/connectors/${connector}/config`, {
          method: "PUT",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(config),
        });
        const text = await response.text();
        if (response.status === 400) throw new Error(`Connect refuses ${connector}: ${text}`);
        return response.ok; // 409 and 500 while the group rebalances
      });
      await until(`connector ${connector} runs`, readyMsMax, async () => {
        const status = (await get(`${url}/connectors/${connector}/status`)) as Status | null;
        const failed = status?.tasks.find(({ state }) => state === "FAILED");
        if (failed !== undefined) throw new Error(`a task of ${connector} failed: ${failed.trace}`);
        return status?.tasks.some(({ state }) => state === "RUNNING") ?? false;
      });
    },
    async restart() {
      await worker.end();
      worker = await begin();
    },
    [Symbol.asyncDispose]: () => worker.end(),
  };
}

interface Status {
  readonly tasks: readonly { readonly state: string; readonly trace?: string }[];
}

async function get(url: string): Promise<unknown> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    const text = await response.text();
    return response.ok ? JSON.parse(text) : null;
  } catch {
    return null; // not listening yet, or busy with a rebalance
  }
}

/** MirrorMaker 2 as it is started by `connect-mirror-maker.sh`, both ways between `a` and `b`. */
export async function startMirror(a: string, b: string, scratchDir: string): Promise<Worker> {
  const lines = [
    "clusters=a,b",
    `a.bootstrap.servers=${a}`,
    `b.bootstrap.servers=${b}`,
    ...["a->b", "b->a"].flatMap((flow) => [
      `${flow}.enabled=true`,
      `${flow}.topics=mirrored-.*`,
      `${flow}.groups=mirrored-.*`,
      `${flow}.sync.group.offsets.enabled=true`,
      `${flow}.sync.group.offsets.interval.seconds=2`,
      `${flow}.emit.checkpoints.interval.seconds=2`,
      `${flow}.refresh.topics.interval.seconds=2`,
      `${flow}.refresh.groups.interval.seconds=2`,
    ]),
    "replication.factor=1",
    ...["checkpoints", "heartbeats", "offset-syncs"].map((t) => `${t}.topic.replication.factor=1`),
    ...["config", "offset", "status"].map((kind) => `${kind}.storage.replication.factor=1`),
    "emit.heartbeats.interval.seconds=1",
    ...quick,
  ];
  const mirror = await start(
    scratchDir,
    "mirror",
    "org.apache.kafka.connect.mirror.MirrorMaker",
    lines,
  );
  return { log: mirror.log, [Symbol.asyncDispose]: mirror.end };
}
