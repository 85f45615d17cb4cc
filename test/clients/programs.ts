import { join } from "node:path";
import {
  ensureToolchain,
  goBinDir,
  javaClassPath,
  javaLogConfig,
  pythonBin,
  type SetupResult,
  type Toolchain,
} from "./setup.ts";

/** The client programs under test and how to start each; all take the same arguments. */

export const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
export type Codec = (typeof codecs)[number];

export interface ClientProgram {
  readonly name: string;
  readonly toolchain: Toolchain;
  readonly command: readonly string[];
  /** True where the library cannot send a null header value: it is sent as an empty one. */
  readonly sendsNullHeadersAsEmpty: boolean;
}

const java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4"];
const here = import.meta.dir;

export const clients: readonly ClientProgram[] = [
  {
    name: "java",
    toolchain: "java",
    command: [...java, `-Dlog4j2.configurationFile=${javaLogConfig}`, "-cp", javaClassPath].concat(
      "ClientProgram",
    ),
    sendsNullHeadersAsEmpty: false,
  },
  {
    name: "confluent-kafka",
    toolchain: "python",
    command: [pythonBin, join(here, "python/confluent_client.py")],
    sendsNullHeadersAsEmpty: false,
  },
  {
    name: "kafka-python",
    toolchain: "python",
    command: [pythonBin, join(here, "python/kafka_python_client.py")],
    sendsNullHeadersAsEmpty: true,
  },
  {
    name: "franz-go",
    toolchain: "go",
    command: [join(goBinDir, "franz")],
    sendsNullHeadersAsEmpty: false,
  },
  {
    name: "sarama",
    toolchain: "go",
    command: [join(goBinDir, "sarama")],
    sendsNullHeadersAsEmpty: false,
  },
  {
    name: "kafkajs",
    toolchain: "node",
    command: [process.execPath, join(here, "node/kafkajs-client.ts")],
    sendsNullHeadersAsEmpty: true,
  },
];

/** One line of a program's output: one codec's topic produced or verified. */
export interface CellResult {
  readonly client: string;
  readonly version: string;
  readonly action: "produce" | "verify";
  readonly codec: string;
  readonly records: number;
  readonly mismatches: number;
  readonly ms: number;
  readonly detail: readonly string[];
}

export interface RunOptions {
  readonly bootstrap: string;
  /** The codec's name is appended: one topic a codec. */
  readonly topicPrefix: string;
  readonly records: number;
  readonly inputPath: string;
  readonly nullHeadersAsEmpty?: boolean;
  readonly timeoutMs: number;
}

const stderrShownMax = 2000;

/** Runs all codecs of one client in one process; a codec without a result line is absent. */
export async function runProgram(
  client: ClientProgram,
  action: "produce" | "verify",
  options: RunOptions,
): Promise<{ cells: Map<string, CellResult>; failure: string | null }> {
  const args = ["--bootstrap", options.bootstrap, "--topic", options.topicPrefix]
    .concat(["--codecs", codecs.join(","), "--records", String(options.records)])
    .concat(["--input", options.inputPath])
    .concat(options.nullHeadersAsEmpty ? ["--null-headers-as-empty", "true"] : []);
  const child = Bun.spawn([...client.command, action, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const killer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs);
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(killer);
  const cells = new Map<string, CellResult>();
  for (const line of stdout.split("\n").filter((text) => text.startsWith("{"))) {
    const cell = JSON.parse(line) as CellResult;
    cells.set(cell.codec, cell);
  }
  if (exitCode === 0) return { cells, failure: null };
  const failure = `${client.name} ${action} exited with ${exitCode}`;
  return { cells, failure: `${failure}: ${stderr.slice(-stderrShownMax)}` };
}

/** The setup of every toolchain the given clients need, by toolchain. */
export async function ensureToolchains(
  list: readonly ClientProgram[],
): Promise<Map<Toolchain, SetupResult>> {
  const results = new Map<Toolchain, SetupResult>();
  for (const { toolchain } of list) {
    if (!results.has(toolchain)) results.set(toolchain, await ensureToolchain(toolchain));
  }
  return results;
}
