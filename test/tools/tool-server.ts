import { ensureToolchain, javaClassPath, javaLogConfig } from "../clients/setup.ts";

/** Kafka's own command-line tools, run as their main classes one after another in one JVM. */

const tools = "org.apache.kafka.tools";

export const toolClasses = {
  topics: `${tools}.TopicCommand`,
  configs: "kafka.admin.ConfigCommand",
  "consumer-groups": `${tools}.consumer.group.ConsumerGroupCommand`,
  "get-offsets": `${tools}.GetOffsetShell`,
  "delete-records": `${tools}.DeleteRecordsCommand`,
  "log-dirs": `${tools}.LogDirsCommand`,
  "producer-perf-test": `${tools}.ProducerPerformance`,
  "consumer-perf-test": `${tools}.ConsumerPerformance`,
  "e2e-latency": `${tools}.EndToEndLatency`,
  "console-producer": `${tools}.ConsoleProducer`,
  "console-consumer": `${tools}.consumer.ConsoleConsumer`,
  acls: `${tools}.AclCommand`,
  features: `${tools}.FeatureCommand`,
  "leader-election": `${tools}.LeaderElectionCommand`,
  "reassign-partitions": `${tools}.reassign.ReassignPartitionsCommand`,
  "metadata-quorum": `${tools}.MetadataQuorumCommand`,
  "client-metrics": `${tools}.ClientMetricsCommand`,
  "delegation-tokens": `${tools}.DelegationTokenCommand`,
  "broker-api-versions": `${tools}.BrokerApiVersionsCommand`,
} as const;
export type Tool = keyof typeof toolClasses;

export interface ToolResult {
  readonly exit: number;
  /** Empty when the output went to a file. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface ToolOptions {
  /** File that the tool reads as its standard input. */
  readonly stdinPath?: string;
  /** File that takes its standard output, for outputs of many megabytes. */
  readonly stdoutPath?: string;
}

export interface ToolServer extends AsyncDisposable {
  /** One at a time, in the order of the calls. */
  run(tool: Tool, args: readonly string[], options?: ToolOptions): Promise<ToolResult>;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

/** Starts the JVM; the Java toolchain must be ready. */
export async function startToolServer(): Promise<ToolServer> {
  const setup = await ensureToolchain("java");
  if (setup.status !== "ready") throw new Error(`no Java: ${setup.reason}`);
  const child = Bun.spawn(
    ["java", "-Xmx768m", "-XX:+UseSerialGC", `-Dlog4j2.configurationFile=${javaLogConfig}`].concat([
      "-Dkafka.loglevel=ERROR",
      "-cp",
      javaClassPath,
      "ToolServer",
    ]),
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  const answers = linesOf(child.stdout);
  let previous: Promise<unknown> = Promise.resolve();

  async function ask(request: object): Promise<ToolResult> {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    await child.stdin.flush();
    const answer = await answers.next();
    if (answer.done) throw new Error(`the tool server ended with ${await child.exited}`);
    return JSON.parse(answer.value) as ToolResult;
  }

  return {
    run(tool, args, options = {}) {
      const { stdinPath: stdin = null, stdoutPath: stdout = null } = options;
      const request = { main: toolClasses[tool], args, stdin, stdout };
      const result = previous.then(() => ask(request));
      previous = result.catch(() => undefined);
      return result;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
