import { expect, test } from "bun:test";
import { encodeFrame, framesIn } from "../../src/backup/format.ts";
import { checkTopics, imageFrom, restoredSnapshot } from "../../src/backup/restored-image.ts";
import { RestoredLog } from "../../src/backup/restored-log.ts";
import { restoredCheckpoint, restoredRange } from "../../src/backup/restored-partition.ts";
import type { BrokerError } from "../../src/lib/errors.ts";
import { decodeCheckpoint } from "../../src/log/checkpoint.ts";
import type { TopicImage } from "../../src/metadata/image.ts";
import { encodeCommands } from "../../src/metadata/journal-entry.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { NativeJournal } from "../../src/native/journal.ts";
import { NativeWal } from "../../src/native/wal.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { buildBatch } from "../../src/protocol/records.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { topicA } from "../support/log-lab.ts";
import { hasLibrary, openEngine, tempDir } from "../support/native.ts";
import { openNative } from "../support/native-log.ts";

const encoder = new TextEncoder();

function batch(base: number, keys: readonly string[]): Uint8Array {
  const fields = { timestamp: 1, value: null, headers: [] };
  return buildBatch(
    keys.map((key, offsetDelta) => ({ ...fields, offsetDelta, key: encoder.encode(key) })),
    { baseOffset: base, partitionLeaderEpoch: 3 },
    crc32c,
  );
}

const head = (from: number, to: number, reset: boolean) => ({
  topicId: topicA.id,
  partition: 0,
  from,
  to,
  reset,
});

test.skipIf(!hasLibrary)(
  "a log with holes keeps its offsets, and opens without damage",
  async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const [wal, files] = [new NativeWal(engine), new NativeFiles(engine)];
    const place = { wal, files, topicId: topicA.id, partition: 0, dir: `${dir.path}/wal/a/0` };
    await files.makeDir(`${dir.path}/wal/a`);
    await files.writeFile(`${dir.path}/wal/a/topic-id`, encoder.encode(`${topicA.id}\n`));
    const log = await RestoredLog.open(place);
    await log.add(head(0, 1, true), batch(0, ["superseded"]), "part");
    // The log start lies within the first batch; compaction left holes.
    const first = Buffer.concat([batch(10, ["a", "b", "c"]), batch(20, ["d"])]);
    await log.add(head(11, 25, true), first, "part");
    await log.add(head(25, 26, false), batch(25, ["e"]), "part");
    await log.appendRecords([{ key: encoder.encode("cut"), value: null, timestamp: 1 }]);
    const keys: string[] = [];
    await log.replay({
      record: (key) => void keys.push(Buffer.from(key).toString()),
      marker: () => undefined,
    });
    expect(keys).toEqual(["a", "b", "c", "d", "e", "cut"]);
    await log.close();
    await engine.close();

    const opened = await openNative(dir.path, new FakeClock(), { internal: true });
    const { partition } = opened;
    expect(partition.damage).toBeNull();
    expect([partition.logStartOffset, partition.highWatermark]).toEqual([11, 27]);
    expect(partition.leaderEpochs()[0]).toEqual([3, 10]);
    const read = await partition.read({ offset: 20, bytesMax: 1 << 20, offsetLimit: 27 });
    expect(read.nextOffset).toBe(27);
    await opened.close();
  },
);

test.skipIf(!hasLibrary)("a log with a part missing, or a damaged batch, is refused", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const [wal, files] = [new NativeWal(engine), new NativeFiles(engine)];
  const place = { wal, files, topicId: topicA.id, partition: 0, dir: `${dir.path}/wal/a/0` };
  const log = await RestoredLog.open(place);
  const refused = async (from: number, to: number, reset: boolean, data: Uint8Array) => {
    const error: unknown = await log
      .add(head(from, to, reset), data, "meta/x/parts/y")
      .catch((thrown: unknown) => thrown);
    expect((error as BrokerError).code).toBe("CHRONIK_BACKUP_DAMAGED");
    expect((error as BrokerError).message).toContain("meta/x/parts/y");
  };
  await refused(5, 6, false, batch(5, ["no beginning"]));
  await log.add(head(0, 2, true), batch(0, ["a", "b"]), "part");
  await refused(3, 4, false, batch(3, ["behind a hole"]));
  await refused(1, 3, false, batch(1, ["over the end", "x"]));
  const flipped = batch(2, ["flipped"]);
  flipped[70] = (flipped[70] ?? 0) ^ 1;
  await refused(2, 3, false, flipped);
  await refused(2, 3, false, batch(2, ["cut short"]).subarray(0, 70));
  await log.close();
  await engine.close();
});

