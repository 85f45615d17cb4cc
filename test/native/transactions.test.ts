import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { archiveEngine } from "../../src/broker-archives.ts";
import { storeFiles } from "../../src/broker-storage.ts";
import { systemClock } from "../../src/lib/clock.ts";
import type { Partition } from "../../src/log/partition.ts";
import { NativeArchives } from "../../src/native/archives.ts";
import type { NativeEngine } from "../../src/native/engine.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, isControl, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { LocalStore } from "../../src/store/local-store.ts";
import { Archiver } from "../../src/tier/archiver.ts";
import { ArchiveReader } from "../../src/tier/read/cold-reader.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { coldChunks } from "../support/cold-chunks.ts";
import { batch } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { hasLibrary, tempDir } from "../support/native.ts";
import { openNative } from "../support/native-log.ts";
import { silentLogger } from "../support/silent-logger.ts";

const client = { origin: "client" } as const;

function write(partition: Partition, producerId: number, baseSequence: number, values: string[]) {
  const options = { producerId, producerEpoch: 0, baseSequence, isTransactional: true };
  return partition.append(batch({ values, ...options }), client);
}

function end(partition: Partition, producerId: number, commit: boolean, coordinatorEpoch = 3) {
  const version = { producerEpoch: 0, transactionVersion: 1 };
  return partition.appendMarker({ producerId, commit, coordinatorEpoch, ...version });
}

/** 0,1: aborted · 2: open · 3: plain · 4: marker of the abort · 5: committed · 6: its marker. */
async function history(partition: Partition): Promise<void> {
  await write(partition, 1, 0, ["a", "b"]);
  await write(partition, 2, 0, ["open"]);
  await partition.append(batch({ values: ["plain"] }), client);
  await end(partition, 1, false);
  await write(partition, 1, 2, ["c"]);
  await end(partition, 1, true, 4);
}

async function expectHistory(partition: Partition): Promise<void> {
  expect(partition.damage).toBeNull();
  expect([partition.highWatermark, partition.lastStableOffset]).toEqual([7, 2]);
  expect(partition.hasOpenTransaction(2, 0)).toBe(true);
  expect(partition.hasOpenTransaction(1, 0)).toBe(false);
  expect(await partition.abortedTransactions(0, 7)).toEqual([{ producerId: 1, firstOffset: 0 }]);
  const { errorCode } = await end(partition, 2, false, 3);
  expect(errorCode).toBe(ErrorCode.NONE);
  // The last marker of the first producer was a newer coordinator's.
  expect((await end(partition, 1, false, 3)).errorCode).toBe(
    ErrorCode.TRANSACTION_COORDINATOR_FENCED,
  );
  expect(partition.lastStableOffset).toBe(8);
}

