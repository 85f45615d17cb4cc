import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { configurationPage, configurationPath } from "../../scripts/docs.ts";

test("docs/configuration.md says what the executable reads; run `bun scripts/docs.ts`", () => {
  expect(readFileSync(configurationPath, "utf8")).toBe(configurationPage());
});
