import { expect, test } from "bun:test";
import { BrokerError } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { TransactionFilter } from "../../src/transaction/api-types.ts";
import { encodeState } from "../../src/transaction/records.ts";
import { noPartitions, producerEpochMax } from "../../src/transaction/transaction-types.ts";
import { Harness, settle } from "./harness.ts";

const everything = { producerIds: [], states: [], durationMs: -1 };

test("a transaction: partitions, the decision, markers, completion", async () => {
  const world = new Harness();
  const producer = await world.init();
  expect(producer).toMatchObject({ errorCode: 0, producerId: 100, producerEpoch: 0 });
  expect(await world.add(producer, "t-0", "t-1", "u-0")).toBe(0);
  expect(await world.state()).toBe("Ongoing 100/0");
  expect(await world.end(producer)).toEqual({ errorCode: 0, producerId: 100, producerEpoch: 1 });
  await settle();
  expect(world.markers.list()).toEqual([
    "t-0 commit 100/1",
    "t-1 commit 100/1",
    "u-0 commit 100/1",
  ]);
  expect(world.markers.written[0]!.marker).toMatchObject({
    coordinatorEpoch: 5,
    transactionVersion: 2,
  });
  expect(await world.state()).toBe("CompleteCommit 100/1");
  expect(world.logOf("id").states()).toEqual([
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "CompleteCommit",
  ]);
});

test("nothing is answered before it is durable", async () => {
  const world = new Harness();
  const producer = await world.init();
  const log = world.logOf("id");
  log.isHeld = true;
  const answers: string[] = [];
  const watch = (name: string, answer: Promise<unknown>) => {
    void answer.then(() => answers.push(name));
  };
  watch("add", world.add(producer, "t-0"));
  await settle();
  expect(answers).toEqual([]);
  // What is not durable does not count.
  expect(await world.state()).toBe("Empty 100/0");
  log.release();
  await settle();
  watch("end", world.end(producer));
  await settle();
  expect(answers).toEqual(["add"]);
  expect(world.markers.attempts).toBe(0);
  log.release();
  await settle();
  expect(answers).toEqual(["add", "end"]);
  expect(world.markers.list()).toEqual(["t-0 commit 100/1"]);
  watch("init", world.init());
  await settle();
  // The completion is not durable yet.
  expect(await world.init()).toMatchObject({ errorCode: ErrorCode.CONCURRENT_TRANSACTIONS });
  log.release();
  await settle();
  expect(await world.state()).toBe("CompleteCommit 100/1");
});

test("a transaction completes only when every marker is durable", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0", "t-1");
  world.markers.answers.set("t-1", "hold");
  await world.end(producer);
  await settle();
  expect(await world.state()).toBe("PrepareCommit 100/1");
  world.markers.release();
  await settle();
  expect(await world.state()).toBe("CompleteCommit 100/1");
});

test("a partition that is not open is tried again, one that was deleted is left out", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0", "gone-0", "late-0");
  const failed = { kind: "failed", errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER } as const;
  world.markers.answers.set("late-0", failed);
  world.markers.answers.set("gone-0", { kind: "gone" });
  await world.end(producer, false);
  await settle();
  for (let round = 0; round < 20; round++) {
    world.clock.advance(10_000);
    await settle();
  }
  expect(await world.state()).toBe("PrepareAbort 100/1");
  expect(world.markers.list()).toEqual(["t-0 abort 100/1"]);
  expect(world.problems.map(({ code }) => code)).toEqual(["CHRONIK_TRANSACTION_COMPLETION"]);
  // 3 at first, then one each round: what is written is not written again.
  expect(world.markers.attempts).toBeLessThan(40);
  world.markers.answers.delete("late-0");
  world.clock.advance(10_000);
  await settle();
  expect(world.markers.list()).toEqual(["t-0 abort 100/1", "late-0 abort 100/1"]);
  expect(await world.state()).toBe("CompleteAbort 100/1");
});

test("a fenced marker does not hold the transaction up, and is told", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  const failed = { kind: "failed", errorCode: ErrorCode.INVALID_PRODUCER_EPOCH } as const;
  world.markers.answers.set("t-0", failed);
  await world.end(producer);
  await settle();
  expect(await world.state()).toBe("CompleteCommit 100/1");
  expect(world.problems[0]?.message).toContain("t-0: INVALID_PRODUCER_EPOCH");
});

