import { expect, test } from "bun:test";
import { describeGroupsHandler } from "../../src/api/15-describe-groups.ts";
import { listGroupsHandler } from "../../src/api/16-list-groups.ts";
import { deferred } from "../../src/lib/deferred.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  commit,
  fetchOne,
  heartbeat,
  join,
  joinTwice,
  leave,
  plain,
  stableGroup,
  sync,
} from "./client.ts";
import { Harness, settle } from "./harness.ts";

test("three members join, one leaves, one goes silent: all heard, all owned once", async () => {
  const world = new Harness();
  const ids: string[] = [];
  for (const clientId of ["a", "b", "c"]) {
    ids.push((await join(world, "g", { clientId })).memberId);
  }
  const joins = ids.map((memberId) => join(world, "g", { memberId }));
  await settle();
  world.clock.advance(0);
  const joined = await Promise.all(joins);
  const [a, b, c] = ids as [string, string, string];
  expect(joined.map((one) => [one.errorCode, one.generationId, one.leader])).toEqual([
    [0, 1, a],
    [0, 1, a],
    [0, 1, a],
  ]);
  expect(joined.map((one) => one.members.length)).toEqual([3, 0, 0]);
  const follower = sync(world, "g", { memberId: b, generationId: 1 });
  const leader = sync(
    world,
    "g",
    { memberId: a, generationId: 1 },
    { [a]: "0", [b]: "1", [c]: "2" },
  );
  const late = sync(world, "g", { memberId: c, generationId: 1 });
  const owned = await Promise.all([leader, follower, late]);
  expect(owned.map((one) => plain(one.assignment))).toEqual(["0", "1", "2"]);

  // c leaves: the others hear of it with their next heartbeat, not after a timeout.
  expect(await leave(world, "g", c)).toBe(0);
  expect(await heartbeat(world, "g", a, 1)).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
  const again = [a, b].map((memberId) => join(world, "g", { memberId }));
  expect((await Promise.all(again)).map((one) => one.generationId)).toEqual([2, 2]);
  const second = sync(world, "g", { memberId: a, generationId: 2 }, { [a]: "0+2", [b]: "1" });
  expect(plain((await sync(world, "g", { memberId: b, generationId: 2 })).assignment)).toBe("1");
  expect(plain((await second).assignment)).toBe("0+2");

  // a goes silent, b keeps its session: b alone is left.
  world.clock.advance(9_000);
  expect(await heartbeat(world, "g", b, 2)).toBe(0);
  world.clock.advance(1_000);
  expect(await heartbeat(world, "g", b, 2)).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
  expect(await heartbeat(world, "g", a, 2)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  const alone = await join(world, "g", { memberId: b });
  expect([alone.leader, alone.members.length, alone.generationId]).toEqual([b, 1, 3]);
});

test("nothing is answered before it is durable", async () => {
  const world = new Harness();
  const { memberId } = await joinTwice(world, "g");
  const log = world.logOf("g");
  log.isHeld = true;
  let answered = 0;
  const note = <T>(value: T): T => {
    answered++;
    return value;
  };
  const synced = sync(world, "g", { memberId, generationId: 1 }, { [memberId]: "all" }).then(note);
  await settle();
  expect(answered).toBe(0);
  log.release();
  expect((await synced).errorCode).toBe(0);

  const committed = commit(world, "g", 7, { memberId, generationId: 1 }).then(note);
  await settle();
  expect([answered, await fetchOne(world, "g")]).toEqual([1, -1]);
  log.release();
  expect(await committed).toBe(0);
  expect(await fetchOne(world, "g")).toBe(7);

  const left = leave(world, "g", memberId).then(note);
  await settle();
  expect(answered).toBe(2);
  log.release();
  expect(await left).toBe(0);
});

test("a restart brings groups, members and offsets back exactly", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  const fixed = join(world, "h", { instance: "i1", sessionTimeoutMs: 30_000 });
  await settle();
  world.clock.advance(0);
  const fixedId = (await fixed).memberId;
  await sync(
    world,
    "h",
    { memberId: fixedId, generationId: 1, instance: "i1" },
    { [fixedId]: "x" },
  );
  await commit(world, "g", 12, { memberId, generationId: 1, metadata: "note" });
  await commit(world, "simple", 3);
  const gone = await stableGroup(world, "emptied");
  await leave(world, "emptied", gone);
  const groups = ["g", "h", "simple", "emptied"];
  const before = await world.call(describeGroupsHandler, 6, { groups });
  const listBefore = await world.call(listGroupsHandler, 5, {});
  const bytesBefore = world.groups.stateBytes;

  await world.restart();
  expect(await world.call(describeGroupsHandler, 6, { groups })).toEqual(before);
  const byId = (left: { groupId: string }, right: { groupId: string }) =>
    left.groupId < right.groupId ? -1 : 1;
  const listAfter = await world.call(listGroupsHandler, 5, {});
  expect(listAfter.groups.sort(byId)).toEqual(listBefore.groups.sort(byId));
  expect([await fetchOne(world, "g"), await fetchOne(world, "simple")]).toEqual([12, 3]);
  expect(world.groups.stateBytes).toBe(bytesBefore);
  expect(world.groups.groupCount).toBe(4);

  // The members go on as if nothing had happened, and those that are gone time out.
  expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
  expect(await commit(world, "g", 13, { memberId, generationId: 1 })).toBe(0);
  world.clock.advance(10_000);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  expect(await heartbeat(world, "h", fixedId, 1)).toBe(0);
});

