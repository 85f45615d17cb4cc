import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureToolchain, javaClassPath, javaLogConfig } from "../clients/setup.ts";
import { freePorts, until } from "./broker-process.ts";

/**
 * Apache Kafka 4.3.1, one node with its own controller, to prove a suite on or to compare with:
 * `bun test/support/peer-kafka.ts [--port P] [--flush-each-append]` runs one until it is ended.
 */

export interface PeerKafkaOptions {
  /** A free one by default. */
  readonly port?: number;
  /** Kept when given; temporary when not. */
  readonly dataDir?: string;
  /** fsync after every append: what chronik promises, and Kafka by default does not. */
  readonly flushEachAppend?: boolean;
  /** Further lines of server.properties. */
  readonly properties?: readonly string[];
  readonly heapMb?: number;
}

export interface PeerKafka extends AsyncDisposable {
  readonly bootstrap: string;
  readonly pid: number;
  readonly exited: Promise<number>;
  stop(): Promise<number>;
}

const readyMsMax = 60_000;

function serverProperties(port: number, controllerPort: number, logDir: string): string[] {
  return [
    "process.roles=broker,controller",
    "node.id=1",
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    "controller.listener.names=CONTROLLER",
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${port}`,
    "inter.broker.listener.name=PLAINTEXT",
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    `log.dirs=${logDir}`,
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=8",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=8",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
  ];
}

function javaCommand(heapMb: number, mainClass: string, args: readonly string[]): string[] {
  return ["java", `-Xms${heapMb}m`, `-Xmx${heapMb}m`, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
    .concat([`-Dlog4j2.configurationFile=${javaLogConfig}`, "-Dkafka.loglevel=INFO"])
    .concat(["-cp", javaClassPath, mainClass, ...args]);
}

async function formatOnce(logDir: string, config: string, log: number): Promise<void> {
  const isFormatted = await Bun.file(join(logDir, "meta.properties")).exists();
  if (isFormatted) return;
  const clusterId = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64url");
  const args = ["format", "-t", clusterId, "-c", config];
  const child = Bun.spawn(javaCommand(256, "kafka.tools.StorageTool", args), {
    stdio: ["ignore", log, log],
  });
  if ((await child.exited) !== 0)
    throw new Error(`Kafka's storage tool ended with ${child.exitCode}`);
}

/** Starts Kafka and waits until it serves; the Java toolchain must be there. */
export async function startPeerKafka(options: PeerKafkaOptions = {}): Promise<PeerKafka> {
  const setup = await ensureToolchain("java");
  if (setup.status !== "ready") throw new Error(`no Java: ${setup.reason}`);
  const [freePort, controllerPort] = (await freePorts(2)) as [number, number];
  const port = options.port ?? freePort;
  const root = mkdtempSync(join(tmpdir(), "peer-kafka-"));
  const logDir = options.dataDir ?? join(root, "data");
  mkdirSync(logDir, { recursive: true });
  const config = join(root, "server.properties");
  const lines = serverProperties(port, controllerPort, logDir)
    .concat(options.flushEachAppend ? ["log.flush.interval.messages=1"] : [])
    .concat(options.properties ?? []);
  writeFileSync(config, `${lines.join("\n")}\n`);
  const logPath = join(root, "kafka.log");
  const log = openSync(logPath, "a");
  await formatOnce(logDir, config, log);
  const child = Bun.spawn(javaCommand(options.heapMb ?? 1024, "kafka.Kafka", [config]), {
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  const end = async (signal: "SIGTERM" | "SIGKILL") => {
    child.kill(signal);
    return await child.exited;
  };
  const dispose = async () => {
    await end("SIGKILL");
    rmSync(root, { recursive: true, force: true });
  };
  try {
    await until("Kafka started", readyMsMax, () => {
      const text = readFileSync(logPath, "utf8");
      if (child.exitCode !== null) throw new Error(`Kafka ended:\n${text.slice(-4000)}`);
      return text.includes("Kafka Server started");
    });
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    bootstrap: `127.0.0.1:${port}`,
    pid: child.pid,
    exited: child.exited,
    stop: () => end("SIGTERM"),
    [Symbol.asyncDispose]: dispose,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: "string" }, "flush-each-append": { type: "boolean" } },
  });
  await using kafka = await startPeerKafka({
    ...(values.port === undefined ? {} : { port: Number(values.port) }),
    flushEachAppend: values["flush-each-append"] ?? false,
  });
  console.log(`Kafka on ${kafka.bootstrap}, pid ${kafka.pid}`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => void kafka.stop());
  await kafka.exited;
}
