import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProtocolError } from "../../src/lib/errors.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import {
  attributesOf,
  type BatchHeader,
  batchesIn,
  batchHeaderBytes,
  compressionOf,
  crcHolds,
  hasDeleteHorizon,
  isControl,
  isTransactional,
  lastOffset,
  lastSequence,
  parseBatchHeader,
  patchBaseOffset,
  patchLeaderEpoch,
  recordsPayload,
  sizeInBytes,
  stampLogAppendTime,
  timestampTypeOf,
} from "../../src/protocol/record-batch.ts";
import {
  type BatchOptions,
  buildBatch,
  buildEndTxnMarker,
  parseRecords,
  type RecordData,
} from "../../src/protocol/records.ts";
import { hex } from "./support/codecs.ts";

function record(offsetDelta: number, value: string, timestamp = 1000): RecordData {
  return { offsetDelta, timestamp, key: null, value: Buffer.from(value), headers: [] };
}

function headerAt(bytes: Uint8Array, position = 0): BatchHeader {
  const header = parseBatchHeader(bytes, position);
  if (typeof header === "string") throw new Error(header);
  return header;
}

function recordsOf(bytes: Uint8Array): RecordData[] {
  const header = headerAt(bytes);
  return parseRecords(recordsPayload(bytes, 0, header), header);
}

const bytesOrNull = fc.option(fc.uint8Array({ maxLength: 200 }), { nil: null });
const recordArbitrary = fc.record({
  timestamp: fc.integer({ min: 0, max: 4e12 }),
  key: bytesOrNull,
  value: bytesOrNull,
  headers: fc.array(fc.record({ key: fc.string({ unit: "binary" }), value: bytesOrNull }), {
    maxLength: 3,
  }),
});
const recordsArbitrary = fc
  .array(recordArbitrary, { minLength: 1, maxLength: 20 })
  .map((list) => list.map((item, offsetDelta): RecordData => ({ ...item, offsetDelta })));

describe("crc32c", () => {
  test("gives the known checksums", () => {
    expect(crc32c(new Uint8Array(0))).toBe(0);
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe306_9283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
    expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8_ab43);
  });
});

describe("a batch", () => {
  test("read back is what was built", () => {
    const options = fc.record<Required<BatchOptions>>({
      baseOffset: fc.maxSafeNat().filter((n) => n < Number.MAX_SAFE_INTEGER),
      partitionLeaderEpoch: fc.integer(),
      timestampType: fc.constant("CreateTime"),
      isTransactional: fc.boolean(),
      isControl: fc.boolean(),
      producerId: fc.maxSafeNat().filter((n) => n < Number.MAX_SAFE_INTEGER),
      producerEpoch: fc.integer({ min: -1, max: 32_767 }),
      baseSequence: fc.integer({ min: -1, max: 2_147_483_647 }),
    });
    fc.assert(
      fc.property(recordsArbitrary, options, (records, given) => {
        const bytes = buildBatch(records, given, crc32c);
        const { timestampType, isTransactional: txn, isControl: control, ...numbers } = given;
        const header = headerAt(bytes);
        expect(header).toMatchObject({ ...numbers, recordsCount: records.length });
        expect(isTransactional(header.attributes)).toBe(txn);
        expect(isControl(header.attributes)).toBe(control);
        expect(timestampTypeOf(header.attributes)).toBe(timestampType);
        expect(sizeInBytes(header)).toBe(bytes.length);
        expect(header.maxTimestamp).toBe(Math.max(...records.map(({ timestamp }) => timestamp)));
        expect(crcHolds(bytes, 0, header, crc32c)).toBe(true);
        expect(recordsOf(bytes)).toEqual(records);
      }),
    );
  });

  test("any byte changed from the attributes on breaks the checksum", () => {
    const bytes = buildBatch([record(0, "hello")], {}, crc32c);
    for (let at = 21; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(crcHolds(changed, 0, headerAt(changed), crc32c)).toBe(false);
    }
  });

  test("takes a base offset and a leader epoch without a new checksum", () => {
    const bytes = Buffer.concat([Buffer.alloc(5), buildBatch([record(0, "a")], {}, crc32c)]);
    patchBaseOffset(bytes, 5, 2 ** 40 + 3);
    patchLeaderEpoch(bytes, 5, 9);
    const header = headerAt(bytes, 5);
    expect(header).toMatchObject({ baseOffset: 2 ** 40 + 3, partitionLeaderEpoch: 9 });
    expect(crcHolds(bytes, 5, header, crc32c)).toBe(true);
  });

  test("stamped with the append time, all its records have that time", () => {
    const bytes = buildBatch([record(0, "a"), record(1, "b", 2000)], {}, crc32c);
    stampLogAppendTime(bytes, 0, 5000, crc32c);
    const header = headerAt(bytes);
    expect(timestampTypeOf(header.attributes)).toBe("LogAppendTime");
    expect(crcHolds(bytes, 0, header, crc32c)).toBe(true);
    expect(recordsOf(bytes).map(({ timestamp }) => timestamp)).toEqual([5000, 5000]);
  });

  test("knows its last offset, and its last sequence across the wrap", () => {
    const bytes = buildBatch(
      [record(0, "a"), record(1, "b"), record(2, "c")],
      { baseOffset: 10, baseSequence: 2_147_483_646, producerId: 1, producerEpoch: 0 },
      crc32c,
    );
    expect(lastOffset(headerAt(bytes))).toBe(12);
    expect(lastSequence(headerAt(bytes))).toBe(0);
    expect(lastSequence(headerAt(buildBatch([record(0, "a")], {}, crc32c)))).toBe(-1);
  });

  test("attributes are Kafka's bits", () => {
    expect(attributesOf({})).toBe(0);
    expect(attributesOf({ compression: "zstd", timestampType: "LogAppendTime" })).toBe(12);
    expect(attributesOf({ isTransactional: true, isControl: true })).toBe(0x30);
    expect([0, 1, 2, 3, 4, 5].map(compressionOf)).toEqual([
      "none",
      "gzip",
      "snappy",
      "lz4",
      "zstd",
      null,
    ]);
    expect(hasDeleteHorizon(0x40)).toBe(true);
  });

  test("a commit marker is the batch Kafka writes", () => {
    const options = { coordinatorEpoch: 3, producerId: 7, producerEpoch: 1, timestamp: 99 };
    const bytes = buildEndTxnMarker({ ...options, result: "commit" }, crc32c);
    const header = headerAt(bytes);
    expect(header).toMatchObject({ producerId: 7, producerEpoch: 1, baseSequence: -1 });
    expect(header.attributes).toBe(0x30);
    const [marker] = recordsOf(bytes);
    expect(hex(marker?.key ?? new Uint8Array())).toBe("00000001");
    expect(hex(marker?.value ?? new Uint8Array())).toBe("000000000003");
    const [abort] = recordsOf(buildEndTxnMarker({ ...options, result: "abort" }, crc32c));
    expect(hex(abort?.key ?? new Uint8Array())).toBe("00000000");
  });
});

