import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { AcquireRequest } from "../../src/share/acquire.ts";
import { type ShareLimits, SharePartitionState } from "../../src/share/share-partition-state.ts";
import type { StateBatch } from "../../src/share/state-batches.ts";

const limits: ShareLimits = {
  recordLockDurationMs: 30_000,
  deliveryCountMax: 5,
  recordLocksMax: 200,
  mayRenew: true,
  deadLetterTopic: null,
};

function open(start = 0, stored: StateBatch[] = [], overrides: Partial<ShareLimits> = {}) {
  const state = SharePartitionState.restore(start, stored, () => ({ ...limits, ...overrides }));
  if (state === null) throw new Error("not in order");
  return state;
}

/** Reads log batches of `size` records from the next fetch offset up to `end`. */
function ask(
  state: SharePartitionState,
  end: number,
  size: number,
  overrides: Partial<AcquireRequest> = {},
): AcquireRequest {
  const fetchOffset = state.nextFetchOffset;
  const logBatches = [];
  for (let base = fetchOffset - (fetchOffset % size); base < end; base += size) {
    logBatches.push({ base, last: base + size - 1 });
  }
  const request = { memberId: "m1", mode: "batch_optimized", batchSize: 500, maxRecords: 500 };
  return { ...request, fetchOffset, logBatches, ...overrides } as AcquireRequest;
}

/** "0-9:1" for each range: first-last:delivery count. */
function take(
  state: SharePartitionState,
  end: number,
  size: number,
  overrides: Partial<AcquireRequest> = {},
  nowMs = 0,
): string {
  const acquired = state.acquire(ask(state, end, size, overrides), nowMs);
  return acquired.map((one) => `${one.first}-${one.last}:${one.deliveryCount}`).join(" ");
}

/** "0-9=acquired" for each run. */
function picture(state: SharePartitionState): string {
  const runs = state.runs().map((run) => `${run.first}-${run.last}=${run.state}`);
  return [`start ${state.startOffset}`, ...runs].join(" ");
}

function acknowledge(
  state: SharePartitionState,
  firstOffset: number,
  lastOffset: number,
  acknowledgeTypes: number[],
  memberId = "m1",
): number {
  const request = [{ firstOffset, lastOffset, acknowledgeTypes }];
  const { errorCode, change } = state.acknowledge(memberId, request, 0);
  if (change !== null) state.finish(change.transition, true);
  return errorCode;
}

const accept = [1];
const release = [2];
const reject = [3];

describe("acquire", () => {
  test("new records come in ranges that end where batches of the log do", () => {
    const state = open();
    expect(take(state, 40, 10, { batchSize: 15 })).toBe("0-19:1 20-39:1");
    expect(picture(state)).toBe("start 0 0-19=acquired 20-39=acquired");
    expect(state.nextFetchOffset).toBe(40);
  });

  test("batch_optimized goes to the end of the batch in which the limit lies", () => {
    const state = open();
    expect(take(state, 40, 10, { maxRecords: 12 })).toBe("0-19:1");
  });

  test("record_limit takes exactly as many, the rest of the batch is available", () => {
    const state = open();
    expect(take(state, 40, 10, { maxRecords: 12, mode: "record_limit" })).toBe("0-11:1");
    expect(picture(state)).toBe("start 0 0-11=acquired 12-19=available");
    const second = { memberId: "m2", maxRecords: 3, mode: "record_limit" } as const;
    expect(take(state, 40, 10, second)).toBe("12-14:1");
    expect(take(state, 40, 10, { memberId: "m2" })).toBe("15-19:1 20-39:1");
  });

  test("nobody acquires what another one holds", () => {
    const state = open();
    take(state, 10, 10);
    const request = ask(state, 10, 10, { memberId: "m2", fetchOffset: 0 });
    const logBatches = [{ base: 0, last: 9 }];
    expect(state.acquire({ ...request, logBatches }, 0)).toEqual([]);
  });

  test("at the limit of locks only what was released is acquired", () => {
    const state = open(0, [], { recordLocksMax: 30 });
    expect(take(state, 100, 10)).toBe("0-29:1");
    expect(state.canAcquire).toBe(false);
    expect(acknowledge(state, 12, 14, release)).toBe(ErrorCode.NONE);
    expect(state.canAcquire).toBe(true);
    expect(state.nextFetchOffset).toBe(12);
    expect(take(state, 100, 10, { memberId: "m2" })).toBe("12-14:2");
    expect(state.canAcquire).toBe(false);
    expect(acknowledge(state, 0, 9, accept)).toBe(ErrorCode.NONE);
    expect(take(state, 100, 10)).toBe("30-39:1");
  });

  test("a log that begins later moves the start of an empty partition", () => {
    const state = open();
    const request = ask(state, 0, 10, { logBatches: [{ base: 7, last: 9 }] });
    expect(state.acquire(request, 0)).toEqual([{ first: 7, last: 9, deliveryCount: 1 }]);
    expect(state.startOffset).toBe(7);
  });

  test("released records that compaction took are archived", () => {
    const state = open();
    take(state, 10, 10);
    take(state, 20, 10);
    acknowledge(state, 0, 9, release);
    expect(state.nextFetchOffset).toBe(0);
    const request = ask(state, 0, 10, { logBatches: [{ base: 20, last: 29 }] });
    expect(state.acquire(request, 0)).toEqual([{ first: 20, last: 29, deliveryCount: 1 }]);
    expect(picture(state)).toBe("start 10 10-19=acquired 20-29=acquired");
  });
});

