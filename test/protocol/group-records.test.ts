/** Records of Apache Kafka 4.3.1's __consumer_offsets; see test/golden/read-group-records.ts. */
import { expect, test } from "bun:test";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import records from "../golden/group-records.json" with { type: "json" };
import { codecOf, hex } from "./support/codecs.ts";
import { messageSchemas, type StructValue } from "./support/schema.ts";

function decode(name: string, body: Reader, version: number): StructValue {
  const value = codecOf(name).decode(body, version);
  expect(body.remaining).toBe(0);
  return value;
}

function again(name: string, prefix: number, version: number, value: StructValue): string {
  const w = new Writer();
  w.int16(prefix);
  codecOf(name).encode(w, value, version);
  return hex(w.bytesWritten());
}

function nameOf(kind: string, recordType: number): string {
  const found = messageSchemas.find((schema) => schema.kind === kind && schema.key === recordType);
  return found?.name ?? `${kind} ${recordType}`;
}

test("every key and value decodes, and encodes to the same bytes again", () => {
  const types = new Set<number>();
  for (const { key, value } of records) {
    const keyBody = new Reader(Buffer.from(key, "hex"));
    const recordType = keyBody.int16();
    types.add(recordType);
    const keyName = nameOf("coordinator-key", recordType);
    expect(again(keyName, recordType, 0, decode(keyName, keyBody, 0))).toBe(key);
    if (value === null) continue;
    const valueBody = new Reader(Buffer.from(value, "hex"));
    const version = valueBody.int16();
    const valueName = nameOf("coordinator-value", recordType);
    const decoded = decode(valueName, valueBody, version);
    expect(again(valueName, version, version, decoded)).toBe(value);
  }
  expect([...types].sort()).toEqual([1, 2, 3, 5, 6, 7, 8]);
});

test("a committed offset says what was committed", () => {
  const committed = records.find(({ key, value }) => key.startsWith("0001") && value !== null);
  const key = new Reader(Buffer.from(committed?.key ?? "", "hex"));
  key.int16();
  expect(decode("OffsetCommitKey", key, 0)).toMatchObject({
    group: "golden-classic",
    topic: "golden-java",
  });
  const value = new Reader(Buffer.from(committed?.value ?? "", "hex"));
  expect(value.int16()).toBe(4);
  expect(decode("OffsetCommitValue", value, 4)).toMatchObject({ offset: 2, metadata: "" });
});
