import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { playTranscript } from "../transcripts/consumer-group/runner.ts";

// REWRITE_TRANSCRIPTS=1 writes what the group does now; review the diff before committing it.
const folder = join(import.meta.dir, "../transcripts/consumer-group");
const rewrite = process.env["REWRITE_TRANSCRIPTS"] === "1";
const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));

test("there are transcripts", () => {
  expect(files.length).toBeGreaterThan(10);
});

for (const file of files) {
  test(`consumer group transcript ${file}`, () => {
    const path = join(folder, file);
    const before = readFileSync(path, "utf8");
    const after = playTranscript(before);
    // A group made from the records alone is the same group.
    expect(after).not.toContain("\n! ");
    if (rewrite) writeFileSync(path, after);
    else expect(after).toBe(before);
  });
}
