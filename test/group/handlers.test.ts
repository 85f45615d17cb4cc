import { describe, expect, test } from "bun:test";
import { findCoordinatorHandler } from "../../src/api/10-find-coordinator.ts";
import { joinGroupHandler } from "../../src/api/11-join-group.ts";
import { heartbeatHandler } from "../../src/api/12-heartbeat.ts";
import { leaveGroupHandler } from "../../src/api/13-leave-group.ts";
import { syncGroupHandler } from "../../src/api/14-sync-group.ts";
import { describeGroupsHandler } from "../../src/api/15-describe-groups.ts";
import { listGroupsHandler } from "../../src/api/16-list-groups.ts";
import { parseShareKey } from "../../src/api/find-share-coordinator.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { encodeSubscription } from "../transcripts/group/runner.ts";
import { commit, join, joinTwice, plain, stableGroup, sync } from "./client.ts";
import { Harness, settle } from "./harness.ts";

const versions = (handler: { minVersion: number; maxVersion: number }): number[] =>
  Array.from(
    { length: handler.maxVersion - handler.minVersion + 1 },
    (_, i) => handler.minVersion + i,
  );

describe("FindCoordinator", () => {
  test.each(versions(findCoordinatorHandler))(
    "v%i names the broker of this listener",
    async (version) => {
      const world = new Harness();
      const request = version < 4 ? { key: "g" } : { coordinatorKeys: ["g", "h"] };
      const answer = await world.call(findCoordinatorHandler, version, request);
      const found = version < 4 ? [answer] : answer.coordinators;
      for (const one of found) {
        expect([one.errorCode, one.nodeId, one.host, one.port]).toEqual([0, 1, "broker", 9092]);
      }
      if (version >= 4) expect(answer.coordinators.map((one) => one.key)).toEqual(["g", "h"]);
      expect(world.topics.topicExists("__consumer_offsets")).toBe(true);
    },
  );

  test("keys of an unknown type, and malformed keys of share partitions, are refused", async () => {
    const world = new Harness();
    const single = await world.call(findCoordinatorHandler, 3, { key: "t", keyType: 3 });
    expect([single.errorCode, single.nodeId]).toEqual([ErrorCode.INVALID_REQUEST, -1]);
    const many = await world.call(findCoordinatorHandler, 6, {
      coordinatorKeys: ["s", "g:notAUuid:0", ":AAAAAAAAAAAAAAAAAAAAAQ:0"],
      keyType: 2,
    });
    const codes = many.coordinators.map(({ errorCode }) => errorCode);
    expect(codes).toEqual(Array(3).fill(ErrorCode.INVALID_REQUEST));
    // Before v6 there were none.
    const key = "g:AAAAAAAAAAAAAAAAAAAAAQ:0";
    const old = { coordinatorKeys: [key], keyType: 2 };
    const [answer] = (await world.call(findCoordinatorHandler, 5, old)).coordinators;
    expect(answer?.errorCode).toBe(ErrorCode.INVALID_REQUEST);
    expect(parseShareKey(key)).toEqual({
      groupId: "g",
      topicId: "AAAAAAAAAAAAAAAAAAAAAQ",
      partition: 0,
    });
    expect(parseShareKey(`a:b:${key}`)?.groupId).toBe("a:b:g");
  });
});

