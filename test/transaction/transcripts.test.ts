import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { playTranscript } from "../transcripts/transaction/runner.ts";

// REWRITE_TRANSCRIPTS=1 writes what the machine does now; review the diff before committing it.
const folder = join(import.meta.dir, "../transcripts/transaction");
const rewrite = process.env["REWRITE_TRANSCRIPTS"] === "1";
const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));

test("there are transcripts", () => {
  expect(files.length).toBeGreaterThan(6);
});

for (const file of files) {
  test(`transcript ${file}`, () => {
    const path = join(folder, file);
    const before = readFileSync(path, "utf8");
    const after = playTranscript(before);
    if (rewrite) writeFileSync(path, after);
    else expect(after).toBe(before);
  });
}