test("a completion that cannot be written is tried until it can", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  world.markers.answers.set("t-0", "hold");
  await world.end(producer);
  world.logOf("id").throwsOnAppend = true;
  world.markers.release();
  await settle();
  world.clock.advance(5_000);
  await settle();
  expect(await world.state()).toBe("PrepareCommit 100/1");
  world.logOf("id").throwsOnAppend = false;
  world.clock.advance(20_000);
  await settle();
  expect(await world.state()).toBe("CompleteCommit 100/1");
  expect(world.markers.list()).toEqual(["t-0 commit 100/1"]);
});

test("a crash at any step: the next broker ends what was decided, and only that", async () => {
  for (let records = 0; records <= 4; records++) {
    const world = new Harness();
    const producer = await world.init();
    await world.add(producer, "t-0", "t-1");
    await world.end(producer);
    await settle();
    const log = world.logOf("id");
    expect(log.durable.length).toBe(4);
    log.durable.splice(records);
    await world.restart();
    const state = await world.state();
    const after = [
      String(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND),
      "Empty 100/0",
      "Ongoing 100/0",
      "CompleteCommit 100/1",
      "CompleteCommit 100/1",
    ];
    expect(state).toBe(after[records]!);
    const resent = records === 3 ? ["t-0 commit 100/1", "t-1 commit 100/1"] : [];
    expect(world.markers.list()).toEqual(resent);
  }
});

test("what the log refuses did not happen, and is told in the coordinator's words", async () => {
  const world = new Harness();
  const log = world.logOf("id");
  log.errorCode = ErrorCode.NOT_ENOUGH_REPLICAS;
  expect(await world.init()).toMatchObject({ errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE });
  expect(world.transactions.idCount).toBe(0);
  log.errorCode = ErrorCode.NONE;
  const producer = await world.init();
  log.throwsOnAppend = true;
  expect(await world.add(producer, "t-0")).toBe(ErrorCode.NOT_COORDINATOR);
  expect(world.problems[0]?.code).toBe("CHRONIK_TRANSACTION_WRITE_FAILED");
  log.throwsOnAppend = false;
  expect(await world.add(producer, "t-0")).toBe(0);
  log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
  expect(await world.end(producer)).toMatchObject({ errorCode: ErrorCode.NOT_COORDINATOR });
  log.errorCode = ErrorCode.NONE;
  expect(await world.end(producer)).toMatchObject({ errorCode: 0, producerEpoch: 1 });
});

test("a transaction that takes too long is aborted, and its producer fenced", async () => {
  const world = new Harness();
  await world.transactions.start();
  const producer = await world.init("id", 30_000);
  const patient = await world.init("patient", 600_000);
  await world.add(producer, "t-0");
  await world.add(patient, "t-0");
  world.clock.advance(30_000);
  await settle();
  expect(await world.state()).toBe("Ongoing 100/0");
  world.clock.advance(10_000);
  await settle();
  expect(await world.state()).toBe("CompleteAbort 100/1");
  expect(await world.state("patient")).toBe("Ongoing 101/0");
  expect(world.markers.list()).toEqual(["t-0 abort 100/1"]);
  expect(await world.end(producer)).toMatchObject({ errorCode: ErrorCode.INVALID_TXN_STATE });
  expect(await world.add(producer, "t-0")).toBe(ErrorCode.PRODUCER_FENCED);
});

