import { describe, expect, test } from "bun:test";
import { offsetCommitHandler } from "../../src/api/08-offset-commit.ts";
import { offsetFetchHandler } from "../../src/api/09-offset-fetch.ts";
import { heartbeatHandler } from "../../src/api/12-heartbeat.ts";
import { syncGroupHandler } from "../../src/api/14-sync-group.ts";
import { describeGroupsHandler } from "../../src/api/15-describe-groups.ts";
import { listGroupsHandler } from "../../src/api/16-list-groups.ts";
import { deleteGroupsHandler } from "../../src/api/42-delete-groups.ts";
import { consumerGroupHeartbeatHandler } from "../../src/api/68-consumer-group-heartbeat.ts";
import { consumerGroupDescribeHandler } from "../../src/api/69-consumer-group-describe.ts";
import { consumerGroupConfigDefaults } from "../../src/group/config.ts";
import { emptyImage } from "../../src/metadata/image.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { ConsumerGroupHeartbeatRequest } from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import { join, joinTwice } from "./client.ts";
import { Harness, settle } from "./harness.ts";

const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";

/** Targets are computed at once, not once a second. */
function newWorld(): Harness {
  return new Harness({ consumer: { ...consumerGroupConfigDefaults, assignmentIntervalMs: 0 } });
}

/** SyncGroup with the assignment of one member, or none. */
function syncAs(world: Harness, memberId: string, generationId: number, assignment?: Uint8Array) {
  const assignments = assignment === undefined ? [] : [{ memberId, assignment }];
  return world.call(syncGroupHandler, 5, {
    groupId: "g",
    memberId,
    generationId,
    protocolType: "consumer",
    protocolName: "range",
    assignments,
  });
}

function beat(
  world: Harness,
  memberId: string,
  memberEpoch: number,
  fields: Partial<ConsumerGroupHeartbeatRequest> = {},
) {
  const joins = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["t1"], topicPartitions: [] };
  return world.call(consumerGroupHeartbeatHandler, 1, {
    groupId: "g",
    memberId,
    memberEpoch,
    ...(memberEpoch === 0 ? joins : {}),
    ...fields,
  });
}

async function described(world: Harness) {
  const request = { groupIds: ["g"], includeAuthorizedOperations: true };
  const { groups } = await world.call(consumerGroupDescribeHandler, 1, request);
  const [group] = groups;
  if (group === undefined) throw new Error("one group was asked for");
  return group;
}

async function listed(world: Harness, typesFilter: string[] = []) {
  const { groups } = await world.call(listGroupsHandler, 5, { statesFilter: [], typesFilter });
  return groups.map(({ groupId, groupType, groupState }) => [groupId, groupType, groupState]);
}

const owned = (answer: { assignment: { topicPartitions: { partitions: number[] }[] } | null }) =>
  answer.assignment?.topicPartitions.flatMap(({ partitions }) => partitions) ?? null;

test("with group.version at 0 the consumer protocol is not served", async () => {
  const world = newWorld();
  await beat(world, "a", 0);
  world.image = { ...emptyImage, featureLevels: new Map([["group.version", 0]]) };
  const { UNSUPPORTED_VERSION } = ErrorCode;
  expect((await beat(world, "a", 2)).errorCode).toBe(UNSUPPORTED_VERSION);
  expect((await described(world)).errorCode).toBe(UNSUPPORTED_VERSION);
  world.image = { ...emptyImage, featureLevels: new Map([["group.version", 1]]) };
  expect((await beat(world, "a", 2)).errorCode).toBe(ErrorCode.NONE);
});