describe("acknowledge", () => {
  test("the start moves over finished records, and only over those", () => {
    const state = open();
    take(state, 30, 10, { batchSize: 10 });
    expect(acknowledge(state, 10, 19, accept)).toBe(ErrorCode.NONE);
    expect(state.startOffset).toBe(0);
    expect(state.deliveryCompleteCount).toBe(10);
    expect(acknowledge(state, 0, 4, accept)).toBe(ErrorCode.NONE);
    expect(picture(state)).toBe("start 5 5-9=acquired 10-19=acknowledged 20-29=acquired");
    expect(acknowledge(state, 5, 9, reject)).toBe(ErrorCode.NONE);
    expect(state.startOffset).toBe(20);
    expect(acknowledge(state, 20, 29, accept)).toBe(ErrorCode.NONE);
    expect(picture(state)).toBe("start 30");
  });

  test("each offset may have a type of its own: accept, gap, release, reject", () => {
    const state = open();
    take(state, 6, 6);
    expect(acknowledge(state, 0, 5, [1, 0, 2, 3, 1, 2])).toBe(ErrorCode.NONE);
    const rest = "2-2=available 3-3=archived 4-4=acknowledged 5-5=available";
    expect(picture(state)).toBe(`start 2 ${rest}`);
    expect(take(state, 6, 6, { memberId: "m2" })).toBe("2-2:2 5-5:2");
  });

  test("all of a request or nothing of it", () => {
    const state = open();
    take(state, 10, 10);
    const good = { firstOffset: 0, lastOffset: 3, acknowledgeTypes: accept };
    const bad = { firstOffset: 4, lastOffset: 20, acknowledgeTypes: accept };
    expect(state.acknowledge("m1", [good, bad], 0).errorCode).toBe(ErrorCode.INVALID_REQUEST);
    expect(picture(state)).toBe("start 0 0-9=acquired");
    expect(acknowledge(state, 0, 9, accept)).toBe(ErrorCode.NONE);
  });

  test("what one does not hold cannot be acknowledged", () => {
    const state = open(5);
    expect(acknowledge(state, 5, 6, accept)).toBe(ErrorCode.INVALID_RECORD_STATE);
    take(state, 15, 10);
    expect(acknowledge(state, 5, 6, accept, "m2")).toBe(ErrorCode.INVALID_RECORD_STATE);
    expect(acknowledge(state, 20, 25, accept)).toBe(ErrorCode.INVALID_REQUEST);
    expect(acknowledge(state, 10, 25, accept)).toBe(ErrorCode.INVALID_REQUEST);
    expect(acknowledge(state, 6, 7, accept)).toBe(ErrorCode.NONE);
    expect(acknowledge(state, 6, 7, accept)).toBe(ErrorCode.INVALID_RECORD_STATE);
    expect(acknowledge(state, 0, 3, accept)).toBe(ErrorCode.NONE);
  });

  test("until it is written nobody gets at the records; a failed write gives them back", () => {
    const state = open();
    take(state, 10, 10);
    const request = [{ firstOffset: 0, lastOffset: 9, acknowledgeTypes: release }];
    const { change } = state.acknowledge("m1", request, 0);
    if (change === null) throw new Error("refused");
    expect(change.stateBatches).toEqual([
      { firstOffset: 0, lastOffset: 9, deliveryState: 0, deliveryCount: 1 },
    ]);
    expect(state.nextFetchOffset).toBe(10);
    expect(acknowledge(state, 0, 9, accept)).toBe(ErrorCode.INVALID_RECORD_STATE);
    state.finish(change.transition, false);
    expect(picture(state)).toBe("start 0 0-9=acquired");
    expect(acknowledge(state, 0, 9, accept)).toBe(ErrorCode.NONE);
  });

  test("renewing moves the end of the lock and writes nothing", () => {
    const state = open();
    take(state, 10, 10);
    const request = [{ firstOffset: 0, lastOffset: 4, acknowledgeTypes: [4] }];
    const { change } = state.acknowledge("m1", request, 20_000);
    expect(change?.stateBatches).toEqual([]);
    expect(state.expireLocks(30_000)).toEqual([
      { firstOffset: 5, lastOffset: 9, deliveryState: 0, deliveryCount: 1 },
    ]);
    expect(state.nextLockEndMs).toBe(50_000);
  });

  test("a group may forbid renewing", () => {
    const state = open(0, [], { mayRenew: false });
    take(state, 10, 10);
    expect(acknowledge(state, 0, 9, [4])).toBe(ErrorCode.INVALID_RECORD_STATE);
  });
});