test("a timeout aborts only the transaction that ran out of it", async () => {
  const world = new Harness();
  await world.transactions.start();
  const ids: string[] = [];
  for (let n = 0; ids.length < 65; n++) {
    if (world.transactions.partitionFor(`id-${n}`) === 0) ids.push(`id-${n}`);
  }
  const producers = [];
  for (const id of ids) producers.push(await world.init(id, 5_000));
  for (const producer of producers) await world.add(producer, "t-0");
  expect(world.transactions.ongoingCount).toBe(65);
  // More are over time than are aborted at once; the last has its turn after the others.
  const last = producers.at(-1)!;
  world.log(0).isHeld = true;
  world.clock.advance(10_000);
  await settle();
  world.log(0).isHeld = false;
  const ask = { ...last, commit: true, clientVersion: 0 as const };
  expect(await world.transactions.endTransaction(ask)).toMatchObject({ errorCode: 0 });
  await settle();
  expect(await world.add(last, "t-0")).toBe(0);
  world.log(0).release();
  await settle();
  // Version 1 keeps its epoch: the new transaction is another one all the same.
  expect(await world.state(last.transactionalId)).toBe(`Ongoing ${last.producerId}/0`);
  expect(await world.state(ids[0])).toBe("CompleteAbort 100/1");
  const { ongoingCount, completingCount, timeoutCount, idCount } = world.transactions;
  expect({ ongoingCount, completingCount, timeoutCount, idCount }).toEqual({
    ongoingCount: 1,
    completingCount: 0,
    timeoutCount: 64,
    idCount: 65,
  });
  await world.restart();
  expect(world.transactions.ongoingCount).toBe(1);
});

test("a second producer fences the first, whose transaction is aborted", async () => {
  const world = new Harness();
  const first = await world.init();
  await world.add(first, "t-0");
  expect(await world.init()).toMatchObject({ errorCode: ErrorCode.CONCURRENT_TRANSACTIONS });
  await settle();
  const second = await world.init();
  expect(second).toMatchObject({ errorCode: 0, producerId: 100, producerEpoch: 2 });
  expect(await world.add(first, "t-0")).toBe(ErrorCode.PRODUCER_FENCED);
  expect(await world.end(first)).toMatchObject({ errorCode: ErrorCode.PRODUCER_FENCED });
  expect(await world.add(second, "t-0")).toBe(0);
});

test("a coordinator that is closed tries no marker again; the next one does", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  const failed = { kind: "failed", errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER } as const;
  world.markers.answers.set("t-0", failed);
  await world.end(producer);
  await settle();
  world.transactions.close();
  await settle();
  const { attempts } = world.markers;
  world.markers.answers.clear();
  world.clock.advance(600_000);
  await settle();
  expect([attempts > 0, world.markers.attempts]).toEqual([true, attempts]);
  expect(world.transactions.completingCount).toBe(0);
  await world.restart();
  expect(await world.state()).toBe("CompleteCommit 100/1");
});

for (const level of [0, 1] as const) {
  test(`transaction.version ${level}: whoever fences does it with one epoch`, async () => {
    const world = new Harness();
    world.transactionVersion = level;
    await world.transactions.start();
    const first = await world.init("id", 5_000);
    await world.add(first, "t-0");
    world.clock.advance(10_000);
    await settle();
    // The abort carries the fence's epoch; the end itself bumps none.
    expect(await world.state()).toBe("CompleteAbort 100/1");
    expect(world.markers.list()).toEqual(["t-0 abort 100/1"]);
    expect(await world.add(first, "t-0")).toBe(ErrorCode.PRODUCER_FENCED);
    const second = await world.init();
    expect(second).toMatchObject({ errorCode: 0, producerEpoch: 2 });
    await world.add(second, "t-0");
    // A fence that is not written counts all the same, and is not bumped a second time.
    world.logOf("id").errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await world.init()).toMatchObject({ errorCode: ErrorCode.NOT_COORDINATOR });
      expect(await world.state()).toBe("Ongoing 100/3");
    }
    expect(await world.add(second, "t-1")).toBe(ErrorCode.PRODUCER_FENCED);
    world.logOf("id").errorCode = ErrorCode.NONE;
    expect(await world.init()).toMatchObject({ errorCode: ErrorCode.CONCURRENT_TRANSACTIONS });
    await settle();
    expect(world.markers.list()).toEqual(["t-0 abort 100/1", "t-0 abort 100/3"]);
    expect(await world.init()).toMatchObject({ errorCode: 0, producerEpoch: 4 });
    await world.restart();
    expect(await world.state()).toBe("Empty 100/4");
  });
}

