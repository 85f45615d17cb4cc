import { expect, test } from "bun:test";
import { fetchHandler } from "../../src/api/01-fetch.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import type { FetchRequest } from "../../src/protocol/messages/01-fetch.ts";
import { batchesIn } from "../../src/protocol/record-batch.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, topicA, turn } from "../support/log-lab.ts";

const client = { origin: "client" } as const;

interface Ask {
  index?: number;
  offset?: number;
  bytesMax?: number;
  epoch?: number;
  lastFetchedEpoch?: number;
  topicId?: string;
}

function request(asks: Ask[], version: number, rest: Partial<FetchRequest> = {}): FetchRequest {
  return {
    maxWaitMs: 0,
    minBytes: 1,
    ...rest,
    topics: [
      {
        ...(version >= 13 ? { topicId: asks[0]?.topicId ?? topicA.id } : { topic: topicA.name }),
        partitions: asks.map((ask) => ({
          partition: ask.index ?? 0,
          fetchOffset: ask.offset ?? 0,
          partitionMaxBytes: ask.bytesMax ?? 1 << 20,
          ...(version >= 9 ? { currentLeaderEpoch: ask.epoch ?? -1 } : {}),
          ...(version >= 12 ? { lastFetchedEpoch: ask.lastFetchedEpoch ?? -1 } : {}),
        })),
      },
    ],
  };
}

async function fetch(lab: ApiLab, asks: Ask[], version = 12, rest: Partial<FetchRequest> = {}) {
  const response = await lab.call(fetchHandler, request(asks, version, rest), version);
  return response!.responses.flatMap((topic) => topic.partitions);
}

function bases(records: Uint8Array | null): number[] {
  return [...batchesIn(records ?? new Uint8Array(0))].map(({ header }) => header.baseOffset);
}

test("a topic of compression.type=zstd is refused to clients below v10", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({ compression: { codec: "zstd", level: 3 } });
  await partition.append(batch(), { origin: "coordinator" });
  const codes = [];
  for (let version = 4; version <= 18; version++) {
    const [answer] = await fetch(lab, [{}], version);
    codes.push(answer!.errorCode);
    expect(bases(answer!.records)).toEqual(version < 10 ? [] : [0]);
  }
  const refused = new Array(6).fill(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE);
  expect(codes).toEqual([...refused, ...new Array(9).fill(0)]);
  partition.config = { ...partition.config, compression: null };
  expect((await fetch(lab, [{}], 9))[0]!.errorCode).toBe(0);
});

test("every version reads, in its own layout", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  for (let version = fetchHandler.minVersion; version <= fetchHandler.maxVersion; version++) {
    const [answer] = await fetch(lab, [{}], version);
    expect([answer!.errorCode, answer!.highWatermark, bases(answer!.records)]).toEqual([0, 1, [0]]);
    if (version >= 11) expect(answer!.preferredReadReplica).toBe(-1);
  }
});

test("errors per partition, exact", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({}, 5);
  await partition.append(batch(), client);
  const errors: number[] = [];
  for (const ask of [
    { offset: 2 },
    { offset: -1 },
    { index: 2 },
    { index: 7 },
    { epoch: 4 },
    { epoch: 6 },
    { epoch: 5 },
  ]) {
    errors.push((await fetch(lab, [ask]))[0]!.errorCode);
  }
  expect(errors).toEqual([
    ErrorCode.OFFSET_OUT_OF_RANGE,
    ErrorCode.OFFSET_OUT_OF_RANGE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.NONE,
  ]);
  expect((await fetch(lab, [{ offset: 2 }]))[0]!.highWatermark).toBe(-1);
  const stranger = { topicId: "AAAAAAAAAAAAAAAAAAAAAw" };
  expect((await fetch(lab, [stranger], 13))[0]!.errorCode).toBe(ErrorCode.UNKNOWN_TOPIC_ID);
});

test("the first batch comes whole though larger than every limit, later ones do not", async () => {
  const lab = new ApiLab();
  const [one, two] = await lab.open();
  for (const partition of [one, two]) {
    for (let n = 0; n < 3; n++) await partition.append(batch(), client);
  }
  const size = batch().length;
  const tiny = await fetch(lab, [{ bytesMax: 1 }, { index: 1, bytesMax: 1 }], 12, { maxBytes: 1 });
  expect(tiny.map((answer) => bases(answer.records))).toEqual([[0], []]);
  const some = await fetch(lab, [{}, { index: 1 }], 12, { maxBytes: size * 4 });
  expect(some.map((answer) => bases(answer.records))).toEqual([[0, 1, 2], [0]]);
  const each = await fetch(lab, [{ bytesMax: size * 2 }, { index: 1, bytesMax: size }], 12);
  expect(each.map((answer) => bases(answer.records))).toEqual([[0, 1], [0]]);
});

