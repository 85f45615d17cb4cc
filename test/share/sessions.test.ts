import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { type SessionRequest, ShareSessions } from "../../src/share/sessions.ts";

const one = { topicId: "AAAAAAAAAAAAAAAAAAAAAQ", partition: 0 };
const two = { topicId: "AAAAAAAAAAAAAAAAAAAAAQ", partition: 1 };

function request(epoch: number, overrides: Partial<SessionRequest> = {}): SessionRequest {
  const ids = { groupId: "g", memberId: "m", connectionId: 1 };
  return { ...ids, epoch, added: [], forgotten: [], acknowledges: false, ...overrides };
}

function open(limits = { sessionsMax: 2, sessionPartitionsMax: 3 }): ShareSessions {
  const sessions = new ShareSessions(limits);
  expect(sessions.fetch(request(0, { added: [one] })).partitions).toEqual([one]);
  return sessions;
}

describe("share sessions", () => {
  test("each request carries the next epoch, and what it changes", () => {
    const sessions = open();
    expect(sessions.fetch(request(1, { added: [two] })).partitions).toEqual([one, two]);
    expect(sessions.acknowledge("g", "m", 2)).toBe(ErrorCode.NONE);
    expect(sessions.fetch(request(3, { forgotten: [one] })).partitions).toEqual([two]);
    expect(sessions.fetch(request(3)).errorCode).toBe(ErrorCode.INVALID_SHARE_SESSION_EPOCH);
    expect(sessions.acknowledge("g", "m", 9)).toBe(ErrorCode.INVALID_SHARE_SESSION_EPOCH);
    expect(sessions.acknowledge("g", "m", 0)).toBe(ErrorCode.INVALID_SHARE_SESSION_EPOCH);
  });

  test("after the largest epoch comes 1", () => {
    const sessions = open();
    const session = sessions.find("g", "m");
    if (session === null) throw new Error("no session");
    session.epoch = 2_147_483_647;
    expect(sessions.fetch(request(2_147_483_647)).errorCode).toBe(ErrorCode.NONE);
    expect(session.epoch).toBe(1);
  });

  test("who has no session is told so", () => {
    const sessions = open();
    for (const epoch of [1, -1]) {
      const { errorCode } = sessions.fetch(request(epoch, { memberId: "other" }));
      expect(errorCode).toBe(ErrorCode.SHARE_SESSION_NOT_FOUND);
      expect(sessions.acknowledge("g", "other", epoch)).toBe(ErrorCode.SHARE_SESSION_NOT_FOUND);
    }
  });

  test("the first request acknowledges nothing", () => {
    const sessions = open();
    const { errorCode } = sessions.fetch(request(0, { acknowledges: true }));
    expect(errorCode).toBe(ErrorCode.INVALID_REQUEST);
  });

  test("there are no more than allowed, and none holds more than allowed", () => {
    const sessions = open();
    expect(sessions.fetch(request(0, { memberId: "b" })).errorCode).toBe(ErrorCode.NONE);
    const limit = ErrorCode.SHARE_SESSION_LIMIT_REACHED;
    expect(sessions.fetch(request(0, { memberId: "c" })).errorCode).toBe(limit);
    // Beginning anew needs no further room.
    expect(sessions.fetch(request(0)).errorCode).toBe(ErrorCode.NONE);
    const many = [2, 3, 4, 5].map((partition) => ({ ...one, partition }));
    expect(sessions.fetch(request(1, { added: many })).errorCode).toBe(limit);
    expect(sessions.find("g", "m")).toBeNull();
  });

  test("a connection's sessions are those that were not made again over another", () => {
    const sessions = open();
    sessions.fetch(request(0, { memberId: "b" }));
    sessions.fetch(request(0, { connectionId: 2 }));
    expect(sessions.ofConnection(1).map(({ memberId }) => memberId)).toEqual(["b"]);
    for (const session of sessions.ofConnection(2)) sessions.remove(session);
    expect([sessions.count, sessions.hasGroup("g"), sessions.hasGroup("h")]).toEqual([
      1,
      true,
      false,
    ]);
  });
});
