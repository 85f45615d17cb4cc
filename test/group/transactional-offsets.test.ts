import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Entry } from "../../src/group/entry.ts";
import { type CommittedOffset, GroupOffsets } from "../../src/group/offsets.ts";
import { OpenTransactions } from "../../src/group/open-transactions.ts";

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

test("against a model: what the log says last of what counts, and no byte is left over", () => {
  const producer = fc.constantFrom(1, 2, 3);
  const partition = fc.nat(2);
  const step = fc.oneof(
    fc.record({ kind: fc.constant("commit" as const), partition }),
    fc.record({ kind: fc.constant("transactional" as const), partition, producer }),
    fc.record({ kind: fc.constant("delete" as const), partition }),
    fc.record({ kind: fc.constant("end" as const), producer, commit: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const offsets = new GroupOffsets();
      let log: { offset: number; partition: number; open: number | null }[] = [];
      for (const [offset, one] of steps.entries()) {
        if (one.kind === "commit") {
          offsets.apply("t", one.partition, at(offset));
          log.push({ offset, partition: one.partition, open: null });
        } else if (one.kind === "transactional") {
          offsets.applyTransactional(one.producer, "t", one.partition, at(offset));
          log.push({ offset, partition: one.partition, open: one.producer });
        } else if (one.kind === "delete") {
          offsets.apply("t", one.partition, null);
          log = log.filter((record) => record.partition !== one.partition);
        } else {
          offsets.endTransaction(one.producer, one.commit);
          log = log.filter(({ open }) => open !== one.producer || one.commit);
          for (const record of log) if (record.open === one.producer) record.open = null;
        }
        for (const index of [0, 1, 2]) {
          const records = log.filter((record) => record.partition === index);
          const last = records.filter(({ open }) => open === null).at(-1)?.offset ?? null;
          expect(offsets.get("t", index)?.offset ?? null).toBe(last);
          expect(offsets.isUnstable("t", index)).toBe(records.some(({ open }) => open !== null));
          expect(offsets.hasOrWillHave("t", index)).toBe(records.length > 0);
        }
        const held = new Set(log.map(({ open }) => open).filter((open) => open !== null));
        expect(new Set(offsets.transactionalProducers())).toEqual(held);
        expect(offsets.isEmpty).toBe(log.length === 0);
      }
      for (const id of [1, 2, 3]) offsets.endTransaction(id, true);
      for (const index of [0, 1, 2]) offsets.apply("t", index, null);
      expect([offsets.isEmpty, offsets.sizeBytes]).toEqual([true, 0]);
    }),
    { numRuns: 500 },
  );
});

test("a producer's groups are told once; a group that is gone, never", () => {
  const open = new OpenTransactions();
  const entry = (): Entry => ({ offsets: new GroupOffsets() }) as unknown as Entry;
  const [stays, goes] = [entry(), entry()];
  for (const one of [stays, goes]) {
    one.offsets.applyTransactional(1, "t", 0, at(1));
    open.opened(1, one);
  }
  goes.offsets.applyTransactional(2, "t", 0, at(1));
  open.opened(2, goes);
  open.forget(goes);
  expect(open.ended(2)).toEqual([]);
  expect(open.ended(1)).toEqual([stays]);
  expect(open.ended(1)).toEqual([]);
});

test("the offsets of a topic are those of open transactions too", () => {
  const offsets = new GroupOffsets();
  offsets.apply("t", 0, at(5));
  offsets.applyTransactional(1, "t", 0, at(10));
  offsets.applyTransactional(1, "t", 3, at(11));
  offsets.applyTransactional(2, "u", 0, at(12));
  const ofT = [...offsets.ofTopic("t")].map((one) => [one.partition, one.committed.offset]);
  expect(ofT).toEqual([
    [0, 5],
    [0, 10],
    [3, 11],
  ]);
});
