import { expect, test } from "bun:test";
import { OffsetsCut, PreparedCommits, ShareCut } from "../../src/backup/cut-offsets.ts";
import { decodeRecord, encodeOffset } from "../../src/group/records.ts";
import {
  decodeRecord as decodeShare,
  encodeSnapshot,
  encodeUpdate,
  type ShareState,
} from "../../src/share/records.ts";
import { encodeState } from "../../src/transaction/records.ts";
import type { TransactionData } from "../../src/transaction/transaction-types.ts";

const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";
const outside = { producerId: -1, producerEpoch: -1 };
const endOf = (topic: string, partition: number) =>
  topic === "cut" && partition === 0 ? 100 : null;

function offset(group: string, topic: string, partition: number, at: number) {
  const committed = { leaderEpoch: 7, metadata: "m", commitTimestampMs: 5, expireTimestampMs: -1 };
  return encodeOffset(group, topic, partition, { offset: at, topicId, ...committed }, 5);
}

function cutOf(...records: ReturnType<typeof offset>[]) {
  const cut = new OffsetsCut(endOf);
  for (const { key, value } of records) cut.record(key, value, outside);
  return cut;
}

test("only what lies past the end of its log is cut, to the end", () => {
  const cut = cutOf(
    offset("past", "cut", 0, 140),
    offset("at", "cut", 0, 100),
    offset("inside", "cut", 0, 99),
    offset("other", "cut", 1, 140),
    offset("unknown", "gone", 0, 140),
    offset("back", "cut", 0, 140),
    offset("back", "cut", 0, 50),
  );
  const records = cut.cuts(9).map(({ key, value }) => decodeRecord(key, value));
  expect(records).toEqual([
    {
      kind: "offset",
      groupId: "past",
      topic: "cut",
      partition: 0,
      value: {
        offset: 100,
        leaderEpoch: -1,
        metadata: "m",
        commitTimestampMs: 5,
        expireTimestampMs: -1,
        topicId,
      },
    },
  ]);
  expect(cut.aborts(new Set())).toEqual([]);
});

test("transactions that nobody ends, or that reach past an end, are aborted", () => {
  const cut = new OffsetsCut(endOf);
  const write = (producerId: number, group: string, at: number) => {
    const { key, value } = offset(group, "cut", 0, at);
    cut.record(key, value, { producerId, producerEpoch: 3 });
  };
  write(1, "prepared", 90);
  write(2, "prepared-past", 101);
  write(3, "open", 90);
  write(4, "ended", 90);
  cut.marker(4, true);
  const aborts = cut.aborts(new Set([1, 2])).map(({ producerId }) => producerId);
  expect(aborts).toEqual([2, 3]);
  // Behind the aborts nothing of theirs is left to cut.
  for (const producerId of aborts) cut.marker(producerId, false);
  expect(cut.cuts(9)).toEqual([]);
});

test("prepared commits are told by the newest state of an id", () => {
  const state = (id: string, name: TransactionData["state"], producerId: number) =>
    encodeState(
      id,
      {
        state: name,
        producerId,
        prevProducerId: -1,
        nextProducerId: -1,
        producerEpoch: 0,
        lastProducerEpoch: -1,
        timeoutMs: 1,
        partitions: new Map(),
        startMs: 1,
        lastUpdateMs: 1,
        clientVersion: 2,
      },
      2,
      1,
    );
  const prepared = new PreparedCommits();
  for (const { key, value } of [
    state("a", "Ongoing", 1),
    state("a", "PrepareCommit", 1),
    state("b", "PrepareCommit", 2),
    state("b", "CompleteCommit", 2),
    state("c", "PrepareAbort", 3),
  ]) {
    prepared.record(key, value);
  }
  expect([...prepared.producers()]).toEqual([1]);
});

test("a share partition begins no later than its log ends, and knows nothing behind it", () => {
  const key = { groupId: "g", topicId, partition: 0 };
  const state: ShareState = {
    snapshotEpoch: 4,
    stateEpoch: 2,
    leaderEpoch: 1,
    startOffset: 80,
    deliveryCompleteCount: 0,
    createTimestampMs: 1,
    writeTimestampMs: 1,
    stateBatches: [],
  };
  const update = {
    snapshotEpoch: 4,
    leaderEpoch: 1,
    startOffset: 90,
    deliveryCompleteCount: 40,
    stateBatches: [
      { firstOffset: 90, lastOffset: 120, deliveryState: 2, deliveryCount: 1 },
      { firstOffset: 121, lastOffset: 130, deliveryState: 0, deliveryCount: 2 },
    ],
  };
  const cut = new ShareCut((id, partition) => (id === topicId && partition === 0 ? 100 : null));
  const fine = { ...key, groupId: "fine" };
  const far = { ...key, groupId: "far" };
  for (const record of [
    encodeSnapshot(key, state, 1),
    encodeUpdate(key, update, 1),
    encodeSnapshot(fine, state, 1),
    encodeSnapshot(far, { ...state, startOffset: 500 }, 1),
    encodeSnapshot({ ...key, partition: 1 }, { ...state, startOffset: 500 }, 1),
  ]) {
    cut.record(record.key, record.value);
  }
  const records = cut.cuts(9).map((record) => decodeShare(record.key, record.value));
  expect(records).toMatchObject([
    {
      key,
      state: {
        snapshotEpoch: 5,
        stateEpoch: 2,
        startOffset: 90,
        deliveryCompleteCount: 10,
        stateBatches: [{ firstOffset: 90, lastOffset: 99, deliveryState: 2, deliveryCount: 1 }],
      },
    },
    { key: far, state: { startOffset: 100, deliveryCompleteCount: 0, stateBatches: [] } },
  ]);
});