test("a subscription grows only where there is room; who brings no more stays", async () => {
  const world = new Harness({ stateBytesMax: 20_000 });
  const names = (count: number) => Array.from({ length: count }, (_, index) => `topic-${index}`);
  await beat(world, "a", 0, { subscribedTopicNames: names(100) });
  const grown = await beat(world, "a", 2, { subscribedTopicNames: names(2_000) });
  expect(grown.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const regex = await beat(world, "a", 2, { subscribedTopicRegex: "x".repeat(10_000) });
  expect(regex.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const large = await beat(world, "b", 0, { subscribedTopicNames: names(2_000) });
  expect(large.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const same = await beat(world, "a", 2, { subscribedTopicNames: names(100) });
  expect(same.errorCode).toBe(ErrorCode.NONE);
});

describe("durability", () => {
  test("an answer waits for its records; what came meanwhile is written in one batch", async () => {
    const world = newWorld();
    await beat(world, "a", 0);
    const log = world.logOf("g");
    log.isHeld = true;
    const appends = log.appendCount;
    let answered = 0;
    const answers = ["b", "c", "d"].map(async (id) => {
      const answer = await beat(world, id, 0);
      answered++;
      return answer;
    });
    await settle();
    expect([answered, log.appendCount - appends]).toEqual([0, 1]);
    log.release();
    await settle();
    expect([answered, log.appendCount - appends]).toEqual([1, 2]);
    log.isHeld = false;
    log.release();
    const epochs = (await Promise.all(answers)).map(({ errorCode }) => errorCode);
    expect(epochs).toEqual([0, 0, 0]);
  });

  test("what the log refuses never happened", async () => {
    const world = newWorld();
    await beat(world, "a", 0);
    const before = await described(world);
    world.logOf("g").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect((await beat(world, "b", 0)).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    expect((await beat(world, "a", -1)).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    expect(await described(world)).toEqual(before);
    world.logOf("g").errorCode = ErrorCode.NONE;
    await world.restart();
    expect(await described(world)).toEqual(before);
    expect((await beat(world, "a", 2)).errorCode).toBe(ErrorCode.NONE);
  });

  test("a group that was never written is not there", async () => {
    const world = newWorld();
    await beat(world, "x", 0, { groupId: "other" });
    world.logOf("g").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect((await beat(world, "a", 0)).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    expect((await described(world)).errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
    expect(world.groups.groupCount).toBe(1);
  });

  test("a restart brings the same group; silent members are out after their session", async () => {
    const world = newWorld();
    await beat(world, "a", 0);
    await beat(world, "b", 0);
    const held = [{ topicId, partitions: [0, 1] }];
    await beat(world, "a", 2, { topicPartitions: held });
    await beat(world, "b", 3);
    const before = await described(world);
    expect(before.members.map((one) => one.memberEpoch)).toEqual([3, 3]);
    await world.restart();
    expect(await described(world)).toEqual(before);
    world.clock.advance(45_000);
    await settle();
    expect((await described(world)).members).toEqual([]);
    expect(await listed(world)).toEqual([["g", "consumer", "Empty"]]);
  });

  test("deleting leaves nothing behind", async () => {
    const world = newWorld();
    await beat(world, "a", 0);
    const remove = () => world.call(deleteGroupsHandler, 2, { groupsNames: ["g"] });
    expect((await remove()).results[0]?.errorCode).toBe(ErrorCode.NON_EMPTY_GROUP);
    await beat(world, "a", -1);
    expect((await remove()).results[0]?.errorCode).toBe(ErrorCode.NONE);
    const last = new Map<string, boolean>();
    for (const { key, value } of world.logOf("g").durable) last.set(String(key), value === null);
    expect([...last.values()].every((isTombstone) => isTombstone)).toBe(true);
    await world.restart();
    expect([await listed(world), world.groups.stateBytes]).toEqual([[], 0]);
  });
});

describe("beside classic groups", () => {
  test("lists tell types; classic describing does not know the group", async () => {
    const world = newWorld();
    await beat(world, "a", 0);
    await joinTwice(world, "classic");
    expect(await listed(world, ["Consumer"])).toEqual([["g", "consumer", "Stable"]]);
    expect((await listed(world, ["classic"])).length).toBe(1);
    const { groups } = await world.call(describeGroupsHandler, 6, { groups: ["g"] });
    expect(groups[0]?.errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
    expect(groups[0]?.groupState).toBe("Dead");
    const other = { groupIds: ["classic"], includeAuthorizedOperations: false };
    const { groups: asked } = await world.call(consumerGroupDescribeHandler, 0, other);
    expect(asked[0]?.errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
  });

  /** A classic group of one member that has all of t1. */
  async function classicGroup(world: Harness): Promise<string> {
    const { memberId, generationId } = await joinTwice(world, "g");
    const assignment = new Uint8Array([
      ...[0, 0, 0, 0, 0, 1, 0, 2, 116, 49, 0, 0, 0, 3],
      ...[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 255, 255, 255, 255],
    ]);
    await syncAs(world, memberId, generationId, assignment);
    return memberId;
  }

  test("the first new member upgrades the group, the last one leaving undoes it", async () => {
    const world = newWorld();
    const memberId = await classicGroup(world);
    const joined = await beat(world, "a", 0);
    expect([joined.errorCode, joined.memberEpoch, owned(joined)]).toEqual([0, 2, []]);
    expect(await listed(world)).toEqual([["g", "consumer", "Reconciling"]]);
    await world.restart();
    const { members } = await described(world);
    expect(members.map((one) => [one.memberId, one.memberType, one.memberEpoch])).toEqual([
      [memberId, 0, 1],
      ["a", 1, 2],
    ]);
    const old = { groupId: "g", memberId, generationId: 1 };
    const answer = await world.call(heartbeatHandler, 4, old);
    expect(answer.errorCode).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
    const again = await join(world, "g", { memberId });
    expect([again.errorCode, again.generationId, again.leader]).toEqual([0, 2, ""]);
    const synced = await syncAs(world, memberId, 2);
    expect([synced.errorCode, synced.assignment.length]).toEqual([0, 26]);
    expect(owned(await beat(world, "a", 2))).toEqual([2]);

    expect((await beat(world, "a", -1)).errorCode).toBe(0);
    expect(await listed(world)).toEqual([["g", "classic", "PreparingRebalance"]]);
    await world.restart();
    expect(await listed(world)).toEqual([["g", "classic", "Stable"]]);
  });

  test("an upgrade the log refuses leaves the classic group as after a restart", async () => {
    const world = newWorld();
    const memberId = await classicGroup(world);
    world.logOf("g").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect((await beat(world, "a", 0)).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    world.logOf("g").errorCode = ErrorCode.NONE;
    expect(await listed(world)).toEqual([["g", "classic", "Stable"]]);
    const request = { groupId: "g", memberId, generationId: 1 };
    expect((await world.call(heartbeatHandler, 4, request)).errorCode).toBe(ErrorCode.NONE);
  });

  test("a downgrade the log refuses leaves the consumer group", async () => {
    const world = newWorld();
    const memberId = await classicGroup(world);
    await beat(world, "a", 0);
    const before = await described(world);
    world.logOf("g").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect((await beat(world, "a", -1)).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    expect(await described(world)).toEqual(before);
    world.logOf("g").errorCode = ErrorCode.NONE;
    const again = await join(world, "g", { memberId });
    expect(again.errorCode).toBe(ErrorCode.NONE);
  });

  test("an empty group changes kind with the first who joins, and keeps its offsets", async () => {
    const world = newWorld();
    const commit = (memberId: string, epoch: number) =>
      world.call(offsetCommitHandler, 9, {
        groupId: "g",
        memberId,
        generationIdOrMemberEpoch: epoch,
        topics: [
          {
            name: "t1",
            partitions: [{ partitionIndex: 0, committedOffset: 7, committedMetadata: "" }],
          },
        ],
      });
    await commit("", -1);
    await beat(world, "a", 0);
    expect(await listed(world)).toEqual([["g", "consumer", "Stable"]]);
    await beat(world, "a", -1);
    await joinTwice(world, "g");
    expect((await listed(world))[0]?.[1]).toBe("classic");
    await world.restart();
    const fetched = await world.call(offsetFetchHandler, 8, {
      groups: [{ groupId: "g", topics: null }],
    });
    expect(fetched.groups[0]?.topics[0]?.partitions[0]?.committedOffset).toBe(7);
  });
});

test("commits and reads carry the member's epoch", async () => {
  const world = newWorld();
  await beat(world, "a", 0);
  const commit = async (version: number, epoch: number): Promise<number | undefined> => {
    const partitions = [{ partitionIndex: 0, committedOffset: 7, committedMetadata: "" }];
    const { topics } = await world.call(offsetCommitHandler, version, {
      groupId: "g",
      memberId: "a",
      generationIdOrMemberEpoch: epoch,
      topics: [version >= 10 ? { topicId, partitions } : { name: "t1", partitions }],
    });
    return topics[0]?.partitions[0]?.errorCode;
  };
  expect(await commit(9, 2)).toBe(ErrorCode.NONE);
  expect(await commit(10, 2)).toBe(ErrorCode.NONE);
  expect(await commit(10, 3)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  expect(await commit(8, 2)).toBe(ErrorCode.UNSUPPORTED_VERSION);
  const fetch = async (memberId: string | null, memberEpoch: number) => {
    const group = { groupId: "g", memberId, memberEpoch, topics: null };
    const { groups } = await world.call(offsetFetchHandler, 9, { groups: [group] });
    return groups[0]?.errorCode;
  };
  expect(await fetch("a", 2)).toBe(ErrorCode.NONE);
  expect(await fetch(null, -1)).toBe(ErrorCode.NONE);
  expect(await fetch("a", 0)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  expect(await fetch("b", 1)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
});

test("a group may have an interval and a timeout of its own", async () => {
  const world = newWorld();
  const own = { "consumer.heartbeat.interval.ms": "7000", "consumer.session.timeout.ms": "50000" };
  world.topics.groupConfigs.set("g", new Map(Object.entries(own)));
  expect((await beat(world, "a", 0)).heartbeatIntervalMs).toBe(7_000);
  world.clock.advance(49_000);
  await settle();
  expect((await described(world)).members.length).toBe(1);
  world.clock.advance(1_000);
  await settle();
  expect((await described(world)).members.length).toBe(0);
});

describe("requests that make no sense", () => {
  const cases: readonly (readonly [string, Partial<ConsumerGroupHeartbeatRequest>, number])[] = [
    ["no group", { groupId: "" }, ErrorCode.INVALID_REQUEST],
    ["no member id", { memberId: "" }, ErrorCode.INVALID_REQUEST],
    ["an empty instance id", { instanceId: "" }, ErrorCode.INVALID_REQUEST],
    ["an empty rack", { rackId: "" }, ErrorCode.INVALID_REQUEST],
    ["no timeout", { rebalanceTimeoutMs: -1 }, ErrorCode.INVALID_REQUEST],
    ["partitions before joining", { topicPartitions: [{ topicId, partitions: [0] }] }, 42],
    ["nothing to read", { subscribedTopicNames: null }, ErrorCode.INVALID_REQUEST],
    ["an epoch below all", { memberEpoch: -3 }, ErrorCode.INVALID_REQUEST],
    ["−2 without an instance", { memberEpoch: -2 }, ErrorCode.INVALID_REQUEST],
    ["an assignor nobody has", { serverAssignor: "best" }, ErrorCode.UNSUPPORTED_ASSIGNOR],
    ["no expression", { subscribedTopicRegex: "(" }, ErrorCode.INVALID_REGULAR_EXPRESSION],
    ["a group nobody knows", { memberEpoch: 4 }, ErrorCode.GROUP_ID_NOT_FOUND],
    ["leaving nothing", { memberEpoch: -1 }, ErrorCode.GROUP_ID_NOT_FOUND],
  ];
  for (const [name, fields, errorCode] of cases) {
    test(name, async () => {
      const world = newWorld();
      expect((await beat(world, "a", 0, fields)).errorCode).toBe(errorCode);
      expect(world.groups.groupCount).toBe(0);
    });
  }
});
