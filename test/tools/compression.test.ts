/** `compression.type`, set with Kafka's own tool and met by Kafka's own clients. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compressionOf } from "../../src/protocol/record-batch.ts";
import { Kafka } from "../broker/kafka.ts";
import { ensureToolchain } from "../clients/setup.ts";
import { createTopics } from "../clients/topics.ts";
import { type BrokerProcess, brokerExists, startBroker } from "../support/broker-process.ts";
import { startToolServer, type Tool, type ToolServer } from "./tool-server.ts";

const setup = await ensureToolchain("java");
const reason = !brokerExists
  ? "dist/chronik is not built"
  : setup.status === "skipped"
    ? setup.reason
    : null;
const isCi = process.env["CI"] === "true";
const testMsMax = 60_000;
const lineCount = 500;
/** What is set, and the codec that batches are stored in. */
const targets = [
  ["lz4,compression.lz4.level=12", "lz4"],
  ["zstd,compression.zstd.level=10", "zstd"],
  ["snappy", "snappy"],
  ["uncompressed", "none"],
  ["gzip,compression.gzip.level=1", "gzip"],
] as const;

let broker: BrokerProcess;
let server: ToolServer;
let kafka: Kafka;
const scratchDir = mkdtempSync(join(tmpdir(), "chronik-compression-"));

async function output(name: Tool, ...words: string[]): Promise<string> {
  const result = await server.run(name, ["--bootstrap-server", broker.bootstrap, ...words]);
  expect(result).toMatchObject({ exit: 0 });
  return result.stdout;
}

async function codecsIn(topic: string): Promise<Set<string | null>> {
  const batches = await kafka.readAll(topic, 0);
  return new Set(batches.map(({ header }) => compressionOf(header.attributes)));
}

const suite = describe.skipIf(reason !== null && !isCi);
suite(`compression.type${reason === null ? "" : ` (skipped: ${reason})`}`, () => {
  beforeAll(async () => {
    expect(reason).toBeNull();
    broker = await startBroker();
    kafka = await Kafka.connect(broker.kafkaPort);
    server = await startToolServer();
  }, testMsMax);
  afterAll(async () => {
    kafka?.close();
    await server?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
    rmSync(scratchDir, { recursive: true, force: true });
  });

  for (const [config, codec] of targets) {
    test(
      `${config}: what the console producer sends in gzip the console consumer reads`,
      async () => {
        const topic = `compressed-${codec}`;
        await createTopics(broker.bootstrap, [topic], 1);
        const entity = ["--entity-type", "topics", "--entity-name", topic];
        await output("configs", ...entity, "--alter", "--add-config", `compression.type=${config}`);
        const described = await output("configs", ...entity, "--describe");
        for (const line of `compression.type=${config}`.split(",")) {
          expect(described).toContain(`  ${line} `);
        }
        const [stdinPath, stdoutPath] = [join(scratchDir, "in.txt"), join(scratchDir, "out.txt")];
        const lines = Array.from({ length: lineCount }, (_, n) => `key ${n}\tvalue ${n} ${codec}`);
        writeFileSync(stdinPath, `${lines.join("\n")}\n`);
        const write = ["--bootstrap-server", broker.bootstrap, "--topic", topic]
          .concat(["--compression-codec", "gzip", "--reader-property", "parse.key=true"])
          .concat(["--command-property", "acks=all"]);
        expect(await server.run("console-producer", write, { stdinPath })).toMatchObject({
          exit: 0,
        });
        const read = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning"]
          .concat(["--max-messages", String(lineCount), "--timeout-ms", "20000"])
          .concat(["--command-property", "check.crcs=true"])
          .concat(["--formatter-property", "print.key=true"]);
        expect(await server.run("console-consumer", read, { stdoutPath })).toMatchObject({
          exit: 0,
        });
        expect(readFileSync(stdoutPath, "utf8").trimEnd().split("\n")).toEqual(lines);
        expect(await codecsIn(topic)).toEqual(new Set([codec]));
      },
      testMsMax,
    );
  }
});
