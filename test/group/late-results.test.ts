import { expect, test } from "bun:test";
import { type AssignedMember, assignors } from "../../src/group/assignors.ts";
import { consumerGroupConfigDefaults } from "../../src/group/config.ts";
import type { ConsumerHeartbeat } from "../../src/group/consumer-heartbeat.ts";
import { runAll } from "../../src/lib/turn-budget.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness, MemoryTopics, settle } from "./harness.ts";

const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
/** More than what is assigned within one step. */
const partitions = 30_000;

function newWorld(count: number, assignmentIntervalMs = 0, batchBytesMax = 524_288): Harness {
  const topics = new MemoryTopics(1);
  topics.topics.set("t1", { id: topicId, partitions: count });
  const consumer = { ...consumerGroupConfigDefaults, assignmentIntervalMs };
  return new Harness({ consumer, batchBytesMax }, topics);
}

function beat(
  world: Harness,
  memberId: string,
  more: Partial<ConsumerHeartbeat> = {},
  groupId = "g",
) {
  const joins = (more.memberEpoch ?? 0) === 0;
  return world.groups.consumerHeartbeat(groupId, {
    memberId,
    memberEpoch: 0,
    instanceId: null,
    rackId: null,
    rebalanceTimeoutMs: joins ? 60_000 : -1,
    topicNames: joins ? ["t1"] : null,
    topicRegex: null,
    serverAssignor: null,
    reported: joins ? new Map() : null,
    clientId: "c",
    clientHost: "/h",
    ...more,
  });
}

async function targets(world: Harness) {
  const { members } = await world.groups.describeConsumerGroup("g");
  return new Map(
    members.map(({ memberId, target }) => [memberId, target.flatMap((one) => one.partitions)]),
  );
}

function expectEven(found: ReadonlyMap<string, readonly number[]>, count: number): void {
  const all = [...found.values()].flat();
  expect(new Set(all).size).toBe(count);
  expect(all.length).toBe(count);
  const loads = [...found.values()].map(({ length }) => length);
  expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
}

test("uniform: what two members were given goes to one of them, whoever else reads what", () => {
  const member = (topicIds: readonly string[], current: readonly number[]): AssignedMember => {
    return { instanceId: null, topicIds: new Set(topicIds), current: new Map([["t", current]]) };
  };
  for (const topics of [["t"], ["t", "u"]]) {
    const members = new Map([
      ["a", member(["t"], [0, 1, 2, 3])],
      ["b", member(topics, [2, 3])],
    ]);
    const assign = assignors.get("uniform");
    if (assign === undefined) throw new Error("no uniform");
    const found = runAll(assign({ members, partitionCounts: new Map([["t", 4]]) }));
    const given = [...found].map(([id, one]) => [id, one.get("t") ?? []] as const);
    expectEven(new Map(given), 4);
  }
});

test("a crash between targets that overlap leaves a group that can be assigned", async () => {
  const count = 60;
  const world = newWorld(count, 1_000);
  const log = world.logOf("g");
  await beat(world, "a");
  await beat(world, "b");
  await beat(world, "c");
  // Whatever is stored of a member makes it the last in line: who takes comes before who gives.
  await beat(world, "a", { memberEpoch: 2, clientHost: "/other" });
  world.clock.advance(1_001);
  // Two of the three targets.
  log.batchBytesMax = 440;
  const start = log.ends.length;
  await beat(world, "c", { memberEpoch: 2, reported: new Map() });
  const ends = log.ends.slice(start, -1);
  expect(ends.length).toBeGreaterThan(0);
  for (const end of ends) {
    const after = newWorld(count, 0);
    after.topics.log(0).durable.push(...log.durable.slice(0, end));
    await after.restart();
    after.clock.advance(2_000);
    const answer = await beat(after, "a", { memberEpoch: 2, clientHost: "/other" });
    expect(answer.errorCode).toBe(ErrorCode.NONE);
    expectEven(await targets(after), count);
  }
});

/** Members' targets once nothing is computed any more. */
async function atRest(world: Harness): Promise<Map<string, number[]>> {
  for (let count = 0; count < 10; count++) {
    world.clock.advance(1);
    await settle();
  }
  return await targets(world);
}

