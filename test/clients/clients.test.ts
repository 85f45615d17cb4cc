import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BrokerProcess,
  brokerExists,
  startBroker,
  withoutRebalanceDelay,
} from "../support/broker-process.ts";
import { startToolServer, type ToolServer } from "../tools/tool-server.ts";
import { runConsole } from "./console.ts";
import { inputFile, partitionCount } from "./data.ts";
import {
  type CellResult,
  type ClientProgram,
  clients,
  codecs,
  ensureToolchains,
  runProgram,
} from "./programs.ts";
import { cacheDir } from "./setup.ts";
import { untilArchived } from "./tier.ts";
import { createTopics, withAdmin } from "./topics.ts";

/**
 * Unmodified clients write and read every codec, before tiering, out of the archives and after
 * a restart. One broker and one wait for tiering serve all of them, so the work happens once,
 * up front, and each test looks at its own result.
 *
 * CHRONIK_CLIENT_RECORDS: records a client and codec (20,000).
 * CHRONIK_BOOTSTRAP: an already running broker; then nothing is tiered or restarted.
 * CHRONIK_CLIENTS: comma-separated names, to run some of them only.
 */

const records = Number(process.env["CHRONIK_CLIENT_RECORDS"] ?? 20_000);
const externalBootstrap = process.env["CHRONIK_BOOTSTRAP"];
const isCi = process.env["CI"] === "true";
const runId = `${Date.now().toString(36)}-${process.pid}`;
const programMsMax = 120_000 + records * 5;

type Stage = "produce" | "hot" | "hot by java" | "archive" | "restart";
const stages: readonly Stage[] =
  externalBootstrap === undefined
    ? ["produce", "hot", "hot by java", "archive", "restart"]
    : ["produce", "hot", "hot by java"];
const stageTitles: Record<Stage, string> = {
  produce: "writes, each record at its offset",
  hot: "reads back before tiering",
  "hot by java": "is read by the Java client",
  archive: "reads back out of the archives",
  restart: "reads back after a restart",
};

interface Subject {
  readonly name: string;
  readonly program: ClientProgram | null; // null: the console tools
}

const consoleName = "console";
const wantedNames = process.env["CHRONIK_CLIENTS"]?.split(",");
const subjects: readonly Subject[] = [
  ...clients.map((program) => ({ name: program.name, program })),
  { name: consoleName, program: null },
].filter(({ name }) => wantedNames?.includes(name) ?? true);

const canRun = externalBootstrap !== undefined || brokerExists;
const setups = canRun ? await ensureToolchains(clients) : new Map();
function skipReason({ program }: Subject): string | null {
  if (!canRun) return "dist/chronik is not built";
  const setup = setups.get(program?.toolchain ?? "java");
  return setup?.status === "skipped" ? setup.reason : null;
}
const javaReads = setups.get("java")?.status === "ready";

const results = new Map<string, CellResult | Error>();
const scratchDir = mkdtempSync(join(tmpdir(), "chronik-clients-"));
let broker: BrokerProcess | undefined;
let server: ToolServer | undefined;

const prefixOf = (subject: Subject) => `clients-${runId}-${subject.name}`;
const topicsOf = (subject: Subject) => codecs.map((codec) => `${prefixOf(subject)}-${codec}`);
const stagesOf = ({ name }: Subject) =>
  stages.filter(
    (stage) => stage !== "hot by java" || (javaReads && !["java", consoleName].includes(name)),
  );
const cellName = (subject: Subject, codec: string, stage: Stage) =>
  `${subject.name}/${codec}/${stage}`;