test.skipIf(!hasLibrary)("a journal's copy is what its replay hands over", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, `${dir.path}/journal`);
  const copied = async (from: number | null) => {
    const entries: string[] = [];
    await journal.copy(from, journal.durableEnd, async (entry) => {
      entries.push(Buffer.from(entry).toString());
    });
    return entries;
  };
  for (const text of ["a", "b", "c"]) await journal.append(encoder.encode(text));
  expect(await copied(null)).toEqual(["a", "b", "c"]);
  expect(await copied(1)).toEqual(["b", "c"]);
  const end = journal.durableEnd;
  await journal.compactParts([encoder.encode("ab"), encoder.encode("c")]);
  await journal.append(encoder.encode("d"));
  expect(await copied(null)).toEqual(["ab", "c", "d"]);
  // What a snapshot says again is no increment.
  expect(await copied(end)).toEqual(["d"]);
  expect(journal.liveStart).toBe(end);
  await journal.close();
  await engine.close();
});

test("a partition ends where its archives do, and knows the producers that end there", () => {
  const marks = { topicId: topicA.id, partition: 0, epochs: [] };
  const at = (logStart: number, highWatermark: number) => ({ ...marks, logStart, highWatermark });
  expect(restoredRange(at(5, 50), { start: 0, end: 40 })).toEqual({
    logStart: 5,
    logEnd: 40,
    archivedTo: 40,
    lostTo: 50,
  });
  expect(restoredRange(at(45, 50), { start: 0, end: 40 })).toMatchObject({ logEnd: 45 });
  expect(restoredRange(at(0, 50), null)).toMatchObject({ logEnd: 0, lostTo: 50, archivedTo: 0 });
  expect(restoredRange(undefined, { start: 7, end: 9 })).toMatchObject({ logStart: 7, lostTo: 9 });
  const producer = (producerId: number, lastOffset: number) => ({
    producerId,
    producerEpoch: 0,
    coordinatorEpoch: -1,
    transactionStart: 38,
    timestamp: 1,
    batches: [{ firstSequence: 0, lastSequence: 0, firstOffset: 1, lastOffset, timestamp: 1 }],
  });
  const range = restoredRange(at(5, 50), { start: 0, end: 40 });
  const epochs = [
    [0, 0],
    [1, 39],
    [2, 40],
  ] as const;
  const bytes = restoredCheckpoint(marks, range, epochs, [producer(1, 39), producer(2, 40)]);
  const checkpoint = decodeCheckpoint(bytes, "checkpoint");
  expect(checkpoint.epochs).toEqual([
    [0, 0],
    [1, 39],
  ]);
  expect(checkpoint.producers.map((one) => [one.producerId, one.transactionStart])).toEqual([
    [1, -1],
  ]);
});

test("leader epochs and producer ids begin far above what was backed up", () => {
  const placed = { index: 0, leader: 1, leaderEpoch: 4, replicas: [1], isr: [1] };
  const image = imageFrom([
    encodeCommands([{ type: "cluster", clusterId: "c" }]),
    encodeCommands([
      {
        type: "topic",
        name: "t",
        id: topicA.id,
        internal: false,
        partitions: [placed],
        configs: [["retention.ms", "5"]],
      },
      { type: "producer-ids", next: 3_000 },
    ]),
  ]);
  const snapshot = restoredSnapshot(image);
  expect(snapshot.producerIdNext).toBe(3_000 + 2 ** 40);
  expect(snapshot.topics[0]?.partitions[0]?.leaderEpoch).toBe(1_000_004);
  expect(snapshot.topics[0]).toMatchObject({ id: topicA.id, configs: [["retention.ms", "5"]] });
  checkTopics(image);
  for (const bad of [{ name: "../up" }, { id: "x" }, { partitions: [{ ...placed, index: 1 }] }]) {
    const topic = { ...image.topicsById.get(topicA.id), ...bad } as TopicImage;
    const hostile = { ...image, topicsById: new Map([["any", topic]]) };
    expect(() => checkTopics(hostile)).toThrow("cannot be");
  }
  const worn = { ...image, producerIdNext: 2 ** 53 - 2 };
  expect(() => restoredSnapshot(worn)).toThrow("used up");
});

test("frames that lie about their sizes are refused", () => {
  const frame = encodeFrame({ a: 1 }, new Uint8Array(3));
  expect([...framesIn(frame, "k")]).toEqual([{ head: { a: 1 }, data: new Uint8Array(3) }]);
  for (let cut = 1; cut < frame.length; cut++) {
    expect(() => [...framesIn(frame.subarray(0, cut), "k")]).toThrow("k cannot be used");
  }
  const lying = frame.slice();
  lying.set([255, 255, 255, 255], 0);
  expect(() => [...framesIn(lying, "k")]).toThrow("cut short");
});
