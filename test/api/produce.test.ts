import { expect, test } from "bun:test";
import { produceHandler } from "../../src/api/00-produce.ts";
import { CloseConnection } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, topicA, topicB, turn } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

interface Part {
  topic?: { name: string; id: string };
  index?: number;
  records: Uint8Array | null;
}

function request(parts: Part[], version: number, rest: { acks?: number; timeoutMs?: number } = {}) {
  return {
    acks: rest.acks ?? -1,
    timeoutMs: rest.timeoutMs ?? 30_000,
    topicData: parts.map(({ topic = topicA, index = 0, records }) => ({
      ...(version >= 13 ? { topicId: topic.id } : { name: topic.name }),
      partitionData: [{ index, records }],
    })),
  };
}

async function produce(lab: ApiLab, parts: Part[], version = 11, rest = {}) {
  const response = await lab.call(produceHandler, request(parts, version, rest), version);
  return response?.responses.flatMap((topic) => topic.partitionResponses) ?? null;
}

test("every version appends and answers in its own layout", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  for (let version = produceHandler.minVersion; version <= produceHandler.maxVersion; version++) {
    const [answer] = (await produce(lab, [{ records: batch() }], version))!;
    expect(answer!.errorCode).toBe(0);
    expect(answer!.baseOffset).toBe(version - 3);
  }
  expect(partition.highWatermark).toBe(11);
});

test("many partitions: answered in the order of the request, each for itself", async () => {
  const lab = new ApiLab();
  await lab.open();
  const answers = await produce(lab, [
    { records: batch(), index: 1 },
    { records: batch({ isControl: true }) },
    { records: batch(), index: 2 },
    { records: batch(), index: 9 },
    { records: batch(), topic: { name: "none", id: "" } },
    { records: batch() },
    { records: null },
  ]);
  expect(answers!.map((answer) => [answer.index, answer.errorCode, answer.baseOffset])).toEqual([
    [1, ErrorCode.NONE, 0],
    [0, ErrorCode.INVALID_RECORD, -1],
    [2, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1],
    [9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1],
    [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1],
    [0, ErrorCode.NONE, 0],
    [0, ErrorCode.INVALID_RECORD, -1],
  ]);
});

test("NOT_LEADER_OR_FOLLOWER names the leader, from v10 on", async () => {
  const lab = new ApiLab();
  await lab.open();
  const parts = [{ records: batch(), index: 2 }, { records: batch() }];
  const ask = async (version: number) => {
    const response = await lab.call(produceHandler, request(parts, version), version);
    const answers = response!.responses.flatMap((topic) => topic.partitionResponses);
    const leaders = answers.map(({ currentLeader }) => currentLeader);
    return { leaders, nodeEndpoints: response!.nodeEndpoints };
  };
  const nobody = { leaderId: -1, leaderEpoch: -1 };
  for (const version of [10, 13]) {
    expect(await ask(version)).toEqual({
      leaders: [{ leaderId: 1, leaderEpoch: 0 }, nobody],
      nodeEndpoints: [{ nodeId: 1, host: "one", port: 9092, rack: "r" }],
    });
  }
  expect(await ask(9)).toEqual({ leaders: [nobody, nobody], nodeEndpoints: [] });
});

test("topic ids: unknown ones are unknown ids", async () => {
  const lab = new ApiLab();
  await lab.open();
  const stranger = { name: "", id: "AAAAAAAAAAAAAAAAAAAAAw" };
  const answers = await produce(
    lab,
    [
      { topic: stranger, records: batch() },
      { topic: topicB, records: batch() },
      { topic: topicB, records: batch(), index: 4 },
    ],
    13,
  );
  expect(answers!.map((answer) => answer.errorCode)).toEqual([
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
});

test("no acks value is answered before the fsync", async () => {
  for (const acks of [-1, 0, 1]) {
    const lab = new ApiLab({ auto: false });
    await lab.open();
    let answered = false;
    const done = produce(lab, [{ records: batch() }], 9, { acks }).then((answers) => {
      answered = true;
      return answers;
    });
    await turn();
    expect(answered).toBe(false);
    lab.log.wal.complete();
    const answers = await done;
    if (acks === 0) expect(answers).toBeNull();
    else expect(answers![0]!.errorCode).toBe(0);
  }
});

test("acks=0 with an error closes the connection, whenever it happens", async () => {
  const lab = new ApiLab({ auto: false });
  await lab.open();
  const send = (part: Part) => produce(lab, [part], 9, { acks: 0 });
  expect(send({ records: null })).rejects.toBeInstanceOf(CloseConnection);
  expect(send({ records: batch(), index: 9 })).rejects.toBeInstanceOf(CloseConnection);
  const late = send({ records: batch() });
  lab.log.wal.failWhen = () => noSpace();
  lab.log.wal.complete();
  expect(late).rejects.toBeInstanceOf(CloseConnection);
});

test("other acks are refused for every partition and nothing is appended", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  const answers = await produce(lab, [{ records: batch() }, { records: batch(), index: 1 }], 9, {
    acks: 2,
  });
  expect(answers!.map((answer) => answer.errorCode)).toEqual([
    ErrorCode.INVALID_REQUIRED_ACKS,
    ErrorCode.INVALID_REQUIRED_ACKS,
  ]);
  expect(partition.logEndOffset).toBe(0);
});

test("min.insync.replicas asks for no more copies than a topic has replicas", async () => {
  const lab = new ApiLab();
  await lab.open({ minInsyncReplicas: 2 });
  const [answer] = (await produce(lab, [{ records: batch() }], 9, { acks: -1 }))!;
  expect(answer!.errorCode).toBe(ErrorCode.NONE);
});

test("acks=-1 needs min.insync.replicas, acks=1 does not", async () => {
  const lab = new ApiLab({}, [1, 2]);
  await lab.open({ minInsyncReplicas: 2 });
  const code = async (acks: number) =>
    (await produce(lab, [{ records: batch() }], 9, { acks }))![0]!.errorCode;
  expect(await code(-1)).toBe(ErrorCode.NOT_ENOUGH_REPLICAS);
  expect(await code(1)).toBe(ErrorCode.NONE);
});

test("zstd needs version 7", async () => {
  const lab = new ApiLab();
  await lab.open();
  const zstd = batch({ compression: "zstd" } as object);
  zstd[22]! |= 4;
  expect((await produce(lab, [{ records: zstd }], 6))![0]!.errorCode).toBe(
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  );
});

test("transactional records need a transactional id", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  const bytes = batch({ isTransactional: true, producerId: 1, producerEpoch: 0, baseSequence: 0 });
  const code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
  expect((await produce(lab, [{ records: bytes }]))![0]!.errorCode).toBe(code);
  expect(partition.logEndOffset).toBe(0);
});

