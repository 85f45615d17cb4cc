/** What compaction makes of batches, markers and manifests, one case at a time. */
import { describe, expect, test } from "bun:test";
import {
  type BatchHeader,
  batchesIn,
  hasDeleteHorizon,
  isControl,
} from "../../src/protocol/record-batch.ts";
import { CompactionLab } from "../support/compaction-lab.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { batch } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { hasLibrary, tempDir } from "../support/native.ts";

const client = { origin: "client" } as const;
const retentionMs = 1_000;

async function open(dir: string, archiveBytesMax = 1) {
  const clock = new FakeClock();
  const lab = await CompactionLab.open({
    dir,
    clock,
    journal: new MemoryJournal(),
    settings: {
      dirtyRatioMin: 0,
      lagMsMin: 0,
      lagMsMax: Number.MAX_SAFE_INTEGER,
      deleteRetentionMs: retentionMs,
    },
    keysMax: null,
    archiveBytesMax,
  });
  const put = async (key: string, value: string | null, producerId = -1, baseSequence = -1) => {
    const producer =
      producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence, isTransactional: true };
    const timestamps = [clock.nowMs()];
    const bytes = batch({ keys: [key], values: [value], timestamps, ...producer });
    expect((await lab.partition.append(bytes, client)).errorCode).toBe(0);
  };
  const end = async (producerId: number, commit: boolean) => {
    const version = { producerEpoch: 0, transactionVersion: 1, coordinatorEpoch: 0 };
    const marker = { producerId, commit, ...version };
    expect((await lab.partition.appendMarker(marker)).errorCode).toBe(0);
  };
  return { lab, clock, put, end };
}

async function headers(lab: CompactionLab): Promise<BatchHeader[]> {
  const found: BatchHeader[] = [];
  const end = lab.partition.highWatermark;
  for (let offset = 0; offset < end; ) {
    const read = await lab.partition.read({ offset, bytesMax: 1 << 20, offsetLimit: end });
    expect(read.errorCode).toBe(0);
    for (const chunk of read.chunks) for (const { header } of batchesIn(chunk)) found.push(header);
    expect(read.nextOffset).toBeGreaterThan(offset);
    offset = read.nextOffset;
  }
  return found;
}

