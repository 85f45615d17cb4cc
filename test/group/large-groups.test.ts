import { describe, expect, test } from "bun:test";
import type { DescribedConsumerMember } from "../../src/group/api-types.ts";
import { consumerGroupConfigDefaults } from "../../src/group/config.ts";
import type { ConsumerHeartbeatAnswer } from "../../src/group/consumer-heartbeat.ts";
import { inBatchesOf } from "../../src/group/record-batches.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness, MemoryTopics, settle } from "./harness.ts";

const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
const consumer = { ...consumerGroupConfigDefaults, assignmentIntervalMs: 0 };

function newWorld(partitions: number, batchBytesMax = 524_288): Harness {
  const topics = new MemoryTopics(1);
  topics.topics.set("t1", { id: topicId, partitions });
  return new Harness({ consumer, batchBytesMax }, topics);
}

function beat(world: Harness, memberId: string, memberEpoch: number, owned: number[] | null) {
  return world.groups.consumerHeartbeat("g", {
    memberId,
    memberEpoch,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: memberEpoch === 0 ? 60_000 : -1,
    topicNames: memberEpoch === 0 ? ["t1"] : null,
    topicRegex: null,
    serverAssignor: null,
    reported: owned === null ? null : new Map(owned.length > 0 ? [[topicId, owned]] : []),
    clientId: "c",
    clientHost: "/h",
  });
}

/** Members as clients: they hold what they were told, and say so. */
class Crowd {
  readonly owned = new Map<string, number[]>();
  readonly epochs = new Map<string, number>();
  readonly world: Harness;

  constructor(world: Harness) {
    this.world = world;
  }

  async beat(memberId: string): Promise<ConsumerHeartbeatAnswer> {
    const epoch = this.epochs.get(memberId) ?? 0;
    const answer = await beat(this.world, memberId, epoch, this.owned.get(memberId) ?? []);
    if (answer.errorCode !== ErrorCode.NONE) {
      this.epochs.delete(memberId);
      this.owned.delete(memberId);
      return answer;
    }
    this.epochs.set(memberId, answer.memberEpoch);
    if (answer.assignment === null) return answer;
    const partitions = [...(answer.assignment.get(topicId)?.keys() ?? [])];
    for (const [other, list] of this.owned) {
      if (other === memberId) continue;
      const both = list.filter((one) => partitions.includes(one));
      if (both.length > 0) throw new Error(`${memberId} and ${other} both have ${both}`);
    }
    this.owned.set(memberId, partitions);
    return answer;
  }

  async converge(memberIds: readonly string[], partitions: number): Promise<void> {
    for (let round = 0; round < 30; round++) {
      for (const memberId of memberIds) await this.beat(memberId);
      this.world.clock.advance(10);
      const held = memberIds.map((memberId) => this.owned.get(memberId) ?? []);
      const loads = held.map(({ length }) => length);
      const isEven = Math.max(...loads) - Math.min(...loads) <= 1;
      if (isEven && new Set(held.flat()).size === partitions) return;
    }
    throw new Error("no assignment was reached");
  }
}

const ids = (count: number) => Array.from({ length: count }, (_, index) => `member-${index}`);

/** As the group is, and as it would be after a restart. */
async function liveAndRestarted(world: Harness) {
  const form = (members: readonly DescribedConsumerMember[]) =>
    members.toSorted((left, right) => (left.memberId < right.memberId ? -1 : 1));
  const live = await world.groups.describeConsumerGroup("g");
  await world.restart();
  const restarted = await world.groups.describeConsumerGroup("g");
  return [live, restarted].map((one) => ({ ...one, members: form(one.members) }));
}

test("batches begin with a step or at a break, and are no larger than they must be", () => {
  const record = (name: string, bytes = 10) => ({
    key: Buffer.from(name),
    value: new Uint8Array(bytes),
    timestamp: 0,
  });
  const names = (batches: ReturnType<typeof inBatchesOf>) =>
    batches.map((batch) => batch.map(({ key }) => Buffer.from(key).toString()).join(""));
  const whole = { records: [record("a"), record("b"), record("c")] };
  const broken = { records: [record("d"), record("e"), record("f")], breaks: [1, 2] };
  // One record counts 43, the batch 61.
  expect(names(inBatchesOf([whole, broken], 1_000))).toEqual(["abcdef"]);
  expect(names(inBatchesOf([whole, broken], 61 + 4 * 43))).toEqual(["abcd", "ef"]);
  expect(names(inBatchesOf([whole, broken], 61 + 43))).toEqual(["abc", "d", "e", "f"]);
  expect(inBatchesOf([{ records: [] }], 10)).toEqual([]);
});

