import { describe, expect, test } from "bun:test";
import { Ledger } from "../../src/bench/ledger.ts";
import { Workload } from "../../src/bench/workload.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { crcHolds, parseBatchHeader, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";

const timestampMs = 1_700_000_000_000;

describe("workload", () => {
  for (const messageBytes of [16, 256, 1000]) {
    test(`batches of ${messageBytes}-byte messages are whole, in any order of asking`, () => {
      const workload = new Workload({ messageBytes, countMax: 130, timestampMs, crc: crc32c });
      for (const count of [1, 130, 7, 128, 7, 1, 130]) {
        const batch = workload.batch(count);
        const header = parseBatchHeader(batch);
        if (typeof header === "string") throw new Error(header);
        expect(crcHolds(batch, 0, header, crc32c)).toBe(true);
        expect(header.crc).toBe(workload.batchCrc(count));
        const records = parseRecords(recordsPayload(batch, 0, header), header);
        expect(records.length).toBe(count);
        expect(records.every(({ value }) => value?.length === messageBytes)).toBe(true);
        expect(records.map(({ offsetDelta }) => offsetDelta)).toEqual([...records.keys()]);
      }
    });
  }

  test("batches stay below the default limit; a larger message has a batch of its own", () => {
    const many = new Workload({ messageBytes: 256, countMax: 100_000, timestampMs, crc: crc32c });
    expect(many.batch(many.countMax).length).toBeLessThanOrEqual(1_000_000);
    const options = { messageBytes: 3_000_000, countMax: 5, timestampMs, crc: crc32c };
    expect(new Workload(options).countMax).toBe(1);
  });
});

describe("ledger", () => {
  test("the order of batches does not matter, everything else does", () => {
    const digest = (...batches: [number, number, number][]): string => {
      const ledger = new Ledger();
      for (const [base, count, crc] of batches) ledger.add(base, count, crc);
      return ledger.digest;
    };
    const same = digest([0, 2, 77], [2, 3, 88], [5, 1, 99]);
    expect(digest([5, 1, 99], [0, 2, 77], [2, 3, 88])).toBe(same);
    const others = [
      digest([0, 2, 77], [2, 3, 88], [5, 1, 98]),
      digest([0, 2, 77], [2, 3, 88], [6, 1, 99]),
      digest([0, 2, 77], [2, 3, 88]),
      digest([0, 2, 77], [2, 3, 88], [5, 1, 99], [5, 1, 99]),
      digest([0, 2, 88], [2, 3, 77], [5, 1, 99]),
      digest([0, 2, 77], [2, 3, 88], [5 + 2 ** 32, 1, 99]),
    ];
    expect(others).not.toContain(same);
    expect(new Set(others).size).toBe(others.length);
  });
});
