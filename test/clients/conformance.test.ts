import { describe, expect, test } from "bun:test";
import { brokerExists } from "../support/broker-process.ts";
import { runSuite } from "./run-suite.ts";
import { suites } from "./suites.ts";

/**
 * The short form of every conformance suite, on a broker of its own each. The whole of them:
 * `bun run conformance`.
 */

const isCi = process.env["CI"] === "true";
const missing = new Map<string, string | null>();
for (const suite of suites) {
  missing.set(suite.name, brokerExists ? await suite.prepare() : "dist/chronik is not built");
}

describe("conformance suites, short form", () => {
  for (const suite of suites) {
    const reason = missing.get(suite.name) ?? null;
    const title = `${suite.name} · ${suite.client} ${suite.version}`;
    if (reason !== null) {
      test.skipIf(!isCi)(`${title} (skipped: ${reason})`, () => expect(reason).toBeNull());
      continue;
    }
    test(title, async () => {
      const { tests } = await runSuite(suite, "short");
      const failed = tests.filter(({ outcome }) => outcome === "failed");
      expect(failed).toEqual([]);
      expect(tests.some(({ outcome }) => outcome === "passed")).toBe(true);
    }, 1_200_000);
  }
});
