import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/lib/clock.ts";
import type { PartitionLogConfig, TopicCompression } from "../../src/log/config.ts";
import type { Partition } from "../../src/log/partition.ts";
import { NativeWal } from "../../src/native/wal.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import {
  batchesIn,
  type CompressionType,
  compressionOf,
  crcHolds,
  isTransactional,
  recordsPayload,
  timestampTypeOf,
} from "../../src/protocol/record-batch.ts";
import { buildBatch, parseRecords } from "../../src/protocol/records.ts";
import { hasLibrary, tempDir } from "../support/native.ts";
import { type NativeLog, openNative } from "../support/native-log.ts";

const client = { origin: "client" } as const;
const codecs: readonly CompressionType[] = ["none", "gzip", "snappy", "lz4", "zstd"];
const codecIds: Record<CompressionType, number> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
const firstMs = 1_700_000_000_000;

function plain(baseSequence: number, count = 3, valueBytes = 20): Uint8Array {
  const records = Array.from({ length: count }, (_, offsetDelta) => ({
    offsetDelta,
    timestamp: firstMs + ((offsetDelta * 7) % 5),
    key: offsetDelta === 1 ? null : Buffer.from(`key ${baseSequence + offsetDelta}`),
    value:
      offsetDelta === 2
        ? null
        : Buffer.from(`${baseSequence + offsetDelta} ${"v".repeat(valueBytes)}`),
    headers: [
      { key: "h", value: Buffer.from([0, 255]) },
      { key: "", value: null },
    ],
  }));
  return buildBatch(records, { producerId: 5, producerEpoch: 0, baseSequence }, crc32c);
}

/** The batch as a producer with that codec would send it. */
async function sentIn(log: NativeLog, codec: CompressionType, batch: Uint8Array) {
  if (codec === "none") return batch;
  const made = await new NativeWal(log.engine).recompressBatch(
    batch,
    { codec, level: null },
    1 << 30,
  );
  expect(made.facts.fault).toBeNull();
  return made.batch!;
}

async function stored(log: NativeLog, partition: Partition) {
  const wal = new NativeWal(log.engine);
  const offsetLimit = partition.highWatermark;
  const read = await partition.read({ offset: 0, bytesMax: 1 << 28, offsetLimit });
  const out = [];
  for (const chunk of read.chunks) {
    for (const { position, header } of batchesIn(chunk)) {
      expect(crcHolds(chunk, position, header, crc32c)).toBe(true);
      const codec = compressionOf(header.attributes)!;
      const payload = recordsPayload(chunk, position, header);
      const records =
        codec === "none" ? payload : await wal.decompress(codecIds[codec], payload, 1 << 28);
      out.push({
        header,
        codec,
        records: Buffer.from(records),
        parsed: parseRecords(records, header),
      });
    }
  }
  return out;
}

async function opened(
  path: string,
  compression: TopicCompression | null,
  config: Partial<PartitionLogConfig> = {},
): Promise<NativeLog> {
  return await openNative(path, systemClock, { config: { ...config, compression } });
}