test("the last epoch, which is for fencing, is given to nobody", async () => {
  const world = new Harness();
  // A level that was lowered under a client of version 2, whose aborts then bring no new id.
  world.transactionVersion = 1;
  const epochs = { producerId: 1, prevProducerId: -1, nextProducerId: -1, lastProducerEpoch: -1 };
  const rest = { timeoutMs: 5_000, partitions: noPartitions, startMs: 1, lastUpdateMs: 1 };
  const data = {
    ...epochs,
    ...rest,
    producerEpoch: producerEpochMax - 2,
    clientVersion: 2,
  } as const;
  world.logOf("id").durable.push(encodeState("id", { ...data, state: "CompleteCommit" }, 1, 1));
  await world.restart();
  const producer = await world.init("id", 5_000);
  expect(producer.producerEpoch).toBe(producerEpochMax - 1);
  await world.add(producer, "t-0");
  world.clock.advance(10_000);
  await settle();
  expect(await world.state()).toBe(`CompleteAbort 1/${producerEpochMax}`);
  expect(await world.end(producer, false)).toMatchObject({ errorCode: ErrorCode.PRODUCER_FENCED });
  expect(await world.end(producer, true)).toMatchObject({ errorCode: ErrorCode.PRODUCER_FENCED });
  const next = await world.init();
  expect([next.errorCode, next.producerId > 1, next.producerEpoch]).toEqual([0, true, 0]);
});

test("ids unused for long are forgotten, durably; those in use are not", async () => {
  const world = new Harness({ idExpirationMs: 7_200_000 });
  await world.transactions.start();
  await world.init("unused");
  const open = await world.init("open", 900_000);
  await world.add(open, "t-0");
  world.markers.answers.set("t-0", "hold");
  for (let hour = 0; hour < 3; hour++) {
    world.clock.advance(3_600_000);
    await settle();
  }
  expect(await world.state("unused")).toBe(String(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND));
  expect(world.logOf("unused").states().at(-1)).toBeNull();
  expect(await world.state("open")).toStartWith("PrepareAbort");
  await world.restart();
  expect(await world.state("unused")).toBe(String(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND));
  expect(world.transactions.idCount).toBe(1);
});

test("produce waits a moment for the end of the transaction before it", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  world.markers.answers.set("t-0", "hold");
  const next = { ...producer, ...(await world.end(producer)) };
  const ask = { ...next, topic: "t", partition: 0, addIfMissing: true };
  let answer: number | null = null;
  void Promise.resolve(world.transactions.verifyOrAdd(ask)).then((code) => {
    answer = code;
  });
  await settle();
  expect(answer).toBeNull();
  world.markers.release();
  await settle();
  expect(answer as unknown as number).toBe(0);
  // It is part of the transaction now: at once, and at the moment of the append.
  expect(world.transactions.verifyOrAdd(ask)).toBe(0);
  expect(world.transactions.appendError(ask)).toBe(0);
  world.markers.answers.clear();
  await world.end({ ...producer, ...next });
  await settle();
  const late = world.transactions.verifyOrAdd(ask);
  expect(await late).toBe(ErrorCode.PRODUCER_FENCED);
  expect(world.transactions.appendError(ask)).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
});

test("all partitions of one request join with one write", async () => {
  const world = new Harness();
  const producer = await world.init();
  const answers = Array.from({ length: 20 }, (_, partition) =>
    world.transactions.verifyOrAdd({ ...producer, topic: "t", partition, addIfMissing: true }),
  );
  expect(await Promise.all(answers)).toEqual(answers.map(() => 0));
  expect(world.logOf("id").states()).toEqual(["Empty", "Ongoing"]);
});

test("a produce gives up waiting", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  world.markers.answers.set("t-0", "hold");
  const next = { ...producer, ...(await world.end(producer)) };
  const ask = { ...next, topic: "t", partition: 0, addIfMissing: true };
  const answer = world.transactions.verifyOrAdd(ask);
  await settle();
  world.clock.advance(100);
  expect(await answer).toBe(ErrorCode.CONCURRENT_TRANSACTIONS);
});

