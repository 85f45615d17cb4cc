import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker } from "../support/broker-process.ts";
import { judgeSuite, matches, type Suite, type SuiteContext, type SuiteResults } from "./suite.ts";

/**
 * Runs one suite on a broker of its own. Others' tests carry their own time limits, which a busy
 * machine does not always keep: what failed is run once more, on another broker, and told by name.
 * Programs of ours wait for conditions and get no second run.
 */
export async function runSuite(suite: Suite, scope: SuiteContext["scope"]): Promise<SuiteResults> {
  const results = await runOnce(suite, scope, null);
  const failed = results.tests.filter(({ outcome }) => outcome === "failed");
  if (failed.length === 0 || suite.kind === "program") return results;
  for (const { name, reason } of failed) {
    console.log(`${suite.name}: failed once: ${name}\n${reason}`);
  }
  const names = failed.map(({ name }) => name);
  const again = await runOnce(suite, scope, names);
  const mended = new Set(
    again.tests.filter(({ outcome }) => outcome === "passed").map(({ name }) => name),
  );
  const tests = results.tests.map((test) => {
    if (test.outcome !== "failed" || !mended.has(test.name)) return test;
    const { name, feature } = test;
    return { name, feature, outcome: "passed", attempts: 2 } as const;
  });
  return { ...results, tests };
}

async function runOnce(
  suite: Suite,
  scope: SuiteContext["scope"],
  only: readonly string[] | null,
): Promise<SuiteResults> {
  const scratchDir = mkdtempSync(join(tmpdir(), `chronik-${suite.name}-`));
  try {
    await using broker = await startBroker({ args: suite.brokerArgs });
    const ran = await suite.run({
      broker,
      bootstrap: broker.bootstrap,
      scope,
      scratchDir,
      only,
      isExcluded: (test) => suite.exclusions.some((entry) => matches(entry.test, test)),
    });
    return judgeSuite(suite, ran, { scope, only });
  } finally {
    rmSync(scratchDir, { recursive: true, force: true });
  }
}
