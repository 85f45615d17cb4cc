import { expect, test } from "bun:test";
import { type CommittedOffset, GroupOffsets } from "../../src/group/offsets.ts";

const at = (offset: number): CommittedOffset => ({
  offset,
  leaderEpoch: -1,
  metadata: "",
  commitTimestampMs: 0,
  expireTimestampMs: -1,
  topicId: "AAAAAAAAAAAAAAAAAAAAAA",
});

test("what was written last has the last word, whenever it is committed", () => {
  const offsets = new GroupOffsets();
  offsets.applyTransactional(1, "t", 0, at(10));
  offsets.applyTransactional(2, "t", 0, at(20));
  offsets.endTransaction(2, true);
  expect(offsets.isUnstable("t", 0)).toBe(true);
  offsets.endTransaction(1, true);
  expect(offsets.get("t", 0)?.offset).toBe(20);
  offsets.applyTransactional(1, "t", 0, at(30));
  offsets.apply("t", 0, at(25));
  offsets.endTransaction(1, true);
  expect(offsets.get("t", 0)?.offset).toBe(25);
  expect(offsets.isUnstable("t", 0)).toBe(false);
});

test("a deletion takes what open transactions wrote; nothing is left to count", () => {
  const offsets = new GroupOffsets();
  offsets.applyTransactional(1, "t", 0, at(10));
  offsets.applyTransactional(1, "t", 1, at(11));
  expect(offsets.partitions().length).toBe(2);
  expect(offsets.expired({ sinceMs: 0 }, 1, 1_000, () => false)).toEqual([]);
  offsets.apply("t", 0, null);
  offsets.endTransaction(1, true);
  expect(offsets.get("t", 0)).toBeNull();
  expect(offsets.get("t", 1)?.offset).toBe(11);
  offsets.apply("t", 1, null);
  expect([offsets.isEmpty, offsets.sizeBytes]).toEqual([true, 0]);
});

test("an aborted transaction leaves nothing behind", () => {
  const offsets = new GroupOffsets();
  offsets.apply("t", 0, at(5));
  offsets.applyTransactional(1, "t", 0, at(10));
  offsets.applyTransactional(1, "u", 0, at(10));
  offsets.endTransaction(1, false);
  expect(offsets.get("t", 0)?.offset).toBe(5);
  expect(offsets.partitions()).toEqual([{ topic: "t", partition: 0 }]);
});
