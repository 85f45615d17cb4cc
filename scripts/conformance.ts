import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runSuite } from "../test/clients/run-suite.ts";
import { type Suite, type SuiteResults, tally } from "../test/clients/suite.ts";
import { suites } from "../test/clients/suites.ts";
import { compatibilityPage, compatibilityPath, readResults } from "./compatibility.ts";
import { heading, main, root, ScriptError } from "./support.ts";

/**
 * `bun run conformance [--short] [SUITE…]`: runs the whole of each suite against `dist/chronik`
 * (or the executable CHRONIK_BIN names), one after the other, writes
 * `test/clients/SUITE/results.json` and `docs/compatibility.md` anew. `--short` runs what CI
 * runs and writes nothing. Exit code 1 when a test failed that is on no allow-list.
 */
await main(async () => {
  const args = process.argv.slice(2);
  const scope = args.includes("--short") ? "short" : "whole";
  const chosen = choose(args.filter((arg) => arg !== "--short"));
  let failed = 0;
  const lines: string[] = [];
  for (const suite of chosen) {
    heading(`conformance ${suite.name} (${suite.client} ${suite.version})`);
    const startMs = performance.now();
    const missing = await suite.prepare();
    if (missing !== null) throw new ScriptError(`${suite.name}: ${missing}`);
    const results = await runSuite(suite, scope);
    if (scope === "whole") await write(results);
    const totals = tally(results.tests);
    failed += totals.failed;
    for (const { name, reason } of results.tests.filter(({ outcome }) => outcome === "failed")) {
      console.log(`failed: ${name}\n${reason}`);
    }
    const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
    const counts = `${totals.passed} passed, ${totals.failed} failed, ${totals.excluded} excluded`;
    lines.push(`${suite.name.padEnd(24)} ${counts} (${seconds} s)`);
    console.log(lines.at(-1));
  }
  if (scope === "whole") await Bun.write(compatibilityPath, await compatibilityPage(readResults()));
  console.log(`\n${lines.join("\n")}`);
  return failed === 0 ? 0 : 1;
});

function choose(names: readonly string[]): readonly Suite[] {
  const unknown = names.find((name) => !suites.some((suite) => suite.name === name));
  if (unknown !== undefined) {
    const known = suites.map(({ name }) => name).join(" ");
    throw new ScriptError(`there is no suite ${unknown}; the suites are ${known}`);
  }
  return names.length === 0 ? suites : suites.filter(({ name }) => names.includes(name));
}

async function write(results: SuiteResults): Promise<void> {
  const path = join(root, "test/clients", results.suite, "results.json");
  const text = `${JSON.stringify(results, null, 2)}\n`;
  await Bun.write(path, text);
  if (readFileSync(path, "utf8") !== text) throw new ScriptError(`${path} was not written`);
}