describe("locks", () => {
  test("a lock that ends makes the record available, until it was delivered often enough", () => {
    const state = open(0, [], { deliveryCountMax: 2 });
    expect(take(state, 1, 1, {}, 0)).toBe("0-0:1");
    expect(state.nextLockEndMs).toBe(30_000);
    expect(state.expireLocks(29_999)).toEqual([]);
    expect(state.expireLocks(30_000)).toHaveLength(1);
    expect(take(state, 1, 1, { memberId: "m2" }, 30_000)).toBe("0-0:2");
    expect(state.expireLocks(60_000)).toEqual([
      { firstOffset: 0, lastOffset: 0, deliveryState: 4, deliveryCount: 2 },
    ]);
    expect(picture(state)).toBe("start 1");
    expect(state.nextLockEndMs).toBeNull();
  });

  test("a lock that ends while its acknowledgement is written loses against the write", () => {
    const state = open();
    take(state, 1, 1);
    const request = [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: accept }];
    const { change } = state.acknowledge("m1", request, 0);
    expect(state.expireLocks(40_000)).toEqual([]);
    if (change === null) throw new Error("refused");
    state.finish(change.transition, false);
    expect(state.nextLockEndMs).toBe(30_000);
    expect(state.expireLocks(40_000)).toHaveLength(1);
  });

  test("a member that goes gives back what it holds, and no more", () => {
    const state = open();
    take(state, 10, 10);
    take(state, 20, 10, { memberId: "m2" });
    const { transition, stateBatches } = state.release("m1");
    expect(stateBatches).toHaveLength(1);
    state.finish(transition, true);
    expect(picture(state)).toBe("start 0 0-9=available 10-19=acquired");
  });
});

describe("records near their delivery limit", () => {
  test("go out in halves, quarters, then alone", () => {
    const state = open();
    const sizes: string[] = [];
    for (let turn = 0; turn < 7; turn++) {
      sizes.push(take(state, 16, 16));
      state.finish(state.release("m1").transition, true);
    }
    expect(sizes).toEqual(["0-15:1", "0-15:2", "0-15:3", "0-7:4", "0-0:5", "1-1:5", "2-2:5"]);
    expect(state.startOffset).toBe(3);
  });
});

describe("restore", () => {
  const stored: StateBatch[] = [
    { firstOffset: 10, lastOffset: 14, deliveryState: 2, deliveryCount: 1 },
    { firstOffset: 20, lastOffset: 24, deliveryState: 0, deliveryCount: 2 },
    { firstOffset: 30, lastOffset: 34, deliveryState: 4, deliveryCount: 5 },
  ];

  test("what was acquired and not settled is read again", () => {
    const state = open(10, stored);
    const gap = "15-19=available 20-24=available 25-29=available 30-34=archived";
    expect(picture(state)).toBe(`start 15 ${gap}`);
    expect(state.nextFetchOffset).toBe(15);
    expect(take(state, 40, 10)).toBe("15-19:1 20-24:3 25-29:1 35-39:1");
  });

  test("a gap is taken as batches of the log, up to the limit", () => {
    const state = open(0, [
      { firstOffset: 40, lastOffset: 49, deliveryState: 2, deliveryCount: 1 },
    ]);
    expect(take(state, 60, 10, { maxRecords: 15 })).toBe("0-19:1");
    expect(take(state, 60, 10, { maxRecords: 15, mode: "record_limit" })).toBe("20-34:1");
    expect(take(state, 60, 10)).toBe("35-39:1 50-59:1");
  });

  test("a gap with nothing in the log is passed over", () => {
    const state = open(0, [
      { firstOffset: 40, lastOffset: 49, deliveryState: 2, deliveryCount: 1 },
    ]);
    const request = ask(state, 0, 10, { logBatches: [{ base: 45, last: 59 }] });
    expect(state.acquire(request, 0)).toEqual([{ first: 50, last: 59, deliveryCount: 1 }]);
    expect(state.startOffset).toBe(50);
  });

  test.each([
    ["before the start", 11, stored],
    ["overlapping", 0, [stored[1], stored[0]]],
    ["in an unknown state", 0, [{ ...stored[0], deliveryState: 1 }]],
    ["backwards", 0, [{ ...stored[0], lastOffset: 9 }]],
  ])("is refused for batches %s", (_name, start, batches) => {
    const restored = SharePartitionState.restore(start, batches as StateBatch[], () => limits);
    expect(restored).toBeNull();
  });
});