describe.skipIf(!hasLibrary)("compacted batches", () => {
  test("an archive of which nothing is left keeps its last batch, empty", async () => {
    using dir = tempDir();
    const { lab, put } = await open(dir.path);
    await put("k", "1");
    await put("k", "2");
    await lab.archive();
    await put("k", "3");
    await lab.archive();
    expect((await lab.run()).length).toBe(1);
    expect(lab.entries.map(({ base, last, records }) => [base, last, records])).toEqual([
      [0, 1, 0],
      [2, 2, 1],
    ]);
    expect(lab.entries.map(({ cleanedTo }) => cleanedTo)).toEqual([undefined, 3]);
    const left = (await headers(lab)).map((header) => [header.baseOffset, header.recordsCount]);
    expect(left).toEqual([
      [1, 0],
      [2, 1],
    ]);
    // Nothing is dirty now.
    expect(await lab.run()).toEqual([]);
    await lab.close();
  });

  test("an archive of which nothing is left is not read by the rounds that follow", async () => {
    using dir = tempDir();
    const { lab, clock, put, end } = await open(dir.path);
    await put("k", "1");
    await lab.archive();
    await put("k", "aborted", 1, 0);
    await end(1, false);
    await lab.archive();
    const read: number[][] = [];
    for (let n = 0; n < 7; n++) {
      clock.advance(retentionMs + 1);
      await put("k", `${n}`);
      await lab.archive();
      lab.read.length = 0;
      expect((await lab.run()).length).toBe(1);
      read.push([...lab.read]);
    }
    // The abort's range goes a round after its record; its marker is dated, and goes at last.
    expect(read).toEqual([
      [0, 2, 3],
      [2, 3, 4],
      [2, 4, 5],
      [2, 5, 6],
      [6, 7],
      [7, 8],
      [8, 9],
    ]);
    expect(lab.entries.map(({ records }) => records)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect((await headers(lab)).map(({ baseOffset }) => baseOffset).at(-1)).toBe(9);
    await lab.close();
  });

  test("a tombstone is dated by the first cleaning that finds it last, and goes then", async () => {
    using dir = tempDir();
    const { lab, clock, put } = await open(dir.path, 1 << 20);
    await put("k", "1");
    await put("k", null);
    await put("other", "1");
    await lab.archive();
    await lab.run();
    const foundMs = clock.nowMs();
    const [tombstone] = await headers(lab);
    expect(tombstone?.baseOffset).toBe(1);
    expect(hasDeleteHorizon(tombstone?.attributes ?? 0)).toBe(true);
    expect(Number(tombstone?.baseTimestamp)).toBe(foundMs + retentionMs);
    for (const [waitMs, offsets] of [
      [retentionMs - 1, [1, 2, 3]],
      [1, [2, 4]],
    ] as const) {
      clock.advance(waitMs);
      await put("dirty", "x");
      await lab.archive();
      await lab.run();
      const left = (await headers(lab)).filter(({ recordsCount }) => recordsCount > 0);
      expect(left.map(({ baseOffset }) => baseOffset)).toEqual([...offsets]);
    }
    await lab.close();
  });

  test("aborted records go at once, their range a round later, the marker at last", async () => {
    using dir = tempDir();
    const { lab, clock, put, end } = await open(dir.path, 1 << 20);
    await put("kept", "1");
    await put("k", "aborted", 1, 0);
    await end(1, false);
    await put("last", "1");
    await lab.archive();
    expect(lab.entries[0]?.aborted).toBe(1);
    const markers = async () => (await headers(lab)).filter((one) => isControl(one.attributes));
    const round = async () => {
      await put("last", "again");
      await lab.archive();
      await lab.run();
      const [first] = lab.entries;
      return [first?.aborted, (await markers()).length];
    };
    expect(await round()).toEqual([1, 1]);
    const left = (await headers(lab)).map(({ baseOffset }) => baseOffset);
    expect(left).not.toContain(1);
    expect(await round()).toEqual([0, 1]);
    expect(await round()).toEqual([0, 1]);
    expect(hasDeleteHorizon((await markers())[0]?.attributes ?? 0)).toBe(true);
    clock.advance(retentionMs);
    expect(await round()).toEqual([0, 0]);
    await lab.close();
  });

  test("a commit's marker stays as long as a record of it, also in another archive", async () => {
    using dir = tempDir();
    const { lab, clock, put, end } = await open(dir.path);
    await put("k", "1", 1, 0);
    await lab.partition.seal();
    await end(1, true);
    await lab.archive();
    expect(lab.entries.map(({ base }) => base)).toEqual([0, 1]);
    const round = async (key: string) => {
      await put(key, "again");
      await lab.archive();
      await lab.run();
      clock.advance(retentionMs);
      return (await headers(lab)).filter(
        (one) => isControl(one.attributes) && one.recordsCount > 0,
      );
    };
    for (let times = 0; times < 4; times++) expect((await round("other")).length).toBe(1);
    // The round that takes the record, one that finds the marker idle, and one that takes it.
    const after = [await round("k"), await round("other"), await round("other")];
    expect(after.map((markers) => markers.length)).toEqual([1, 1, 0]);
    await lab.close();
  });

  test("no archive names an abort whose marker is gone from another one", async () => {
    using dir = tempDir();
    const { lab, clock, put, end } = await open(dir.path);
    await put("k", "aborted", 1, 0);
    await put("kept", "1");
    await lab.partition.seal();
    await end(1, false);
    await put("other", "1");
    await lab.archive();
    expect(lab.entries.map(({ base }) => base)).toEqual([0, 2]);
    const marker = async () =>
      (await headers(lab)).filter((one) => isControl(one.attributes) && one.recordsCount > 0);
    for (let round = 0; round < 4; round++) {
      await put("other", "again");
      await lab.archive();
      expect((await lab.run()).length).toBe(1);
      clock.advance(retentionMs);
    }
    expect(await marker()).toEqual([]);
    // A client that is told of the abort would leave this out: no marker ends it any more.
    await put("later", "committed", 1, 1);
    await end(1, true);
    const { highWatermark } = lab.partition;
    const all = { offset: 0, bytesMax: 1 << 20, offsetLimit: highWatermark, withAborted: true };
    const read = await lab.partition.read(all);
    expect(read.nextOffset).toBe(highWatermark);
    expect(read.aborted).toEqual([]);
    await lab.close();
  });
});
