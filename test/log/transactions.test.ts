import { expect, test } from "bun:test";
import type { Partition } from "../../src/log/partition.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batch, idempotent, LogLab, turn } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;
const coordinator = { origin: "coordinator" } as const;

/** A transactional batch of `count` records. */
function transactional(producerId: number, producerEpoch: number, baseSequence: number, count = 1) {
  const values = Array.from({ length: count }, (_, n) => `${producerId}/${baseSequence + n}`);
  return batch({ values, producerId, producerEpoch, baseSequence, isTransactional: true });
}

function marker(producerId: number, producerEpoch: number, commit: boolean) {
  return {
    producerId,
    producerEpoch,
    commit,
    coordinatorEpoch: 0,
    transactionVersion: 0,
  };
}

async function code(answer: Promise<{ errorCode: number }>): Promise<number> {
  return (await answer).errorCode;
}

function abortedIn(partition: Partition, from = 0, to = partition.highWatermark) {
  return partition.abortedTransactions(from, to);
}

test("the last stable offset waits for the oldest transaction to be decided", async () => {
  const partition = await new LogLab().open();
  await partition.append(batch(), client);
  expect(partition.lastStableOffset).toBe(1);
  await partition.append(transactional(1, 0, 0, 2), client);
  await partition.append(transactional(2, 0, 0), client);
  expect([partition.highWatermark, partition.lastStableOffset]).toEqual([4, 1]);
  expect(partition.archivableEnd).toBe(1);
  await partition.appendMarker(marker(2, 0, true));
  expect(partition.lastStableOffset).toBe(1);
  await partition.appendMarker(marker(1, 0, false));
  expect([partition.highWatermark, partition.lastStableOffset]).toEqual([6, 6]);
  expect(await abortedIn(partition)).toEqual([{ producerId: 1, firstOffset: 1 }]);
  expect(await abortedIn(partition, 0, 1)).toEqual([]);
});

test("a transaction counts as decided only when its marker is durable", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const data = partition.append(transactional(1, 0, 0), client);
  lab.wal.complete();
  await data;
  const ended = partition.appendMarker(marker(1, 0, false));
  expect(partition.hasOpenTransaction(1, 0)).toBe(false);
  expect(partition.lastStableOffset).toBe(0);
  expect(await abortedIn(partition)).toEqual([]);
  lab.wal.complete();
  expect((await ended).baseOffset).toBe(1);
  expect(partition.lastStableOffset).toBe(2);
  expect(await abortedIn(partition)).toEqual([{ producerId: 1, firstOffset: 0 }]);
});

test("a failed append takes back what it did to transactions", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const first = partition.append(transactional(1, 0, 0), client);
  lab.wal.complete();
  await first;
  lab.wal.failWhen = () => noSpace();
  const failed = [
    partition.appendMarker(marker(1, 0, false)),
    partition.append(transactional(1, 0, 1), client),
    partition.append(transactional(2, 0, 0), client),
  ];
  lab.wal.complete();
  for (const answer of failed) expect(await code(answer)).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(partition.hasOpenTransaction(1, 0)).toBe(true);
  expect(partition.hasOpenTransaction(2, 0)).toBe(false);
  lab.wal.failWhen = () => null;
  const again = partition.appendMarker(marker(1, 0, true));
  lab.wal.complete();
  expect((await again).baseOffset).toBe(1);
  expect(partition.lastStableOffset).toBe(2);
  expect(await abortedIn(partition)).toEqual([]);
  // The very sequence that was rolled back is next.
  const next = partition.append(transactional(1, 0, 1), client);
  lab.wal.complete();
  expect((await next).baseOffset).toBe(2);
});

test("a write outside the open transaction is INVALID_TXN_STATE", async () => {
  const partition = await new LogLab().open();
  await partition.append(transactional(1, 0, 0), client);
  expect(await code(partition.append(idempotent(1, 0, 1), client))).toBe(
    ErrorCode.INVALID_TXN_STATE,
  );
  await partition.appendMarker(marker(1, 0, true));
  expect(await code(partition.append(idempotent(1, 0, 1), client))).toBe(ErrorCode.NONE);
});

test("an older coordinator's marker is TRANSACTION_COORDINATOR_FENCED", async () => {
  const partition = await new LogLab().open();
  await partition.append(transactional(1, 0, 0), client);
  await partition.appendMarker({ ...marker(1, 0, true), coordinatorEpoch: 5 });
  await partition.append(transactional(1, 0, 1), client);
  const stale = { ...marker(1, 0, false), coordinatorEpoch: 4 };
  expect(await code(partition.appendMarker(stale))).toBe(ErrorCode.TRANSACTION_COORDINATOR_FENCED);
  expect(partition.hasOpenTransaction(1, 0)).toBe(true);
});

