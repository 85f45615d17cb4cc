import { expect, test } from "bun:test";
import { listOffsetsHandler } from "../../src/api/02-list-offsets.ts";
import { deleteRecordsHandler } from "../../src/api/21-delete-records.ts";
import { initProducerIdHandler } from "../../src/api/22-init-producer-id.ts";
import { offsetForLeaderEpochHandler } from "../../src/api/23-offset-for-leader-epoch.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { noColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, turn } from "../support/log-lab.ts";

const client = { origin: "client" } as const;

async function list(lab: ApiLab, asks: [number, number, number?][], version = 7) {
  const partitions = asks.map(([partitionIndex, timestamp, epoch]) => ({
    partitionIndex,
    timestamp,
    ...(version >= 4 ? { currentLeaderEpoch: epoch ?? -1 } : {}),
  }));
  const request = { replicaId: -1, topics: [{ name: "a", partitions }] };
  const response = await lab.call(listOffsetsHandler, request, version);
  return response!.topics[0]!.partitions;
}

test("ListOffsets: every version, latest, earliest, by time, the largest timestamp", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({}, 3);
  await partition.append(batch({ values: ["a", "b", "c"], timestamps: [10, 30, 20] }), client);
  for (let version = 1; version <= listOffsetsHandler.maxVersion; version++) {
    const epoch = version >= 4 ? 3 : -1;
    const [latest] = await list(lab, [[0, -1]], version);
    expect(latest).toMatchObject({ errorCode: 0, offset: 3, timestamp: -1, leaderEpoch: epoch });
    const [earliest] = await list(lab, [[0, -2]], version);
    expect(earliest).toMatchObject({ errorCode: 0, offset: 0, leaderEpoch: epoch });
    const [inside] = await list(lab, [[0, 11]], version);
    expect(inside).toMatchObject({ errorCode: 0, offset: 1, timestamp: 30, leaderEpoch: epoch });
    const [none] = await list(lab, [[0, 31]], version);
    expect(none).toMatchObject({ errorCode: 0, offset: -1, timestamp: -1 });
    const [max] = await list(lab, [[0, -3]], version);
    if (version < 7) expect(max!.errorCode).toBe(ErrorCode.UNSUPPORTED_VERSION);
    else expect(max).toMatchObject({ errorCode: 0, offset: 1, timestamp: 30 });
  }
});

test("ListOffsets: errors per partition", async () => {
  const lab = new ApiLab();
  await lab.open({}, 3);
  const answers = await list(lab, [
    [2, -1],
    [9, -1],
    [1, -1, 2],
    [0, -1, 4],
  ]);
  expect(answers.map((answer) => answer.errorCode)).toEqual([
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
  ]);
  const twice = await list(lab, [
    [0, -1],
    [0, -2],
  ]);
  expect(twice.map((answer) => answer.errorCode)).toEqual([ErrorCode.INVALID_REQUEST]);
  expect((await list(lab, [[0, -4]]))[0]!.errorCode).toBe(ErrorCode.UNSUPPORTED_VERSION);
  // Only -1 is no epoch: any other negative one is old.
  const [negative] = await list(lab, [[0, -1, -2]]);
  expect(negative!.errorCode).toBe(ErrorCode.FENCED_LEADER_EPOCH);
});

