import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { pollPause } from "./moments.ts";

/** The compiled broker under test; another build is named by CHRONIK_BIN. */
export const brokerBin = resolve(
  process.env["CHRONIK_BIN"] ?? join(import.meta.dir, "../../dist/chronik"),
);

export const brokerExists: boolean = existsSync(brokerBin);

export interface BrokerOptions {
  /** Kept after the test when given; a temporary folder, removed at the end, when not. */
  readonly dataDir?: string;
  /** Further flags, after the ones every start gets. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly bin?: string;
  readonly readyTimeoutMs?: number;
}

export interface BrokerProcess extends AsyncDisposable {
  /** `127.0.0.1:PORT`; the same over restarts. */
  readonly bootstrap: string;
  readonly kafkaPort: number;
  readonly adminPort: number;
  readonly adminUrl: string;
  readonly dataDir: string;
  readonly pid: number;
  /** Milliseconds from the last spawn to `/readyz` answering 200. */
  readonly readyMs: number;
  /** SIGTERM; the exit code (128 + signal number if a signal ended it). */
  stop(): Promise<number>;
  /** SIGKILL; resolves when the process is gone. */
  kill9(): Promise<void>;
  /** Starts again on the same folder and ports; stops first if it still runs. Further environment
   * variables are for this one start. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>;
  /** Starts without waiting for anything. */
  spawn(env?: Readonly<Record<string, string>>): void;
  /** The exit code (128 + signal number) of the process started last, when it ends. */
  exited(): Promise<number>;
  /** Whether the process started last ended by itself, or by a signal. */
  isGone(): boolean;
  /** Everything printed so far, over all starts. */
  log(): string;
}

/**
 * For suites that start many groups of one member: no wait for further members. Suites about
 * groups themselves run with the default.
 */
export const withoutRebalanceDelay: readonly string[] = [
  "-X",
  "group.initial.rebalance.delay.ms=0",
];
/** This process's environment without what only tests know: the broker warns of unknown names. */
function brokerEnvironment(): Record<string, string | undefined> {
  const entries = Object.entries(process.env);
  return Object.fromEntries(
    entries.filter(
      ([name]) =>
        !/^CHRONIK_(BIN$|TEST_BIN$|CRASH_|TIER_CYCLES$|EXACTLY_ONCE_|STREAMS_|KAFKA_TESTS$)/.test(
          name,
        ),
    ),
  );
}

/** Tests write records of fixed times, and want them back: those about retention begin it. */
const withoutRetention = { CHRONIK_RETENTION_INITIAL_DELAY_MS: String(2 ** 31 - 1) };

const pollMs = 10;
const stopMsMax = 30_000;
const children = new Set<Subprocess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Ports that were free a moment ago; all are held until all are known, so none comes twice. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(async (server) => {
      const { promise, resolve: listening, reject } = Promise.withResolvers<void>();
      server.once("error", reject);
      server.listen(0, "127.0.0.1", listening);
      await promise;
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("no port");
      return address.port;
    }),
  );
  await Promise.all(
    servers.map((server) => new Promise<void>((closed) => server.close(() => closed()))),
  );
  return ports;
}

/** Waits for a condition, asking every few milliseconds; throws `what` when time is up. */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
  everyMs = pollMs,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await pollPause(everyMs);
  }
}

async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false; // not listening yet
  }
}

class Broker implements BrokerProcess {
  readonly bootstrap: string;
  readonly kafkaPort: number;
  readonly adminPort: number;
  readonly adminUrl: string;
  readonly dataDir: string;
  readyMs = 0;
  readonly #options: BrokerOptions;
  readonly #root: string;
  readonly #logPath: string;
  #child: Subprocess | undefined;

  constructor(kafkaPort: number, adminPort: number, options: BrokerOptions) {
    this.kafkaPort = kafkaPort;
    this.adminPort = adminPort;
    this.#options = options;
    this.bootstrap = `127.0.0.1:${this.kafkaPort}`;
    this.adminUrl = `http://127.0.0.1:${this.adminPort}`;
    this.#root = mkdtempSync(join(tmpdir(), "chronik-test-"));
    this.#logPath = join(this.#root, "broker.log");
    this.dataDir = options.dataDir ?? join(this.#root, "data");
    mkdirSync(this.dataDir, { recursive: true });
  }

  get pid(): number {
    if (this.#child === undefined) throw new Error("the broker does not run");
    return this.#child.pid;
  }

  spawn(env: Readonly<Record<string, string>> = {}): void {
    const { args = [], bin = brokerBin } = this.#options;
    const logFd = openSync(this.#logPath, "a");
    // Sources run under this very Bun, so that a change can be tried without compiling it.
    const child = Bun.spawn(
      (bin.endsWith(".ts") ? [process.execPath, bin] : [bin])
        .concat(["--data-dir", this.dataDir, "--bind", this.bootstrap])
        .concat(["--advertised-addr", this.bootstrap])
        .concat(["--admin-bind", `127.0.0.1:${this.adminPort}`, ...args]),
      {
        stdin: "ignore",
        stdout: logFd,
        stderr: logFd,
        env: { ...brokerEnvironment(), ...withoutRetention, ...this.#options.env, ...env },
      },
    );
    closeSync(logFd);
    this.#child = child;
    children.add(child);
    void child.exited.then(() => children.delete(child));
  }

  async exited(): Promise<number> {
    const child = this.#child;
    if (child === undefined) throw new Error("the broker does not run");
    const code = await child.exited;
    this.#child = undefined;
    return code;
  }

  isGone(): boolean {
    const child = this.#child;
    return child === undefined || child.exitCode !== null || child.signalCode !== null;
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { bin = brokerBin, readyTimeoutMs = 30_000 } = this.#options;
    const startedMs = performance.now();
    this.spawn(env);
    const child = this.#child;
    if (child === undefined) throw new Error("the broker does not run");
    await until(`${bin} answers /readyz`, readyTimeoutMs, async () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        const how = child.exitCode ?? child.signalCode;
        throw new Error(`the broker ended with ${how} at its start:\n${this.log().slice(-4000)}`);
      }
      return await answersOk(`${this.adminUrl}/readyz`);
    });
    this.readyMs = performance.now() - startedMs;
  }

  async stop(): Promise<number> {
    const child = this.#child;
    if (child === undefined) throw new Error("the broker does not run");
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), stopMsMax);
    const code = await child.exited;
    clearTimeout(killer);
    this.#child = undefined;
    return code;
  }

  async kill9(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#child = undefined;
  }

  async restart(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.#child !== undefined) await this.stop();
    await this.start(env);
  }

  log(): string {
    return readFileSync(this.#logPath, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** Starts a broker on free ports; disposing of it kills it and removes what it made. */
export async function startBroker(options: BrokerOptions = {}): Promise<BrokerProcess> {
  const [kafkaPort, adminPort] = (await freePorts(2)) as [number, number];
  const broker = new Broker(kafkaPort, adminPort, options);
  try {
    await broker.start();
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
  return broker;
}
