import { beforeEach, describe, expect, spyOn, test } from "bun:test";
import { shareFetchHandler } from "../../src/api/78-share-fetch.ts";
import { shareAcknowledgeHandler } from "../../src/api/79-share-acknowledge.ts";
import { describeShareGroupOffsetsHandler } from "../../src/api/90-describe-share-group-offsets.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import type { Partition } from "../../src/log/partition.ts";
import { emptyRead } from "../../src/log/partition-reader.ts";
import { type ColdReader, noColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { ShareFetchRequest } from "../../src/protocol/messages/78-share-fetch.ts";
import { shareConfigDefaults, shareGroupSettings } from "../../src/share/config.ts";
import { ShareGroups } from "../../src/share/share-groups.ts";
import { SharePartition } from "../../src/share/share-partition.ts";
import { noDeadLetters, StateWorld } from "../share/state-world.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, topicA, turn } from "../support/log-lab.ts";

let lab: ApiLab;
let cold: ColdReader;
let states: StateWorld;
let shares: ShareGroups;
let partition: Partition;
let configs: Map<string, string>;

beforeEach(async () => {
  configs = new Map([["share.auto.offset.reset", "earliest"]]);
  cold = { ...noColdReader };
  lab = new ApiLab({ cold });
  [partition] = await lab.open();
  states = new StateWorld();
  shares = new ShareGroups({
    config: shareConfigDefaults,
    persister: states.open(),
    clock: lab.log.clock,
    find: ({ topicId, partition: index }) =>
      lab.log.partitions.byId(topicId, index) ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    settingsOf: () => shareGroupSettings(configs, shareConfigDefaults, false),
    deadLetters: noDeadLetters(lab.log),
  });
  Object.assign(lab.services, { shares });
  const key = { groupId: "g", topicId: topicA.id, partition: 0 };
  await shares.persister.initialize([{ key, epoch: 1, start: -1 }], false);
});

function ask(epoch: number, overrides: Partial<ShareFetchRequest> = {}): ShareFetchRequest {
  const partitions = [{ partitionIndex: 0, acknowledgementBatches: [] }];
  return {
    groupId: "g",
    memberId: "member",
    shareSessionEpoch: epoch,
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1 << 20,
    maxRecords: 100,
    batchSize: 100,
    topics: epoch === 0 ? [{ topicId: topicA.id, partitions }] : [],
    forgottenTopicsData: [],
    ...overrides,
  };
}

async function append(count: number): Promise<void> {
  const { errorCode } = await partition.append(batch({ values: Array(count).fill("v") }), {
    origin: "client",
  });
  expect(errorCode).toBe(ErrorCode.NONE);
}

async function acquired(request: ShareFetchRequest): Promise<string> {
  const answer = await lab.call(shareFetchHandler, request, 2);
  if (answer?.errorCode !== ErrorCode.NONE) return `error ${answer?.errorCode}`;
  return answer.responses
    .flatMap(({ partitions }) => partitions)
    .flatMap(({ errorCode, acknowledgeErrorCode, acquiredRecords }) => [
      ...(errorCode + acknowledgeErrorCode > 0 ? [`${errorCode}/${acknowledgeErrorCode}`] : []),
      ...acquiredRecords.map((one) => `${one.firstOffset}-${one.lastOffset}:${one.deliveryCount}`),
    ])
    .join(" ");
}

describe("ShareFetch", () => {
  test("acquires what is there, and tells how long it is held", async () => {
    await append(5);
    const answer = await lab.call(shareFetchHandler, ask(0), 2);
    expect(answer?.acquisitionLockTimeoutMs).toBe(30_000);
    const [one] = answer?.responses[0]?.partitions ?? [];
    expect(one?.acquiredRecords).toEqual([{ firstOffset: 0, lastOffset: 4, deliveryCount: 1 }]);
    expect(one?.records?.length).toBeGreaterThan(0);
    expect(await acquired(ask(0, { memberId: "other" }))).toBe("");
  });

  test("a new session names its partitions, a going one only what there is to tell", async () => {
    const begun = await lab.call(shareFetchHandler, ask(0), 2);
    const [one] = begun?.responses[0]?.partitions ?? [];
    expect(one).toMatchObject({ errorCode: ErrorCode.NONE, acquiredRecords: [] });
    // Where no other leader is meant the field is left at Kafka's zeros.
    expect(one?.currentLeader).toEqual({ leaderId: 0, leaderEpoch: 0 });
    const next = await lab.call(shareFetchHandler, ask(1), 2);
    expect(next?.responses).toEqual([]);
  });

  test("gives way where it holds records of archives", async () => {
    await append(5);
    expect(await acquired(ask(0))).toBe("0-4:1");
    expect(lab.waysGiven).toBe(0);
    await append(5);
    const { read } = partition;
    const cold = spyOn(partition, "read").mockImplementation(async (options) => ({
      ...(await read.call(partition, options)),
      isCold: true,
    }));
    expect(await acquired(ask(1))).toBe("5-9:1");
    cold.mockRestore();
    expect(lab.waysGiven).toBe(1);
  });

  test("waits for archives that stall half a second, and holds nothing afterwards", async () => {
    await append(5);
    const stalled = spyOn(partition, "read").mockImplementation(
      async ({ coldPatience, offset }) => {
        await coldPatience?.();
        return emptyRead(ErrorCode.NONE, offset);
      },
    );
    const waiting = acquired(ask(0));
    for (let i = 0; i < 5; i++) await turn();
    expect(stalled).toHaveBeenCalledTimes(1);
    lab.log.clock.advance(499);
    expect(await Promise.race([waiting, turn().then(() => "waits")])).toBe("waits");
    lab.log.clock.advance(1);
    expect(await waiting).toBe("");
    stalled.mockRestore();
    expect(await acquired(ask(1))).toBe("0-4:1");
  });

  test("waits for records, and for those another one gives back", async () => {
    const waiting = acquired(ask(0, { maxWaitMs: 60_000 }));
    await append(3);
    expect(await waiting).toBe("0-2:1");
    const other = acquired(ask(0, { memberId: "other", maxWaitMs: 60_000 }));
    const topics = [
      {
        topicId: topicA.id,
        partitions: [
          {
            partitionIndex: 0,
            acknowledgementBatches: [
              { firstOffset: 0, lastOffset: 2, acknowledgeTypes: [1, 2, 1] },
            ],
          },
        ],
      },
    ];
    const request = { groupId: "g", memberId: "member", shareSessionEpoch: 1, topics };
    const answer = await lab.call(shareAcknowledgeHandler, request, 2);
    expect(answer?.responses[0]?.partitions[0]?.errorCode).toBe(ErrorCode.NONE);
    expect(await other).toBe("1-1:2");
    const { state } = await states.open().read({ groupId: "g", topicId: topicA.id, partition: 0 });
    expect(state?.stateBatches.map((one) => one.deliveryState)).toEqual([2, 0, 2]);
  });

  test("the first fetch brings one partition: a member under way finds the others", async () => {
    const second = lab.log.partitions.byId(topicA.id, 1);
    const key = { groupId: "g", topicId: topicA.id, partition: 1 };
    await shares.persister.initialize([{ key, epoch: 1, start: -1 }], false);
    await append(2);
    const appendSecond = async (count: number) => {
      const values = Array(count).fill("v");
      const written = await second?.append(batch({ values }), { origin: "client" });
      expect(written?.errorCode).toBe(ErrorCode.NONE);
    };
    await appendSecond(3);
    const partitions = [0, 1].map((partitionIndex) => ({
      partitionIndex,
      acknowledgementBatches: [],
    }));
    const topics = [{ topicId: topicA.id, partitions }];
    expect(await acquired(ask(0, { topics }))).toBe("0-1:1");
    expect(await acquired(ask(0, { topics, memberId: "other" }))).toBe("0-2:1");
    // Their states are read: one answer brings both.
    await append(2);
    await appendSecond(1);
    expect(await acquired(ask(0, { topics, memberId: "third" }))).toBe("2-3:1 3-3:1");
  });

  /** Partitions 0 to `count` − 1, each with a state that nobody has read yet. */
  async function manyPartitions(count: number) {
    for (let index = 1; index < count; index++) {
      await lab.log.open({}, 0, topicA, index);
      const key = { groupId: "g", topicId: topicA.id, partition: index };
      await shares.persister.initialize([{ key, epoch: 1, start: -1 }], false);
    }
    const partitions = Array.from({ length: count }, (_, partitionIndex) => ({
      partitionIndex,
      acknowledgementBatches: [],
    }));
    return [{ topicId: topicA.id, partitions }];
  }

  test("who does not wait is answered out of whichever partition has records", async () => {
    const topics = await manyPartitions(4);
    const last = lab.log.partitions.byId(topicA.id, 3);
    await last?.append(batch({ values: ["v", "v"] }), { origin: "client" });
    expect(await acquired(ask(0, { topics }))).toBe("0-1:1");
  });

  test("the first fetch of many partitions looks at each a few times only", async () => {
    const count = 200;
    const topics = await manyPartitions(count);
    const looks = spyOn(SharePartition.prototype, "beginRead");
    const getters = ["isOpen", "changes"] as const;
    let asked = 0;
    const restores = getters.map((name) => {
      const own = Object.getOwnPropertyDescriptor(SharePartition.prototype, name) ?? {};
      const get = function (this: SharePartition) {
        asked++;
        return own.get?.call(this);
      };
      Object.defineProperty(SharePartition.prototype, name, { ...own, get });
      return () => Object.defineProperty(SharePartition.prototype, name, own);
    });
    try {
      const waiting = acquired(ask(0, { topics, maxWaitMs: 60_000 }));
      while (lab.log.partitions.waiters.parked === 0) await turn();
      lab.abort.abort();
      expect(await waiting).toBe("");
      expect(looks.mock.calls.length).toBeLessThanOrEqual(3 * count);
      expect(asked).toBeLessThan(20 * count);
    } finally {
      for (const restore of [...restores, () => looks.mockRestore()]) restore();
    }
  });

  test("a connection that ends gives back what its member held", async () => {
    await append(2);
    expect(await acquired(ask(0))).toBe("0-1:1");
    lab.abort.abort();
    // The next requests come over another connection.
    Object.assign(lab, { abort: new AbortController() });
    expect(shares.sessions.count).toBe(0);
    const other = ask(0, { memberId: "other", maxWaitMs: 60_000 });
    expect(await acquired(other)).toBe("0-1:2");
  });

  test("nothing is acquired for a connection that ended while it waited", async () => {
    const waiting = acquired(ask(0, { maxWaitMs: 60_000 }));
    await append(1);
    expect(await waiting).toBe("0-0:1");
    const parked = acquired(ask(1, { maxWaitMs: 60_000 }));
    lab.abort.abort();
    await append(2);
    expect(await parked).toBe("");
    Object.assign(lab, { abort: new AbortController() });
    expect(await acquired(ask(0, { memberId: "other" }))).toBe("0-0:2 1-2:1");
  });

  test("a request carried out after its connection ended leaves no session behind", async () => {
    await append(2);
    expect(await acquired(ask(0))).toBe("0-1:1");
    lab.abort.abort();
    expect(await acquired(ask(0))).toBe("");
    expect(shares.sessions.count).toBe(0);
    Object.assign(lab, { abort: new AbortController() });
    expect(await acquired(ask(0, { memberId: "other" }))).toBe("0-1:2");
  });

  test("what the log refuses to write is not acknowledged", async () => {
    await append(2);
    expect(await acquired(ask(0))).toBe("0-1:1");
    states.log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
    const acknowledgementBatches = [{ firstOffset: 0, lastOffset: 1, acknowledgeTypes: [1] }];
    const partitions = [{ partitionIndex: 0, acknowledgementBatches }];
    const topics = [{ topicId: topicA.id, partitions }];
    expect(await acquired(ask(1, { topics }))).toBe(`0/${ErrorCode.COORDINATOR_NOT_AVAILABLE}`);
    states.log.errorCode = ErrorCode.NONE;
    expect(await acquired(ask(2, { topics }))).toBe("");
    const { state } = await shares.persister.read({
      groupId: "g",
      topicId: topicA.id,
      partition: 0,
    });
    expect(state?.stateBatches).toHaveLength(1);
  });

  test.each([
    ["no group", { groupId: null }, ErrorCode.INVALID_REQUEST],
    ["no member", { memberId: "" }, ErrorCode.INVALID_REQUEST],
    ["a member id that is too long", { memberId: "m".repeat(37) }, ErrorCode.INVALID_REQUEST],
    ["renewing while reading", { isRenewAck: true }, ErrorCode.INVALID_REQUEST],
    ["an epoch out of turn", { shareSessionEpoch: 5 }, ErrorCode.SHARE_SESSION_NOT_FOUND],
  ])("refuses %s", async (_name, overrides, errorCode) => {
    expect(await acquired(ask(0, overrides as Partial<ShareFetchRequest>))).toBe(
      `error ${errorCode}`,
    );
  });

  test("a partition counts as not begun until a delivery changes its state", async () => {
    const described = async () => {
      const topics = [{ topicName: "a", partitions: [0] }];
      const request = { groups: [{ groupId: "g", topics }] };
      const answer = await lab.call(describeShareGroupOffsetsHandler, request, 1);
      return answer?.groups[0]?.topics[0]?.partitions[0];
    };
    const notBegun = { startOffset: -1, leaderEpoch: 0, lag: -1, errorCode: ErrorCode.NONE };
    expect(await described()).toMatchObject(notBegun);
    expect(await acquired(ask(0))).toBe("");
    expect(await described()).toMatchObject(notBegun);
    // Where to begin is durable all the same.
    const key = { groupId: "g", topicId: topicA.id, partition: 0 };
    expect((await states.open().read(key)).state?.startOffset).toBe(0);
    await append(3);
    expect(await acquired(ask(1))).toBe("0-2:1");
    expect(await described()).toMatchObject(notBegun);
    const acknowledgementBatches = [{ firstOffset: 0, lastOffset: 1, acknowledgeTypes: [1] }];
    const partitions = [{ partitionIndex: 0, acknowledgementBatches }];
    await acquired(ask(2, { topics: [{ topicId: topicA.id, partitions }] }));
    expect(await described()).toMatchObject({ startOffset: 0, leaderEpoch: 0, lag: 1 });
  });

  test("a partition without a state is an error, an unknown one too", async () => {
    const partitions = [1, 9].map((partitionIndex) => ({
      partitionIndex,
      acknowledgementBatches: [],
    }));
    const request = ask(0, { topics: [{ topicId: topicA.id, partitions }] });
    const answer = await lab.call(shareFetchHandler, request, 1);
    const codes = answer?.responses[0]?.partitions.map(({ errorCode }) => errorCode).sort();
    expect(codes).toEqual([ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  });

  describe("of committed records", () => {
    const producer = { producerId: 1, producerEpoch: 0 };

    beforeEach(async () => {
      configs.set("share.isolation.level", "read_committed");
      const data = batch({ ...producer, baseSequence: 0, isTransactional: true });
      await partition.append(data, { origin: "client" });
      const marker = { ...producer, commit: false, coordinatorEpoch: 0, transactionVersion: 0 };
      await partition.appendMarker(marker);
      await append(1);
    });

    test("a log start that moves on after the read makes no aborted record committed", async () => {
      const read = partition.read.bind(partition);
      partition.read = async (options) => {
        const found = await read(options);
        await partition.deleteRecordsBefore(2);
        return found;
      };
      // Offset 1 is the marker.
      expect(await acquired(ask(0))).toBe("1-2:1");
    });

    test("where nobody can say what was aborted, that partition fails alone", async () => {
      const lost = new BrokerError("CHRONIK_CORRUPT", "gone");
      cold.abortedTransactions = () => Promise.reject(lost);
      cold.archivedRange = (_id, index) => (index === 0 ? { start: 0, end: 3 } : null);
      await expect(Promise.resolve(partition.abortedTransactions(0, 3))).rejects.toThrow("gone");
      expect(await acquired(ask(0))).toBe(`${ErrorCode.KAFKA_STORAGE_ERROR}/0`);
      cold.archivedRange = () => null;
      expect(await acquired(ask(1))).toBe("1-2:1");
    });
  });
});