describe("walking batches", () => {
  const one = buildBatch([record(0, "first")], { baseOffset: 4 }, crc32c);
  const two = buildBatch([record(0, "second")], { baseOffset: 5 }, crc32c);

  test("gives each with its place, and ends at a batch cut short", () => {
    const bytes = Buffer.concat([one, two]);
    for (let length = 0; length <= bytes.length; length++) {
      const found = [...batchesIn(bytes.subarray(0, length))].map(({ position }) => position);
      const whole = length === bytes.length ? 2 : length >= one.length ? 1 : 0;
      expect(found).toEqual([0, one.length].slice(0, whole));
    }
  });

  test("stays inside its range", () => {
    const bytes = Buffer.concat([one, two, one]);
    const from = one.length;
    const found = [...batchesIn(bytes, from, from + two.length)];
    expect(found.map(({ header }) => header.baseOffset)).toEqual([5]);
  });

  test("refuses what is no batch", () => {
    const short = Buffer.from(one);
    short.writeInt32BE(48, 8);
    expect(parseBatchHeader(short)).toBe("bad-length");
    short.writeInt32BE(-1, 8);
    expect(parseBatchHeader(short)).toBe("bad-length");
    expect(() => [...batchesIn(short)]).toThrow(ProtocolError);
    const old = Buffer.from(one);
    old.writeInt8(1, 16);
    expect(parseBatchHeader(old)).toBe("bad-magic");
    const long = Buffer.from(one);
    long.writeInt32BE(0x7fff_ffff, 8);
    expect(parseBatchHeader(long)).toBe("truncated");
    expect(parseBatchHeader(one, one.length)).toBe("truncated");
  });
});

describe("hostile records", () => {
  const bytes = buildBatch(
    [{ ...record(0, "value"), key: Buffer.from("k"), headers: [{ key: "h", value: null }] }],
    {},
    crc32c,
  );
  const header = headerAt(bytes);
  const payload = recordsPayload(bytes, 0, header);

  test("cut short, or followed by more, are a ProtocolError", () => {
    for (let length = 0; length < payload.length; length++) {
      expect(() => parseRecords(payload.subarray(0, length), header)).toThrow(ProtocolError);
    }
    const longer = Buffer.concat([payload, Buffer.from([0])]);
    expect(() => parseRecords(longer, header)).toThrow(ProtocolError);
  });

  test("a record that does not fill its length, or overruns it, is a ProtocolError", () => {
    for (const change of [-2, 2]) {
      const lying = Buffer.concat([payload, Buffer.from([0])]);
      lying[0] = (lying[0] ?? 0) + change;
      expect(() => parseRecords(lying, header)).toThrow("does not fill its length");
    }
  });

  test.each([-1, 0, 2, 0x7fff_ffff])("a count of %d is a ProtocolError", (recordsCount) => {
    expect(() => parseRecords(payload, { ...header, recordsCount })).toThrow(ProtocolError);
  });

  test("changed bytes give records or a ProtocolError, never another error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 20 }), (random, count) => {
        try {
          parseRecords(random, { ...header, recordsCount: count });
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("any bytes give a header or the name of what is wrong", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (random) => {
        const parsed = parseBatchHeader(random);
        if (typeof parsed !== "string") expect(sizeInBytes(parsed)).toBeLessThanOrEqual(100);
        else expect(["truncated", "bad-length", "bad-magic"]).toContain(parsed);
      }),
      { numRuns: 2000 },
    );
    expect(batchHeaderBytes).toBe(61);
  });
});
