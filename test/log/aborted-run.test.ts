import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { AbortedTransaction } from "../../src/log/aborted-index.ts";
import {
  decodeBlocks,
  decodeDirectory,
  directoryBytes,
  encodeBlocks,
  encodeRun,
  runFile,
  runIdOf,
} from "../../src/log/aborted-run.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";

const owner = { topicId: new Uint8Array(16).fill(7), partition: 3 };

function entries(count: number): AbortedTransaction[] {
  return Array.from({ length: count }, (_, n) => ({
    producerId: 5_000_000_000 + n,
    firstOffset: 2 ** 40 + 2 * n,
    lastOffset: 2 ** 40 + 2 * n + 1,
    lastStableOffset: 2 ** 40 + 2 * n + 2,
  }));
}

function decode(bytes: Uint8Array, run: ReturnType<typeof encodeRun>["run"]) {
  const blocks = decodeDirectory(bytes, owner, run, "f");
  return decodeBlocks(bytes.subarray(directoryBytes(run.blocks)), blocks, "f");
}

test("a file of aborts reads back as it was written", () => {
  for (const count of [1, 511, 512, 513, 2_000]) {
    const aborted = entries(count);
    const { run, bytes } = encodeRun(owner, 9, encodeBlocks(aborted));
    expect(decode(bytes, run)).toEqual(aborted);
    expect(run).toEqual({
      id: 9,
      blocks: Math.ceil(count / 512),
      entries: count,
      firstMarker: 2 ** 40 + 1,
      lastMarker: 2 ** 40 + 2 * count - 1,
      minFirstOffset: 2 ** 40,
      lastStableOffset: 2 ** 40 + 2 * count,
    });
  }
});

test("the kept file of format 1 still reads, and is still what is written", () => {
  const kept = new Uint8Array(
    readFileSync(join(import.meta.dir, "../fixtures/log/aborted-run-v1")),
  );
  const { run, bytes } = encodeRun(owner, 9, encodeBlocks(entries(514)));
  expect(decode(kept, run)).toEqual(entries(514));
  expect(Buffer.from(bytes).equals(kept)).toBe(true);
});

test("any damaged or shortened file of aborts is refused", () => {
  const { run, bytes } = encodeRun(owner, 9, encodeBlocks(entries(600)));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      expect(() => decode(bytes.with(at, bytes[at]! ^ flip), run)).toThrow();
      expect(() => decode(bytes.subarray(0, at), run)).toThrow();
    }),
    { numRuns: 300 },
  );
});

test("a file of another partition or format, or another file of this one, is told by name", () => {
  const { run, bytes } = encodeRun(owner, 9, encodeBlocks(entries(3)));
  const of = (who: typeof owner, id: number) => () =>
    decodeDirectory(bytes, who, { ...run, id }, "f");
  expect(of({ ...owner, partition: 4 }, 9)).toThrow("f belongs to another partition");
  expect(of({ ...owner, topicId: new Uint8Array(16) }, 9)).toThrow("another partition");
  expect(of(owner, 8)).toThrow("another file");
  const next = bytes.with(4, 2);
  // As long as its checksum does not agree, it is this format, damaged.
  expect(() => decodeDirectory(next, owner, run, "f")).toThrow("f fails its checksum");
  const head = Buffer.concat([next.subarray(0, 12), next.subarray(16, directoryBytes(run.blocks))]);
  new DataView(next.buffer).setUint32(12, crc32c(head));
  expect(() => decodeDirectory(next, owner, run, "f")).toThrow("this chronik reads 1 to 1");
});

test("files are known by their names", () => {
  expect(runIdOf(runFile(17))).toBe(17);
  for (const name of ["aborted-", "aborted-1x", "checkpoint", "wal_0_1.log"]) {
    expect(runIdOf(name)).toBeNull();
  }
});
