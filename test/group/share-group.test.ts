import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { assignShared, type SharingMember } from "../../src/group/share-assignor.ts";
import type { ShareHeartbeatAnswer } from "../../src/group/share-group.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness, settle } from "./harness.ts";

const t1 = "AAAAAAAAAAAAAAAAAAAAAQ";
const sessionMs = 45_000;

function beat(
  world: Harness,
  memberId: string,
  memberEpoch: number,
  topicNames: readonly string[] | null = memberEpoch === 0 ? ["t1"] : null,
): Promise<ShareHeartbeatAnswer> {
  const client = { rackId: null, clientId: "c", clientHost: "/127.0.0.1" };
  const request = { groupId: "g", memberId, memberEpoch, topicNames, ...client };
  return world.groups.share.heartbeat(request);
}

/** "2: 0,1,2" for epoch and partitions of t1; the error's number alone otherwise. */
async function told(answer: Promise<ShareHeartbeatAnswer>): Promise<string> {
  const { errorCode, ...member } = await answer;
  if (member.memberId === null) return String(errorCode);
  const partitions = member.assignment === null ? "-" : [...(member.assignment.get(t1) ?? [])];
  return `${member.memberEpoch}: ${partitions}`;
}

describe("share groups", () => {
  test("a member gets its partitions at once, and is told again only what changed", async () => {
    const world = new Harness();
    expect(await told(beat(world, "a", 0))).toBe("2: 0,1,2");
    expect(await told(beat(world, "a", 2))).toBe("2: -");
    expect(await told(beat(world, "a", 2, ["t1"]))).toBe("2: 0,1,2");
    expect(world.shareStates.names).toEqual(new Set([0, 1, 2].map((one) => `g:${t1}:${one}`)));
  });

  test("more members than partitions share them", async () => {
    const world = new Harness();
    const epochs = new Map<string, number>();
    for (const memberId of ["a", "b", "c", "d"]) {
      const answer = await beat(world, memberId, 0);
      if (answer.memberId !== null) epochs.set(memberId, answer.memberEpoch);
      world.clock.advance(1_000);
    }
    // The next assignment is due: whoever beats first computes it.
    const owners: string[] = [];
    for (const [memberId, epoch] of epochs) {
      const answer = await beat(world, memberId, epoch, ["t1"]);
      if (answer.memberId === null) throw new Error(`error ${answer.errorCode}`);
      for (const partition of answer.assignment?.get(t1) ?? []) owners.push(`${partition}`);
    }
    expect(new Set(owners)).toEqual(new Set(["0", "1", "2"]));
    expect(owners.length).toBeGreaterThanOrEqual(4);
  });

  test("a step larger than a batch may be refused behind any batch of it", async () => {
    for (let succeeding = 0; succeeding < 4; succeeding++) {
      const world = new Harness({ batchBytesMax: 200 });
      world.topics.topics.set("t1", { id: t1, partitions: 30 });
      const log = world.logOf("g");
      log.batchBytesMax = 500;
      const ids = ["a", "b", "c", "d", "e"];
      for (const memberId of ids) await beat(world, memberId, 0);
      world.clock.advance(1_000);
      const before = log.appendCount;
      log.appendsLeft = succeeding;
      const late = await beat(world, "late", 0);
      expect(late.errorCode).toBe(ErrorCode.NOT_COORDINATOR);
      expect(log.appendCount - before).toBe(succeeding + 1);
      log.appendsLeft = null;
      const members = async () =>
        (await world.groups.share.describe("g")).members.toSorted((left, right) =>
          left.memberId < right.memberId ? -1 : 1,
        );
      const live = await members();
      await world.restart();
      expect(await members()).toEqual(live);
      expect(live.length).toBe(succeeding > 0 ? 6 : 5);
      world.clock.advance(1_000);
      const again = await beat(world, "late", 0);
      expect(again.errorCode).toBe(ErrorCode.NONE);
    }
  });

  test("epochs fence, and the last answer may have been lost", async () => {
    const world = new Harness();
    expect(await told(beat(world, "a", 1))).toBe(String(ErrorCode.GROUP_ID_NOT_FOUND));
    await beat(world, "a", 0);
    expect(await told(beat(world, "b", 1))).toBe(String(ErrorCode.UNKNOWN_MEMBER_ID));
    expect(await told(beat(world, "a", 7))).toBe(String(ErrorCode.FENCED_MEMBER_EPOCH));
    world.clock.advance(1_000);
    expect(await told(beat(world, "a", 2, ["t1", "t2"]))).toBe("3: 0,1,2");
    expect(await told(beat(world, "a", 2))).toStartWith("3: ");
  });

  test("who is silent for a session's time is out, who leaves is out at once", async () => {
    const world = new Harness();
    await beat(world, "a", 0);
    await beat(world, "b", 0);
    world.clock.advance(sessionMs - 1);
    await beat(world, "b", 0);
    world.clock.advance(1);
    await settle();
    const { members, state } = await world.groups.share.describe("g");
    expect(members.map(({ memberId }) => memberId)).toEqual(["b"]);
    expect(state).toBe("Stable");
    expect(await world.groups.share.leave("g", "a")).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
    expect(await world.groups.share.leave("g", "b")).toBe(ErrorCode.NONE);
    expect((await world.groups.share.describe("g")).state).toBe("Empty");
  });

  test("everything told is there after kill -9", async () => {
    const world = new Harness();
    await beat(world, "a", 0);
    const before = await world.groups.share.describe("g");
    await world.restart();
    expect(await world.groups.share.describe("g")).toEqual(before);
    expect(await told(beat(world, "a", 2))).toBe("2: -");
    const { groups } = await world.groups.listGroups();
    expect(groups).toEqual([
      { groupId: "g", protocolType: "share", state: "Stable", type: "share" },
    ]);
  });

  test("nothing is assigned before its state exists; refused writes change nothing", async () => {
    const world = new Harness();
    world.shareStates.refuse = ErrorCode.COORDINATOR_NOT_AVAILABLE;
    expect(await told(beat(world, "a", 0))).toBe(String(ErrorCode.COORDINATOR_NOT_AVAILABLE));
    expect((await world.groups.share.describe("g")).errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
    world.shareStates.refuse = ErrorCode.NONE;
    world.logOf("g").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect(await told(beat(world, "a", 0))).toBe(String(ErrorCode.NOT_COORDINATOR));
    world.logOf("g").errorCode = ErrorCode.NONE;
    expect(await told(beat(world, "a", 0))).toBe("2: 0,1,2");
  });

  test("members that join at the same moment find one group", async () => {
    const world = new Harness();
    // Loads the partition.
    expect((await world.groups.share.describe("g")).errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
    const answers = await Promise.all(["a", "b", "c"].map((one) => beat(world, one, 0)));
    expect(answers.map(({ errorCode }) => errorCode)).toEqual([0, 0, 0]);
    expect((await world.groups.share.describe("g")).members).toHaveLength(3);
  });

  test("a group takes no more members than allowed", async () => {
    const share = { ...new Harness().config.share, groupSizeMax: 1 };
    const world = new Harness({ share });
    await beat(world, "a", 0);
    expect(await told(beat(world, "b", 0))).toBe(String(ErrorCode.GROUP_MAX_SIZE_REACHED));
    expect(await told(beat(world, "a", 0))).toBe("2: 0,1,2");
  });

  test("offsets are set and forgotten while nobody reads; deleting takes the states", async () => {
    const world = new Harness();
    const { share } = world.groups;
    const offsets = [{ topicId: t1, partition: 1, startOffset: 5 }];
    expect(await share.alterOffsets("g", offsets)).toBe(ErrorCode.NONE);
    expect(world.shareStates.names).toEqual(new Set([`g:${t1}:1`]));
    expect([...(await share.initializedPartitions("g")).keys()]).toEqual([t1]);
    await beat(world, "a", 0);
    expect(await share.alterOffsets("g", offsets)).toBe(ErrorCode.NON_EMPTY_GROUP);
    expect(await share.deleteOffsets("g", new Set([t1]))).toBe(ErrorCode.NON_EMPTY_GROUP);
    expect(await world.groups.deleteGroup("g")).toBe(ErrorCode.NON_EMPTY_GROUP);
    await share.leave("g", "a");
    expect(await share.deleteOffsets("g", new Set([t1]))).toBe(ErrorCode.NONE);
    expect(world.shareStates.names.size).toBe(0);
    await beat(world, "a", 0);
    await share.leave("g", "a");
    expect(await world.groups.deleteGroup("g")).toBe(ErrorCode.NONE);
    expect(world.shareStates.names.size).toBe(0);
    await world.restart();
    expect((await world.groups.share.describe("g")).errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
  });

  test("a deleted topic is read by nobody any more", async () => {
    const world = new Harness();
    await beat(world, "a", 0);
    world.topics.topics.delete("t1");
    await world.groups.topicDeleted("t1", t1);
    expect((await world.groups.share.initializedPartitions("g")).size).toBe(0);
    world.clock.advance(1_000);
    expect(await told(beat(world, "a", 2))).toBe("3: ");
  });

  test("an id that a classic group has is no share group's", async () => {
    const world = new Harness();
    const partition = { topic: "t1", topicId: t1, partition: 0, offset: 1 };
    await world.groups.commitOffsets({
      groupId: "g",
      apiVersion: 9,
      memberId: "",
      groupInstanceId: null,
      generationId: -1,
      retentionTimeMs: -1,
      unknownGroupError: ErrorCode.ILLEGAL_GENERATION,
      partitions: [{ ...partition, leaderEpoch: 0, metadata: null }],
    });
    expect(await told(beat(world, "a", 0))).toBe(String(ErrorCode.GROUP_ID_NOT_FOUND));
    expect(world.shareStates.names.size).toBe(0);
  });
});

describe("the simple assignor", () => {
  const subscriptions = fc.array(fc.uniqueArray(fc.nat(3), { minLength: 1 }), {
    minLength: 1,
    maxLength: 8,
  });
  const counts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 4, maxLength: 4 });

  test("every partition has a reader, nobody gets what it did not ask for, loads are even", () => {
    fc.assert(
      fc.property(subscriptions, counts, fc.boolean(), (topicsOf, partitionCounts, isSame) => {
        const assignable = new Map(
          partitionCounts.map((count, index) => [
            `t${index}`,
            new Set(Array.from({ length: count }, (_, partition) => partition)),
          ]),
        );
        const nothing = new Map<string, ReadonlySet<number>>();
        const members = new Map<string, SharingMember>(
          topicsOf.map((own, index) => {
            const topicIds = new Set((isSame ? topicsOf[0]! : own).map((topic) => `t${topic}`));
            return [`m${index}`, { topicIds, current: nothing }];
          }),
        );
        const assigned = assignShared(members, assignable);
        const wanted = new Set([...members.values()].flatMap(({ topicIds }) => [...topicIds]));
        for (const topicId of wanted) {
          for (const partition of assignable.get(topicId) ?? []) {
            const readers = [...assigned].filter(([, own]) => own.get(topicId)?.has(partition));
            expect(readers.length).toBeGreaterThan(0);
            for (const [id] of readers) expect(members.get(id)?.topicIds.has(topicId)).toBe(true);
          }
        }
        if (!isSame) return;
        const loads = [...assigned.values()].map((own) =>
          [...own.values()].reduce((sum, { size }) => sum + size, 0),
        );
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
        // Who has it keeps it.
        const again = new Map<string, SharingMember>(
          [...members].map(([id, { topicIds }]) => [
            id,
            { topicIds, current: assigned.get(id) ?? nothing },
          ]),
        );
        expect(assignShared(again, assignable)).toEqual(assigned);
      }),
    );
  });
});
