import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nextEpoch } from "../../src/fetch/fetch-session.ts";
import { FetchSessions } from "../../src/fetch/fetch-sessions.ts";
import { playTranscript } from "../transcripts/fetch/runner.ts";

// REWRITE_TRANSCRIPTS=1 writes what the sessions do now; review the diff before committing it.
const folder = join(import.meta.dir, "../transcripts/fetch");
const rewrite = process.env["REWRITE_TRANSCRIPTS"] === "1";
const files = readdirSync(folder).filter((file) => file.endsWith(".txt"));

test("there are transcripts", () => {
  expect(files.length).toBeGreaterThan(5);
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

test("epochs follow each other, from the largest int32 on with 1", () => {
  expect([-1, 0, 1, 2 ** 31 - 2, 2 ** 31 - 1].map(nextEpoch)).toEqual([-1, 1, 2, 2 ** 31 - 1, 1]);
});

test("taken ids are drawn again", () => {
  const ids = [1, 1, 1, 2];
  const sessions = new FetchSessions({ sessionsMax: 9, bytesMax: 9_999 }, () => ids.shift() ?? 0);
  const make = () =>
    sessions
      .begin(
        { sessionId: 0, epoch: 0, usesTopicIds: false, isFollower: false, asks: [], forget: [] },
        0,
      )
      .finish([], 0).sessionId;
  expect([make(), make()]).toEqual([1, 2]);
});

test("no places, no sessions", () => {
  const sessions = new FetchSessions({ sessionsMax: 0, bytesMax: 9_999 }, () => 1);
  const context = sessions.begin(
    { sessionId: 0, epoch: 0, usesTopicIds: false, isFollower: false, asks: [], forget: [] },
    0,
  );
  expect(context.finish([], 0)).toEqual({ errorCode: 0, sessionId: 0, answers: [] });
});
