/** Archives that were registered after the last backup: which of them a restore takes. */
import { expect, test } from "bun:test";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ArchiveFacts } from "../../src/backup/archive-facts.ts";
import type { PartitionHead } from "../../src/backup/format.ts";
import { LaterArchives } from "../../src/backup/later-archives.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { apply } from "../../src/metadata/apply.ts";
import { emptyImage } from "../../src/metadata/image.ts";
import { StoreError } from "../../src/store/object-store.ts";
import { archiveKey } from "../../src/tier/archiver.ts";
import { type SegmentEntry, SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { Kafka } from "../broker/kafka.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { brokerExists } from "../support/broker-process.ts";
import { startBackedBroker } from "../support/local-backup.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { untilBackedUp } from "../support/restore-process.ts";
import { segmentEntry } from "../support/segment-entry.ts";
import { staleLists } from "../support/stale-lists.ts";

const isCi = process.env["CI"] === "true";
const ours = "AAAAAAAAAAAAAAAAAAAAAQ";
const other = "AAAAAAAAAAAAAAAAAAAAAg";
const bytes = new Uint8Array(10);

interface Stored {
  readonly facts?: Partial<ArchiveFacts>;
  readonly suffix?: string;
  readonly modifiedMs?: number;
  readonly damaged?: boolean;
}

/** A backup in which `t-0` is archived up to offset 99, at leader epoch 3. */
async function lab(head: Partial<PartitionHead> = {}) {
  const store = new MemoryStore("");
  const journal = new MemoryJournal();
  let registry = await SegmentRegistry.open(journal);
  const entry = segmentEntry(0, 99, { topicId: ours });
  await registry.add(entry, 0);
  await store.putBytes(entry.key, bytes);
  const placed = { index: 0, leader: 1, leaderEpoch: 3, replicas: [1], isr: [1] };
  const image = apply(emptyImage, [
    { type: "cluster", clusterId: "lab" },
    { type: "topic", name: "t", id: ours, internal: false, partitions: [placed], configs: [] },
  ]);
  const marks = { topicId: ours, partition: 0, logStart: 0, highWatermark: 120 };
  const epochs = [
    [1, 0],
    [3, 90],
  ] as const;
  const heads = new Map([[`${ours}/0`, { ...marks, epochs, ...head }]]);
  const stored = new Map<string, { facts: ArchiveFacts; damaged: boolean }>();
  const modified = new Map<string, number>();
  const list = store.list.bind(store);
  store.list = async (...asked) => {
    const page = await list(...asked);
    const objects = page.objects.map((one) => ({
      ...one,
      modifiedMs: modified.get(one.key) ?? null,
    }));
    return { ...page, objects };
  };
  const put = async (base: number, last: number, over: Stored = {}) => {
    const { topic, topicId: _, ...said } = segmentEntry(base, last);
    const generation = over.facts?.generation ?? 1;
    const request = { topic, partition: 0, base, last, generation };
    const key = archiveKey(request, over.suffix);
    const producer = { producerEpoch: 0, transactionStart: -1, timestamp: 0, batches: [] };
    const facts: ArchiveFacts = {
      ...{ ...said, topic, topicId: ours, aborted: 0, epochs },
      producers: [{ ...producer, producerId: 7, coordinatorEpoch: -1 }],
      ...over.facts,
    };
    stored.set(key, { facts, damaged: over.damaged ?? false });
    if (over.modifiedMs !== undefined) modified.set(key, over.modifiedMs);
    await store.putBytes(key, bytes);
    return key;
  };
  const printed: string[] = [];
  let failure: Error | null = null;
  const run = async () => {
    // As a restore opens it: what was intended at the backup is retired.
    registry = await SegmentRegistry.open(journal);
    const later = new LaterArchives(
      {
        store,
        async readArchive(key) {
          const found = stored.get(key);
          if (failure !== null) throw failure;
          if (found === undefined) throw new BrokerError("CHRONIK_ARCHIVE_DAMAGED", "no archive");
          return found.facts;
        },
        async verifyArchive(key, size, facts) {
          if (stored.get(key)?.damaged) throw new BrokerError("CHRONIK_CORRUPT", "bad batch");
          const sums = { sha256: "a".repeat(64), batchesSha256: "", tocPosition: 5, indexBytes: 0 };
          const { index: _, ...same } = facts;
          return { ...same, ...sums, bytes: size, tocCrc32c: 9 };
        },
        print: (line) => void printed.push(line),
      },
      { registry, image, heads },
    );
    await later.run();
    const keys = registry.segments(ours, 0).map(({ base, last }) => [base, last]);
    return { later, registry, keys, retired: [...registry.retiredObjects()].map((o) => o.key) };
  };
  const before = () => registry;
  const fail = (error: Error) => {
    failure = error;
  };
  return { store, before, put, run, printed, fail, journal };
}

test("what goes on where the backup ends is registered, with its own hash", async () => {
  const { put, run, printed, journal } = await lab();
  await put(100, 109);
  await put(110, 149, { facts: { index: "none" } });
  await put(160, 169);
  const { keys, later } = await run();
  expect(keys).toEqual([
    [0, 99],
    [100, 109],
    [110, 149],
  ]);
  expect(later.adopted.get(`${ours}/0`)?.last).toBe(149);
  expect(printed).toHaveLength(2);
  expect(printed[1]).toContain("t-0 offsets 110 to 149");
  const again = await SegmentRegistry.open(journal);
  expect(again.find(ours, 0, 120)).toMatchObject({
    sha256: "a".repeat(64),
    bytes: 10,
    tocPosition: 5,
    tocCrc32c: 9,
    index: "none",
  });
});

test("first archives come before what was made of them, the longest of them first", async () => {
  const { put, run } = await lab();
  await put(100, 199, { facts: { generation: 2 }, suffix: "12345678" });
  await put(100, 109);
  await put(100, 119, { suffix: "12345678" });
  await put(120, 129);
  expect((await run()).keys).toEqual([
    [0, 99],
    [100, 119],
    [120, 129],
  ]);
});

test("damaged, foreign and lying archives are not taken; another that fits is", async () => {
  const { put, run, printed } = await lab();
  await put(100, 149, { damaged: true });
  await put(100, 139, { facts: { topicId: other } });
  await put(100, 129, { facts: { last: 128 } });
  await put(100, 119);
  expect((await run()).keys.at(-1)).toEqual([100, 119]);
  const told = (part: string) => printed.filter((line) => line.includes(part)).length;
  expect([told("bad batch"), told("another topic"), told("are others")]).toEqual([1, 1, 1]);
});

test("a store that fails ends the restore, and damages nothing", async () => {
  const { put, run, fail } = await lab();
  await put(100, 149);
  fail(new StoreError("unavailable", "x", "down"));
  await expect(run()).rejects.toThrow("down");
});

test("leader epochs keep a history from before an earlier restore out", async () => {
  const old = { epochs: [[1, 0]] as const };
  // Known at the backup: the epochs must be the same.
  const inside = await lab();
  await inside.put(100, 149, { facts: old });
  expect((await inside.run()).keys).toEqual([[0, 99]]);
  expect(inside.printed[0]).toContain("it has leader epoch 1, and the backup 3");
  // Written behind it: not below the epoch of the broker that wrote on.
  const behind = await lab({ highWatermark: 100, epochs: [[1, 0]] });
  await behind.put(100, 149, { facts: old });
  expect((await behind.run()).keys).toEqual([[0, 99]]);
  // Nor below that of the archive before.
  const chained = await lab();
  await chained.put(100, 149, { facts: { epochs: [...old.epochs, [3, 90], [4, 120]] } });
  await chained.put(150, 159);
  expect((await chained.run()).keys.at(-1)).toEqual([100, 149]);
});

test("below the log start nothing comes back, and a hole there is none", async () => {
  const { put, run } = await lab({ logStart: 130, highWatermark: 150 });
  await put(100, 109);
  await put(125, 139);
  await put(140, 149);
  expect((await run()).keys).toEqual([
    [0, 99],
    [125, 139],
    [140, 149],
  ]);
});

/** Objects that the backed up registry calls retired, or about to be put. */
test("no object goes that was put, or put again, after the backup", async () => {
  const { before, put, run } = await lab();
  const intended = async (key: string, over: Partial<SegmentEntry>) =>
    before().intend(segmentEntry(over.base ?? 0, over.last ?? 0, { topicId: ours, ...over, key }));
  // A first archive under a suffixed key whose registration came too late for the backup.
  const first = await put(100, 149, { suffix: "11111111" });
  await intended(first, { base: 100, last: 149 });
  // One that nothing leads to.
  const far = await put(200, 249, { suffix: "22222222" });
  await intended(far, { base: 200, last: 249 });
  // A rewrite of what the backup has.
  const rewrite = await put(0, 99, { facts: { generation: 2 }, suffix: "33333333" });
  await intended(rewrite, { base: 0, last: 99, generation: 2 });
  // The key of a deleted namesake, used again by the topic of today.
  const reused = segmentEntry(150, 159, { topicId: other });
  await put(150, 159);
  await before().add(segmentEntry(150, 159, { topicId: other }), 0);
  await before().retireTopic(other);
  const { keys, retired } = await run();
  expect(keys).toEqual([
    [0, 99],
    [100, 149],
    [150, 159],
  ]);
  expect(retired).toEqual([rewrite]);
  expect(retired).not.toContain(far);
  expect(retired).not.toContain(reused.key);
});

test("what was begun at the backup is adopted, or stays without a name", async () => {
  const { store, before, put, run } = await lab();
  const begun = async (base: number, last: number) => {
    const key = await put(base, last, { modifiedMs: -86_400_000 });
    await before().begin(segmentEntry(base, last, { topicId: ours, key }));
    return key;
  };
  await begun(100, 149);
  const far = await begun(300, 349);
  const { registry, keys, retired } = await run();
  expect(keys).toEqual([
    [0, 99],
    [100, 149],
  ]);
  expect([retired, registry.begunArchives()]).toEqual([[], []]);
  expect(store.objects.has(far)).toBe(true);
});

test("nor where the listing is stale: what the backup names is asked for", async () => {
  const { store, before, put, run } = await lab();
  const endStale = staleLists(store);
  const key = await put(100, 149, { suffix: "11111111" });
  await before().intend(segmentEntry(100, 149, { topicId: ours, key }));
  const gone = await put(150, 199, { suffix: "22222222" });
  await before().intend(segmentEntry(150, 199, { topicId: ours, key: gone }));
  store.objects.delete(gone);
  const { keys, retired } = await run();
  endStale();
  expect(keys).toEqual([
    [0, 99],
    [100, 149],
  ]);
  expect(retired).toEqual([gone]);
});

test("what was retired before the backup, and is still that, goes", async () => {
  const { before, put, run } = await lab();
  const day = 86_400_000;
  const namesake = { topicId: other };
  const seen = await put(100, 109, { facts: namesake, modifiedMs: day });
  const unread = await put(300, 309, { facts: { topicId: ours }, modifiedMs: -day });
  for (const [base, last] of [
    [100, 109],
    [300, 309],
  ] as const) {
    await before().add(segmentEntry(base, last, namesake), base);
  }
  await before().retireTopic(other);
  const { keys, retired } = await run();
  expect(keys).toEqual([[0, 99]]);
  expect(retired.sort()).toEqual([seen, unread].sort());
});

test.skipIf(!isCi && !brokerExists)(
  "a disk lost between archiving and the next backup loses nothing that is archived",
  async () => {
    await using backed = await startBackedBroker();
    const { broker, objects } = backed;
    const kafka = await Kafka.connect(broker.kafkaPort);
    for (const topic of ["grows", "doomed"]) await kafka.createTopic(topic);
    await kafka.append("grows", 0, ["a", "b"]);
    await kafka.append("doomed", 0, ["x"]);
    await untilAllArchived(broker);
    await kafka.append("doomed", 0, ["y"]);
    await untilAllArchived(broker);
    await kafka.deleteTopic("doomed");
    await untilBackedUp(broker);
    // What is in the store from here on is none of the backup.
    const meta = join(objects, "=meta");
    const then = join(objects, "../then");
    cpSync(meta, then, { recursive: true });
    await kafka.append("grows", 0, ["c"]);
    await untilAllArchived(broker);
    await kafka.commit("group", "grows", 4);
    await kafka.append("grows", 0, ["d", "e"]);
    await untilAllArchived(broker);
    const keys = (await registrySegments(broker)).map(({ key }) => key);
    expect(keys).toHaveLength(3);
    kafka.close();
    await backed.loseDisk();
    rmSync(meta, { recursive: true });
    cpSync(then, meta, { recursive: true });
    const { code, out, err } = await backed.restore();
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("archived after the backup, and there: grows-0 offsets 2 to 2");
    expect(out).toContain("archived after the backup, and there: grows-0 offsets 3 to 4");
    expect(out).not.toContain("left alone");
    await broker.restart();
    const again = await Kafka.connect(broker.kafkaPort);
    expect((await registrySegments(broker)).map(({ key }) => key)).toEqual(keys);
    expect(await again.values("grows", 0)).toEqual(["a", "b", "c", "d", "e"]);
    expect(await again.append("grows", 0, ["f"])).toBe(5);
    await untilAllArchived(broker);
    await untilBackedUp(broker);
    expect(await again.values("grows", 0)).toEqual(["a", "b", "c", "d", "e", "f"]);
    again.close();
    expect(readdirSync(join(objects, "grows/partition-0"))).toHaveLength(4);
  },
  120_000,
);
