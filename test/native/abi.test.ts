import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  abiVersion,
  appendHeaderBytes,
  batchInfoBytes,
  commandHeaderBytes,
  completionBytes,
  expectedAbi,
  op,
  readRangeBytes,
  status,
  statusName,
} from "../../src/native/abi.ts";
import { CommandBuffer } from "../../src/native/command-buffer.ts";

const header = readFileSync(join(import.meta.dir, "../../ffi/chronik.h"), "utf8");
const sizes: Record<string, number> = {
  uint8_t: 1,
  uint16_t: 2,
  uint32_t: 4,
  int32_t: 4,
  uint64_t: 8,
  int64_t: 8,
};

function structBytes(name: string): number {
  const body = new RegExp(`struct ${name} \\{([^}]*)\\}`).exec(header)?.[1];
  if (body === undefined) throw new Error(`no struct ${name}`);
  const fields = [...body.matchAll(/^\s*(\w+_t)\s+\w+;/gm)];
  return fields.reduce((sum, field) => sum + sizes[field[1]!]!, 0);
}

test("struct sizes are the header's", () => {
  expect(structBytes("chronik_command")).toBe(commandHeaderBytes);
  expect(structBytes("chronik_completion")).toBe(completionBytes);
  expect(structBytes("chronik_batch_info")).toBe(batchInfoBytes);
  expect(structBytes("chronik_append")).toBe(appendHeaderBytes);
  expect(structBytes("chronik_read_range")).toBe(readRangeBytes);
});

test("every status and operation is the header's, none is missing", () => {
  const body = /enum chronik_status \{([\s\S]*?)\n\};/.exec(header)![1]!;
  const found = [...body.matchAll(/CHRONIK_(\w+) = (-?\d+)/g)].map((m) => [m[1]!, Number(m[2])]);
  expect(Object.fromEntries(found)).toEqual({ ...status });
  for (const [name, code] of found) expect(statusName(code as number)).toBe(name as "OK");
  const ops = [...header.matchAll(/CHRONIK_OP_(\w+) = (\d+)/g)].map((m) => [
    m[1]!.toLowerCase(),
    Number(m[2]),
  ]);
  expect(Object.fromEntries(ops)).toEqual({ ...op });
});

test("the ABI number folds version and sizes as the header says", () => {
  expect(header).toContain(`#define CHRONIK_ABI_VERSION ${abiVersion}u`);
  expect(expectedAbi).toBe(0x18281802);
});

test("a command is header, payload, zero padding to eight", () => {
  const buffer = new CommandBuffer(64);
  buffer.append(7, 9, 2 ** 40 + 1, -1, 3, -5, new Uint8Array([1, 2, 3]));
  buffer.read(8, 9, 5, 6, 4096);
  const view = new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset);
  expect(buffer.count).toBe(2);
  expect(buffer.length).toBe(56 + 48);
  expect(view.getUint32(0, true)).toBe(56);
  expect(view.getUint16(4, true)).toBe(op.append);
  expect(view.getBigUint64(8, true)).toBe(7n);
  expect(view.getUint32(16, true)).toBe(9);
  expect(view.getUint32(20, true)).toBe(27);
  expect(view.getBigInt64(24, true)).toBe(2n ** 40n + 1n);
  expect(view.getBigInt64(32, true)).toBe(-1n);
  expect(view.getUint32(40, true)).toBe(3);
  expect(view.getInt32(44, true)).toBe(-5);
  expect([...buffer.bytes.subarray(48, 56)]).toEqual([1, 2, 3, 0, 0, 0, 0, 0]);
  expect(view.getUint16(56 + 4, true)).toBe(op.read);
});