test("internal topics are closed to clients, but for Kafka's admin tool", async () => {
  const lab = new ApiLab();
  const { partitions } = lab.log;
  await partitions.open({ ...topicA, internal: true }, 0, 0, (await lab.log.open()).config);
  const partition = partitions.get("a", 0)!;
  (partition as { internal: boolean }).internal = true;
  const code = async () => (await produce(lab, [{ records: batch() }]))![0]!.errorCode;
  expect(await code()).toBe(ErrorCode.INVALID_TOPIC_EXCEPTION);
  lab.clientId = "__admin_client";
  expect(await code()).toBe(ErrorCode.NONE);
});

test("a full disk is KAFKA_STORAGE_ERROR, with a reason", async () => {
  const lab = new ApiLab();
  await lab.open();
  lab.log.wal.failWhen = () => noSpace();
  const [answer] = (await produce(lab, [{ records: batch() }]))!;
  expect(answer!.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(answer!.errorMessage).toBe("no space left");
  lab.log.wal.failWhen = () => null;
  expect((await produce(lab, [{ records: batch() }]))![0]!.baseOffset).toBe(0);
});

test("record errors reach versions that carry them", async () => {
  const lab = new ApiLab();
  await lab.open({ compact: true });
  const bytes = batch({ values: ["a", "b"], keys: [null, "k"] });
  const [v8] = (await produce(lab, [{ records: bytes }], 8))!;
  expect(v8!.recordErrors.map((error) => error.batchIndex)).toEqual([0]);
  const [v7] = (await produce(lab, [{ records: bytes }], 7))!;
  expect(v7!.errorCode).toBe(ErrorCode.INVALID_RECORD);
});

test("an error tells where the log starts, but for those that say nothing of it", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  for (let n = 0; n < 3; n++) await produce(lab, [{ records: batch() }]);
  await partition.deleteRecordsBefore(2);
  const [lie] = (await produce(lab, [{ records: batch({ isControl: true }) }]))!;
  expect(lie).toMatchObject({ errorCode: ErrorCode.INVALID_RECORD, logStartOffset: 2 });
  const torn = Buffer.from(batch());
  torn.writeUInt32BE(1, 17);
  const [bad] = (await produce(lab, [{ records: torn }]))!;
  expect(bad).toMatchObject({ errorCode: ErrorCode.CORRUPT_MESSAGE, logStartOffset: -1 });
});

test("a topic without partitions is not answered", async () => {
  const lab = new ApiLab();
  await lab.open();
  const asked = request([{ records: batch() }], 9);
  const topicData = [{ name: "a", partitionData: [] }, ...asked.topicData];
  const answer = await lab.call(produceHandler, { ...asked, topicData }, 9);
  expect(answer!.responses.map((one) => one.partitionResponses.length)).toEqual([1]);
});

test("the request's timeout answers REQUEST_TIMED_OUT for what is still open", async () => {
  const lab = new ApiLab({ auto: false });
  const [partition] = await lab.open();
  const parts = [{ records: batch() }, { records: null, index: 1 }];
  const done = produce(lab, parts, 9, { timeoutMs: 500 });
  await turn();
  lab.log.clock.advance(2_000);
  expect((await done)!.map((answer) => answer.errorCode)).toEqual([
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.INVALID_RECORD,
  ]);
  lab.log.wal.complete();
  // What was appended stays.
  expect(partition.highWatermark).toBe(1);
  expect(lab.log.partitions.deadlines.size).toBe(0);
});

test("LogAppendTime is told in the response", async () => {
  const lab = new ApiLab();
  await lab.open({ timestampType: "LogAppendTime" });
  const [answer] = (await produce(lab, [{ records: batch() }]))!;
  expect(answer!.logAppendTimeMs).toBe(lab.log.clock.nowMs());
});
