import { expect, test } from "bun:test";
import { Reaper } from "../../src/tier/reaper.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { turn } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { segmentEntry } from "../support/segment-entry.ts";
import { silentLogger } from "../support/silent-logger.ts";

/** A reaper over `count` segments of topic "id-t", with a transcript of what it did. */
async function lab(count: number, journal = new MemoryJournal()) {
  const registry = await SegmentRegistry.open(journal);
  for (let i = 0; i < count; i++) await registry.add(segmentEntry(i * 10, i * 10 + 9), 0);
  const clock = new FakeClock();
  const log: string[] = [];
  const world = {
    failing: new Set<string>(),
    gate: () => Promise.resolve(),
  };
  const store = {
    delete(key: string) {
      const name = key.slice(key.lastIndexOf("/") + 1).replace(".tar.gz", "");
      const fails = world.failing.has(name) || world.failing.has("all");
      log.push(`${fails ? "refused" : "deleted"} ${name}`);
      return fails ? Promise.reject(new Error("store says no")) : Promise.resolve();
    },
  };
  const reaper = new Reaper({
    ...{ registry, store, clock, logger: silentLogger() },
    gate: () => world.gate(),
    faultPoint(name) {
      log.push(name);
      return Promise.resolve();
    },
  });
  /** What happened since it was asked last. */
  const told = async () => {
    for (let i = 0; i < 20; i++) await turn();
    return log.splice(0);
  };
  return { registry, clock, world, reaper, told, journal };
}

test("deletes what is retired, oldest first, then tells the registry", async () => {
  const { registry, reaper, told } = await lab(3);
  reaper.start();
  expect(await told()).toEqual([]);
  await registry.dropBefore("id-t", 0, 20);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "deleted segment-10-19", "reaped"]);
  expect(registry.totals()).toMatchObject({ segments: 1, retired: 0 });
  await registry.dropBefore("id-t", 0, 30);
  expect(await told()).toEqual(["reap", "deleted segment-20-29", "reaped"]);
  expect(reaper.deleted).toEqual({ count: 3, bytes: 3000 });
});

test("goes on with what an earlier life left, and is idle without timers behind it", async () => {
  const first = await lab(2);
  await first.registry.retireTopic("id-t");
  const { registry, reaper, told, clock } = await lab(0, first.journal);
  expect(registry.retiredTotal).toBe(2);
  reaper.start();
  expect(await told()).toContain("deleted segment-10-19");
  expect(clock.pendingTimers).toBe(0);
});

test("what is being read waits for its reader, the others do not", async () => {
  const { registry, reaper, told, clock } = await lab(2);
  const unpin = registry.pin(segmentEntry(0, 9));
  await registry.retireTopic("id-t");
  reaper.start();
  expect(await told()).toEqual(["reap", "deleted segment-10-19", "reaped"]);
  clock.advance(5_000);
  expect(await told()).toEqual([]);
  unpin();
  clock.advance(500);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "reaped"]);
  expect(registry.retiredTotal).toBe(0);
});

test("a reader that never ends is waited for a minute, not longer", async () => {
  const { registry, reaper, told, clock } = await lab(1);
  registry.pin(segmentEntry(0, 9));
  await registry.retireTopic("id-t");
  reaper.start();
  for (let passed = 0; passed < 59_500; passed += 500) {
    expect(await told()).toEqual([]);
    clock.advance(500);
  }
  expect(await told()).toEqual([]);
  clock.advance(500);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "reaped"]);
});

test("a reader that came while the gate was shut is waited for", async () => {
  const { registry, reaper, told, world, clock } = await lab(1);
  let open = () => {};
  world.gate = () => new Promise((resolve) => (open = resolve));
  await registry.retireTopic("id-t");
  reaper.start();
  expect(await told()).toEqual([]);
  const unpin = registry.pin(segmentEntry(0, 9));
  open();
  world.gate = () => Promise.resolve();
  expect(await told()).toEqual([]);
  unpin();
  clock.advance(500);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "reaped"]);
});

test("the gate opens once for all retired by then; what comes meanwhile waits", async () => {
  const { registry, reaper, told, world } = await lab(200);
  let asked = 0;
  let open = () => {};
  world.gate = () => {
    asked++;
    return new Promise((resolve) => (open = resolve));
  };
  reaper.start();
  await registry.dropBefore("id-t", 0, 1_500);
  await registry.dropBefore("id-t", 0, 1_600);
  expect(await told()).toEqual([]);
  open();
  const deleted = (await told()).filter((line) => line.startsWith("deleted"));
  expect(deleted).toHaveLength(150);
  expect(asked).toBe(2);
  open();
  expect((await told()).filter((line) => line.startsWith("deleted"))).toHaveLength(10);
  expect(asked).toBe(2);
});

test("one object that cannot be deleted does not hold up the others; pauses grow", async () => {
  const { registry, reaper, told, world, clock } = await lab(3);
  world.failing.add("segment-0-9");
  await registry.retireTopic("id-t");
  reaper.start();
  expect(await told()).toEqual([
    "reap",
    "refused segment-0-9",
    "deleted segment-10-19",
    "deleted segment-20-29",
    "reaped",
  ]);
  expect(registry.retiredTotal).toBe(1);
  for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    clock.advance(pauseMs - 1);
    expect(await told()).toEqual([]);
    clock.advance(1);
    expect(await told()).toEqual(["reap", "refused segment-0-9", "reaped"]);
  }
  world.failing.clear();
  clock.advance(60_000);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "reaped"]);
});

test("a store that is away is not asked for every object", async () => {
  const { registry, reaper, told, world } = await lab(200);
  world.failing.add("all");
  await registry.retireTopic("id-t");
  reaper.start();
  const refused = (await told()).filter((line) => line.startsWith("refused"));
  expect(refused).toHaveLength(64);
  expect(registry.retiredTotal).toBe(200);
});

test("a gate that fails is asked again, and nothing is deleted before", async () => {
  const { registry, reaper, told, world, clock } = await lab(1);
  world.gate = () => Promise.reject(new Error("no backup"));
  await registry.retireTopic("id-t");
  reaper.start();
  expect(await told()).toEqual([]);
  world.gate = () => Promise.resolve();
  clock.advance(1_000);
  expect(await told()).toEqual(["reap", "deleted segment-0-9", "reaped"]);
});

test("whoever deletes a topic is told when its last object is gone", async () => {
  const { registry, reaper, told } = await lab(100);
  reaper.start();
  await registry.retireTopic("id-t");
  const done = reaper.topicReaped("id-t");
  expect(reaper.topicReaped("id-t")).toBe(done);
  await told();
  expect(await done).toBe(true);
  expect(await reaper.topicReaped("unknown")).toBe(true);
});

test("a stop does not wait for the gate, and says that objects are left", async () => {
  const { registry, reaper, told, world } = await lab(1);
  world.gate = () => new Promise(() => undefined);
  await registry.retireTopic("id-t");
  reaper.start();
  const done = reaper.topicReaped("id-t");
  await told();
  await reaper.stop();
  expect(await done).toBe(false);
  expect(await reaper.topicReaped("id-t")).toBe(false);
  expect(registry.retiredTotal).toBe(1);
});