test("a fetch at the end waits and wakes at once when the high watermark moves", async () => {
  const lab = new ApiLab({ auto: false });
  const [, two] = await lab.open();
  const done = fetch(lab, [{}, { index: 1 }], 12, { maxWaitMs: 500 });
  await turn();
  expect(lab.log.partitions.waiters.parked).toBe(1);
  void two.append(batch(), client);
  await turn();
  // Appended but not durable: nobody may see it.
  expect(lab.log.partitions.waiters.parked).toBe(1);
  lab.log.wal.complete();
  const answers = await done;
  expect(answers.map((answer) => bases(answer.records))).toEqual([[], [0]]);
  expect(lab.log.partitions.waiters.parked).toBe(0);
});

test("min_bytes waits for enough in all; the deadline is one for the request", async () => {
  const lab = new ApiLab();
  const [one, two] = await lab.open();
  const size = batch().length;
  const rest = { maxWaitMs: 500, minBytes: size * 3 };
  const enough = fetch(lab, [{}, { index: 1 }], 12, rest);
  await one.append(batch(), client);
  await two.append(batch(), client);
  await turn();
  expect(lab.log.partitions.waiters.parked).toBe(1);
  await one.append(batch(), client);
  expect((await enough).map((answer) => bases(answer.records))).toEqual([[0, 1], [0]]);
  const late = fetch(lab, [{ offset: 2 }, { index: 1, offset: 1 }], 12, rest);
  await turn();
  lab.log.clock.advance(499);
  await turn();
  expect(lab.log.partitions.waiters.parked).toBe(1);
  lab.log.clock.advance(1);
  expect((await late).map((answer) => bases(answer.records))).toEqual([[], []]);
});

