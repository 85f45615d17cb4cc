import { type Feature, features, type RunTest, type Suite, type SuiteContext } from "./suite.ts";

/**
 * A suite that is a program of ours over a library's public API. It prints one JSON line a test,
 * `{"test": "feature: what", "outcome": "passed" | "failed" | "skipped", "detail": "…"}`.
 */
export interface Program {
  readonly name: string;
  readonly client: string;
  readonly version: string;
  readonly brokerArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  command(): readonly string[];
  prepare(): Promise<string | null>;
}

const programMsMax = 600_000;

function featureOf(test: string): Feature {
  const word = test.split(":")[0] ?? "";
  const known = (Object.keys(features) as Feature[]).find((feature) => feature === word);
  if (known === undefined) throw new Error(`${test} names no feature`);
  return known;
}

async function runProgram(program: Program, context: SuiteContext): Promise<RunTest[]> {
  const child = Bun.spawn([...program.command(), "--bootstrap", context.bootstrap], {
    env: { ...process.env, ...program.env },
    cwd: context.scratchDir,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: programMsMax,
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const exitCode = await child.exited;
  const found = output
    .split("\n")
    .filter((line) => line.startsWith('{"test"'))
    .map((line) => JSON.parse(line) as Omit<RunTest, "name"> & { readonly test: string })
    .map(({ test: name, outcome, detail = "" }): RunTest => ({ name, outcome, detail }));
  if (exitCode !== 0) {
    const detail = `the program ended with ${exitCode}: ${errors.slice(-1000)}`;
    found.push({ name: "client: the program ends well", outcome: "failed", detail });
  }
  return found;
}

export function programSuite(program: Program): Suite {
  const { name, client, version } = program;
  return {
    name,
    client,
    version,
    kind: "program",
    about: "produce, consume, groups, administration, transactions over its public API",
    brokerArgs: program.brokerArgs ?? ["-X", "group.initial.rebalance.delay.ms=0"],
    exclusions: [],
    featureOf,
    prepare: () => program.prepare(),
    run: (context) => runProgram(program, context),
  };
}
