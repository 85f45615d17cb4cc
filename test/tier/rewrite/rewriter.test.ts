import { describe, expect, test } from "bun:test";
import type { BrokerError } from "../../../src/lib/errors.ts";
import { type SegmentEntry, SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { RewriteQueue, Rewriter } from "../../../src/tier/rewrite/rewriter.ts";
import { FakeArchives, FakeStore } from "../../support/fake-tier.ts";
import { turn } from "../../support/log-lab.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { pending, within } from "../../support/moments.ts";
import { segmentEntry } from "../../support/segment-entry.ts";
import { silentLogger } from "../../support/silent-logger.ts";

/** Three archives of ten offsets each in store and registry, and what rewrites them. */
async function lab(faultPoint: (name: string) => Promise<void> = () => Promise.resolve()) {
  const files = new Map<string, string>();
  const store = new FakeStore(files);
  const engine = new FakeArchives(files);
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  for (const base of [0, 10, 20]) {
    const entry = segmentEntry(base, base + 9);
    files.set(entry.key, JSON.stringify({ base, last: base + 9 }));
    await registry.add(entry, 0);
  }
  const rewriter = new Rewriter({
    engine,
    store,
    registry,
    logger: silentLogger(),
    nowMs: () => 7,
    scratchDir: "/scratch",
    removeFile: async (path) => void files.delete(path),
    faultPoint,
  });
  const sources = () => [...registry.segments("id-t", 0)];
  const rewrite = (over: Partial<Parameters<Rewriter["rewrite"]>[0]> = {}) =>
    rewriter.rewrite({
      ...{ sources: sources().slice(0, 2), index: "merge" as const, merges: 1 },
      isWanted: () => true,
      ...over,
    });
  return { files, store, engine, journal, registry, sources, rewrite };
}

function ranges(entries: readonly SegmentEntry[]): string[] {
  return entries.map(({ base, last }) => `${base}-${last}`);
}

function retiredKeys(registry: SegmentRegistry): string[] {
  return [...registry.retiredObjects()].map(({ key }) => key);
}

describe("a rewrite", () => {
  test("swaps the sources for one archive under a key of its own", async () => {
    const points: string[] = [];
    const { registry, sources, rewrite, files } = await lab(async (name) => void points.push(name));
    const old = sources();
    const entry = await rewrite();
    expect(entry).toMatchObject({ base: 0, last: 19, generation: 2, merges: 1, index: "full" });
    expect(entry.key).toMatch(/segment-0-19\.g2-[0-9a-z]{8}\.tar\.gz$/);
    expect(ranges(sources())).toEqual(["0-19", "20-29"]);
    expect(retiredKeys(registry)).toEqual(old.slice(0, 2).map(({ key }) => key));
    expect(points).toEqual([
      "rewrite-put",
      "rewrite-verify",
      "rewrite-replace",
      "rewrite-replaced",
    ]);
    expect([...files.keys()].filter((path) => path.startsWith("/scratch"))).toEqual([]);
  });

  test("keeps its sources from being deleted while it reads them", async () => {
    const { registry, sources, rewrite, engine } = await lab();
    const [source] = sources();
    let pinned: boolean | undefined;
    const rewriteFiles = engine.rewrite.bind(engine);
    engine.rewrite = (...given) => {
      pinned = source && registry.isPinned(source);
      return rewriteFiles(...given);
    };
    await rewrite();
    expect(pinned).toBe(true);
    expect(source && registry.isPinned(source)).toBe(false);
  });

  test("that fails on the way changes nothing, and its object goes", async () => {
    const { registry, sources, rewrite, engine } = await lab();
    const before = sources();
    engine.failVerify = true;
    await expect(rewrite()).rejects.toThrow("verification failed");
    expect(sources()).toEqual(before);
    expect(retiredKeys(registry)).toHaveLength(1);
    engine.failVerify = false;
    expect(await rewrite()).toMatchObject({ base: 0, last: 19 });
  });

  test("of archives that changed meanwhile is given up", async () => {
    const { registry, sources, rewrite } = await lab();
    const stale = sources().slice(0, 2);
    await registry.dropBefore("id-t", 0, 10);
    await expect(rewrite({ sources: stale })).rejects.toMatchObject({
      code: "CHRONIK_REGISTRY_CONFLICT",
    });
    expect(ranges(sources())).toEqual(["10-19", "20-29"]);
    expect(retiredKeys(registry).filter((key) => key.includes(".g2-"))).toHaveLength(1);
  });

  test("of a topic that is gone puts nothing", async () => {
    const { files, rewrite } = await lab();
    const before = files.size;
    await expect(rewrite({ isWanted: () => false })).rejects.toMatchObject({
      code: "CHRONIK_TOPIC_GONE",
    });
    expect(files.size).toBe(before);
  });

  test.each(["rewrite-put", "rewrite-verify", "rewrite-replace", "rewrite-replaced"])(
    "that a crash ends at %s leaves no object without a name",
    async (point) => {
      const crash = (name: string) => (name === point ? new Promise<never>(() => {}) : undefined);
      const { journal, rewrite, files } = await lab(async (name) => crash(name));
      const ended = rewrite().then(() => "done");
      expect(await within(5, ended)).toBe(pending);
      const second = await SegmentRegistry.open(journal);
      const known = [...second.all().map(({ key }) => key), ...retiredKeys(second)];
      expect(new Set(known).size).toBe(known.length);
      for (const key of files.keys()) {
        if (!key.startsWith("/scratch")) expect(known).toContain(key);
      }
      const swapped = point === "rewrite-replaced";
      expect(ranges(second.all())).toEqual(swapped ? ["0-19", "20-29"] : ["0-9", "10-19", "20-29"]);
      // And the next life can say so for good.
      await second.objectsDeleted(retiredKeys(second));
      const third = await SegmentRegistry.open(journal);
      expect(retiredKeys(third)).toEqual([]);
      expect(third.all()).toEqual(second.all());
    },
  );
});

describe("the queue", () => {
  function gate() {
    const opened: (() => void)[] = [];
    const order: string[] = [];
    const work = (name: string) => () => {
      order.push(name);
      return new Promise<string>((resolve) => opened.push(() => resolve(name)));
    };
    const finish = async () => {
      opened.shift()?.();
      await turn();
    };
    return { order, work, finish };
  }

  test("runs one rewrite per partition, in the order asked for", async () => {
    const queue = new RewriteQueue({ runningMax: 2, waitingMax: 10, mayBegin: () => true });
    const { order, work, finish } = gate();
    const results = [
      queue.run("a", 0, work("a0 first")),
      queue.run("a", 0, work("a0 second")),
      queue.run("b", 0, work("b0")),
      queue.run("c", 0, work("c0")),
    ];
    await turn();
    expect(order).toEqual(["a0 first", "b0"]);
    await finish();
    expect(order).toEqual(["a0 first", "b0", "a0 second"]);
    await finish();
    await finish();
    await finish();
    expect(await Promise.all(results)).toEqual(["a0 first", "a0 second", "b0", "c0"]);
    expect(queue.depth).toEqual({ running: 0, waiting: 0 });
  });

  test("begins nothing while archiving is behind, until it is woken", async () => {
    let mayBegin = false;
    const queue = new RewriteQueue({ runningMax: 1, waitingMax: 1, mayBegin: () => mayBegin });
    const { order, work, finish } = gate();
    const result = queue.run("a", 0, work("a"));
    await turn();
    expect(order).toEqual([]);
    await expect(queue.run("b", 0, work("b"))).rejects.toMatchObject({
      code: "CHRONIK_REWRITES_WAITING",
    });
    mayBegin = true;
    queue.wake();
    await turn();
    await finish();
    expect(await result).toBe("a");
  });

  test("a failure is told to who asked and holds nobody up", async () => {
    const queue = new RewriteQueue({ runningMax: 1, waitingMax: 10, mayBegin: () => true });
    const failing = queue.run("a", 0, () => Promise.reject(new Error("no")));
    const next = queue.run("a", 0, () => Promise.resolve("next"));
    await expect(failing).rejects.toThrow("no");
    expect(await next).toBe("next");
  });

  test("a stop refuses what waits and resolves when what runs has ended", async () => {
    const queue = new RewriteQueue({ runningMax: 1, waitingMax: 10, mayBegin: () => true });
    const { work, finish } = gate();
    const running = queue.run("a", 0, work("a"));
    const waiting = queue.run("b", 0, work("b")).catch((error: BrokerError) => error.code);
    await turn();
    let stopped = false;
    const stop = queue.stop().then(() => {
      stopped = true;
    });
    expect(await waiting).toBe("CHRONIK_CLOSED");
    expect(stopped).toBe(false);
    await finish();
    await stop;
    expect(await running).toBe("a");
    await expect(queue.run("c", 0, work("c"))).rejects.toMatchObject({ code: "CHRONIK_CLOSED" });
  });
});