test("a parked fetch gives up with its connection, and hears of a dropped topic", async () => {
  const lab = new ApiLab();
  await lab.open();
  const gone = fetch(lab, [{}], 12, { maxWaitMs: 60_000 });
  const dropped = fetch(lab, [{}], 12, { maxWaitMs: 60_000 });
  await turn();
  await lab.log.partitions.drop(topicA.id);
  expect((await dropped)[0]!.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  await gone;
  const other = new ApiLab();
  await other.open();
  const aborted = fetch(other, [{}], 12, { maxWaitMs: 60_000 });
  await turn();
  other.abort.abort();
  expect(bases((await aborted)[0]!.records)).toEqual([]);
  expect(other.log.partitions.waiters.parked).toBe(0);
});

test("the parking place is bounded: beyond it fetches are answered at once", async () => {
  const lab = new ApiLab({ limits: { fetchWaitersMax: 1 } });
  await lab.open();
  void fetch(lab, [{}], 12, { maxWaitMs: 60_000 });
  await turn();
  expect(bases((await fetch(lab, [{}], 12, { maxWaitMs: 60_000 }))[0]!.records)).toEqual([]);
  lab.abort.abort();
});

test("an error is answered at once however long the wait", async () => {
  const lab = new ApiLab();
  await lab.open();
  const rest = { maxWaitMs: 60_000 };
  const outside = await fetch(lab, [{}, { index: 1, offset: 9 }], 12, rest);
  expect(outside.map((answer) => answer.errorCode)).toEqual([0, 1]);
  const closed = await fetch(lab, [{}, { index: 2 }], 12, rest);
  expect(closed.map((answer) => answer.errorCode)).toEqual([0, 6]);
});

test("an unknown partition waits with the others, alone it does not", async () => {
  const lab = new ApiLab();
  await lab.open();
  const rest = { maxWaitMs: 500 };
  const alone = await fetch(lab, [{ index: 7 }], 12, rest);
  expect(alone.map((answer) => answer.errorCode)).toEqual([3]);
  const both = fetch(lab, [{}, { index: 7 }], 12, rest);
  await turn();
  expect(lab.log.partitions.waiters.parked).toBe(1);
  lab.log.clock.advance(500);
  expect((await both).map((answer) => answer.errorCode)).toEqual([0, 3]);
});

async function session(lab: ApiLab, asks: Ask[], version: number, rest: Partial<FetchRequest>) {
  const full = request(asks, version, rest);
  const topics = asks.length === 0 ? [] : full.topics;
  const response = await lab.call(fetchHandler, { ...full, topics }, version);
  const told = response!.responses.flatMap((topic) =>
    topic.partitions.map((answer) => [answer.partitionIndex, bases(answer.records).length]),
  );
  return [response!.errorCode, response!.sessionId, told];
}

test("a session tells what changed, in every version that has sessions", async () => {
  for (const version of [7, 11, 12, 13, 17, 18]) {
    const lab = new ApiLab();
    const [one] = await lab.open();
    const both = [{}, { index: 1 }];
    const made = await session(lab, both, version, { sessionEpoch: 0 });
    expect(made).toEqual([
      0,
      1,
      [
        [0, 0],
        [1, 0],
      ],
    ]);
    await one.append(batch(), client);
    const at = (sessionEpoch: number) => ({ sessionId: 1, sessionEpoch });
    expect(await session(lab, [], version, at(1))).toEqual([0, 1, [[0, 1]]]);
    expect(await session(lab, [{ offset: 1 }], version, at(2))).toEqual([0, 1, []]);
    const repeated = await session(lab, [], version, at(2));
    expect(repeated).toEqual([ErrorCode.INVALID_FETCH_SESSION_EPOCH, 0, []]);
    const other = version < 13 ? 13 : 12;
    const mixed = await session(lab, [], other, at(3));
    expect(mixed).toEqual([ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, 0, []]);
    const forgottenTopicsData = [
      { topic: topicA.name, ...(version >= 13 && { topicId: topicA.id }), partitions: [0] },
    ];
    const fewer = await session(lab, [], version, { ...at(3), forgottenTopicsData });
    expect(fewer).toEqual([0, 1, []]);
    await one.append(batch(), client);
    expect(await session(lab, [], version, at(4))).toEqual([0, 1, []]);
    const last = await session(lab, [{ index: 1 }], version, { sessionId: 1, sessionEpoch: -1 });
    expect(last).toEqual([0, 0, [[1, 0]]]);
    expect(lab.fetchSessions.size).toBe(0);
  }
});

test("a parked incremental fetch wakes with the partition that moved", async () => {
  const lab = new ApiLab();
  const [, two] = await lab.open();
  await session(lab, [{}, { index: 1 }], 12, { sessionEpoch: 0 });
  const rest = { sessionId: 1, sessionEpoch: 1, maxWaitMs: 60_000 };
  const parked = session(lab, [], 12, rest);
  await turn();
  await two.append(batch(), client);
  expect(await parked).toEqual([0, 1, [[1, 1]]]);
});

test("no partitions, no wait", async () => {
  const lab = new ApiLab();
  await lab.open();
  const response = await lab.call(fetchHandler, { maxWaitMs: 60_000, minBytes: 1, topics: [] }, 12);
  expect(response!.responses).toEqual([]);
});

test("below the log start a diverging epoch is out of range", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({}, 1);
  for (let n = 0; n < 3; n++) await partition.append(batch(), client);
  partition.becomeLeader(4);
  await partition.append(batch(), client);
  await partition.deleteRecordsBefore(1);
  const ask = async (offset: number) => (await fetch(lab, [{ offset, lastFetchedEpoch: 3 }]))[0]!;
  expect((await ask(1)).divergingEpoch).toEqual({ epoch: 1, endOffset: 3 });
  expect((await ask(0)).errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
});

test("a client ahead of the log's epochs is told where they diverge", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({}, 1);
  await partition.append(batch(), client);
  partition.becomeLeader(4);
  await partition.append(batch(), client);
  const [answer] = await fetch(lab, [{ offset: 2, lastFetchedEpoch: 3 }]);
  expect(answer!.divergingEpoch).toEqual({ epoch: 1, endOffset: 1 });
  expect(bases(answer!.records)).toEqual([]);
  const [fine] = await fetch(lab, [{ offset: 1, lastFetchedEpoch: 1 }]);
  expect(bases(fine!.records)).toEqual([1]);
  const [unknown] = await fetch(lab, [{ offset: 1, lastFetchedEpoch: 9 }]);
  expect(unknown!.errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
});

test("read_committed gets an empty list of aborted transactions, others none", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  const [committed] = await fetch(lab, [{}], 12, { isolationLevel: 1 });
  expect(committed!.abortedTransactions).toEqual([]);
  expect(committed!.lastStableOffset).toBe(1);
  const [uncommitted] = await fetch(lab, [{}], 12);
  expect(uncommitted!.abortedTransactions).toBeNull();
});

