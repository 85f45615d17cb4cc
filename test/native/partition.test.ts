import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../src/lib/clock.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, lastOffset } from "../../src/protocol/record-batch.ts";
import { batch, idempotent } from "../support/log-lab.ts";
import { hasLibrary, tempDir } from "../support/native.ts";
import { openNative } from "../support/native-log.ts";

const client = { origin: "client" } as const;
const child = join(import.meta.dir, "append-forever.fixture.ts");

async function headersFrom(
  partition: Awaited<ReturnType<typeof openNative>>["partition"],
  bytesMax = 1 << 20,
) {
  const headers = [];
  let offset = partition.logStartOffset;
  while (offset < partition.highWatermark) {
    const offsetLimit = partition.highWatermark;
    const read = await partition.read({ offset, bytesMax, offsetLimit });
    expect(read.errorCode).toBe(ErrorCode.NONE);
    for (const chunk of read.chunks) {
      for (const { header } of batchesIn(chunk)) {
        headers.push(header);
        offset = lastOffset(header) + 1;
      }
    }
  }
  return headers;
}

describe.skipIf(!hasLibrary)("a partition over the real engine", () => {
  test("append, read, clean stop, and everything goes on", async () => {
    using dir = tempDir();
    const first = await openNative(dir.path, systemClock, { leaderEpoch: 1 });
    const sent = Array.from({ length: 200 }, (_, n) => idempotent(9, 0, n));
    const answers = await Promise.all(sent.map((bytes) => first.partition.append(bytes, client)));
    expect(answers.map((answer) => answer.baseOffset)).toEqual(sent.map((_, n) => n));
    await first.close();
    const second = await openNative(dir.path, systemClock, { leaderEpoch: 2 });
    const { partition } = second;
    expect(partition.damage).toBeNull();
    expect(partition.highWatermark).toBe(200);
    expect(partition.leaderEpochs()).toEqual([
      [1, 0],
      [2, 200],
    ]);
    const headers = await headersFrom(partition, 700);
    expect(headers.map((header) => header.baseOffset)).toEqual(sent.map((_, n) => n));
    const retry = await partition.append(idempotent(9, 0, 198), client);
    expect([retry.errorCode, retry.baseOffset]).toEqual([0, 198]);
    expect((await partition.append(idempotent(9, 0, 200), client)).baseOffset).toBe(200);
    await second.close();
  });

  test("sealed, archived, released, restarted: offsets, epochs and dedupe go on", async () => {
    using dir = tempDir();
    const first = await openNative(dir.path, systemClock, { leaderEpoch: 3 });
    for (let n = 0; n < 6; n++) await first.partition.append(idempotent(9, 0, n), client);
    await first.partition.seal();
    await first.partition.checkpoint(6);
    const ids = first.partition.segments().map((segment) => segment.id);
    expect(await first.partition.releaseSegments(ids)).toBeGreaterThan(0);
    await first.close();
    const cold = {
      archivedRange: () => ({ start: 0, end: 6 }),
      read: (_id: string, _index: number, offset: number) =>
        Promise.resolve({ chunks: [], nextOffset: offset }),
      findTime: () => Promise.resolve(null),
      abortedTransactions: () => Promise.resolve([]),
    };
    const second = await openNative(dir.path, systemClock, { cold, leaderEpoch: 4 });
    const { partition } = second;
    expect(partition.damage).toBeNull();
    expect([partition.logStartOffset, partition.logEndOffset]).toEqual([0, 6]);
    expect(partition.leaderEpochs()).toEqual([
      [3, 0],
      [4, 6],
    ]);
    expect((await partition.append(idempotent(9, 0, 5), client)).baseOffset).toBe(5);
    expect((await partition.append(idempotent(9, 0, 6), client)).baseOffset).toBe(6);
    expect(partition.segments()[0]!.id).toBeGreaterThan(ids.at(-1)!);
    await second.close();
  });

  test("rotation by size seals, checkpoints and reads across segments", async () => {
    using dir = tempDir();
    const log = await openNative(dir.path, systemClock, {
      config: { segmentBytesMax: 1 << 20 },
      limits: { tailCacheBytesMax: 0 },
    });
    const bytes = batch({ values: ["x".repeat(100_000)] });
    for (let n = 0; n < 40; n++) await log.partition.append(bytes, client);
    expect(log.partition.segments().length).toBeGreaterThan(2);
    const headers = await headersFrom(log.partition, 250_000);
    expect(headers.length).toBe(40);
    await log.close();
  });

  test("a compacted log keeps the last record of each key, its offsets, and goes on", async () => {
    using dir = tempDir();
    const options = { config: { segmentBytesMax: 1 << 20, compact: true } };
    const first = await openNative(dir.path, systemClock, options);
    const write = (log: typeof first, n: number) =>
      log.partition.append(
        batch({ keys: [`key-${n % 10}`], values: [`${n} ${"x".repeat(20_000)}`] }),
        { origin: "coordinator" },
      );
    for (let n = 0; n < 200; n++) await write(first, n);
    const before = first.partition.bytes;
    const reports = [];
    for (let n = 0; n < 3; n++) reports.push(await first.partition.cleanIfDirty(86_400_000));
    expect(reports[0]!.segments).toBeGreaterThan(0);
    // Nothing new to clean: nothing is done again and again.
    expect(reports[2]).toBeNull();
    expect(first.partition.bytes).toBeLessThan(before / 2);
    await first.close();
    const second = await openNative(dir.path, systemClock, { ...options, leaderEpoch: 1 });
    expect(second.partition.damage).toBeNull();
    expect(second.partition.highWatermark).toBe(200);
    const headers = await headersFrom(second.partition);
    const offsets = headers.map((header) => header.baseOffset);
    expect(offsets.at(-1)).toBe(199);
    for (let key = 190; key < 200; key++) expect(offsets).toContain(key);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    expect((await write(second, 200)).baseOffset).toBe(200);
    await second.close();
  });

  for (let round = 0; round < 3; round++) {
    test(`kill -9 under load keeps every acknowledged batch at its offset (${round})`, async () => {
      using dir = tempDir();
      const process_ = Bun.spawn([process.execPath, child, dir.path], {
        stdout: "pipe",
        stderr: "inherit",
        env: process.env,
      });
      let text = "";
      const decoder = new TextDecoder();
      for await (const part of process_.stdout) {
        text += decoder.decode(part, { stream: true });
        if (text.length > 4_000 * (round + 1)) process_.kill("SIGKILL");
      }
      await process_.exited;
      const lines = text.slice(0, text.lastIndexOf("\n")).split("\n");
      expect(lines.length).toBeGreaterThan(100);
      const { partition, close } = await openNative(dir.path, systemClock, { leaderEpoch: 1 });
      expect(partition.damage).toBeNull();
      const headers = await headersFrom(partition);
      expect(headers.map((header) => header.baseOffset)).toEqual(headers.map((_, n) => n));
      const stored = headers.map((header) => `${header.producerId} ${header.baseSequence}`);
      expect(new Set(stored).size).toBe(stored.length);
      for (const line of lines) {
        const [producer, sequence, offset] = line.split(" ");
        expect(stored[Number(offset)]).toBe(`${producer} ${sequence}`);
      }
      await close();
    }, 30_000);
  }
});