test("ListOffsets: a topic named twice is one, one without partitions is none", async () => {
  const lab = new ApiLab();
  await lab.open({}, 3);
  const at = (partitionIndex: number) => ({ partitionIndex, timestamp: -1 });
  const topics = [
    { name: "a", partitions: [at(0), at(2)] },
    { name: "b", partitions: [] },
    { name: "a", partitions: [at(0), at(9)] },
  ];
  const answer = await lab.call(listOffsetsHandler, { replicaId: -1, topics }, 7);
  expect(answer!.topics.map(({ name }) => name)).toEqual(["a"]);
  const codes = answer!.topics[0]!.partitions.map((one) => [one.partitionIndex, one.errorCode]);
  expect(codes).toEqual([
    [0, ErrorCode.INVALID_REQUEST],
    [2, ErrorCode.NOT_LEADER_OR_FOLLOWER],
    [9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
  ]);
});

/** [offset, epoch] of each special, in the newest version. */
async function tiers(lab: ApiLab) {
  const found: number[][] = [];
  for (const timestamp of [-4, -5, -6]) {
    const [answer] = await list(lab, [[0, timestamp]], 11);
    expect([answer!.errorCode, answer!.timestamp]).toEqual([0, -1]);
    found.push([answer!.offset, answer!.leaderEpoch]);
  }
  return found;
}

test("ListOffsets: where the tiers border", async () => {
  let archived: { start: number; end: number } | null = null;
  const lab = new ApiLab({ cold: { ...noColdReader, archivedRange: () => archived } });
  const [partition] = await lab.open({}, 2);
  // Nothing there: nothing is archived, nothing waits for it.
  expect(await tiers(lab)).toEqual([
    [0, 2],
    [-1, -1],
    [-1, -1],
  ]);
  for (let n = 0; n < 4; n++) await partition.append(batch(), client);
  await partition.seal();
  await partition.append(batch(), client);
  expect(await tiers(lab)).toEqual([
    [0, 2],
    [-1, -1],
    [0, 2],
  ]);
  // Archived and still in the WAL.
  archived = { start: 0, end: 4 };
  expect(await tiers(lab)).toEqual([
    [0, 2],
    [3, 2],
    [4, 2],
  ]);
  // All is archived: nothing is pending.
  archived = { start: 0, end: 5 };
  expect((await tiers(lab))[2]).toEqual([-1, -1]);
  // Deleted further than was archived.
  archived = { start: 0, end: 2 };
  await partition.deleteRecordsBefore(3);
  expect(await tiers(lab)).toEqual([
    [3, 2],
    [1, -1],
    [3, 2],
  ]);
});

test("ListOffsets: without archives the log is local and nothing waits", async () => {
  const lab = new ApiLab({ indexing: false });
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  expect(await tiers(lab)).toEqual([
    [0, 0],
    [-1, -1],
    [-1, -1],
  ]);
});

test("ListOffsets: a special is known from its version on", async () => {
  const lab = new ApiLab();
  await lab.open();
  const since = { [-3]: 7, [-4]: 8, [-5]: 9, [-6]: 11, [-7]: 99 };
  for (const [timestamp, from] of Object.entries(since)) {
    for (let version = 1; version <= 11; version++) {
      const [answer] = await list(lab, [[0, Number(timestamp)]], version);
      const expected = version < from ? ErrorCode.UNSUPPORTED_VERSION : 0;
      expect([timestamp, version, answer!.errorCode]).toEqual([timestamp, version, expected]);
    }
  }
});

test("ListOffsets: from v10 on a look into archives may take the client's time only", async () => {
  const never = new Promise<null>(() => undefined);
  let archived: { start: number; end: number } | null = null;
  const cold = { ...noColdReader, archivedRange: () => archived, findTime: () => never };
  const lab = new ApiLab({ cold });
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  await partition.seal();
  archived = { start: 0, end: 1 };
  await partition.checkpoint(1);
  await partition.releaseSegments(partition.segments().map(({ id }) => id));
  const request = {
    replicaId: -1,
    timeoutMs: 100,
    topics: [{ name: "a", partitions: [{ partitionIndex: 0, timestamp: 5 }] }],
  };
  const slow = lab.call(listOffsetsHandler, request, 10);
  await turn();
  lab.log.clock.advance(2_000);
  expect((await slow)!.topics[0]!.partitions[0]!.errorCode).toBe(ErrorCode.REQUEST_TIMED_OUT);
  expect(lab.log.partitions.deadlines.size).toBe(0);
});

test("ListOffsets of an empty partition", async () => {
  const lab = new ApiLab();
  await lab.open();
  const answers = await list(lab, [
    [0, -1],
    [1, -3],
  ]);
  expect(answers.map((answer) => [answer.offset, answer.timestamp])).toEqual([
    [0, -1],
    [-1, -1],
  ]);
});

test("DeleteRecords: every version; errors exact; the low watermark is the new start", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  for (let n = 0; n < 5; n++) await partition.append(batch(), client);
  const run = async (version: number, index: number, offset: number) => {
    const partitions = [{ partitionIndex: index, offset }];
    const request = { timeoutMs: 1000, topics: [{ name: "a", partitions }] };
    const response = await lab.call(deleteRecordsHandler, request, version);
    const [answer] = response!.topics[0]!.partitions;
    return [answer!.errorCode, answer!.lowWatermark];
  };
  expect(await run(0, 0, 2)).toEqual([0, 2]);
  expect(await run(1, 0, 1)).toEqual([0, 2]);
  expect(await run(2, 0, 6)).toEqual([ErrorCode.OFFSET_OUT_OF_RANGE, -1]);
  expect(await run(2, 0, -2)).toEqual([ErrorCode.OFFSET_OUT_OF_RANGE, -1]);
  expect(await run(2, 2, 0)).toEqual([ErrorCode.NOT_LEADER_OR_FOLLOWER, -1]);
  expect(await run(2, 8, 0)).toEqual([ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1]);
  expect(await run(2, 0, -1)).toEqual([0, 5]);
  partition.config = { ...partition.config, delete: false, compact: true };
  expect(await run(2, 0, -1)).toEqual([ErrorCode.POLICY_VIOLATION, -1]);
});