async function runStage(subject: Subject, stage: Stage, bootstrap: string): Promise<void> {
  const startedMs = performance.now();
  const action = stage === "produce" ? "produce" : "verify";
  const common = { bootstrap, topicPrefix: prefixOf(subject), records };
  let cells: Map<string, CellResult>;
  let failure: string | null = null;
  if (subject.program === null) {
    server ??= await startToolServer();
    cells = await runConsole(server, action, { ...common, scratchDir });
  } else {
    const program = stage === "hot by java" ? clients[0]! : subject.program;
    ({ cells, failure } = await runProgram(program, action, {
      ...common,
      inputPath: inputFile(cacheDir, records),
      nullHeadersAsEmpty: subject.program.sendsNullHeadersAsEmpty,
      timeoutMs: programMsMax,
    }));
  }
  for (const codec of codecs) {
    const missing = new Error(failure ?? "the program printed no result for this codec");
    results.set(cellName(subject, codec, stage), cells.get(codec) ?? missing);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.error(`${subject.name}: ${stage} ${seconds} s${failure === null ? "" : `: ${failure}`}`);
}

/** Every offset that the subject's topics hold now is in archives, and out of the WAL. */
async function untilTiered(subject: Subject, { adminUrl, bootstrap }: BrokerProcess) {
  for (const topic of topicsOf(subject)) {
    const ends = await withAdmin(bootstrap, (admin) => admin.fetchTopicOffsets(topic));
    for (const { partition, high } of ends) {
      await untilArchived(adminUrl, topic, partition, Number(high), programMsMax);
    }
  }
}

/** Does a stage for each subject; what fails there fails that subject's tests only. */
async function eachSubject(
  list: readonly Subject[],
  stage: Stage,
  run: (subject: Subject) => Promise<void>,
): Promise<void> {
  for (const subject of list) {
    try {
      await run(subject);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      console.error(`${subject.name}: ${stage}: ${failure.message}`);
      for (const codec of codecs) results.set(cellName(subject, codec, stage), failure);
    }
  }
}

async function runAll(list: readonly Subject[]): Promise<void> {
  if (externalBootstrap === undefined) {
    broker = await startBroker({ args: withoutRebalanceDelay });
  }
  const bootstrap = externalBootstrap ?? broker!.bootstrap;
  await eachSubject(list, "produce", async (subject) => {
    await createTopics(bootstrap, topicsOf(subject), subject.program === null ? 1 : partitionCount);
    for (const stage of stagesOf(subject)) {
      if (stage === "archive" || stage === "restart") continue;
      await runStage(subject, stage, bootstrap);
    }
  });
  const own = broker;
  if (own === undefined) return;
  await eachSubject(list, "archive", async (subject) => {
    await untilTiered(subject, own);
    await runStage(subject, "archive", bootstrap);
  });
  await own.restart();
  await eachSubject(list, "restart", (subject) => runStage(subject, "restart", bootstrap));
}

describe(`real clients, ${records} records a codec`, () => {
  const list = subjects.filter((subject) => skipReason(subject) === null);
  // Thrown here, bun would report one failure and leave the tests unnamed: they tell it instead.
  let broken: unknown = null;
  beforeAll(async () => {
    try {
      await runAll(list);
    } catch (error) {
      broken = error;
    }
  }, 3_000_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
    rmSync(scratchDir, { recursive: true, force: true });
  });

  for (const subject of subjects) {
    const reason = skipReason(subject);
    for (const codec of codecs) {
      for (const stage of stagesOf(subject)) {
        const title = `${subject.name} · ${codec} · ${stageTitles[stage]}`;
        if (reason !== null) {
          test.skipIf(!isCi)(`${title} (skipped: ${reason})`, () => expect(reason).toBeNull());
          continue;
        }
        test(title, () => {
          const result = results.get(cellName(subject, codec, stage)) ?? broken;
          if (!isCell(result)) throw result ?? new Error("this stage was not reached");
          expect<object>(result).toMatchObject({
            codec,
            records,
            mismatches: 0,
            detail: [],
          });
        });
      }
    }
  }
});

function isCell(result: unknown): result is CellResult {
  return typeof result === "object" && result !== null && "mismatches" in result;
}