test("writes take effect in the order made, not the order answered", async () => {
  const world = new Harness();
  await commit(world, "g", 1);
  const log = world.logOf("g");
  log.isHeld = true;
  const second = commit(world, "g", 2);
  const third = commit(world, "g", 3);
  log.releaseNewest();
  await settle();
  expect(await fetchOne(world, "g")).toBe(1);
  log.releaseNewest();
  expect(await Promise.all([second, third])).toEqual([0, 0]);
  expect(await fetchOne(world, "g")).toBe(3);
});

test("what was not durable at a crash was not there", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  await commit(world, "g", 1, { memberId, generationId: 1 });
  world.logOf("g").isHeld = true;
  void commit(world, "g", 2, { memberId, generationId: 1 });
  await settle();
  await world.restart();
  expect(await fetchOne(world, "g")).toBe(1);
});

test("while a partition loads, its groups answer 14, but heartbeats are fine", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  const gate = deferred<void>();
  world.logOf("g").replayGate = gate.promise;
  const started = world.restart();
  await settle();
  const loading = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  expect((await join(world, "g", { memberId })).errorCode).toBe(loading);
  expect((await sync(world, "g", { memberId, generationId: 1 })).errorCode).toBe(loading);
  expect(await commit(world, "g", 1)).toBe(loading);
  expect(await leave(world, "g", memberId)).toBe(loading);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
  expect((await world.call(listGroupsHandler, 5, {})).errorCode).toBe(loading);
  expect((await world.call(describeGroupsHandler, 6, { groups: ["g"] })).groups[0]!.errorCode).toBe(
    loading,
  );
  gate.resolve();
  await started;
  expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
  expect((await world.call(listGroupsHandler, 5, {})).groups.length).toBe(1);
});

test("no list before all partitions are read; requests do not wait for that", async () => {
  const world = new Harness();
  expect(world.groups.partitionFor("g1")).toBeGreaterThan(8);
  await stableGroup(world, "g1");
  const gate = deferred<void>();
  world.topics.log(0).replayGate = gate.promise;
  const started = world.restart();
  await settle();
  const list = await world.call(listGroupsHandler, 5, {});
  expect([list.errorCode, list.groups]).toEqual([ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, []]);
  expect(
    (await world.call(describeGroupsHandler, 6, { groups: ["g1"] })).groups[0]!.errorCode,
  ).toBe(0);
  gate.resolve();
  await started;
  expect((await world.call(listGroupsHandler, 5, {})).groups.length).toBe(1);
});

test("a partition that cannot be read is reported, refused, and tried again", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  world.logOf("g").replayFailure = new Error("bad sector");
  await world.restart();
  expect(world.problems.map((one) => one.code)).toEqual(["CHRONIK_GROUP_LOAD_FAILED"]);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const unavailable = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  expect((await world.call(listGroupsHandler, 5, {})).errorCode).toBe(unavailable);
  // Not on every request: the next attempt comes after a pause.
  expect(world.problems.length).toBe(1);
  world.logOf("g").replayFailure = null;
  world.clock.advance(1_000);
  expect((await world.call(listGroupsHandler, 5, {})).groups.length).toBe(1);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
});

test("a record that lies fails the load instead of being skipped", async () => {
  const world = new Harness();
  await stableGroup(world, "g");
  world.logOf("g").durable.push({ key: new Uint8Array([0, 1, 9]), value: null, timestamp: 0 });
  await world.restart();
  expect(world.problems.map((one) => one.code)).toEqual(["CHRONIK_GROUP_LOAD_FAILED"]);
});

test("a log that refuses or throws turns into the error clients retry on", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  const member = { memberId, generationId: 1 };
  await commit(world, "g", 1, member);
  const log = world.logOf("g");
  log.errorCode = ErrorCode.NOT_ENOUGH_REPLICAS;
  expect(await commit(world, "g", 2, member)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  log.errorCode = ErrorCode.MESSAGE_TOO_LARGE;
  expect(await commit(world, "g", 2, member)).toBe(ErrorCode.UNKNOWN_SERVER_ERROR);
  log.errorCode = 0;
  log.throwsOnAppend = true;
  expect(await commit(world, "g", 2, member)).toBe(ErrorCode.NOT_COORDINATOR);
  expect(world.problems.map((one) => one.code)).toEqual(["CHRONIK_GROUP_WRITE_FAILED"]);
  expect(await fetchOne(world, "g")).toBe(1);
  // A first commit that fails leaves no group behind.
  world.logOf("new").throwsOnAppend = true;
  const groupsBefore = world.groups.groupCount;
  expect(await commit(world, "new", 1)).toBe(ErrorCode.NOT_COORDINATOR);
  expect(world.groups.groupCount).toBe(groupsBefore);
});