describe.skipIf(!hasLibrary)("compression.type", () => {
  for (const target of codecs) {
    test(`${target}: batches of every codec are stored in it, their records as sent`, async () => {
      using dir = tempDir();
      const log = await opened(dir.path, { codec: target, level: null });
      const { partition } = log;
      for (const [at, codec] of codecs.entries()) {
        const bytes = await sentIn(log, codec, plain(at * 3));
        const answer = await partition.append(bytes, client);
        expect([answer.errorCode, answer.baseOffset]).toEqual([0, at * 3]);
      }
      const found = await stored(log, partition);
      expect(found.map(({ codec }) => codec)).toEqual(codecs.map(() => target));
      for (const [at, { header, records }] of found.entries()) {
        const original = plain(at * 3);
        const [first] = [...batchesIn(original)];
        expect(records).toEqual(Buffer.from(original.subarray(61)));
        const { batchLength, crc, attributes, ...rest } = header;
        expect(rest).toMatchObject({
          baseOffset: at * 3,
          lastOffsetDelta: 2,
          baseTimestamp: firstMs,
          maxTimestamp: first!.header.maxTimestamp,
          producerId: 5,
          producerEpoch: 0,
          baseSequence: at * 3,
          recordsCount: 3,
        });
      }
      await log.close();
    });
  }

  test("a batch that came in the topic's codec stays byte for byte", async () => {
    using dir = tempDir();
    for (const codec of codecs) {
      const log = await opened(`${dir.path}/${codec}`, { codec, level: 1 });
      // Level 1 would give other bytes; the producer's stay.
      const bytes = await sentIn(log, codec, plain(0, 200));
      await log.partition.append(bytes, client);
      const read = await log.partition.read({ offset: 0, bytesMax: 1 << 20, offsetLimit: 200 });
      expect(Buffer.from(read.chunks[0]!.subarray(16))).toEqual(Buffer.from(bytes.subarray(16)));
      await log.close();
    }
  });

  test("retries are answered like their originals, after a restart too", async () => {
    using dir = tempDir();
    const compression = { codec: "zstd", level: 3 } as const;
    const first = await opened(dir.path, compression);
    const sent: Uint8Array[] = [];
    for (let n = 0; n < 4; n++) sent.push(await sentIn(first, "gzip", plain(n * 3)));
    const bases = async (log: NativeLog) =>
      (await Promise.all(sent.map((bytes) => log.partition.append(bytes, client)))).map(
        ({ errorCode, baseOffset }) => [errorCode, baseOffset],
      );
    const expected = [0, 3, 6, 9].map((base) => [0, base]);
    expect(await bases(first)).toEqual(expected);
    expect(await bases(first)).toEqual(expected);
    expect(first.partition.logEndOffset).toBe(12);
    await first.close();
    const second = await opened(dir.path, compression);
    expect(await bases(second)).toEqual(expected);
    expect(second.partition.logEndOffset).toBe(12);
    const gap = await second.partition.append(plain(15), client);
    expect(gap.errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
    await second.close();
  });

  test("many in flight, of all codecs and sizes, keep their order", async () => {
    using dir = tempDir();
    const log = await opened(dir.path, { codec: "lz4", level: 12 });
    const sent: Uint8Array[] = [];
    for (let n = 0; n < 100; n++) {
      const codec = codecs[n % codecs.length]!;
      sent.push(await sentIn(log, codec, plain(n * 3, 3, n % 7 === 0 ? 100_000 : 10)));
    }
    const answers = await Promise.all(sent.map((bytes) => log.partition.append(bytes, client)));
    expect(answers.map(({ errorCode }) => errorCode)).toEqual(sent.map(() => 0));
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual(sent.map((_, n) => n * 3));
    const found = await stored(log, log.partition);
    expect(found.map(({ header }) => header.baseSequence)).toEqual(sent.map((_, n) => n * 3));
    expect(new Set(found.map(({ codec }) => codec))).toEqual(new Set(["lz4"]));
    await log.close();
  });

  test("bad batches are refused as without it, and cost no sequence", async () => {
    using dir = tempDir();
    const log = await opened(dir.path, { codec: "gzip", level: -1 });
    const { partition } = log;
    const bad = new Uint8Array(plain(0));
    bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
    expect((await partition.append(bad, client)).errorCode).toBe(ErrorCode.CORRUPT_MESSAGE);
    const zipped = new Uint8Array(await sentIn(log, "zstd", plain(0)));
    zipped[70] = (zipped[70] ?? 0) ^ 1;
    expect((await partition.append(zipped, client)).errorCode).toBe(ErrorCode.CORRUPT_MESSAGE);
    expect((await partition.append(plain(0), client)).baseOffset).toBe(0);
    await log.close();
  });

  test("what is over max.message.bytes once stored is refused", async () => {
    using dir = tempDir();
    const log = await opened(dir.path, { codec: "none", level: null }, { maxMessageBytes: 5_000 });
    const bytes = await sentIn(log, "gzip", plain(0, 1, 10_000));
    expect(bytes.length).toBeLessThan(5_000);
    const answer = await log.partition.append(bytes, client);
    expect(answer.errorCode).toBe(ErrorCode.MESSAGE_TOO_LARGE);
    expect(answer.errorMessage).toContain("max.message.bytes is 5000");
    expect((await log.partition.append(plain(0, 1, 1_000), client)).baseOffset).toBe(0);
    await log.close();
  });

  test("LogAppendTime, compacted topics and transactions go along with it", async () => {
    using dir = tempDir();
    const log = await opened(
      dir.path,
      { codec: "snappy", level: null },
      { timestampType: "LogAppendTime", compact: true },
    );
    const { partition } = log;
    const keyless = await partition.append(plain(0), client);
    expect(keyless.errorCode).toBe(ErrorCode.INVALID_RECORD);
    expect(keyless.recordErrors.map(({ batchIndex }) => batchIndex)).toEqual([1]);
    const record = { timestamp: 5, key: Buffer.from("k"), value: Buffer.from("v"), headers: [] };
    const fields = { producerId: 9, producerEpoch: 0, baseSequence: 0, isTransactional: true };
    const bytes = buildBatch([{ ...record, offsetDelta: 0 }], fields, crc32c);
    const answer = await partition.append(bytes, client);
    expect(answer.logAppendTimeMs).toBeGreaterThan(firstMs);
    expect(partition.hasOpenTransaction(9, 0)).toBe(true);
    const ids = { producerId: 9, producerEpoch: 0, coordinatorEpoch: 0 };
    const marker = { ...ids, commit: true, transactionVersion: 1 };
    expect((await partition.appendMarker(marker)).errorCode).toBe(0);
    const [data, control] = await stored(log, partition);
    expect([data!.codec, control!.codec]).toEqual(["snappy", "none"]);
    expect(isTransactional(data!.header.attributes)).toBe(true);
    expect(timestampTypeOf(data!.header.attributes)).toBe("LogAppendTime");
    expect(data!.header.maxTimestamp).toBe(answer.logAppendTimeMs);
    await log.close();
  });

  test("the broker's own batches are not compressed", async () => {
    using dir = tempDir();
    const log = await opened(dir.path, { codec: "zstd", level: 3 });
    await log.partition.append(plain(0), { origin: "coordinator" });
    const [own] = await stored(log, log.partition);
    expect(own!.codec).toBe("none");
    await log.close();
  });
});