test("a producer of version 1 has to add its partitions before it writes", async () => {
  const world = new Harness();
  const producer = await world.init();
  const ask = { ...producer, topic: "t", partition: 0, addIfMissing: false };
  expect(world.transactions.verifyOrAdd(ask)).toBe(ErrorCode.TRANSACTION_ABORTABLE);
  await world.add(producer, "t-0");
  expect(world.transactions.verifyOrAdd(ask)).toBe(0);
  expect(await world.transactions.verifyOrAdd({ ...ask, transactionalId: "other" })).toBe(
    ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  );
  expect(
    await world.transactions.verifyPartitions(producer, [ask, { ...ask, partition: 1 }]),
  ).toEqual([0, ErrorCode.TRANSACTION_ABORTABLE]);
});

test("bounds: timeouts, empty and long ids, the number of ids and bytes", async () => {
  const world = new Harness({ idsMax: 2, idCharsMax: 10, stateBytesMax: 2_000 });
  expect((await world.init("id", 0)).errorCode).toBe(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
  expect((await world.init("id", 900_001)).errorCode).toBe(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
  expect((await world.init("")).errorCode).toBe(ErrorCode.INVALID_REQUEST);
  expect((await world.init("0123456789a")).errorCode).toBe(ErrorCode.INVALID_REQUEST);
  const a = await world.init("a");
  await world.init("b");
  expect((await world.init("c")).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const many = Array.from({ length: 100 }, (_, index) => `t-${index}`);
  expect(await world.add(a, ...many)).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(await world.add(a, "t-0")).toBe(0);
});

test("without producer ids no new id comes up, and the old ones go on", async () => {
  const world = new Harness();
  const producer = await world.init();
  world.idFailure = new BrokerError("CHRONIK_FULL", "no room");
  expect((await world.init("new")).errorCode).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
  expect(await world.add(producer, "t-0")).toBe(0);
  expect(world.problems[0]?.code).toBe("CHRONIK_FULL");
});

test("a partition that cannot be read is not guessed at, and is tried again", async () => {
  const world = new Harness();
  const producer = await world.init();
  await world.add(producer, "t-0");
  world.logOf("id").replayFailure = new Error("unreadable");
  await world.restart();
  expect((await world.init()).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(world.transactions.list(everything).errorCode).toBe(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  expect(world.problems[0]?.code).toBe("CHRONIK_TRANSACTION_LOAD_FAILED");
  world.logOf("id").replayFailure = null;
  world.clock.advance(10_000);
  await settle();
  expect(await world.state()).toBe("Ongoing 100/0");
});

test("lists by state, producer id, duration and name", async () => {
  const world = new Harness();
  const open = await world.init("open");
  await world.init("idle");
  await world.add(open, "t-0");
  world.clock.advance(1_000);
  const list = (filter: Partial<TransactionFilter>) =>
    world.transactions
      .list({ ...everything, ...filter })
      .transactions.map(({ transactionalId }) => transactionalId)
      .sort();
  expect(list({})).toEqual(["idle", "open"]);
  expect(list({ states: ["Ongoing", "Odd"] })).toEqual(["open"]);
  expect(list({ producerIds: [101] })).toEqual(["idle"]);
  expect(list({ states: ["Ongoing"], durationMs: 999 })).toEqual(["open"]);
  expect(list({ states: ["Ongoing"], durationMs: 1_000 })).toEqual([]);
  const twice = { ...everything, states: ["Odd", "Odd"] };
  expect(world.transactions.list(twice).unknownStates).toEqual(["Odd"]);
  expect(await world.transactions.describe("nobody")).toMatchObject({
    errorCode: ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
    producerId: 0,
    producerEpoch: 0,
    startMs: 0,
  });
});

test("exhausted epochs lead to a new producer id in the answer of the end", async () => {
  const world = new Harness();
  let producer = await world.init();
  for (let epoch = 0; epoch < 32_766; epoch++) {
    const ended = await world.end(producer, false);
    producer = { ...producer, ...ended };
    await settle0();
    world.logOf("id").durable.splice(0, 1_000_000);
  }
  expect(producer).toMatchObject({ errorCode: 0, producerId: 100, producerEpoch: 32_766 });
  await settle();
  expect(await world.end(producer, false)).toMatchObject({ producerId: 101, producerEpoch: 0 });
});

/** Just enough turns for a completion without markers. */
async function settle0(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}