describe.skipIf(!hasLibrary)("transactions over the real engine", () => {
  for (const checkpointed of ["none", "half", "all"] as const) {
    test(`a crash with a checkpoint of ${checkpointed} of it loses nothing`, async () => {
      using dir = tempDir();
      const first = await openNative(dir.path, systemClock);
      if (checkpointed === "half") {
        await write(first.partition, 1, 0, ["a", "b"]);
        await write(first.partition, 2, 0, ["open"]);
        await first.partition.checkpoint();
        await first.partition.append(batch({ values: ["plain"] }), client);
        await end(first.partition, 1, false);
        await write(first.partition, 1, 2, ["c"]);
        await end(first.partition, 1, true, 4);
      } else {
        await history(first.partition);
        if (checkpointed === "all") await first.partition.checkpoint();
      }
      await first.engine.close();
      const second = await openNative(dir.path, systemClock, { leaderEpoch: 1 });
      await expectHistory(second.partition);
      await second.close();
    });
  }

  test("a clean stop and a start in between change nothing", async () => {
    using dir = tempDir();
    const first = await openNative(dir.path, systemClock);
    await history(first.partition);
    await first.close();
    const second = await openNative(dir.path, systemClock, { leaderEpoch: 1 });
    await expectHistory(second.partition);
    await second.close();
  });

  test("archives know what was aborted, and do not index it", async () => {
    using dir = tempDir();
    const registry = await SegmentRegistry.open(new MemoryJournal());
    const scratchDir = join(dir.path, "tmp");
    const tools = (engine: NativeEngine) => {
      const files = new NativeFiles(engine);
      const archives = archiveEngine(new NativeArchives(engine), systemClock, scratchDir);
      const store = new LocalStore({
        root: join(dir.path, "store"),
        prefix: "tantivy_indexes/",
        scratchDir,
        files: storeFiles(files),
      });
      const limits = { chunkCacheBytesMax: 1 << 20, tocCacheBytesMax: 1 << 20 };
      const reader = new ArchiveReader(registry, coldChunks(store, archives, { limits }), archives);
      return { files, archives, store, reader };
    };
    const log = await openNative(dir.path, systemClock, {
      cold: (engine) => tools(engine).reader,
      limits: { tailCacheBytesMax: 0 },
    });
    const { partition } = log;
    await history(partition);
    await partition.seal();
    expect(partition.archivableEnd).toBe(2);
    await end(partition, 2, true);
    await partition.seal();
    const { files, archives, store } = tools(log.engine);
    await files.makeDir(scratchDir);
    const archiver = new Archiver({
      engine: archives,
      store,
      registry,
      logger: silentLogger(),
      nowMs: () => systemClock.nowMs(),
      scratchDir,
      removeFile: (path) => files.removeFile(path).catch(() => undefined),
      deleteAfterIndex: true,
      faultPoint: () => Promise.resolve(),
    });
    const outcome = await archiver.archive({ partition, segments: partition.segments() }, "full");
    // plain, c and open; neither what was aborted nor the three markers.
    expect([outcome.records, outcome.documents]).toEqual([8, 3]);
    expect(partition.segments()).toEqual([]);
    // Memory holds none of it any more.
    expect(await partition.abortedBetween(0, 8)).toEqual([]);
    const read = await partition.read({
      offset: 0,
      bytesMax: 1 << 20,
      offsetLimit: partition.lastStableOffset,
      withAborted: true,
    });
    expect(read.errorCode).toBe(ErrorCode.NONE);
    expect(read.aborted).toEqual([{ producerId: 1, firstOffset: 0 }]);
    const bases = read.chunks.flatMap((chunk) => [...batchesIn(chunk)].map((b) => b.header));
    expect(bases.map((header) => header.baseOffset)).toEqual([0, 2, 3, 4, 5, 6, 7]);
    expect(await partition.abortedTransactions(5, 8)).toEqual([]);
    // An archive that is gone fails the reads that need it, and says so.
    await files.removeFile(
      join(dir.path, registry.all()[0]!.key.replace("tantivy_indexes", "store")),
    );
    const other = tools(log.engine).reader;
    expect(other.abortedTransactions(partition.topicId, 0, 0, 8)).rejects.toThrow("archive");
    await log.close();
  });

  test("a cleaned log keeps what was committed and forgets what was aborted", async () => {
    using dir = tempDir();
    const options = { config: { segmentBytesMax: 1 << 20, compact: true }, internal: true };
    const first = await openNative(dir.path, systemClock, options);
    const { partition } = first;
    const coordinator = { origin: "coordinator" } as const;
    const put = (producerId: number, key: string, value: string) =>
      partition.append(
        batch({
          keys: [key],
          values: [`${value} ${"x".repeat(20_000)}`],
          producerId,
          producerEpoch: 0,
          isTransactional: true,
        }),
        coordinator,
      );
    for (let n = 0; n < 150; n++) {
      await put(7, `key-${n % 5}`, `${n}`);
      await end(partition, 7, n % 3 !== 2);
    }
    expect((await partition.abortedTransactions(0, 400)).length).toBe(50);
    await put(8, "open", "open");
    for (let n = 0; n < 80; n++) await put(9, "later", `${n}`);
    await end(partition, 9, true);
    const report = await partition.cleanIfDirty(86_400_000);
    expect(report!.segments).toBeGreaterThan(0);
    await first.close();
    const second = await openNative(dir.path, systemClock, { ...options, leaderEpoch: 1 });
    expect(second.partition.damage).toBeNull();
    expect(second.partition.lastStableOffset).toBe(300);
    expect((await second.partition.abortedTransactions(0, 200)).length).toBe(0);
    const values = await firstWords(second.partition);
    expect(values.filter(([key]) => key === "open")).toEqual([["open", "open"]]);
    for (let key = 0; key < 5; key++) {
      const found = values.filter(([name]) => name === `key-${key}`).map(([, value]) => +value);
      // The newest segment below the open transaction is left as it is.
      expect(Math.min(...found)).toBeGreaterThan(60);
      expect(found).toContain(Math.max(...committedOf(key)));
    }
    await second.close();
  });

  test("aborts in plenty are cleaned away before no transaction could begin", async () => {
    using dir = tempDir();
    const options = { config: { compact: true }, limits: { abortedMax: 20 }, internal: true };
    const log = await openNative(dir.path, systemClock, options);
    const { partition } = log;
    for (let n = 0; n < 100; n++) {
      const spec = { keys: ["k"], values: [`${n}`], producerId: 7, producerEpoch: 0 };
      const put = batch({ ...spec, isTransactional: true });
      const { errorCode } = await partition.append(put, { origin: "coordinator" });
      expect(errorCode).toBe(ErrorCode.NONE);
      await end(partition, 7, n === 0);
      await partition.cleanIfDirty(86_400_000);
      expect(partition.rememberedAborts).toBeLessThan(20);
    }
    expect((await firstWords(partition))[0]).toEqual(["k", "0"]);
    // It is not cleaned for a few of them.
    expect(partition.segments().length).toBeLessThan(15);
    await log.close();
  });
});

function committedOf(key: number): number[] {
  return Array.from({ length: 150 }, (_, n) => n).filter((n) => n % 5 === key && n % 3 !== 2);
}

async function firstWords(partition: Partition): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for (let offset = 0; offset < partition.highWatermark; ) {
    const offsetLimit = partition.highWatermark;
    const read = await partition.read({ offset, bytesMax: 1 << 20, offsetLimit });
    offset = read.nextOffset;
    for (const chunk of read.chunks) {
      for (const { position, header } of batchesIn(chunk)) {
        if (isControl(header.attributes)) continue;
        for (const { key, value } of parseRecords(
          recordsPayload(chunk, position, header),
          header,
        )) {
          const [word = ""] = Buffer.from(value!).toString().split(" ");
          found.push([Buffer.from(key!).toString(), word]);
        }
      }
    }
  }
  return found;
}
