import type { ClientProgram } from "./programs.ts";

/** One group member in its own process, and what it tells about itself. */

export interface MemberOptions {
  readonly bootstrap: string;
  readonly topic: string;
  readonly group: string;
  readonly id: string;
  readonly sessionTimeoutMs: number;
  /**
   * `range`, or the client's own incremental or sticky one; `consumer-uniform` and
   * `consumer-range` are the broker's, and mean the consumer protocol.
   */
  readonly assignor: string;
  /** group.instance.id */
  readonly instance?: string;
  /** Subscribes by this expression and not by the topic's name. */
  readonly regex?: string;
}

export interface Span {
  readonly partition: number;
  readonly first: number;
  readonly last: number;
}

export interface GroupMember extends AsyncDisposable {
  readonly id: string;
  /** What it owns by its last word, ascending. */
  readonly owned: readonly number[];
  readonly consumed: readonly Span[];
  /** Partition to the offset of its last successful commit. */
  readonly committed: ReadonlyMap<number, number>;
  /** Ends it in order, so that it leaves the group; its exit code. */
  leave(): Promise<number>;
  kill9(): Promise<void>;
  /** For a failure's message: its last lines, and whether it still runs. */
  describe(): string;
}

type MemberEvent =
  | { readonly event: "assignment"; readonly partitions: readonly number[] }
  | ({ readonly event: "consumed" } & Span)
  | { readonly event: "committed"; readonly offsets: Readonly<Record<string, number>> }
  | { readonly event: "commit-failed" | "error"; readonly error: string }
  | { readonly event: "closed" };

const linesKept = 20;
const leaveMsMax = 20_000;

class Member implements GroupMember {
  readonly id: string;
  owned: readonly number[] = [];
  readonly consumed: Span[] = [];
  readonly committed = new Map<number, number>();
  readonly #lines: string[] = [];
  readonly #child;

  constructor(client: ClientProgram, options: MemberOptions) {
    this.id = options.id;
    const args = ["--bootstrap", options.bootstrap, "--topic", options.topic]
      .concat(["--group", options.group, "--id", options.id, "--assignor", options.assignor])
      .concat(["--session-timeout-ms", String(options.sessionTimeoutMs)])
      .concat(options.instance === undefined ? [] : ["--instance", options.instance])
      .concat(options.regex === undefined ? [] : ["--regex", options.regex]);
    this.#child = Bun.spawn([...client.command, "member", ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    void this.#follow(this.#child.stdout, (line) => this.#take(line));
    void this.#follow(this.#child.stderr, () => undefined);
  }

  async #follow(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        this.#lines.push(line);
        if (this.#lines.length > linesKept) this.#lines.shift();
        take(line);
      }
    }
  }

  #take(line: string): void {
    if (!line.startsWith("{")) return;
    const told = JSON.parse(line) as MemberEvent;
    if (told.event === "assignment") this.owned = told.partitions;
    if (told.event === "consumed") this.consumed.push(told);
    if (told.event === "committed") {
      for (const [partition, offset] of Object.entries(told.offsets)) {
        this.committed.set(Number(partition), offset);
      }
    }
  }

  async leave(): Promise<number> {
    await this.#child.stdin.end();
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), leaveMsMax);
    const code = await this.#child.exited;
    clearTimeout(killer);
    this.owned = [];
    return code;
  }

  async kill9(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    this.owned = [];
  }

  describe(): string {
    const state = this.#child.exitCode ?? this.#child.signalCode ?? "running";
    return `${this.id} (${state}) owns [${this.owned}]; last lines:\n${this.#lines.join("\n")}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}

export function startMember(client: ClientProgram, options: MemberOptions): GroupMember {
  return new Member(client, options);
}