describe("the log", () => {
  test("its start takes records out of play, held or not", () => {
    const state = open();
    take(state, 20, 10, { batchSize: 10 });
    state.logStartMoved(14);
    expect(picture(state)).toBe("start 14 14-19=acquired");
    expect(acknowledge(state, 0, 19, accept)).toBe(ErrorCode.NONE);
    expect(picture(state)).toBe("start 20");
    state.logStartMoved(100);
    expect([state.startOffset, state.endOffset, state.nextFetchOffset]).toEqual([100, 100, 100]);
  });

  test("records of aborted transactions are not delivered", () => {
    const state = open();
    const acquired = state.acquire(ask(state, 20, 5, { batchSize: 10 }), 0);
    const left = state.withoutAborted(acquired, [
      { first: 5, last: 9 },
      { first: 10, last: 14 },
    ]);
    expect(left.map(({ first, last }) => [first, last])).toEqual([
      [0, 4],
      [15, 19],
    ]);
    expect(picture(state)).toBe("start 0 0-4=acquired 5-9=archived 10-14=archived 15-19=acquired");
  });
});

describe("dead letters", () => {
  const queue = { deadLetterTopic: "dlq", deliveryCountMax: 2 };
  const letters = (state: SharePartitionState) => {
    const next = state.nextDeadLetters();
    if (next === null) return null;
    return `${next.first}-${next.last}:${next.deliveryCount}${next.isRejected ? " rejected" : ""}`;
  };

  test("a rejected record is archiving, and archived once it was copied", () => {
    const state = open(0, [], queue);
    take(state, 10, 10);
    expect(acknowledge(state, 0, 1, accept)).toBe(0);
    expect(acknowledge(state, 2, 3, reject)).toBe(0);
    expect(picture(state)).toBe("start 2 2-3=archiving 4-9=acquired");
    expect(letters(state)).toBe("2-3:1 rejected");
    expect(state.deliveryCompleteCount).toBe(0);
    expect(acknowledge(state, 2, 2, accept)).toBe(ErrorCode.INVALID_RECORD_STATE);
    expect(state.archiveDeadLetters(2, 2)).toEqual([
      { firstOffset: 2, lastOffset: 2, deliveryState: 4, deliveryCount: 1 },
    ]);
    expect(picture(state)).toBe("start 3 3-3=archiving 4-9=acquired");
    expect(letters(state)).toBe("3-3:1 rejected");
  });

  test("it is not to be copied before that it is archiving is written, nor if it cannot be", () => {
    const state = open(0, [], queue);
    take(state, 1, 1);
    const request = [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: reject }];
    const { change } = state.acknowledge("m1", request, 0);
    expect(change?.stateBatches[0]?.deliveryState).toBe(3);
    expect(letters(state)).toBeNull();
    if (change !== null) state.finish(change.transition, false);
    expect(picture(state)).toBe("start 0 0-0=acquired");
    expect(letters(state)).toBeNull();
  });

  test("a record delivered too often is archiving when released or its lock ends", () => {
    const state = open(0, [], queue);
    take(state, 2, 2);
    acknowledge(state, 0, 1, release);
    expect(take(state, 2, 2)).toBe("0-1:2");
    acknowledge(state, 0, 0, release);
    expect(letters(state)).toBe("0-0:2");
    expect(state.expireLocks(30_000)).toEqual([
      { firstOffset: 1, lastOffset: 1, deliveryState: 3, deliveryCount: 2 },
    ]);
    expect(letters(state)).toBe("0-1:2");
  });

  test("gaps are archived, and what lies below the log start is out of play", () => {
    const state = open(0, [], queue);
    take(state, 4, 4);
    acknowledge(state, 1, 1, [0]);
    acknowledge(state, 0, 0, reject);
    acknowledge(state, 2, 2, reject);
    state.logStartMoved(1);
    expect(picture(state)).toBe("start 2 2-2=archiving 3-3=acquired");
    expect(letters(state)).toBe("2-2:1 rejected");
    expect(state.archiveDeadLetters(0, 0)).toEqual([]);
  });

  test("after a restart the delivery count tells why", () => {
    const stored = [
      { firstOffset: 0, lastOffset: 0, deliveryState: 3, deliveryCount: 1 },
      { firstOffset: 1, lastOffset: 1, deliveryState: 3, deliveryCount: 2 },
    ];
    const state = open(0, stored, queue);
    expect(letters(state)).toBe("0-0:1 rejected");
    state.archiveDeadLetters(0, 0);
    expect(letters(state)).toBe("1-1:2");
    expect(state.deadLetterCount).toBe(1);
    expect(take(state, 2, 1)).toBe("");
  });
});
