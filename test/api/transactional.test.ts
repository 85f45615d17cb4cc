import { expect, test } from "bun:test";
import { produceHandler } from "../../src/api/00-produce.ts";
import { offsetFetchHandler } from "../../src/api/09-offset-fetch.ts";
import { findCoordinatorHandler } from "../../src/api/10-find-coordinator.ts";
import { initProducerIdHandler } from "../../src/api/22-init-producer-id.ts";
import { addPartitionsToTxnHandler } from "../../src/api/24-add-partitions-to-txn.ts";
import { addOffsetsToTxnHandler } from "../../src/api/25-add-offsets-to-txn.ts";
import { endTxnHandler } from "../../src/api/26-end-txn.ts";
import { writeTxnMarkersHandler } from "../../src/api/27-write-txn-markers.ts";
import { txnOffsetCommitHandler } from "../../src/api/28-txn-offset-commit.ts";
import { describeTransactionsHandler } from "../../src/api/65-describe-transactions.ts";
import { listTransactionsHandler } from "../../src/api/66-list-transactions.ts";
import { deferred } from "../../src/lib/deferred.ts";
import type { Partition } from "../../src/log/partition.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Harness as Groups } from "../group/harness.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, topicA } from "../support/log-lab.ts";
import { settle, Harness as Transactions } from "../transaction/harness.ts";

const offsetsTopic = "__consumer_offsets";

/** Handlers over a transaction coordinator, groups and partitions, all in memory. */
class World {
  readonly lab = new ApiLab();
  readonly groups = new Groups();
  readonly coordinator = new Transactions();
  partitions: Partition[] = [];