test("version 1: a marker may have the same epoch or a newer one", async () => {
  const partition = await new LogLab().open();
  await partition.append(transactional(1, 3, 0), client);
  expect(await code(partition.appendMarker(marker(1, 2, true)))).toBe(
    ErrorCode.INVALID_PRODUCER_EPOCH,
  );
  expect(await code(partition.appendMarker(marker(1, 3, true)))).toBe(ErrorCode.NONE);
  // A fenced producer's transaction is aborted under the next epoch.
  await partition.append(transactional(1, 3, 1), client);
  expect(await code(partition.appendMarker(marker(1, 4, false)))).toBe(ErrorCode.NONE);
  expect(await code(partition.append(transactional(1, 3, 2), client))).toBe(
    ErrorCode.INVALID_PRODUCER_EPOCH,
  );
  expect(await code(partition.append(transactional(1, 4, 5), client))).toBe(
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  );
});

test("version 2: a marker's epoch is above the producer's, but for its repeat", async () => {
  const partition = await new LogLab().open();
  const v2 = (epoch: number) => ({ ...marker(1, epoch, true), transactionVersion: 2 });
  await partition.append(transactional(1, 3, 0), { ...client, transactionVersion: 2 });
  expect(await code(partition.appendMarker(v2(3)))).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(await code(partition.appendMarker(v2(4)))).toBe(ErrorCode.NONE);
  // Its repeat, when the first answer was lost.
  expect(await code(partition.appendMarker(v2(4)))).toBe(ErrorCode.NONE);
  await partition.append(transactional(1, 4, 0), { ...client, transactionVersion: 2 });
  expect(await code(partition.appendMarker(v2(4)))).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(await code(partition.appendMarker(v2(3)))).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
});

test("version 2: an unknown producer starts at sequence 0", async () => {
  const partition = await new LogLab().open();
  const v2 = { ...client, transactionVersion: 2 } as const;
  expect(await code(partition.append(transactional(1, 0, 7), v2))).toBe(
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  );
  const v1 = { ...client, transactionVersion: 1 } as const;
  expect(await code(partition.append(transactional(1, 0, 7), v1))).toBe(ErrorCode.NONE);
});

test("the coordinator's word counts at the moment of the append, and not for a retry", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  let answer: number = ErrorCode.NONE;
  const asked = { ...client, transactionCheck: () => answer };
  const first = await partition.append(transactional(1, 0, 0), asked);
  answer = ErrorCode.INVALID_TXN_STATE;
  const retry = await partition.append(transactional(1, 0, 0), asked);
  expect(retry).toMatchObject({ errorCode: 0, baseOffset: first.baseOffset });
  expect(await code(partition.append(transactional(1, 0, 1), asked))).toBe(answer);
  // A stale epoch is told first: the client can recover from that.
  await partition.appendMarker(marker(1, 1, false));
  expect(await code(partition.append(transactional(1, 0, 1), asked))).toBe(
    ErrorCode.INVALID_PRODUCER_EPOCH,
  );
});

test("a batch that waits for a worker is judged when its turn comes", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  lab.wal.validations = [];
  let checks = 0;
  const large = batch({
    values: ["x".repeat(300 << 10)],
    producerId: 1,
    producerEpoch: 0,
    baseSequence: 0,
    isTransactional: true,
  });
  const answer = partition.append(large, {
    ...client,
    transactionCheck: () => {
      checks++;
      return ErrorCode.INVALID_TXN_STATE;
    },
  });
  await turn();
  expect(checks).toBe(0);
  for (const go of lab.wal.validations.splice(0)) go();
  expect(await code(answer)).toBe(ErrorCode.INVALID_TXN_STATE);
  expect(checks).toBe(1);
});

test("nobody writes control records but as a marker", async () => {
  const partition = await new LogLab().open();
  const control = batch({
    isControl: true,
    isTransactional: true,
    producerId: 1,
    producerEpoch: 0,
  });
  expect(await code(partition.append(control, client))).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(partition.append(control, coordinator))).toBe(ErrorCode.INVALID_RECORD);
});

test("a coordinator's transactional batches carry no sequence", async () => {
  const partition = await new LogLab().open();
  const offsets = () => batch({ producerId: 1, producerEpoch: 0, isTransactional: true });
  await partition.append(offsets(), coordinator);
  await partition.append(offsets(), coordinator);
  expect(partition.activeProducers()).toEqual([
    {
      producerId: 1,
      producerEpoch: 0,
      lastSequence: -1,
      lastTimestamp: 1_700_000_000_000,
      coordinatorEpoch: -1,
      currentTxnStartOffset: 0,
    },
  ]);
  const plain = batch({ producerId: 1, producerEpoch: 0 });
  expect(await code(partition.append(plain, coordinator))).toBe(ErrorCode.INVALID_TXN_STATE);
});

