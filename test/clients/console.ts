import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ToolServer } from "../tools/tool-server.ts";
import { consoleRows } from "./data.ts";
import { type CellResult, codecs } from "./programs.ts";

/** kafka-console-producer and kafka-console-consumer with keys, headers and tombstones. */

const nullMarker = "<null>";
const mismatchesShownMax = 5;
const consumeTimeoutMs = 30_000;

export interface ConsoleOptions {
  readonly bootstrap: string;
  readonly topicPrefix: string;
  readonly records: number;
  readonly scratchDir: string;
}

/** `headers TAB key TAB value`, as the producer reads and the consumer prints it. */
function* consoleLines(count: number): Generator<string> {
  for (const { headers, key, value } of consoleRows(count)) {
    const head = headers.map(([name, text]) => `${name}:${text}`).join(",");
    yield [head, key ?? nullMarker, value ?? nullMarker].join("\t");
  }
}

function readerProperties(): string[] {
  return ["parse.key=true", "parse.headers=true", `null.marker=${nullMarker}`];
}

function formatterProperties(): string[] {
  return ["print.timestamp=true", "print.partition=true", "print.offset=true"].concat([
    "print.headers=true",
    "print.key=true",
    `null.literal=${nullMarker}`,
  ]);
}

function repeat(flag: string, values: readonly string[]): string[] {
  return values.flatMap((value) => [flag, value]);
}

async function produce(server: ToolServer, options: ConsoleOptions, codec: string) {
  const stdinPath = join(options.scratchDir, "console-input.txt");
  writeFileSync(stdinPath, `${[...consoleLines(options.records)].join("\n")}\n`);
  const args = ["--bootstrap-server", options.bootstrap]
    .concat(["--topic", `${options.topicPrefix}-${codec}`, "--compression-codec", codec])
    .concat(repeat("--reader-property", readerProperties()))
    .concat(["--command-property", "acks=all"]);
  const { exit, stderr } = await server.run("console-producer", args, { stdinPath });
  const mismatches = exit === 0 && !stderr.includes("ERROR") ? [] : [`exit ${exit}: ${stderr}`];
  return { records: options.records, mismatches };
}

async function verify(server: ToolServer, options: ConsoleOptions, codec: string) {
  const stdoutPath = join(options.scratchDir, "console-output.txt");
  const args = ["--bootstrap-server", options.bootstrap]
    .concat(["--topic", `${options.topicPrefix}-${codec}`, "--from-beginning"])
    .concat(["--max-messages", String(options.records)])
    .concat(["--timeout-ms", String(consumeTimeoutMs), "--command-property", "check.crcs=true"])
    .concat(repeat("--formatter-property", formatterProperties()));
  const { exit, stderr } = await server.run("console-consumer", args, { stdoutPath });
  const mismatches: string[] = exit === 0 ? [] : [`exit ${exit}: ${stderr}`];
  const wanted = consoleLines(options.records);
  let records = 0;
  for await (const line of createInterface({ input: createReadStream(stdoutPath) })) {
    const [, timestamp, offset, rest] =
      /^CreateTime:(\d+)\tPartition:0\tOffset:(\d+)\t(.*)$/.exec(line) ?? [];
    const want = wanted.next().value ?? "nothing more";
    if (timestamp === undefined) mismatches.push(`line ${records}: ${line}`);
    else if (Number(offset) !== records) mismatches.push(`offset ${offset} is not ${records}`);
    else if (rest !== want) mismatches.push(`offset ${offset}: ${rest} is not ${want}`);
    records += 1;
  }
  return { records, mismatches };
}

/** All codecs, one topic of one partition each. */
export async function runConsole(
  server: ToolServer,
  action: "produce" | "verify",
  options: ConsoleOptions,
): Promise<Map<string, CellResult>> {
  const cells = new Map<string, CellResult>();
  for (const codec of codecs) {
    const startedMs = performance.now();
    const { records, mismatches } = await (action === "produce" ? produce : verify)(
      server,
      options,
      codec,
    );
    cells.set(codec, {
      client: "console",
      version: "4.3.1",
      action,
      codec,
      records,
      mismatches: mismatches.length,
      ms: Math.round(performance.now() - startedMs),
      detail: mismatches.slice(0, mismatchesShownMax),
    });
  }
  return cells;
}