test("InitProducerId without a transactional id: a fresh id", async () => {
  const lab = new ApiLab();
  const run = async (version: number, transactionalId: string | null, own = {}) => {
    const request = { transactionalId, transactionTimeoutMs: 60_000, ...own };
    const response = await lab.call(initProducerIdHandler, request, version);
    return [response!.errorCode, response!.producerId, response!.producerEpoch];
  };
  for (let version = 0; version <= 5; version++)
    expect(await run(version, null)).toEqual([0, 77, 0]);
  const half = { producerId: 4, producerEpoch: -1 };
  expect(await run(5, null, half)).toEqual([ErrorCode.INVALID_REQUEST, -1, -1]);
  lab.producerIds = () => Promise.reject(new BrokerError("CHRONIK_NO_SPACE", "full"));
  expect((await run(5, null))[0]).toBe(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
});

test("OffsetForLeaderEpoch: every version; ends, unknown and fenced epochs", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open({}, 1);
  await partition.append(batch(), client);
  partition.becomeLeader(4);
  await partition.append(batch(), client);
  const run = async (version: number, leaderEpoch: number, currentLeaderEpoch = -1, index = 0) => {
    const partitions = [{ partition: index, currentLeaderEpoch, leaderEpoch }];
    const request = { topics: [{ topic: "a", partitions }] };
    const response = await lab.call(offsetForLeaderEpochHandler, request, version);
    const [answer] = response!.topics[0]!.partitions;
    return [answer!.errorCode, answer!.leaderEpoch, answer!.endOffset];
  };
  for (let version = 2; version <= 4; version++) {
    expect(await run(version, 1)).toEqual([0, 1, 1]);
    expect(await run(version, 2)).toEqual([0, 1, 1]);
    expect(await run(version, 4, 4)).toEqual([0, 4, 2]);
    expect(await run(version, 5)).toEqual([0, -1, -1]);
    expect(await run(version, 0)).toEqual([0, 0, 0]);
    expect(await run(version, 1, 3)).toEqual([ErrorCode.FENCED_LEADER_EPOCH, -1, -1]);
    expect(await run(version, 1, 5)).toEqual([ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1]);
    expect(await run(version, 1, -1, 8)).toEqual([ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1]);
  }
});

test("DeleteRecords: of a partition named twice the last offset counts", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  for (let n = 0; n < 4; n++) await partition.append(batch(), client);
  const to = (offset: number) => ({ partitionIndex: 0, offset });
  const topics = [
    { name: "a", partitions: [to(3), to(1)] },
    { name: "b", partitions: [] },
    { name: "a", partitions: [to(2)] },
  ];
  const answer = await lab.call(deleteRecordsHandler, { topics, timeoutMs: 1000 }, 2);
  expect(answer!.topics).toEqual([
    { name: "a", partitions: [{ partitionIndex: 0, lowWatermark: 2, errorCode: ErrorCode.NONE }] },
  ]);
  expect(partition.logStartOffset).toBe(2);
});
