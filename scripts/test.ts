import { join } from "node:path";
import { build } from "./build.ts";
import {
  add,
  judge,
  nothing,
  parseBunTest,
  parseCargoTest,
  skippedNames,
  summary,
  type Totals,
} from "./results.ts";
import { type Room, rooms } from "./rooms.ts";
import { setup } from "./setup.ts";
import { bun, heading, main, root, ScriptError } from "./support.ts";

interface Outcome {
  readonly name: string;
  readonly totals: Totals;
  readonly seconds: number;
  readonly skipped: readonly string[];
}

/**
 * `bun run test` runs everything; `bun run test ROOM…` runs those rooms. The last line reads
 * `N passed, N failed`. Where the variable CI is `true` nothing may be skipped.
 */
await main(async () => {
  const chosen = choose(process.argv.slice(2), rooms(root));
  const outcomes: Outcome[] = [];
  const failure = await prepare(chosen);
  if (failure === null) {
    for (const room of chosen) outcomes.push(await runRoom(room));
  } else {
    console.error(`error: ${failure}`);
    outcomes.push({ name: "build", totals: { ...nothing, failed: 1 }, seconds: 0, skipped: [] });
  }
  return report(outcomes);
});

function choose(names: readonly string[], all: readonly Room[]): readonly Room[] {
  const unknown = names.find((name) => !all.some((room) => room.name === name));
  if (unknown !== undefined) {
    const known = all.map((room) => room.name).join(" ");
    throw new ScriptError(`there is no test room ${unknown}; the rooms are ${known}`);
  }
  return names.length === 0 ? all : all.filter((room) => names.includes(room.name));
}

/** Builds what the chosen rooms need; the reason, when that fails. */
async function prepare(chosen: readonly Room[]): Promise<string | null> {
  try {
    heading("setup");
    await setup();
    if (chosen.some((room) => room.needs === "executables")) {
      await build("release");
      await build("test");
    }
    return null;
  } catch (error) {
    // Whatever it is, the run ends with its totals.
    return error instanceof ScriptError ? error.message : String(error);
  }
}

async function runRoom(room: Room): Promise<Outcome> {
  heading(`test ${room.name}`);
  const startMs = performance.now();
  const { path } = room;
  const { exitCode, output } =
    path === null
      ? await tee(["cargo", "test", "--release", "--locked", "--no-fail-fast"], join(root, "ffi"))
      : await tee([bun, "test", path, `--timeout=${room.timeoutMs}`], root);
  const parsed = path === null ? parseCargoTest(output) : parseBunTest(output);
  return {
    name: room.name,
    totals: judge(parsed, exitCode),
    seconds: (performance.now() - startMs) / 1000,
    skipped: path === null ? [] : skippedNames(output),
  };
}

/** Runs a command with its output on this terminal and in a string. */
async function tee(
  command: readonly string[],
  cwd: string,
): Promise<{ exitCode: number; output: string }> {
  const child = Bun.spawn([...command], {
    cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    // Nothing takes this long; a room that hangs must not take the report with it.
    timeout: 40 * 60_000,
  });
  const texts = ["", ""];
  const copies = Promise.all([
    copy(child.stdout, process.stdout, (text) => (texts[0] += text)),
    copy(child.stderr, process.stderr, (text) => (texts[1] += text)),
  ]);
  const exitCode = await child.exited;
  // A process that a test left behind may hold the pipes open for ever.
  await Promise.race([copies, Bun.sleep(5_000)]);
  return { exitCode, output: Bun.stripANSI(texts.join("\n")) };
}

async function copy(
  from: ReadableStream<Uint8Array>,
  to: NodeJS.WriteStream,
  keep: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of from) {
    to.write(chunk);
    keep(decoder.decode(chunk, { stream: true }));
  }
}

/** Prints a line for each room and the totals; returns the exit code. */
function report(outcomes: readonly Outcome[]): number {
  const strict = process.env["CI"] === "true";
  let totals = nothing;
  console.log("");
  for (const { name, totals: found, seconds, skipped } of outcomes) {
    totals = add(totals, found);
    console.log(`${name.padEnd(12)} ${summary(found)} (${seconds.toFixed(1)} s)`);
    for (const test of skipped) console.log(`${" ".repeat(13)}skipped: ${test}`);
  }
  if (strict && totals.skipped > 0) {
    console.log(`${totals.skipped} skipped tests count as failed because CI is true`);
    totals = { ...totals, failed: totals.failed + totals.skipped, skipped: 0 };
  }
  if (totals.passed + totals.failed === 0) totals = { ...totals, failed: 1 };
  console.log(`\n${summary(totals)}`);
  return totals.failed === 0 ? 0 : 1;
}