describe("a step larger than a batch", () => {
  const partitions = 60;

  test("is written in several, none too large, and is answered behind the last", async () => {
    const world = newWorld(partitions, 350);
    const log = world.logOf("g");
    log.batchBytesMax = 350;
    const crowd = new Crowd(world);
    await crowd.converge(ids(10), partitions);
    const before = log.appendCount;
    log.isHeld = true;
    let isAnswered = false;
    const answer = crowd.beat("late").then((one) => {
      isAnswered = true;
      return one;
    });
    for (let held = 0; !isAnswered && held < 100; held++) {
      await settle();
      log.release();
      await settle();
    }
    expect((await answer).errorCode).toBe(ErrorCode.NONE);
    expect(log.appendCount - before).toBeGreaterThan(1);
    log.isHeld = false;
    await crowd.converge([...ids(10), "late"], partitions);
    const [live, restarted] = await liveAndRestarted(world);
    expect(restarted).toEqual(live);
  });

  test("may be cut off by a crash behind any batch: the group goes on from there", async () => {
    const world = newWorld(partitions, 350);
    const log = world.logOf("g");
    log.batchBytesMax = 350;
    const crowd = new Crowd(world);
    await crowd.converge(ids(6), partitions);
    const start = log.ends.length;
    await crowd.beat("late");
    const ends = log.ends.slice(start - 1, -1);
    expect(ends.length).toBeGreaterThan(2);
    for (const end of ends) {
      const after = newWorld(partitions, 350);
      const copy = after.topics.log(0);
      copy.durable.push(...log.durable.slice(0, end));
      copy.batchBytesMax = 350;
      await after.restart();
      const survivors = new Crowd(after);
      for (const [memberId, list] of crowd.owned) {
        if (memberId === "late") continue;
        survivors.owned.set(memberId, list);
        survivors.epochs.set(memberId, crowd.epochs.get(memberId) ?? 0);
      }
      await survivors.converge([...ids(6), "late"], partitions);
      const [live, restarted] = await liveAndRestarted(after);
      expect(restarted).toEqual(live);
    }
  });

  test("may be refused behind any batch: what is durable counts, the rest is undone", async () => {
    for (let succeeding = 0; succeeding < 4; succeeding++) {
      const world = newWorld(partitions, 350);
      const log = world.logOf("g");
      log.batchBytesMax = 350;
      const crowd = new Crowd(world);
      await crowd.converge(ids(6), partitions);
      log.appendsLeft = succeeding;
      const answer = await beat(world, "late", 0, []);
      expect(answer.errorCode).toBe(ErrorCode.NOT_COORDINATOR);
      log.appendsLeft = null;
      const [live, restarted] = await liveAndRestarted(world);
      expect(restarted).toEqual(live);
      expect(live?.members.some(({ memberId }) => memberId === "late")).toBe(succeeding > 0);
      await crowd.converge([...ids(6), "late"], partitions);
    }
  });

  test("with one record too large for a batch is refused as Kafka does", async () => {
    const world = newWorld(partitions, 350);
    const log = world.logOf("g");
    const crowd = new Crowd(world);
    await crowd.converge(ids(2), partitions);
    log.batchBytesMax = 130;
    const answer = await beat(world, "late", 0, []);
    expect(answer.errorCode).toBe(ErrorCode.UNKNOWN_SERVER_ERROR);
    const [live, restarted] = await liveAndRestarted(world);
    expect(restarted).toEqual(live);
    log.batchBytesMax = 1_000_000;
    await crowd.converge([...ids(2), "late"], partitions);
  });
});

describe("an assignment too large for one step", () => {
  const partitions = 30_000;

  test("is computed beside it; the first target comes with a later heartbeat", async () => {
    const world = newWorld(partitions);
    const first = await beat(world, "a", 0, []);
    expect([first.errorCode, first.memberEpoch, first.assignment?.size]).toEqual([0, 1, 0]);
    world.clock.advance(10);
    await settle();
    const second = await beat(world, "a", 1, []);
    expect([second.errorCode, second.memberEpoch]).toEqual([0, 2]);
    expect(second.assignment?.get(topicId)?.size).toBe(partitions);
    const [live, restarted] = await liveAndRestarted(world);
    expect(restarted).toEqual(live);
  });

  test("of a group that went on meanwhile is a step on the way, without who has left", async () => {
    const world = newWorld(partitions);
    const log = world.logOf("g");
    // The partition is loaded for the first request.
    expect((await beat(world, "x", 5, null)).errorCode).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
    log.isHeld = true;
    // What they wait for comes back when the first write is durable: all are decided together.
    const joins = ["a", "b", "c"].map((memberId) => beat(world, memberId, 0, []));
    const gone = beat(world, "b", -1, null);
    for (let count = 0; count < 10; count++) {
      await settle();
      log.release();
      world.clock.advance(1);
    }
    log.isHeld = false;
    for (const join of joins) expect((await join).errorCode).toBe(ErrorCode.NONE);
    expect((await gone).errorCode).toBe(ErrorCode.NONE);
    const crowd = new Crowd(world);
    await crowd.converge(["a", "c"], partitions);
    expect([...crowd.owned.values()].map(({ length }) => length)).toEqual([15_000, 15_000]);
  });

  test("whose start the log refused is not applied, and the next one is", async () => {
    const world = newWorld(partitions);
    const log = world.logOf("g");
    await beat(world, "x", 0, []);
    await settle();
    log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    expect((await beat(world, "a", 0, [])).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
    await settle();
    log.errorCode = ErrorCode.NONE;
    const [live, restarted] = await liveAndRestarted(world);
    expect(restarted).toEqual(live);
    const crowd = new Crowd(world);
    await crowd.converge(["x", "a"], partitions);
  });
});
