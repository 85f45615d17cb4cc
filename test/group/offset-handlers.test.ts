import { describe, expect, test } from "bun:test";
import { offsetCommitHandler } from "../../src/api/08-offset-commit.ts";
import { offsetFetchHandler } from "../../src/api/09-offset-fetch.ts";
import { describeGroupsHandler } from "../../src/api/15-describe-groups.ts";
import { deleteGroupsHandler } from "../../src/api/42-delete-groups.ts";
import { offsetDeleteHandler } from "../../src/api/47-offset-delete.ts";
import { decodeRecord } from "../../src/group/records.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  commit,
  fetchOne,
  heartbeat,
  join,
  joinTwice,
  leave,
  stableGroup,
  sync,
} from "./client.ts";
import { Harness, settle } from "./harness.ts";

const versions = (handler: { minVersion: number; maxVersion: number }): number[] =>
  Array.from(
    { length: handler.maxVersion - handler.minVersion + 1 },
    (_, i) => handler.minVersion + i,
  );
const dayMs = 86_400_000;
const unknownId = "_____________________w";

/** Commits to partitions of topics given by name (ids are put in from v10). */
async function commitMany(
  world: Harness,
  version: number,
  topics: readonly [name: string, partitions: readonly number[]][],
  extra: object = {},
): Promise<[string, number, number][]> {
  const answer = await world.call(offsetCommitHandler, version, {
    groupId: "g",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: topics.map(([name, partitions]) => ({
      ...(version >= 10 ? { topicId: world.topics.topicId(name) ?? unknownId } : { name }),
      partitions: partitions.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: 100 + partitionIndex,
        ...(version >= 6 ? { committedLeaderEpoch: 4 } : {}),
        committedMetadata: "m",
      })),
    })),
    ...extra,
  });
  return answer.topics.flatMap((topic) =>
    topic.partitions.map((one): [string, number, number] => [
      version >= 10 ? topic.topicId : topic.name,
      one.partitionIndex,
      one.errorCode,
    ]),
  );
}