test("a producer with an open transaction neither expires nor makes room", async () => {
  const limits = { producersMax: 2, producerIdExpirationMs: () => 1000 };
  const lab = new LogLab({ limits });
  const partition = await lab.open();
  await partition.append(transactional(1, 0, 0), client);
  lab.clock.advance(1_000_000);
  partition.expireProducers();
  for (let id = 2; id < 8; id++) await partition.append(idempotent(id, 0, 0), client);
  expect(partition.hasOpenTransaction(1, 0)).toBe(true);
  expect(partition.lastStableOffset).toBe(0);
  await partition.appendMarker(marker(1, 0, true));
  lab.clock.advance(1_000_000);
  partition.expireProducers();
  expect(partition.activeProducers()).toEqual([]);
});

test("as many transactions as the limit says may be open", async () => {
  const lab = new LogLab({ limits: { transactionsMax: 2 } });
  const partition = await lab.open();
  await partition.append(transactional(1, 0, 0), client);
  await partition.append(transactional(2, 0, 0), client);
  expect(await code(partition.append(transactional(3, 0, 0), client))).toBe(
    ErrorCode.REQUEST_TIMED_OUT,
  );
  expect(await code(partition.append(transactional(1, 0, 1), client))).toBe(ErrorCode.NONE);
  await partition.appendMarker(marker(1, 0, true));
  expect(await code(partition.append(transactional(3, 0, 0), client))).toBe(ErrorCode.NONE);
});

test("no transaction begins whose abort could not be remembered", async () => {
  const lab = new LogLab({ limits: { abortedMax: 2 } });
  const partition = await lab.open();
  for (const id of [1, 2]) {
    await partition.append(transactional(id, 0, 0), client);
    await partition.appendMarker(marker(id, 0, false));
  }
  const third = () => code(partition.append(transactional(3, 0, 0), client));
  expect(await third()).toBe(ErrorCode.REQUEST_TIMED_OUT);
  // Without a transaction nothing is in the way.
  expect(await code(partition.append(batch(), client))).toBe(ErrorCode.NONE);
  await partition.deleteRecordsBefore(2);
  expect(await third()).toBe(ErrorCode.NONE);
});

test("readers hear of the bytes that a marker decided", async () => {
  const partition = await new LogLab().open();
  const heard: [number, number][] = [];
  partition.onAdvance((bytes, stableBytes) => heard.push([bytes, stableBytes]));
  const plain = batch();
  const held = transactional(1, 0, 0);
  await partition.append(plain, client);
  await partition.append(held, client);
  await partition.append(plain, client);
  await partition.appendMarker(marker(1, 0, true));
  const end = heard.at(-1)?.[0] ?? 0;
  expect(heard).toEqual([
    [plain.length, plain.length],
    [held.length, 0],
    [plain.length, 0],
    [end, held.length + plain.length + end],
  ]);
});

test("after a restart, readers hear of the transactions from before one by one", async () => {
  for (const checkpointed of [false, true]) {
    const before = new LogLab();
    const first = await before.open();
    for (const producerId of [1, 2, 3]) await first.append(transactional(producerId, 0, 0), client);
    if (checkpointed) await first.checkpoint();
    const partition = await before.restart().open();
    const heard: number[] = [];
    partition.onAdvance((_bytes, stableBytes) => heard.push(stableBytes));
    const seen = partition.stableBytesAdvanced;
    for (const producerId of [2, 1, 3]) await partition.appendMarker(marker(producerId, 0, true));
    expect(partition.lastStableOffset).toBe(6);
    expect(heard.map((bytes) => bytes > 0)).toEqual([false, true, true]);
    const sum = heard.reduce((total, bytes) => total + bytes, 0);
    expect(partition.stableBytesAdvanced - seen).toBe(sum);
  }
});

test("DeleteRecords past an open transaction moves the last stable offset along", async () => {
  const partition = await new LogLab().open();
  await partition.append(transactional(1, 0, 0, 2), client);
  await partition.append(batch(), client);
  await partition.deleteRecordsBefore(2);
  expect(partition.lastStableOffset).toBe(2);
  await partition.appendMarker(marker(1, 0, false));
  expect(await abortedIn(partition, 2)).toEqual([{ producerId: 1, firstOffset: 0 }]);
  await partition.deleteRecordsBefore(-1);
  expect(await abortedIn(partition, 0, 100)).toEqual([]);
});