test("closing answers parked requests and leaves no timer", async () => {
  const world = new Harness({ initialRebalanceDelayMs: 3000 });
  await world.groups.start();
  const { memberId } = await join(world, "g");
  const parked = join(world, "g", { memberId });
  await settle();
  world.groups.close();
  expect((await parked).errorCode).toBe(ErrorCode.NOT_COORDINATOR);
  expect((await join(world, "g")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(await commit(world, "g", 1)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  world.clock.advance(10_000_000);
  expect(world.problems).toEqual([]);
});

test("groups and bytes are bounded, and given back", async () => {
  const world = new Harness({ groupsMax: 2 });
  expect(await commit(world, "a", 1)).toBe(0);
  const { memberId } = await join(world, "b", { sessionTimeoutMs: 6000 });
  expect(memberId).not.toBe("");
  expect((await join(world, "c")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(await commit(world, "c", 1)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  // b's only id is not used: nothing is left of b, so c has room.
  world.clock.advance(6000);
  expect(world.groups.groupCount).toBe(1);
  expect((await join(world, "c")).errorCode).toBe(ErrorCode.MEMBER_ID_REQUIRED);

  const small = new Harness({ stateBytesMax: 900 });
  expect(await commit(small, "a", 1, { metadata: "x".repeat(500) })).toBe(0);
  expect(await commit(small, "a", 2, { metadata: "x".repeat(500) })).toBe(
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
  );
  expect((await join(small, "b")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
});

test("refused joins leave no group behind", async () => {
  const world = new Harness();
  expect((await join(world, "g", { memberId: "made-up" })).errorCode).toBe(
    ErrorCode.UNKNOWN_MEMBER_ID,
  );
  expect((await join(world, "g", { protocolType: "" })).errorCode).toBe(
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
  );
  expect((await join(world, "g", { sessionTimeoutMs: 1 })).errorCode).toBe(
    ErrorCode.INVALID_SESSION_TIMEOUT,
  );
  expect((await join(world, "")).errorCode).toBe(ErrorCode.INVALID_GROUP_ID);
  expect((await join(world, "g".repeat(9000))).errorCode).toBe(ErrorCode.INVALID_GROUP_ID);
  expect((await join(world, "g", { instance: "i".repeat(9000) })).errorCode).toBe(
    ErrorCode.INVALID_REQUEST,
  );
  expect(world.groups.groupCount).toBe(0);
  // A long client id is cut, so that the member id still fits the stored form.
  const long = await join(world, "g", { clientId: "é".repeat(16_000) });
  expect(long.memberId.length).toBeLessThan(8_300);
});

test("heartbeats of a thousand members arm no new timers", async () => {
  const world = new Harness();
  const memberId = await stableGroup(world, "g");
  let scheduled = 0;
  const schedule = world.clock.schedule.bind(world.clock);
  world.clock.schedule = (delayMs, task) => {
    scheduled++;
    return schedule(delayMs, task);
  };
  for (let beat = 0; beat < 1000; beat++) {
    world.clock.advance(5);
    expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
  }
  expect(scheduled).toBe(0);
  world.clock.advance(9_999);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(0);
  world.clock.advance(10_000);
  expect(await heartbeat(world, "g", memberId, 1)).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
});

test("what a group keeps is its own, whatever the request's bytes become", async () => {
  const world = new Harness();
  await world.groups.start();
  const metadata = Buffer.from("some metadata");
  const request = {
    groupId: "g",
    memberId: "",
    groupInstanceId: null,
    clientId: "c",
    clientHost: "h",
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    protocolType: "consumer",
    requiresMemberId: false,
    canSkipAssignment: false,
  };
  const joined = world.groups.joinGroup({ ...request, protocols: [{ name: "range", metadata }] });
  metadata.fill(0);
  await settle();
  world.clock.advance(0);
  const { memberId, members } = await joined;
  expect(plain(members[0]!.metadata)).toBe("some metadata");
  const assignment = Buffer.from("mine");
  const synced = world.groups.syncGroup({
    groupId: "g",
    memberId,
    groupInstanceId: null,
    generationId: 1,
    protocolType: null,
    protocolName: null,
    assignments: [{ memberId, assignment }],
  });
  assignment.fill(0);
  expect(plain((await synced).assignment)).toBe("mine");
});
