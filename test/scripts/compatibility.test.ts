import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { compatibilityPage, compatibilityPath, readResults } from "../../scripts/compatibility.ts";
import type { SuiteResults } from "../clients/suite.ts";
import { suites } from "../clients/suites.ts";

test("docs/compatibility.md says what is served; run `bun scripts/compatibility.ts`", async () => {
  expect(readFileSync(compatibilityPath, "utf8")).toBe(await compatibilityPage(readResults()));
});

test("the results on record are of the suites there are, in the versions pinned", () => {
  const pinned = new Map(suites.map((suite) => [suite.name, suite]));
  for (const { format, suite, client, version, kind } of readResults()) {
    expect({ suite, client, version, kind, format }).toEqual({
      suite,
      client: pinned.get(suite)?.client ?? "no such suite",
      version: pinned.get(suite)?.version ?? "",
      kind: pinned.get(suite)?.kind ?? "program",
      format: 1,
    });
  }
});

describe("the page", () => {
  const results: SuiteResults = {
    format: 1,
    suite: "some-suite",
    client: "some-client",
    version: "1.2.3",
    kind: "own tests",
    about: "its tests",
    tests: [
      { name: "a", feature: "produce", outcome: "passed" },
      { name: "b", feature: "produce", outcome: "failed", reason: "no answer" },
      { name: "c", feature: "admin", outcome: "excluded", reason: "needs | three brokers" },
      { name: "d", feature: "admin", outcome: "excluded", reason: "needs | three brokers" },
    ],
  };
  test("counts, names what fails, and gives the reason of what is excluded once", async () => {
    const page = await compatibilityPage([results]);
    expect(page).toContain(
      "| some-client | 1.2.3 | `some-suite` | own tests | its tests | 1 | 1 | 2 |",
    );
    expect(page).toContain("| `some-suite` | b |");
    expect(page).toContain("| `some-suite` | needs \\| three brokers | c, d |");
    expect(page).toMatch(/\| `some-suite` 1\.2\.3 \| {2}\| 1\/2 \|/);
  });
  test("every API has a row; one not served says why", async () => {
    const page = await compatibilityPage([]);
    expect(page).toMatch(/^\| 0 \| Produce \| 3–\d+ \| \d+–\d+ \|/m);
    expect(page).toMatch(/^\| 18 \| ApiVersions \| 0–5 \| 0–5 \| {2}\|$/m);
    expect(page).toMatch(
      /^\| 83 \| InitializeShareGroupState \| \d.*chronik keeps this state itself \|$/m,
    );
  });
});
