import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker } from "../support/broker-process.ts";
import { judgeSuite, matches, type Suite, type SuiteContext, type SuiteResults } from "./suite.ts";

/** Runs one suite on a broker of its own. */
export async function runSuite(suite: Suite, scope: SuiteContext["scope"]): Promise<SuiteResults> {
  const scratchDir = mkdtempSync(join(tmpdir(), `chronik-${suite.name}-`));
  try {
    await using broker = await startBroker({ args: suite.brokerArgs });
    const ran = await suite.run({
      broker,
      bootstrap: broker.bootstrap,
      scope,
      scratchDir,
      isExcluded: (test) => suite.exclusions.some((entry) => matches(entry.test, test)),
    });
    return judgeSuite(suite, ran, scope);
  } finally {
    rmSync(scratchDir, { recursive: true, force: true });
  }
}
