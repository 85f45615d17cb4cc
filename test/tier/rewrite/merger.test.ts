import { describe, expect, test } from "bun:test";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { Merger } from "../../../src/tier/rewrite/merger.ts";
import { RewriteQueue, Rewriter } from "../../../src/tier/rewrite/rewriter.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { FakeArchives, FakePartition, FakeStore } from "../../support/fake-tier.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";
import { silentLogger } from "../../support/silent-logger.ts";

/** Partitions whose archives have these index modes, oldest first, and what merges them. */
async function lab(...partitionModes: string[][]) {
  const files = new Map<string, string>();
  const engine = new FakeArchives(files);
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const partitions: FakePartition[] = [];
  for (const [partition, modes] of partitionModes.entries()) {
    partitions.push(new FakePartition({ index: partition, segments: [] }));
    for (const [i, index] of modes.entries()) {
      const key = `p${partition}-${i}`;
      files.set(key, JSON.stringify({ base: i * 10, last: i * 10 + 9 }));
      const over = { partition, index, key, rawBytes: 1, createdMs: 100 - partition };
      await registry.add(segmentEntry(i * 10, i * 10 + 9, over), 0);
    }
  }
  const clock = new FakeClock();
  const made: string[] = [];
  const rewriter = new Rewriter({
    engine,
    store: new FakeStore(files),
    registry,
    logger: silentLogger(),
    nowMs: () => clock.nowMs(),
    scratchDir: "/scratch",
    removeFile: async (path) => void files.delete(path),
    faultPoint: () => Promise.resolve(),
  });
  const rewrite = rewriter.rewrite.bind(rewriter);
  rewriter.rewrite = async (task) => {
    made.push(`p${task.sources[0]?.partition} ${task.sources.length} ${task.index}`);
    return await rewrite(task);
  };
  const limits = { targetBytes: 256, sourcesMax: 64, abortedMax: 100 };
  const merger = new Merger(
    { enabled: true, intervalSecs: 1, limits },
    {
      ...{ registry, rewriter, clock, logger: silentLogger(), partitions: () => partitions },
      queue: new RewriteQueue({ runningMax: 1, waitingMax: 8, mayBegin: () => true }),
      policy: () => ({ merges: true, searchIndex: "full", retentionMs: -1, retentionBytes: -1 }),
    },
  );
  return { engine, registry, partitions, clock, merger, made };
}

const eight = Array.from({ length: 8 }, () => "full");

describe("a merger's run", () => {
  test("indexes what waits for it first, the oldest first, then merges", async () => {
    const { merger, made, registry } = await lab(["pending"], eight, ["pending", "pending"]);
    await merger.run();
    expect(made).toEqual(["p2 2 full", "p0 1 full", "p1 8 merge"]);
    expect(merger.stats()).toMatchObject({ merges: 2, archives_merged: 10, indexes_added: 2 });
    expect(registry.totals()).toMatchObject({ segments: 3, index_pending: 0 });
    await merger.run();
    expect(made).toHaveLength(3);
  });

  test("that fails leaves its partition alone for a while, and the others go on", async () => {
    const { merger, made, engine, clock } = await lab(eight, ["pending"]);
    const rewrite = engine.rewrite.bind(engine);
    engine.rewrite = (request, sources, path) =>
      request.index === "merge"
        ? Promise.reject(new Error("source 3 is damaged"))
        : rewrite(request, sources, path);
    await merger.run();
    await merger.run();
    expect(made).toEqual(["p1 1 full", "p0 8 merge"]);
    expect(merger.stats().errors).toBe(1);
    engine.rewrite = rewrite;
    clock.advance(29_000);
    await merger.run();
    expect(made).toHaveLength(2);
    clock.advance(1_000);
    await merger.run();
    expect(merger.stats()).toMatchObject({ merges: 1, errors: 1 });
  });

  test("counts archives that changed meanwhile as a conflict, and plans anew", async () => {
    const { merger, engine, registry } = await lab(eight);
    const rewrite = engine.rewrite.bind(engine);
    engine.rewrite = async (...given) => {
      await registry.dropBefore("id-t", 0, 10);
      return await rewrite(...given);
    };
    await merger.run();
    expect(merger.stats()).toMatchObject({ conflicts: 1, errors: 0, merges: 0 });
    expect(registry.segments("id-t", 0)).toHaveLength(7);
  });

  test("after a stop begins nothing", async () => {
    const { merger, made } = await lab(eight);
    await merger.stop();
    await merger.run();
    expect(made).toEqual([]);
  });

  test("skips what is closed", async () => {
    const { merger, made, partitions } = await lab(eight);
    for (const partition of partitions) partition.isOpen = false;
    await merger.run();
    expect(made).toEqual([]);
  });
});
