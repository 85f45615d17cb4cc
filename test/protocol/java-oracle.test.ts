/** Our bytes against those of Kafka's own Java classes; see test/golden/ask-java.ts. */
import { describe, expect, test } from "bun:test";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { crcHolds, parseBatchHeader, recordsPayload } from "../../src/protocol/record-batch.ts";
import {
  buildBatch,
  buildEndTxnMarker,
  parseRecords,
  type RecordData,
} from "../../src/protocol/records.ts";
import oracle from "../golden/java-oracle.json" with { type: "json" };
import { codecOf, decodeAll, encodeToBytes, hex } from "./support/codecs.ts";
import { makeSample, sampleKinds } from "./support/sample.ts";
import { messageSchemas, versionsOf } from "./support/schema.ts";

const messages: Record<string, Record<string, Record<string, string>>> = oracle.messages;

describe("messages, byte for byte as Java writes them", () => {
  test.each(messageSchemas.map((schema) => [schema.name, schema] as const))(
    "%s",
    (name, schema) => {
      for (const version of versionsOf(schema)) {
        for (const kind of sampleKinds) {
          const expected = messages[name]?.[version]?.[kind] ?? "none";
          const value = makeSample(schema, version, kind);
          const codec = codecOf(name);
          expect(hex(encodeToBytes(codec, value, version))).toBe(expected);
          expect(decodeAll(codec, Buffer.from(expected, "hex"), version)).toEqual(value);
        }
      }
    },
  );
});

describe("batches, byte for byte as Java builds them", () => {
  const records: RecordData[] = [
    {
      offsetDelta: 0,
      timestamp: 1_700_000_000_000,
      key: Buffer.from("key"),
      value: Buffer.from("value"),
      headers: [],
    },
    {
      offsetDelta: 1,
      timestamp: 1_700_000_000_005,
      key: null,
      value: new Uint8Array(0),
      headers: [],
    },
    {
      offsetDelta: 2,
      timestamp: 1_699_999_999_999,
      key: new Uint8Array(0),
      value: null,
      headers: [
        { key: "trace", value: Buffer.from("größe") },
        { key: "", value: null },
      ],
    },
  ];
  const producer = { producerId: 9_000_000_001, producerEpoch: 12, partitionLeaderEpoch: 4 };

  test("plain", () => {
    expect(hex(buildBatch(records, {}, crc32c))).toBe(oracle.batches.plain);
  });

  test("transactional", () => {
    const options = { ...producer, baseOffset: 5_000_000_000, baseSequence: 77 };
    const built = buildBatch(records, { ...options, isTransactional: true }, crc32c);
    expect(hex(built)).toBe(oracle.batches.transactional);
  });

  test.each(["commit", "abort"] as const)("%s marker", (result) => {
    const options = { ...producer, coordinatorEpoch: 3, timestamp: 1_700_000_000_000 };
    const built = buildEndTxnMarker({ ...options, result }, crc32c);
    expect(hex(built)).toBe(oracle.batches[result]);
  });

  test("read back", () => {
    const bytes = Buffer.from(oracle.batches.plain, "hex");
    const header = parseBatchHeader(bytes);
    if (typeof header === "string") throw new Error(header);
    expect(crcHolds(bytes, 0, header, crc32c)).toBe(true);
    const found = parseRecords(recordsPayload(bytes, 0, header), header);
    expect(found.map(({ timestamp }) => timestamp)).toEqual(
      records.map(({ timestamp }) => timestamp),
    );
    expect(found[2]?.headers).toEqual([
      { key: "trace", value: new Uint8Array(Buffer.from("größe")) },
      { key: "", value: null },
    ]);
  });
});
