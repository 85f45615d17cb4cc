import { describe, expect, test } from "bun:test";
import { consumerGroupConfigDefaults } from "../../src/group/config.ts";
import { compileRegex } from "../../src/lib/linear-regex.ts";
import { runAll } from "../../src/lib/turn-budget.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness, MemoryTopics, settle } from "./harness.ts";

function idOf(index: number): string {
  return Buffer.from(index.toString().padStart(16, "0")).toString("base64url");
}

function addTopics(topics: MemoryTopics, from: number, to: number): void {
  for (let index = from; index < to; index++) {
    topics.topics.set(`topic-${index}`, { id: idOf(index), partitions: 1 });
  }
  topics.topicsVersion++;
}

function newWorld(topicCount: number, limits: { regexesMax?: number; regexMatchesMax?: number }) {
  const topics = new MemoryTopics(1);
  topics.topics.clear();
  addTopics(topics, 0, topicCount);
  const consumer = { ...consumerGroupConfigDefaults, assignmentIntervalMs: 0, ...limits };
  return new Harness({ consumer }, topics);
}

async function beat(world: Harness, memberId: string, memberEpoch: number, regex: string | null) {
  const answer = await world.groups.consumerHeartbeat("g", {
    memberId,
    memberEpoch,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: memberEpoch === 0 ? 60_000 : -1,
    topicNames: memberEpoch === 0 ? [] : null,
    topicRegex: regex,
    serverAssignor: null,
    reported: memberEpoch === 0 ? new Map() : null,
    clientId: "c",
    clientHost: "/h",
  });
  const { errorCode, errorMessage, assignment } = answer;
  return { errorCode, errorMessage, epoch: answer.memberEpoch, topics: assignment?.size ?? null };
}

describe("the expressions of a group", () => {
  test("are limited in number; who has one of them may join, or change it", async () => {
    const world = newWorld(3, { regexesMax: 2 });
    await beat(world, "a", 0, "topic-0");
    const second = await beat(world, "b", 0, "topic-1");
    const third = await beat(world, "c", 0, "topic-2");
    expect(third.errorCode).toBe(ErrorCode.INVALID_REGULAR_EXPRESSION);
    expect(third.errorMessage).toContain("the group has its maximum of 2 expressions");
    expect((await beat(world, "c", 0, "topic-1")).errorCode).toBe(ErrorCode.NONE);
    const changed = await beat(world, "a", 2, "topic-2");
    expect(changed.errorCode).toBe(ErrorCode.NONE);
    expect(second.errorCode).toBe(ErrorCode.NONE);
  });

  test("are limited in what they match together, also when they are refreshed", async () => {
    const world = newWorld(5, { regexMatchesMax: 8 });
    expect((await beat(world, "a", 0, "topic-.*")).topics).toBe(5);
    const more = await beat(world, "b", 0, "topic.*");
    expect(more.errorCode).toBe(ErrorCode.INVALID_REGULAR_EXPRESSION);
    expect(more.errorMessage).toContain("expression too large");
    addTopics(world.topics, 5, 9);
    world.clock.advance(10_001);
    expect((await beat(world, "a", 2, null)).topics).toBeNull();
    const description = await world.groups.describeConsumerGroup("g");
    expect(description.members[0]?.assignment.length).toBe(5);
  });

  test("are matched with many topics beside other work: the change shows later", async () => {
    const world = newWorld(30_000, {});
    const joined = await beat(world, "a", 0, "topic-[0-9]*995");
    expect([joined.errorCode, joined.epoch, joined.topics]).toEqual([ErrorCode.NONE, 2, 30]);
    addTopics(world.topics, 30_990, 31_000);
    world.clock.advance(10_001);
    const before = await beat(world, "a", 2, null);
    expect([before.epoch, before.topics]).toEqual([2, null]);
    await settle();
    const asks = await beat(world, "a", 2, null);
    await settle();
    const told = asks.topics === null ? await beat(world, "a", asks.epoch, null) : asks;
    expect([told.epoch, told.topics]).toEqual([3, 31]);
    const live = await world.groups.describeConsumerGroup("g");
    await world.restart();
    expect(await world.groups.describeConsumerGroup("g")).toEqual(live);
  });
});

test("matching in portions finds what matching in one go finds, in steps that are small", () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `name-${index % 977}-${index}`);
  const regex = compileRegex("(?:name|x)-(?:1|2)+[0-9]?-.*[13579]");
  if (typeof regex === "string") throw new Error(regex);
  const portions = regex.matchingInPortions(names);
  let count = 0;
  for (; ; count++) {
    const { done, value } = portions.next();
    if (done !== true) continue;
    expect(value).toEqual(
      names.filter((name) => /^(?:name|x)-(?:1|2)+[0-9]?-.*[13579]$/.test(name)),
    );
    break;
  }
  expect(count).toBeGreaterThan(10);
  // One name alone may be all of the work: it is interrupted, and ends.
  const large = compileRegex("(?:[ab]?){900}(a|b)*a[ab]{900}");
  if (typeof large === "string") throw new Error(large);
  const single = large.matchingInPortions([
    Array.from({ length: 249 }, (_, at) => (at % 3 === 0 ? "a" : "b")).join(""),
  ]);
  let pieces = 0;
  while (single.next().done !== true) pieces++;
  expect(pieces).toBeGreaterThan(20);
  expect(runAll(large.matchingInPortions(["x"]))).toEqual([]);
});
