import { expect, test } from "bun:test";
import { nextEpoch } from "../../src/fetch/fetch-session.ts";
import { FetchSessions } from "../../src/fetch/fetch-sessions.ts";
import { FetchPlayer } from "../transcripts/fetch/runner.ts";
import { testTranscripts } from "../transcripts/play.ts";

testTranscripts("fetch", 6, () => new FetchPlayer());

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