describe("OffsetCommit and OffsetFetch in every version", () => {
  test.each(versions(offsetCommitHandler))("OffsetCommit v%i", async (version) => {
    const world = new Harness();
    const committed = await commitMany(world, version, [
      ["t1", [0, 2, 3, -1]],
      ["nope", [0]],
      ["t2", [0]],
    ]);
    const name = (topic: string): string =>
      version >= 10 ? (world.topics.topicId(topic) ?? unknownId) : topic;
    expect(committed).toEqual([
      [name("t1"), 0, 0],
      [name("t1"), 2, 0],
      [name("t1"), 3, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      [name("t1"), -1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      [
        name("nope"),
        0,
        version >= 10 ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      ],
      [name("t2"), 0, 0],
    ]);
    const member = { generationIdOrMemberEpoch: 1, memberId: "x" };
    const zombie = await commitMany(world, version, [["t1", [0]]], {
      ...member,
      groupId: "nothing",
    });
    expect(zombie[0]![2]).toBe(
      version >= 9 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION,
    );
    // One batch for the whole request.
    expect(world.logOf("g").appendCount).toBe(1);
  });

  test.each(versions(offsetFetchHandler))("OffsetFetch v%i", async (version) => {
    const world = new Harness();
    await commitMany(world, 8, [
      ["t1", [0, 2]],
      ["t2", [0]],
    ]);
    const id = (name: string): object =>
      version >= 10 ? { topicId: world.topics.topicId(name) ?? unknownId } : { name };
    const asked = [
      { ...id("t1"), partitionIndexes: [2, 1] },
      { ...id("nope"), partitionIndexes: [0] },
    ];
    const fetched = async (topics: object[] | null): Promise<unknown[]> => {
      const request =
        version >= 8 ? { groups: [{ groupId: "g", topics }] } : { groupId: "g", topics };
      const answer = await world.call(offsetFetchHandler, version, request as never);
      const one = version >= 8 ? answer.groups[0]! : answer;
      expect(one.errorCode).toBe(0);
      return one.topics.flatMap((topic) =>
        topic.partitions.map((at) => [
          version >= 10
            ? world.topics.topicName((topic as { topicId: string }).topicId)
            : topic.name,
          at.partitionIndex,
          at.committedOffset,
          at.metadata,
          at.errorCode,
          ...(version >= 5 ? [at.committedLeaderEpoch] : []),
        ]),
      );
    };
    const epoch = (value: number): number[] => (version >= 5 ? [value] : []);
    expect(await fetched(asked)).toEqual([
      ["t1", 2, 102, "m", 0, ...epoch(4)],
      ["t1", 1, -1, "", 0, ...epoch(-1)],
      version >= 10
        ? [null, 0, -1, "", ErrorCode.UNKNOWN_TOPIC_ID, -1]
        : ["nope", 0, -1, "", 0, ...epoch(-1)],
    ]);
    expect(await fetched([])).toEqual([]);
    if (version < 2) return;
    expect(await fetched(null)).toEqual([
      ["t1", 0, 100, "m", 0, ...epoch(4)],
      ["t1", 2, 102, "m", 0, ...epoch(4)],
      ["t2", 0, 100, "m", 0, ...epoch(4)],
    ]);
  });

  test("a known topic without partitions is not answered, an unknown one is", async () => {
    const world = new Harness();
    const topics = ["t1", "nope"].map((name) => ({ name, partitions: [] }));
    const request = { groupId: "g", generationIdOrMemberEpoch: -1, memberId: "", topics };
    const answer = await world.call(offsetCommitHandler, 9, request);
    expect(answer.topics.map(({ name }) => name)).toEqual(["nope"]);
  });

  test("many groups at once, each with its own answer", async () => {
    const world = new Harness();
    await commit(world, "a", 5);
    const groups = [
      { groupId: "a", topics: null },
      { groupId: "nothing", topics: [{ name: "t1", partitionIndexes: [0] }] },
    ];
    const [a, nothing] = (await world.call(offsetFetchHandler, 9, { groups })).groups;
    expect(a!.topics[0]!.partitions[0]!.committedOffset).toBe(5);
    expect([nothing!.errorCode, nothing!.topics[0]!.partitions[0]!.committedOffset]).toEqual([
      0, -1,
    ]);
  });

  test("errors have their place in every version", async () => {
    const world = new Harness();
    world.groups.close();
    const topics = [{ name: "t1", partitionIndexes: [0] }];
    const v1 = await world.call(offsetFetchHandler, 1, { groupId: "g", topics });
    expect(v1.topics[0]!.partitions[0]!.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const v7 = await world.call(offsetFetchHandler, 7, { groupId: "g", topics });
    expect([v7.errorCode, v7.topics]).toEqual([ErrorCode.COORDINATOR_NOT_AVAILABLE, []]);
    const v8 = await world.call(offsetFetchHandler, 8, { groups: [{ groupId: "g", topics }] });
    expect(v8.groups[0]!.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  });
});

describe("who may commit", () => {
  test("members are fenced by id and generation, and wait during a rebalance", async () => {
    const world = new Harness();
    const memberId = await stableGroup(world, "g");
    expect(await commit(world, "g", 1, { memberId, generationId: 1 })).toBe(0);
    expect(await commit(world, "g", 2, { memberId, generationId: 0 })).toBe(
      ErrorCode.ILLEGAL_GENERATION,
    );
    expect(await commit(world, "g", 2, { memberId: "x", generationId: 1 })).toBe(
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
    expect(await commit(world, "g", 2)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    const again = await join(world, "g", { memberId });
    expect(await commit(world, "g", 2, { memberId, generationId: 2 })).toBe(
      ErrorCode.REBALANCE_IN_PROGRESS,
    );
    await sync(world, "g", again);
    expect(await commit(world, "g", 3, { memberId, generationId: 2 })).toBe(0);
    await leave(world, "g", memberId);
    expect(await commit(world, "g", 4)).toBe(0);
    expect(await fetchOne(world, "g")).toBe(4);
  });

  test("text up to 4096 characters comes back, more is refused for that partition", async () => {
    const world = new Harness();
    const longest = "é".repeat(4096);
    const partition = (partitionIndex: number, committedMetadata: string | null) => ({
      partitionIndex,
      committedOffset: 1,
      committedMetadata,
    });
    const answer = await world.call(offsetCommitHandler, 9, {
      groupId: "g",
      memberId: "",
      topics: [
        {
          name: "t1",
          partitions: [partition(0, longest), partition(1, `${longest}x`), partition(2, null)],
        },
      ],
    });
    expect(answer.topics[0]!.partitions.map((one) => one.errorCode)).toEqual([0, 12, 0]);
    const groups = [{ groupId: "g", topics: null }];
    const fetched = (await world.call(offsetFetchHandler, 9, { groups })).groups[0]!;
    expect(fetched.topics[0]!.partitions.map((one) => one.metadata)).toEqual([longest, ""]);
  });

  test("large commits are split into batches, small ones are not", async () => {
    const world = new Harness({ batchBytesMax: 100 });
    await commitMany(world, 8, [
      ["t1", [0, 1, 2]],
      ["t2", [0]],
    ]);
    expect(world.logOf("g").appendCount).toBeGreaterThan(1);
    expect(world.logOf("g").durable.length).toBe(4);
  });

  test("the empty group id may hold offsets, for old clients", async () => {
    const world = new Harness();
    expect(await commit(world, "", 9)).toBe(0);
    expect(await fetchOne(world, "")).toBe(9);
  });
});

describe("requireStable", () => {
  test("waits for commits that are being written", async () => {
    const world = new Harness();
    await commit(world, "g", 1);
    const log = world.logOf("g");
    log.isHeld = true;
    const committing = commit(world, "g", 2);
    const request = { groupId: "g", topics: null };
    const loose = await world.call(offsetFetchHandler, 7, request);
    expect(loose.topics[0]!.partitions[0]!.committedOffset).toBe(1);
    const stable = world.call(offsetFetchHandler, 7, { ...request, requireStable: true });
    await settle();
    log.release();
    expect((await stable).topics[0]!.partitions[0]!.committedOffset).toBe(2);
    expect(await committing).toBe(0);
  });
});

describe("topics that go away", () => {
  test("offsets of a topic deleted and made again are none", async () => {
    const world = new Harness();
    await commit(world, "g", 50);
    world.topics.topics.set("t1", { id: "AAAAAAAAAAAAAAAAAAAABQ", partitions: 3 });
    expect(await fetchOne(world, "g")).toBe(-1);
    const all = await world.call(offsetFetchHandler, 7, { groupId: "g", topics: null });
    expect(all.topics).toEqual([]);
    expect(await commit(world, "g", 1)).toBe(0);
    expect(await fetchOne(world, "g")).toBe(1);
    world.topics.topics.delete("t1");
    expect(await fetchOne(world, "g")).toBe(-1);
  });

  test("a deletion takes exactly that topic's offsets out of the log", async () => {
    const world = new Harness();
    const topicId = world.topics.topicId("t1")!;
    await commitMany(world, 8, [
      ["t1", [0, 1]],
      ["t2", [0]],
    ]);
    await world.groups.topicDeleted("t1", topicId);
    await world.restart();
    const all = await world.call(offsetFetchHandler, 7, { groupId: "g", topics: null });
    expect(all.topics.map((topic) => topic.name)).toEqual(["t2"]);
  });
});

describe("OffsetDelete", () => {
  const remove = async (world: Harness, groupId: string, names: readonly [string, number][]) => {
    const topics = names.map(([name, partitionIndex]) => ({
      name,
      partitions: [{ partitionIndex }],
    }));
    const answer = await world.call(offsetDeleteHandler, 0, { groupId, topics });
    return [
      answer.errorCode,
      ...answer.topics.flatMap((topic) => topic.partitions.map((one) => one.errorCode)),
    ];
  };

  test("refuses what the group reads, what is not there, groups it cannot know", async () => {
    const world = new Harness();
    const memberId = await stableGroup(world, "g");
    const member = { memberId, generationId: 1 };
    await commit(world, "g", 1, member);
    await commit(world, "g", 1, { ...member, topic: "t2" });
    expect(
      await remove(world, "g", [
        ["t1", 0],
        ["t2", 0],
        ["t2", 7],
        ["nope", 0],
      ]),
    ).toEqual([0, 86, 0, 3, 3]);
    expect(await fetchOne(world, "g")).toBe(1);
    expect(await fetchOne(world, "g", "t2")).toBe(-1);
    await world.restart();
    expect(await fetchOne(world, "g", "t2")).toBe(-1);
    expect(await remove(world, "nothing", [["t1", 0]])).toEqual([ErrorCode.GROUP_ID_NOT_FOUND]);
    expect(await remove(world, "", [["t1", 0]])).toEqual([ErrorCode.INVALID_GROUP_ID]);
    const connect = join(world, "connect", { protocolType: "connect", version: 3 });
    await settle();
    world.clock.advance(0);
    await connect;
    expect(await remove(world, "connect", [["t1", 0]])).toEqual([ErrorCode.NON_EMPTY_GROUP]);
    // With nobody left, everything may go, and a simple group goes with its last offset.
    await leave(world, "g", memberId);
    expect(await remove(world, "g", [["t1", 0]])).toEqual([0, 0]);
    await commit(world, "simple", 1);
    const count = world.groups.groupCount;
    expect(await remove(world, "simple", [["t1", 0]])).toEqual([0, 0]);
    expect(world.groups.groupCount).toBe(count - 1);
  });

  test("deletes an offset whose commit is still being written", async () => {
    const world = new Harness();
    await commit(world, "g", 1);
    const log = world.logOf("g");
    log.isHeld = true;
    const second = world.call(offsetCommitHandler, 8, {
      groupId: "g",
      memberId: "",
      topics: [
        {
          name: "t2",
          partitions: [{ partitionIndex: 0, committedOffset: 8, committedMetadata: "" }],
        },
      ],
    });
    const removed = remove(world, "g", [["t2", 0]]);
    await settle();
    log.release();
    await second;
    expect(await removed).toEqual([0, 0]);
    expect(await fetchOne(world, "g", "t2")).toBe(-1);
    await world.restart();
    expect([await fetchOne(world, "g", "t2"), await fetchOne(world, "g")]).toEqual([-1, 1]);
  });
});

describe("DeleteGroups", () => {
  test.each(versions(deleteGroupsHandler))("v%i", async (version) => {
    const world = new Harness();
    await stableGroup(world, "live");
    await commit(world, "old", 3);
    const groupsNames = ["live", "old", "old", "nothing", ""];
    const { results } = await world.call(deleteGroupsHandler, version, { groupsNames });
    expect(results.map((one) => [one.groupId, one.errorCode])).toEqual([
      ["live", ErrorCode.NON_EMPTY_GROUP],
      ["old", 0],
      ["nothing", ErrorCode.GROUP_ID_NOT_FOUND],
      ["", ErrorCode.GROUP_ID_NOT_FOUND],
    ]);
    expect(results.map((one) => one.errorMessage !== null)).toEqual(
      version >= 3 ? [true, false, true, true] : [false, false, false, false],
    );
    expect(await fetchOne(world, "old")).toBe(-1);
    await world.restart();
    expect(await fetchOne(world, "old")).toBe(-1);
    expect(world.groups.groupCount).toBe(1);
  });

  test("while the deletion is written nobody gets in; if it fails the group stays", async () => {
    const world = new Harness();
    await commit(world, "g", 3);
    const log = world.logOf("g");
    log.isHeld = true;
    const pendingCommit = commit(world, "g", 4);
    const deleting = world.call(deleteGroupsHandler, 2, { groupsNames: ["g"] });
    await settle();
    expect((await join(world, "g")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    expect(await commit(world, "g", 5)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    expect(await heartbeat(world, "g", "x", 1)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    log.release();
    expect(await pendingCommit).toBe(0);
    expect((await deleting).results[0]!.errorCode).toBe(0);
    log.isHeld = false;
    await world.restart();
    expect([world.groups.groupCount, await fetchOne(world, "g")]).toEqual([0, -1]);

    await commit(world, "g", 6);
    log.errorCode = ErrorCode.NOT_ENOUGH_REPLICAS;
    const failed = await world.call(deleteGroupsHandler, 2, { groupsNames: ["g"] });
    expect(failed.results[0]!.errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    log.errorCode = 0;
    expect(await fetchOne(world, "g")).toBe(6);
    expect((await join(world, "g")).errorCode).toBe(ErrorCode.MEMBER_ID_REQUIRED);
  });
});

describe("expiry", () => {
  const checkMs = 600_000;
  const expire = async (world: Harness): Promise<void> => {
    world.clock.advance(checkMs);
    for (let shard = 0; shard < world.topics.partitionCount; shard++) {
      await settle();
      world.clock.advance(0);
    }
    await settle();
  };

  test("a simple consumer's offset and group go seven days after its commit", async () => {
    const world = new Harness();
    await world.groups.start();
    await commit(world, "simple", 1);
    world.clock.advance(6 * dayMs);
    await expire(world);
    expect(await fetchOne(world, "simple")).toBe(1);
    await commit(world, "simple", 2);
    world.clock.advance(6.9 * dayMs);
    await expire(world);
    expect(await fetchOne(world, "simple")).toBe(2);
    world.clock.advance(0.1 * dayMs);
    await expire(world);
    expect(await fetchOne(world, "simple")).toBe(-1);
    expect(world.groups.groupCount).toBe(0);
    const last = world.logOf("simple").durable.at(-1)!;
    expect(decodeRecord(last.key, last.value)).toEqual({
      kind: "group",
      groupId: "simple",
      value: null,
    });
  });

  test("a group's offsets wait until it has been empty for seven days", async () => {
    const world = new Harness();
    await world.groups.start();
    const { memberId } = await joinTwice(world, "g", { sessionTimeoutMs: 1_800_000 });
    await sync(world, "g", { memberId, generationId: 1 });
    const member = { memberId, generationId: 1 };
    await commit(world, "g", 1, member);
    await commit(world, "g", 1, { ...member, topic: "t2" });
    for (let half = 0; half < 8 * 48; half++) {
      world.clock.advance(dayMs / 48 - 1);
      await heartbeat(world, "g", memberId, 1);
    }
    await expire(world);
    // t1 is read, t2 is not: that one counts from its commit.
    expect([await fetchOne(world, "g"), await fetchOne(world, "g", "t2")]).toEqual([1, -1]);
    await leave(world, "g", memberId);
    world.clock.advance(6.9 * dayMs);
    await expire(world);
    expect(await fetchOne(world, "g")).toBe(1);
    // The time of becoming empty is stored: a restart does not start it over.
    await world.restart();
    world.clock.advance(0.1 * dayMs);
    await expire(world);
    expect(await fetchOne(world, "g")).toBe(-1);
    const described = await world.call(describeGroupsHandler, 6, { groups: ["g"] });
    expect(described.groups[0]!.errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
  });

  test("a retention time of its own (v2 to v4) counts instead", async () => {
    const world = new Harness();
    await world.groups.start();
    await commitMany(world, 3, [["t1", [0]]], { retentionTimeMs: dayMs });
    await commitMany(world, 3, [["t1", [1]]], { retentionTimeMs: 30 * dayMs });
    await world.restart();
    world.clock.advance(dayMs);
    await expire(world);
    expect(await fetchOne(world, "g")).toBe(-1);
    world.clock.advance(20 * dayMs);
    await expire(world);
    const all = await world.call(offsetFetchHandler, 7, { groupId: "g", topics: null });
    expect(all.topics[0]!.partitions.map((one) => one.partitionIndex)).toEqual([1]);
  });
});
