import { jvmClassPath } from "../jvm/prepare.ts";
import { jvmCommand } from "../jvm/run.ts";

/** The JVM that plays the scenarios, `java/ExactlyOnce.java`: one question, one answer. */

export interface Answer {
  /** Everything wrong; empty when all is well. */
  readonly findings: readonly string[];
  /** How many writes ended so, by the client's knowledge. */
  readonly committed?: number;
  readonly aborted?: number;
  readonly unknown?: number;
  readonly ms: number;
}

export interface Matrix extends AsyncDisposable {
  scenarios(): Promise<readonly string[]>;
  /** Plays one scenario under a prefix of its own, and checks it. */
  play(scenario: string, prefix: string): Promise<Answer>;
  /** Reads everything of an earlier play again, and checks it. */
  check(prefix: string): Promise<Answer>;
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

/** Starts the JVM; `prepareJvm` must have run. */
export function startMatrix(bootstrap: string): Matrix {
  const command = jvmCommand({
    classPath: jvmClassPath({ name: "exactly-once" }),
    mainClass: "ExactlyOnce",
    isLong: true,
  });
  const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  const answers = linesOf(child.stdout);
  async function ask(request: object): Promise<unknown> {
    child.stdin.write(`${JSON.stringify({ bootstrap, ...request })}\n`);
    await child.stdin.flush();
    const answer = await answers.next();
    if (answer.done) throw new Error(`the scenarios' JVM ended with ${await child.exited}`);
    return JSON.parse(answer.value);
  }
  return {
    async scenarios() {
      return ((await ask({ action: "list" })) as { scenarios: string[] }).scenarios;
    },
    async play(scenario, prefix) {
      return (await ask({ action: "run", scenario, prefix })) as Answer;
    },
    async check(prefix) {
      return (await ask({ action: "check", prefix })) as Answer;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}
