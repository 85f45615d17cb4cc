import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureToolchain } from "../clients/setup.ts";
import {
  type BrokerOptions,
  type BrokerProcess,
  brokerExists,
  startBroker,
} from "../support/broker-process.ts";
import { startToolServer, type Tool, type ToolResult, type ToolServer } from "./tool-server.ts";

const testMsMax = 60_000;

/**
 * One broker and one JVM with Kafka's tools for a file of tests. CHRONIK_BOOTSTRAP names a running
 * broker to try instead; without Java or a built broker the tests are skipped, in CI they fail.
 */
export class ToolBench {
  readonly scratchDir: string;
  private readonly name: string;
  private readonly skipReason: string | null;
  private readonly options: BrokerOptions;
  private broker: BrokerProcess | undefined;
  private toolServer: ToolServer | undefined;

  private constructor(name: string, skipReason: string | null, options: BrokerOptions) {
    this.name = name;
    this.skipReason = skipReason;
    this.options = options;
    this.scratchDir = mkdtempSync(join(tmpdir(), `chronik-${name}-`));
  }

  static async of(name: string, options: BrokerOptions = {}): Promise<ToolBench> {
    const setup = await ensureToolchain("java");
    const hasBroker = process.env["CHRONIK_BOOTSTRAP"] !== undefined || brokerExists;
    const missing = setup.status === "skipped" ? setup.reason : null;
    return new ToolBench(name, hasBroker ? missing : "dist/chronik is not built", options);
  }

  get bootstrap(): string {
    return process.env["CHRONIK_BOOTSTRAP"] ?? this.broker?.bootstrap ?? "";
  }

  get server(): ToolServer {
    if (this.toolServer === undefined) throw new Error("the tool server is not started");
    return this.toolServer;
  }

  /** The file's tests, with broker and JVM around them. */
  suite(title: string, body: () => void): void {
    const { skipReason } = this;
    const isSkipped = skipReason !== null && process.env["CI"] !== "true";
    const suffix = skipReason === null ? "" : ` (skipped: ${skipReason})`;
    describe.skipIf(isSkipped)(`${title}${suffix}`, () => {
      beforeAll(async () => {
        expect(skipReason).toBeNull();
        const isOurs = process.env["CHRONIK_BOOTSTRAP"] === undefined;
        if (isOurs) this.broker = await startBroker(this.options);
        this.toolServer = await startToolServer();
      }, testMsMax);
      afterAll(async () => {
        await this.toolServer?.[Symbol.asyncDispose]();
        await this.broker?.[Symbol.asyncDispose]();
        rmSync(this.scratchDir, { recursive: true, force: true });
      });
      body();
    });
  }

  readonly check = (title: string, run: () => Promise<void>): void => {
    test(title, run, testMsMax);
  };

  readonly unique = (name: string): string =>
    `${this.name}-${name}-${crypto.randomUUID().slice(0, 8)}`;

  /** Runs a tool against the broker under test. */
  readonly tool = (name: Tool, ...args: string[]): Promise<ToolResult> =>
    this.server.run(name, ["--bootstrap-server", this.bootstrap, ...args]);

  /** Like `tool`, and the tool must end with 0; its standard output. */
  readonly output = async (name: Tool, ...args: string[]): Promise<string> => {
    const result = await this.tool(name, ...args);
    expect(result).toMatchObject({ exit: 0 });
    return result.stdout;
  };

  /** Everything a tool says, whatever its exit code. */
  readonly said = async (name: Tool, ...args: string[]): Promise<string> => {
    const { stdout, stderr } = await this.tool(name, ...args);
    return stdout + stderr;
  };
}
