import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDir, installOnce, missingPrograms, run } from "./setup.ts";
import type { RunTest } from "./suite.ts";

/** Runs the tests that a Go module ships. */

const goModule = join(import.meta.dir, "go");

/** The version `go/go.mod` pins. */
export function pinnedGoVersion(module: string): string {
  const text = readFileSync(join(goModule, "go.mod"), "utf8");
  const found = text.split("\n").find((line) => line.trim().startsWith(`${module} v`));
  if (found === undefined) throw new Error(`go.mod does not name ${module}`);
  return found.trim().split(" v")[1]?.split(" ")[0] ?? "";
}

export interface GoTests {
  readonly module: string;
  /** Below the module: `./pkg/kgo`. */
  readonly packagePath: string;
  /** The compiled test program's name below `cacheDir/go-tests`. */
  readonly name: string;
  readonly tags?: string;
  /** Files to change before they are compiled: path below the module, and how. */
  readonly changes?: Readonly<Record<string, (text: string) => string>>;
}

export function goTestBinary(tests: GoTests): string {
  return join(cacheDir, "go-tests", tests.name);
}

/** The module's copy that the tests were compiled in: they read their data from it. */
export function goTestSources(tests: GoTests): string {
  return `${goTestBinary(tests)}-sources`;
}

/** Compiles the tests; the reason when there is no Go. */
export async function prepareGoTests(tests: GoTests): Promise<string | null> {
  const missing = missingPrograms(["go"]);
  if (missing !== null) return missing;
  const { module, name, packagePath, tags = "", changes = {} } = tests;
  const edits = Object.entries(changes).map(([path, change]) => `${path} ${change}`);
  const wanted = [module, pinnedGoVersion(module), packagePath, tags, ...edits].join("\n");
  await installOnce(`go-tests-${name}`, wanted, async () => {
    const sources = goTestSources(tests);
    mkdirSync(dirname(sources), { recursive: true });
    rmSync(sources, { recursive: true, force: true });
    await run(["cp", "-r", await goModuleDir(module), sources]);
    await run(["chmod", "-R", "u+w", sources]);
    for (const [path, change] of Object.entries(changes)) {
      const text = readFileSync(join(sources, path), "utf8");
      const changed = change(text);
      if (changed === text) throw new Error(`${name}: nothing to change in ${path} any more`);
      writeFileSync(join(sources, path), changed);
    }
    // The module's own checksums vouch for what its tests import.
    const command = ["go", "test", "-c", "-o", goTestBinary(tests), `-tags=${tags}`];
    await run([...command, packagePath], sources);
  });
  return null;
}

/** The folder of the module in Go's own cache. */
async function goModuleDir(module: string): Promise<string> {
  await run(["go", "mod", "download", module], goModule);
  return (await run(["go", "list", "-m", "-f", "{{.Dir}}", module], goModule)).trim();
}

export interface GoRun {
  /** The package's folder: tests read their data from it. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** `-test.run` and the like. */
  readonly args: readonly string[];
  readonly timeoutMs: number;
}

/** Runs the compiled tests; one result for each test without subtests, and for each subtest. */
export async function runGoTests(tests: GoTests, goRun: GoRun): Promise<RunTest[]> {
  const seconds = Math.round(goRun.timeoutMs / 1000);
  const program = [goTestBinary(tests), "-test.v=test2json", `-test.timeout=${seconds}s`];
  const child = Bun.spawn(["go", "tool", "test2json", "-t", ...program, ...goRun.args], {
    cwd: goRun.cwd,
    env: { ...process.env, ...goRun.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    timeout: goRun.timeoutMs + 30_000,
  });
  const output = await new Response(child.stdout).text();
  await child.exited;
  return parseGoTests(output);
}

interface GoEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

const outcomes: Readonly<Record<string, RunTest["outcome"]>> = {
  pass: "passed",
  fail: "failed",
  skip: "skipped",
};

/** Reads what `go tool test2json` prints. A test without an end failed: the program died in it. */
export function parseGoTests(output: string): RunTest[] {
  const outcomeOf = new Map<string, RunTest["outcome"]>();
  const printed = new Map<string, string>();
  for (const line of output.split("\n").filter((text) => text.startsWith("{"))) {
    const { Action, Test, Output = "" } = JSON.parse(line) as GoEvent;
    if (Test === undefined) continue;
    if (Action === "run") outcomeOf.set(Test, "failed");
    const end = outcomes[Action];
    if (end !== undefined) outcomeOf.set(Test, end);
    if (Action === "output") printed.set(Test, `${printed.get(Test) ?? ""}${Output}`);
  }
  const names = [...outcomeOf.keys()];
  const failedBelow = (name: string) =>
    names.some((other) => other.startsWith(`${name}/`) && outcomeOf.get(other) === "failed");
  return names
    .filter((name) => {
      const isParent = names.some((other) => other.startsWith(`${name}/`));
      return !isParent || (outcomeOf.get(name) === "failed" && !failedBelow(name));
    })
    .map((name) => ({
      name,
      outcome: outcomeOf.get(name) ?? "failed",
      detail: printed.get(name) ?? "",
    }));
}
