import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { Persister } from "../../src/share/persister.ts";
import type { StateBatch } from "../../src/share/state-batches.ts";
import { StateWorld } from "./state-world.ts";

const key = { groupId: "g", topicId: "AAAAAAAAAAAAAAAAAAAAAQ", partition: 0 };

function change(startOffset: number, stateBatches: StateBatch[], stateEpoch = 1) {
  return { stateEpoch, leaderEpoch: 0, startOffset, deliveryCompleteCount: 0, stateBatches };
}

function batch(firstOffset: number, lastOffset: number, deliveryState = 2, deliveryCount = 1) {
  return { firstOffset, lastOffset, deliveryState, deliveryCount };
}

async function begun(world: StateWorld): Promise<Persister> {
  const persister = world.open();
  const codes = await persister.initialize([{ key, epoch: 1, start: -1 }], false);
  expect(codes).toEqual([ErrorCode.NONE]);
  return persister;
}

describe("share states", () => {
  test("an update adds to the snapshot, and both are there after a restart", async () => {
    const world = new StateWorld();
    const persister = await begun(world);
    expect(await persister.write(key, change(0, [batch(0, 4), batch(10, 14)]))).toBe(0);
    expect(await persister.write(key, change(5, [batch(12, 12, 0, 2)]))).toBe(0);
    expect(world.log.kinds()).toEqual(["snapshot", "update", "update"]);
    const { state } = await world.open().read(key);
    expect(state).toEqual((await persister.read(key)).state);
    expect(state?.startOffset).toBe(5);
    expect(state?.stateBatches).toEqual([batch(10, 11), batch(12, 12, 0, 2), batch(13, 14)]);
  });

  test("what was never begun can be neither read nor written", async () => {
    const persister = new StateWorld().open();
    expect((await persister.read(key)).errorCode).toBe(ErrorCode.INVALID_REQUEST);
    expect(await persister.write(key, change(0, []))).toBe(ErrorCode.INVALID_REQUEST);
  });

  test("beginning again leaves a state alone, unless it is to be begun anew", async () => {
    const world = new StateWorld();
    const persister = await begun(world);
    await persister.write(key, change(7, []));
    await persister.initialize([{ key, epoch: 2, start: -1 }], false);
    expect((await persister.read(key)).state?.startOffset).toBe(7);
    await persister.initialize([{ key, epoch: 1, start: 3 }], true);
    const { state } = await world.open().read(key);
    expect([state?.startOffset, state?.deliveryCompleteCount]).toEqual([3, 0]);
    // Whoever read the former state cannot write into this one.
    expect(await persister.write(key, change(9, []))).toBe(ErrorCode.FENCED_STATE_EPOCH);
    expect((await world.open().read(key)).state?.startOffset).toBe(3);
  });

  test("writes that wait go out as one record, and are told when it is durable", async () => {
    const world = new StateWorld();
    const persister = await begun(world);
    world.log.isHeld = true;
    const told: number[] = [];
    const writes = [0, 1, 2].map(async (offset) => {
      await persister.write(key, change(0, [batch(offset, offset)]));
      told.push(offset);
    });
    await Bun.sleep(0);
    expect(told).toEqual([]);
    world.log.isHeld = false;
    world.log.release();
    await Promise.all(writes);
    expect(told).toEqual([0, 1, 2]);
    expect(world.log.kinds()).toEqual(["snapshot", "update", "update"]);
    expect((await world.open().read(key)).state?.stateBatches).toEqual([batch(0, 2)]);
  });

  test("a write the log refuses changes nothing and is told", async () => {
    const world = new StateWorld();
    const persister = await begun(world);
    world.log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    const refused = await persister.write(key, change(5, [batch(5, 6)]));
    expect(refused).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    expect(world.problems).toHaveLength(1);
    expect((await persister.read(key)).state?.startOffset).toBe(-1);
  });

  test("a removed state stays removed, whatever was on its way", async () => {
    const world = new StateWorld();
    const persister = await begun(world);
    world.log.isHeld = true;
    const write = persister.write(key, change(1, []));
    await Bun.sleep(0);
    const removal = persister.remove([key]);
    const late = persister.write(key, change(2, []));
    await Bun.sleep(0);
    world.log.isHeld = false;
    world.log.release();
    expect(await write).toBe(ErrorCode.NONE);
    expect(await removal).toEqual([ErrorCode.NONE]);
    expect(await late).not.toBe(ErrorCode.NONE);
    expect((await world.open().read(key)).errorCode).toBe(ErrorCode.INVALID_REQUEST);
  });

  test("snapshots follow so many updates, and what lies before them is cut off", async () => {
    const world = new StateWorld({ updatesPerSnapshot: 10 });
    const persister = await begun(world);
    const other = { ...key, groupId: "idle" };
    await persister.initialize([{ key: other, epoch: 1, start: 4 }], false);
    await persister.start();
    for (let offset = 0; offset < 2_500; offset++) {
      await persister.write(key, change(offset, [batch(offset, offset)]));
    }
    expect(world.log.kinds().filter((kind) => kind === "snapshot").length).toBeGreaterThan(200);
    world.clock.advance(world.config.pruneIntervalMs);
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    expect(world.log.startOffset).toBeGreaterThan(2_000);
    const again = world.open();
    expect((await again.read(key)).state?.startOffset).toBe(2_499);
    expect((await again.read(other)).state?.startOffset).toBe(4);
  });

  test("no more states than may be held", async () => {
    const world = new StateWorld({ sharePartitionsMax: 2 });
    const persister = await begun(world);
    const inits = [1, 2].map((partition) => ({ key: { ...key, partition }, epoch: 1, start: -1 }));
    expect(await persister.initialize(inits, false)).toEqual([
      ErrorCode.COORDINATOR_NOT_AVAILABLE,
      ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ]);
    expect(await persister.initialize(inits.slice(0, 1), false)).toEqual([ErrorCode.NONE]);
  });
});