test("a static member that comes back meanwhile is given what its former self was", async () => {
  const world = newWorld(partitions);
  const log = world.logOf("g");
  await beat(world, "a", { instanceId: "i-a" });
  await beat(world, "b", { instanceId: "i-b" });
  await atRest(world);
  await beat(world, "b", { instanceId: "i-b", memberEpoch: -2 });
  // Behind a write that is under way both are decided together, and the result comes after them.
  const { members } = await world.groups.describeConsumerGroup("g");
  const memberEpoch = members.find(({ memberId }) => memberId === "a")?.memberEpoch ?? -1;
  log.isHeld = true;
  const other = beat(world, "a", { instanceId: "i-a", memberEpoch, clientHost: "/other" });
  const join = beat(world, "c");
  const back = beat(world, "b2", { instanceId: "i-b" });
  for (let count = 0; count < 20; count++) {
    await settle();
    log.release();
    world.clock.advance(1);
  }
  log.isHeld = false;
  expect((await other).errorCode).toBe(ErrorCode.NONE);
  expect((await join).errorCode).toBe(ErrorCode.NONE);
  expect((await back).errorCode).toBe(ErrorCode.NONE);
  const found = await atRest(world);
  expect([...found.keys()].sort()).toEqual(["a", "b2", "c"]);
  expectEven(found, partitions);
  await world.restart();
  expect(await targets(world)).toEqual(found);
});

/** From now on every look at the clock finds it a millisecond later, and turns take one too: work
 * needs many of them. */
function slowDown(world: Harness): void {
  const { clock } = world;
  const schedule = clock.schedule.bind(clock);
  clock.schedule = (delayMs, task) => schedule(Math.max(1, delayMs), task);
  const monotonicMs = clock.monotonicMs.bind(clock);
  let passedMs = 0;
  clock.monotonicMs = () => monotonicMs() + passedMs++;
}

async function turns(world: Harness, count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    world.clock.advance(1);
    await settle();
  }
}

test("a target for members that the log refused is none for those who came instead", async () => {
  const world = newWorld(10 * partitions);
  const log = world.logOf("g");
  log.batchBytesMax = 10_000_000;
  await beat(world, "x");
  await turns(world, 3);
  slowDown(world);
  log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
  const refused = beat(world, "a");
  await settle();
  expect((await refused).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
  log.errorCode = ErrorCode.NONE;
  const join = beat(world, "b");
  await turns(world, 300);
  expect((await join).errorCode).toBe(ErrorCode.NONE);
  const again = beat(world, "b", { memberEpoch: (await join).memberEpoch });
  await turns(world, 300);
  expect((await again).errorCode).toBe(ErrorCode.NONE);
  const found = targets(world);
  await turns(world, 10);
  expectEven(await found, 10 * partitions);
});

test("a group whose deletion failed meanwhile is assigned when it has members again", async () => {
  const world = newWorld(10 * partitions);
  const log = world.logOf("g");
  log.batchBytesMax = 10_000_000;
  expect((await beat(world, "x", { memberEpoch: 5 })).errorCode).not.toBe(ErrorCode.NONE);
  slowDown(world);
  const join = beat(world, "a");
  const leave = beat(world, "a", { memberEpoch: -1 });
  await turns(world, 8);
  expect((await join).errorCode).toBe(ErrorCode.NONE);
  expect((await leave).errorCode).toBe(ErrorCode.NONE);
  log.isHeld = true;
  log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
  const deletion = world.groups.deleteGroup("g");
  await turns(world, 300);
  log.isHeld = false;
  log.errorCode = ErrorCode.NONE;
  log.release();
  expect(await deletion).not.toBe(ErrorCode.NONE);
  const back = beat(world, "b");
  await turns(world, 300);
  expect((await back).errorCode).toBe(ErrorCode.NONE);
  const again = beat(world, "b", { memberEpoch: (await back).memberEpoch });
  await turns(world, 300);
  expect((await again).errorCode).toBe(ErrorCode.NONE);
  const found = targets(world);
  await turns(world, 10);
  expectEven(await found, 10 * partitions);
});

test("a group is deleted behind all batches of what was decided before", async () => {
  const world = newWorld(60);
  const log = world.logOf("g");
  await beat(world, "a");
  await beat(world, "b");
  log.isHeld = true;
  const answers = [beat(world, "a", { memberEpoch: 2, clientHost: "/other" })];
  for (const id of ["a", "b"]) answers.push(beat(world, id, { memberEpoch: -1 }));
  log.batchBytesMax = 300;
  log.release();
  await settle();
  // Both departures are decided, too much for one batch; other groups take the rest of the turn.
  slowDown(world);
  const others = ["h", "i", "j", "k", "l", "m"].map((groupId) => beat(world, "x", {}, groupId));
  const deletion = world.groups.deleteGroup("g");
  log.release();
  await settle();
  for (let count = 0; count < 50; count++) {
    log.release();
    await turns(world, 1);
  }
  log.isHeld = false;
  log.release();
  await Promise.all(others);
  expect((await Promise.all(answers)).map(({ errorCode }) => errorCode)).toEqual(
    answers.map(() => ErrorCode.NONE),
  );
  expect(await deletion).toBe(ErrorCode.NONE);
  await world.restart();
  const { groups } = await world.groups.listGroups();
  expect(groups.map(({ groupId }) => groupId)).toEqual(["h", "i", "j", "k", "l", "m"]);
});