describe("membership in every version", () => {
  test.each(versions(joinGroupHandler))("JoinGroup v%i", async (version) => {
    const world = new Harness();
    const options = { version, clientId: "c" };
    const joined = version >= 4 ? joinTwice(world, "g", options) : join(world, "g", options);
    await settle();
    world.clock.advance(0);
    const answer = await joined;
    expect(answer.errorCode).toBe(0);
    expect([answer.generationId, answer.leader, answer.protocolName]).toEqual([
      1,
      answer.memberId,
      "range",
    ]);
    expect(answer.members.map((one) => one.memberId)).toEqual([answer.memberId]);
    expect(answer.members[0]!.metadata).toEqual(encodeSubscription(["t1"]));
    if (version >= 7) expect(answer.protocolType).toBe("consumer");
    // v0 has no rebalance timeout: the session timeout bounds the next join phase.
    await sync(world, "g", { ...answer, version: version < 5 ? 2 : 5 });
    void join(world, "g", { version: version === 0 ? 0 : 3 });
    await settle();
    const limitMs = version === 0 ? 10_000 : 60_000;
    for (let ms = 0; ms < limitMs - 5_000; ms += 5_000) {
      world.clock.advance(5_000);
      const beat = { groupId: "g", memberId: answer.memberId, generationId: 1 };
      expect((await world.call(heartbeatHandler, 4, beat)).errorCode).toBe(
        ErrorCode.REBALANCE_IN_PROGRESS,
      );
    }
    world.clock.advance(5_000);
    const beat = { groupId: "g", memberId: answer.memberId, generationId: 1 };
    expect((await world.call(heartbeatHandler, 4, beat)).errorCode).toBe(
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
  });

  test.each(versions(joinGroupHandler))("JoinGroup v%i, refused", async (version) => {
    const world = new Harness();
    const answer = await join(world, "g", { version, sessionTimeoutMs: 1 });
    expect(answer.errorCode).toBe(ErrorCode.INVALID_SESSION_TIMEOUT);
    expect(answer.protocolName).toBe(version < 7 ? "" : null);
  });

  test.each(versions(syncGroupHandler))("SyncGroup v%i", async (version) => {
    const world = new Harness();
    const { memberId } = await joinTwice(world, "g");
    const member = { memberId, generationId: 1, version };
    const answer = await sync(world, "g", member, { [memberId]: "mine" });
    expect([answer.errorCode, plain(answer.assignment)]).toEqual([0, "mine"]);
    if (version >= 5)
      expect([answer.protocolType, answer.protocolName]).toEqual(["consumer", "range"]);
    expect((await sync(world, "g", { ...member, generationId: 0 })).errorCode).toBe(
      ErrorCode.ILLEGAL_GENERATION,
    );
    expect((await sync(world, "other", member)).errorCode).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  });

  test("SyncGroup v5 must name type and protocol", async () => {
    const world = new Harness();
    const { memberId } = await joinTwice(world, "g");
    const request = { groupId: "g", generationId: 1, memberId, assignments: [] };
    const answer = await world.call(syncGroupHandler, 5, request);
    expect(answer.errorCode).toBe(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  });

  test.each(versions(heartbeatHandler))("Heartbeat v%i", async (version) => {
    const world = new Harness();
    const memberId = await stableGroup(world, "g");
    const codes: number[] = [];
    for (const request of [
      { groupId: "g", memberId, generationId: 1 },
      { groupId: "g", memberId, generationId: 0 },
      { groupId: "g", memberId: "other", generationId: 1 },
      { groupId: "nothing", memberId, generationId: 1 },
      { groupId: "", memberId, generationId: 1 },
    ]) {
      codes.push((await world.call(heartbeatHandler, version, request)).errorCode);
    }
    expect(codes).toEqual([0, 22, 25, 25, 24]);
  });

  test.each(versions(leaveGroupHandler))("LeaveGroup v%i", async (version) => {
    const world = new Harness();
    const memberId = await stableGroup(world, "g");
    const leave = async (groupId: string, leaving: string): Promise<number[]> => {
      const members = [{ memberId: leaving }];
      const request = version < 3 ? { groupId, memberId: leaving } : { groupId, members };
      const answer = await world.call(leaveGroupHandler, version, request);
      return [answer.errorCode, ...answer.members.map((one) => one.errorCode)];
    };
    const unknown = version < 3 ? [25] : [0, 25];
    expect(await leave("g", "other")).toEqual(unknown);
    expect(await leave("nothing", memberId)).toEqual(unknown);
    expect(await leave("", memberId)).toEqual([24]);
    expect(await leave("g", memberId)).toEqual(version < 3 ? [0] : [0, 0]);
    expect(await leave("g", memberId)).toEqual(unknown);
  });

  test("an administrator removes a static member by its instance id", async () => {
    const world = new Harness();
    const joined = join(world, "g", { instance: "i" });
    await settle();
    world.clock.advance(0);
    await joined;
    const members = [{ memberId: "", groupInstanceId: "i" }];
    const answer = await world.call(leaveGroupHandler, 5, { groupId: "g", members });
    expect(answer.members).toEqual([{ memberId: "", groupInstanceId: "i", errorCode: 0 }]);
  });
});

describe("DescribeGroups and ListGroups", () => {
  test.each(versions(describeGroupsHandler))("DescribeGroups v%i", async (version) => {
    const world = new Harness();
    const memberId = await stableGroup(world, "g");
    void join(world, "joining", { version: 3 });
    await settle();
    const operations = version >= 3 ? { includeAuthorizedOperations: true } : {};
    const request = { groups: ["g", "joining", "nothing"], ...operations };
    const [stable, joining, nothing] = (await world.call(describeGroupsHandler, version, request))
      .groups;
    expect(stable).toMatchObject({
      errorCode: 0,
      groupState: "Stable",
      protocolType: "consumer",
      protocolData: "range",
      authorizedOperations: version >= 3 ? 3400 : -2147483648,
    });
    expect(stable!.members).toEqual([
      {
        memberId,
        groupInstanceId: null,
        clientId: "c",
        clientHost: "/127.0.0.1",
        memberMetadata: encodeSubscription(["t1"]),
        memberAssignment: new TextEncoder().encode("all"),
      },
    ]);
    expect(joining).toMatchObject({ groupState: "PreparingRebalance", protocolData: "" });
    expect(joining!.members[0]!.memberMetadata.length).toBe(0);
    expect([nothing!.errorCode, nothing!.groupState]).toEqual([version >= 6 ? 69 : 0, "Dead"]);
    if (version >= 6) expect(nothing!.errorMessage).toContain("nothing");
  });

  test.each(versions(listGroupsHandler))("ListGroups v%i", async (version) => {
    const world = new Harness();
    await stableGroup(world, "g");
    await commit(world, "simple", 1);
    const list = async (filters: object): Promise<string[]> => {
      const { errorCode, groups } = await world.call(listGroupsHandler, version, filters);
      expect(errorCode).toBe(0);
      return groups
        .map((one) => `${one.groupId} ${one.protocolType} ${one.groupState} ${one.groupType}`)
        .sort();
    };
    const stable =
      version >= 5
        ? "g consumer Stable classic"
        : version >= 4
          ? "g consumer Stable "
          : "g consumer  ";
    const simple =
      version >= 5 ? "simple  Empty classic" : version >= 4 ? "simple  Empty " : "simple   ";
    expect(await list({})).toEqual([stable, simple]);
    if (version >= 4)
      expect(await list({ statesFilter: ["stable", "nonsense"] })).toEqual([stable]);
    if (version >= 4) expect(await list({ statesFilter: ["nonsense"] })).toEqual([]);
    if (version >= 5) expect(await list({ typesFilter: ["Classic"] })).toEqual([stable, simple]);
    if (version >= 5) expect(await list({ typesFilter: ["consumer"] })).toEqual([]);
  });
});