test("replicas are answered as by a leader that does not know them", async () => {
  const lab = new ApiLab();
  await lab.open({}, 5);
  const codes = async (version: number, rest: Partial<FetchRequest>) => {
    const asks = [{}, { epoch: 4 }, { epoch: 5 }, { epoch: 6 }, { index: 7 }];
    const found: number[] = [];
    for (const ask of asks) {
      found.push((await fetch(lab, [ask], version, rest))[0]!.errorCode);
    }
    return found;
  };
  const expected = [
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ];
  expect(await codes(12, { replicaId: 3 })).toEqual(expected);
  expect(await codes(16, { replicaState: { replicaId: 3, replicaEpoch: 1 } })).toEqual(expected);
});

test("errors that mean another leader name it, from v16 on", async () => {
  const lab = new ApiLab();
  await lab.open({}, 5);
  const ask = async (version: number, rest: Partial<FetchRequest> = {}) => {
    const asks = [{ epoch: 4 }, { index: 2 }, { index: 1, offset: 9 }];
    const response = await lab.call(fetchHandler, request(asks, version, rest), version);
    const { nodeEndpoints, responses } = response!;
    const leaders = responses.flatMap(({ partitions }) =>
      partitions.map(({ currentLeader: { leaderId, leaderEpoch } }) => [leaderId, leaderEpoch]),
    );
    return { nodeEndpoints, leaders };
  };
  expect(await ask(16)).toEqual({
    nodeEndpoints: [{ nodeId: 1, host: "one", port: 9092, rack: "r" }],
    leaders: [
      [1, 5],
      [1, 0],
      [-1, -1],
    ],
  });
  expect(await ask(15)).toEqual({
    nodeEndpoints: [],
    leaders: [
      [-1, -1],
      [-1, -1],
      [-1, -1],
    ],
  });
  const replica = await ask(16, { replicaState: { replicaId: 3, replicaEpoch: 1 } });
  expect(replica.nodeEndpoints).toEqual([]);
});

test("a rack is taken, and changes nothing", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  const [answer] = await fetch(lab, [{}], 13, { rackId: "elsewhere" });
  expect([answer!.preferredReadReplica, bases(answer!.records)]).toEqual([-1, [0]]);
});

test("clients too old for KAFKA_STORAGE_ERROR hear of another leader", async () => {
  const lab = new ApiLab({ limits: { tailCacheBytesMax: 1 } });
  const [one, two] = await lab.open();
  await one.append(batch(), client);
  // Takes the only place in the cache.
  await two.append(batch(), client);
  lab.log.wal.read = () => Promise.reject(new BrokerError("CHRONIK_CORRUPT", "torn"));
  expect((await fetch(lab, [{}], 5))[0]!.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  expect((await fetch(lab, [{}], 6))[0]!.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
});

test("what fetches may read at a time is bounded in all, and given back", async () => {
  const lab = new ApiLab({ limits: { readBytesMax: 100 } });
  const [partition] = await lab.open();
  for (let n = 0; n < 2_000; n++) await partition.append(batch(), client);
  const [answer] = await fetch(lab, [{ bytesMax: 1 << 30 }], 12);
  expect(answer!.records!.length).toBeLessThanOrEqual(64 << 10);
  expect(lab.log.partitions.readBudget.bytes).toBe(0);
});

test("what is appended while another partition is read from disk ends the wait too", async () => {
  const lab = new ApiLab({ limits: { tailCacheBytesMax: 1 } });
  const [first, second] = await lab.open();
  await first.append(batch(), client);
  // Takes the only place in the cache: the first partition's batch is read from the WAL.
  await second.append(batch(), client);
  const read = lab.log.wal.read.bind(lab.log.wal);
  lab.log.wal.read = async (...args) => {
    await second.append(batch(), client);
    return read(...args);
  };
  const asks = [{ index: 1, offset: 1 }, { index: 0 }];
  const answers = await fetch(lab, asks, 12, {
    maxWaitMs: 60_000,
    minBytes: batch().length + 1,
  });
  expect(answers.map((answer) => bases(answer.records))).toEqual([[1], [0]]);
});

test("what waits for slow readers counts: others read less at a time, but get on", async () => {
  const lab = new ApiLab({ limits: { readBytesMax: 1 << 20 } });
  const [partition] = await lab.open();
  for (let n = 0; n < 2_000; n++) await partition.append(batch(), client);
  const { readBudget } = lab.log.partitions;
  const read = async () => (await fetch(lab, [{ bytesMax: 1 << 30 }], 12))[0]!.records!.length;
  const freely = await read();
  readBudget.hold(1 << 30);
  expect(await read()).toBeLessThanOrEqual(64 << 10);
  expect(await read()).toBeGreaterThan(0);
  readBudget.hold(-(1 << 30));
  expect(await read()).toBe(freely);
});