  static async open(): Promise<World> {
    const world = new World();
    world.partitions = await world.lab.open();
    const image = world.lab.services.metadata.image.topicsByName as Map<string, unknown>;
    image.set(offsetsTopic, {
      internal: true,
      partitions: Array.from({ length: 50 }, () => ({})),
    });
    const { coordinator, groups } = world;
    Object.assign(world.lab.services, {
      groups: groups.groups,
      transactions: coordinator.transactions,
    });
    // Markers go to the partitions themselves.
    coordinator.markers.write = async (topic, index, marker) => {
      const errorCode =
        topic === offsetsTopic
          ? await groups.groups.completeTransaction(index, marker)
          : ((await world.partitions[index]?.appendMarker(marker))?.errorCode ??
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      return errorCode === 0 ? { kind: "written" } : { kind: "failed", errorCode };
    };
    return world;
  }

  async init(version = 5) {
    const request = { transactionalId: "t", transactionTimeoutMs: 60_000 };
    return (await this.lab.call(initProducerIdHandler, request, version))!;
  }

  /** One transactional record to a partition of topic "a"; resolves with the error. */
  async produce(
    producer: { producerId: number; producerEpoch: number },
    sequence: number,
    version = 12,
    index = 0,
  ): Promise<number> {
    const { producerId, producerEpoch } = producer;
    const records = batch({
      isTransactional: true,
      producerId,
      producerEpoch,
      baseSequence: sequence,
    });
    const topic = version >= 13 ? { topicId: topicA.id } : { name: "a" };
    const request = {
      transactionalId: "t",
      acks: -1,
      timeoutMs: 1_000,
      topicData: [{ ...topic, partitionData: [{ index, records }] }],
    };
    const answer = await this.lab.call(produceHandler, request, version);
    return answer!.responses[0]!.partitionResponses[0]!.errorCode;
  }

  async add(producer: { producerId: number; producerEpoch: number }, version: number, index = 0) {
    const { producerId, producerEpoch } = producer;
    const topics = [{ name: "a", partitions: [index] }];
    const transaction = { transactionalId: "t", producerId, producerEpoch, topics };
    const request =
      version >= 4
        ? { transactions: [transaction] }
        : {
            v3AndBelowTransactionalId: "t",
            v3AndBelowProducerId: producerId,
            v3AndBelowProducerEpoch: producerEpoch,
            v3AndBelowTopics: topics,
          };
    const answer = (await this.lab.call(addPartitionsToTxnHandler, request, version))!;
    const results =
      version >= 4 ? answer.resultsByTransaction[0]!.topicResults : answer.resultsByTopicV3AndBelow;
    return results[0]!.resultsByPartition[0]!.partitionErrorCode;
  }

  async end(
    producer: { producerId: number; producerEpoch: number },
    version = 5,
    committed = true,
  ) {
    const { producerId, producerEpoch } = producer;
    const request = { transactionalId: "t", producerId, producerEpoch, committed };
    const answer = (await this.lab.call(endTxnHandler, request, version))!;
    await settle();
    return answer;
  }
}

test("version 2: partitions join with their first batch, the end brings an epoch", async () => {
  const world = await World.open();
  const producer = await world.init();
  expect(await world.produce(producer, 0)).toBe(0);
  expect(await world.produce(producer, 1, 13)).toBe(0);
  const [partition] = world.partitions;
  expect([partition!.highWatermark, partition!.lastStableOffset]).toEqual([2, 0]);
  const next = await world.end(producer);
  expect(next).toMatchObject({ errorCode: 0, producerId: producer.producerId, producerEpoch: 1 });
  expect([partition!.highWatermark, partition!.lastStableOffset]).toEqual([3, 3]);
  // The old epoch is over; the new one starts anew.
  expect(await world.produce(producer, 2)).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(await world.produce(next, 0)).toBe(0);
});

test("batches in flight to a partition keep their order while the first waits", async () => {
  const world = await World.open();
  const producer = await world.init();
  const log = world.coordinator.logOf("t");
  log.isHeld = true;
  const answers = [0, 1, 2, 3].map((sequence) => world.produce(producer, sequence));
  await settle();
  log.isHeld = false;
  log.release();
  expect(await Promise.all(answers)).toEqual([0, 0, 0, 0]);
});

test("a batch does not overtake one that the coordinator has not let in", async () => {
  const world = await World.open();
  const producer = await world.init();
  const { transactions } = world.coordinator;
  const verifyOrAdd = transactions.verifyOrAdd.bind(transactions);
  const first = deferred<number>();
  let asked = 0;
  // The first is let in late; whoever asks after it would be let in at once.
  transactions.verifyOrAdd = (ask) => {
    if (asked++ > 0) return ErrorCode.NONE;
    return first.promise.then(() => verifyOrAdd(ask));
  };
  const answers = [0, 1, 2].map((sequence) => world.produce(producer, sequence));
  const elsewhere = world.produce(producer, 0, 12, 1);
  await settle();
  // Their turn has not come; another partition has turns of its own.
  expect(asked).toBe(2);
  expect(await elsewhere).toBe(ErrorCode.INVALID_TXN_STATE);
  expect(world.partitions[0]!.logEndOffset).toBe(0);
  first.resolve(0);
  expect(await Promise.all(answers)).toEqual([0, 0, 0]);
  expect(asked).toBe(4);
  // Nothing is left waiting: the next one asks at once.
  const next = world.produce(producer, 3);
  expect(asked).toBe(5);
  expect(await next).toBe(0);
});

test("a coordinator that fails fails its batch, and not those behind it", async () => {
  const world = await World.open();
  const producer = await world.init();
  const { transactions } = world.coordinator;
  const verifyOrAdd = transactions.verifyOrAdd.bind(transactions);
  let fails = true;
  transactions.verifyOrAdd = (ask) => {
    if (!fails) return verifyOrAdd(ask);
    fails = false;
    return Promise.resolve().then(() => Promise.reject(new Error("a bug")));
  };
  const broken = world.produce(producer, 0);
  const behind = world.produce(producer, 0);
  expect(broken).rejects.toThrow("a bug");
  expect(await behind).toBe(0);
  expect(await world.produce(producer, 1)).toBe(0);
});

test("version 1: a batch without AddPartitionsToTxn is refused", async () => {
  const world = await World.open();
  for (const version of [3, 8, 10, 11]) {
    const producer = await world.init();
    const refused = await world.produce(producer, 0, version);
    const isKnown = version >= 11;
    expect(refused).toBe(isKnown ? ErrorCode.TRANSACTION_ABORTABLE : ErrorCode.INVALID_TXN_STATE);
    expect(await world.add(producer, 3)).toBe(0);
    expect(await world.produce(producer, 0, version)).toBe(0);
    expect((await world.end(producer, 3)).errorCode).toBe(0);
    const late = await world.produce(producer, 1, version);
    expect(late).toBe(refused);
  }
});

test("a busy coordinator makes producers of every version come again", async () => {
  const { NOT_ENOUGH_REPLICAS, CONCURRENT_TRANSACTIONS } = ErrorCode;
  const world = await World.open();
  const producer = await world.init();
  const { transactions } = world.coordinator;
  const busy = [
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    CONCURRENT_TRANSACTIONS,
  ];
  for (const errorCode of busy) {
    transactions.verifyOrAdd = () => errorCode;
    const isTold = errorCode === CONCURRENT_TRANSACTIONS;
    expect(await world.produce(producer, 0, 11)).toBe(NOT_ENOUGH_REPLICAS);
    expect(await world.produce(producer, 0, 12)).toBe(isTold ? errorCode : NOT_ENOUGH_REPLICAS);
  }
  // Let in, a producer new to the partition starts at 0 where every end brings a new epoch.
  transactions.verifyOrAdd = () => 0;
  transactions.appendError = () => 0;
  expect(await world.produce(producer, 7, 12)).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  expect(await world.produce(producer, 7, 11)).toBe(0);
});

test("a batch of another producer, epoch or id is refused", async () => {
  const world = await World.open();
  const producer = await world.init();
  const other = { ...producer, producerId: 9 };
  expect(await world.produce(other, 0)).toBe(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  expect(await world.produce({ ...producer, producerEpoch: 7 }, 0)).toBe(
    ErrorCode.INVALID_PRODUCER_EPOCH,
  );
});

test("every version of every API, with a fenced producer's error in its words", async () => {
  for (let version = 0; version <= 5; version++) {
    const world = await World.open();
    const producer = await world.init(version);
    expect(producer.errorCode).toBe(0);
    const old = { ...producer, producerEpoch: -1 };
    const fenced = version < 2 ? ErrorCode.INVALID_PRODUCER_EPOCH : ErrorCode.PRODUCER_FENCED;
    expect(await world.add(producer, version)).toBe(0);
    expect(await world.add(producer, version, 7)).toBe(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await world.add(old, version)).toBe(fenced);
    expect((await world.end(old, version)).errorCode).toBe(fenced);
    expect((await world.end(producer, version)).errorCode).toBe(0);
  }
});

test("FindCoordinator and the listings know the id", async () => {
  const world = await World.open();
  const producer = await world.init();
  for (let version = 1; version <= 6; version++) {
    const request = version >= 4 ? { coordinatorKeys: ["t"] } : { key: "t" };
    const answer = await world.lab.call(
      findCoordinatorHandler,
      { ...request, keyType: 1 },
      version,
    );
    const found = version >= 4 ? answer!.coordinators[0]! : answer!;
    expect([found.errorCode, found.nodeId, found.port]).toEqual([0, 1, 9092]);
  }
  await world.produce(producer, 0);
  const described = await world.lab.call(
    describeTransactionsHandler,
    { transactionalIds: ["t", "none"] },
    0,
  );
  expect(described!.transactionStates).toMatchObject([
    { errorCode: 0, transactionState: "Ongoing", topics: [{ topic: "a", partitions: [0] }] },
    { errorCode: ErrorCode.TRANSACTIONAL_ID_NOT_FOUND },
  ]);
  const list = async (version: number, pattern?: string) => {
    const filter = pattern === undefined ? {} : { transactionalIdPattern: pattern };
    const request = { stateFilters: [], producerIdFilters: [], ...filter };
    return (await world.lab.call(listTransactionsHandler, request, version))!;
  };
  for (const version of [0, 1, 2]) expect((await list(version)).transactionStates.length).toBe(1);
  expect((await list(2, "t|x")).transactionStates.length).toBe(1);
  expect((await list(2, "tt+")).transactionStates).toEqual([]);
  expect((await list(2, "(")).errorCode).toBe(ErrorCode.INVALID_REGULAR_EXPRESSION);
});

test("WriteTxnMarkers ends a transaction where its coordinator does not", async () => {
  for (const version of [1, 2]) {
    const world = await World.open();
    const producer = await world.init();
    await world.produce(producer, 0);
    const marker = {
      producerId: producer.producerId,
      producerEpoch: producer.producerEpoch,
      transactionResult: false,
      coordinatorEpoch: 5,
      topics: [{ name: "a", partitionIndexes: [0] }],
    };
    const answer = await world.lab.call(writeTxnMarkersHandler, { markers: [marker] }, version);
    expect(answer!.markers[0]!.topics[0]!.partitions).toEqual([
      { partitionIndex: 0, errorCode: 0 },
    ]);
    expect(world.partitions[0]!.lastStableOffset).toBe(2);
  }
});

test("offsets in a transaction count with its commit, and not with its abort", async () => {
  for (let version = 0; version <= 5; version++) {
    const world = await World.open();
    let producer = await world.init();
    const committed = async (requireStable = false) => {
      const topics = [{ name: "t1", partitionIndexes: [0] }];
      const request = { groupId: "g", topics, requireStable };
      const answer = await world.lab.call(offsetFetchHandler, request, 7);
      const [found] = answer!.topics[0]!.partitions;
      return found!.errorCode === 0 ? found!.committedOffset : -found!.errorCode;
    };
    const commit = async (offset: number) => {
      const { producerId, producerEpoch } = producer;
      const ids = { transactionalId: "t", producerId, producerEpoch, groupId: "g" };
      const support = version >= 4 ? ErrorCode.TRANSACTION_ABORTABLE : ErrorCode.INVALID_TXN_STATE;
      const one = { partitionIndex: 0, committedOffset: offset, committedMetadata: "" };
      const request = { ...ids, topics: [{ name: "t1", partitions: [one] }] };
      const run = async () =>
        (await world.lab.call(txnOffsetCommitHandler, request, version))!.topics[0]!.partitions[0]!
          .errorCode;
      if (version < 5) {
        expect(await run()).toBe(support);
        const added = await world.lab.call(addOffsetsToTxnHandler, ids, Math.min(version, 4));
        expect(added!.errorCode).toBe(0);
      }
      expect(await run()).toBe(0);
    };
    await commit(5);
    expect(await committed()).toBe(-1);
    expect(await committed(true)).toBe(-ErrorCode.UNSTABLE_OFFSET_COMMIT);
    producer = { ...producer, ...(await world.end(producer)) };
    expect(await committed(true)).toBe(5);
    await commit(9);
    await world.end(producer, 5, false);
    expect(await committed(true)).toBe(5);
    await world.groups.restart();
    Object.assign(world.lab.services, { groups: world.groups.groups });
    expect(await committed(true)).toBe(5);
  }
});

test("the broker's own topics join no transaction of a producer", async () => {
  const world = await World.open();
  const { producerId, producerEpoch } = await world.init();
  const topics = [
    { name: offsetsTopic, partitions: [0] },
    { name: "a", partitions: [0] },
    { name: "none", partitions: [0] },
  ];
  const request = {
    v3AndBelowTransactionalId: "t",
    v3AndBelowProducerId: producerId,
    v3AndBelowProducerEpoch: producerEpoch,
    v3AndBelowTopics: topics,
  };
  const answer = await world.lab.call(addPartitionsToTxnHandler, request, 3);
  const errors = answer!.resultsByTopicV3AndBelow.map(
    ({ resultsByPartition }) => resultsByPartition[0]!.partitionErrorCode,
  );
  expect(errors).toEqual([
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.OPERATION_NOT_ATTEMPTED,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
});
