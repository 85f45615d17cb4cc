import { expect, test } from "bun:test";
import { fetchHandler } from "../../src/api/01-fetch.ts";
import { listOffsetsHandler } from "../../src/api/02-list-offsets.ts";
import { deleteRecordsHandler } from "../../src/api/21-delete-records.ts";
import { describeProducersHandler } from "../../src/api/61-describe-producers.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import type { Partition } from "../../src/log/partition.ts";
import { noColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn } from "../../src/protocol/record-batch.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, turn } from "../support/log-lab.ts";

const client = { origin: "client" } as const;
const committed = 1;

function write(partition: Partition, producerId: number, baseSequence: number) {
  const options = { producerId, producerEpoch: 2, baseSequence, isTransactional: true };
  return partition.append(batch(options), client);
}

function end(partition: Partition, producerId: number, commit: boolean) {
  const marker = { producerId, producerEpoch: 2, coordinatorEpoch: 7, transactionVersion: 1 };
  return partition.appendMarker({ ...marker, commit });
}

interface FetchAsk {
  readonly isolationLevel: number;
  readonly fetchOffset?: number;
  readonly minBytes?: number;
  readonly maxWaitMs?: number;
}

async function fetch(lab: ApiLab, ask: FetchAsk, version = 12) {
  const { isolationLevel, fetchOffset = 0, minBytes = 1, maxWaitMs = 0 } = ask;
  const partition = { partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 };
  const topics = [{ topic: "a", partitions: [partition] }];
  const request = { maxWaitMs, minBytes, isolationLevel, topics, forgottenTopicsData: [] };
  const response = await lab.call(fetchHandler, request, version);
  const [answer] = response!.responses[0]!.partitions;
  const records = answer!.records ?? new Uint8Array(0);
  return { ...answer!, bases: [...batchesIn(records)].map(({ header }) => header.baseOffset) };
}

async function latest(lab: ApiLab, isolationLevel: number, timestamp = -1) {
  const topics = [{ name: "a", partitions: [{ partitionIndex: 0, timestamp }] }];
  const answer = await lab.call(
    listOffsetsHandler,
    { replicaId: -1, isolationLevel, topics, timeoutMs: 0 },
    7,
  );
  return answer!.topics[0]!.partitions[0]!.offset;
}

test("fetch by isolation: where it ends, and what it names as aborted", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await write(partition, 1, 0);
  await end(partition, 1, false);
  await write(partition, 2, 0);
  await partition.append(batch(), client);
  for (const version of [4, 12]) {
    const stable = await fetch(lab, { isolationLevel: committed }, version);
    expect(stable.bases).toEqual([0, 1]);
    expect([stable.highWatermark, stable.lastStableOffset]).toEqual([4, 2]);
    expect(stable.abortedTransactions).toEqual([{ producerId: 1, firstOffset: 0 }]);
    const all = await fetch(lab, { isolationLevel: 0 }, version);
    expect(all.bases).toEqual([0, 1, 2, 3]);
    expect([all.highWatermark, all.lastStableOffset]).toEqual([4, 2]);
    expect(all.abortedTransactions).toBeNull();
  }
  const behind = await fetch(lab, { isolationLevel: committed, fetchOffset: 3 });
  expect([behind.errorCode, behind.bases.length, behind.abortedTransactions!.length]).toEqual([
    ErrorCode.NONE,
    0,
    0,
  ]);
});

test("a read_committed fetch waits for the marker, not for the bytes in front of it", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  const parked: (number[] | null)[] = [null, null];
  const minBytes = 150;
  const wait = (slot: number, isolationLevel: number) =>
    fetch(lab, { isolationLevel, minBytes, maxWaitMs: 60_000 }).then((answer) => {
      parked[slot] = answer.bases;
    });
  await write(partition, 1, 0);
  const waits = [wait(0, committed)];
  await turn();
  await write(partition, 1, 1);
  waits.push(wait(1, 0));
  await turn();
  expect(parked[0]).toBeNull();
  await write(partition, 1, 2);
  await turn();
  expect(parked).toEqual([null, [0, 1, 2]]);
  await end(partition, 1, true);
  await Promise.all(waits);
  expect(parked[0]).toEqual([0, 1, 2, 3]);
});

test("ListOffsets by isolation", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await partition.append(batch({ timestamps: [1_700_000_000_000] }), client);
  await write(partition, 1, 0);
  expect([await latest(lab, 0), await latest(lab, committed)]).toEqual([2, 1]);
  const first = await latest(lab, 0, 1_700_000_000_000);
  expect([first, await latest(lab, committed, 1_700_000_000_000)]).toEqual([0, 0]);
  await partition.deleteRecordsBefore(1);
  const after = [await latest(lab, 0, 0), await latest(lab, committed, 0)];
  expect(after).toEqual([1, -1]);
  await end(partition, 1, true);
  expect([await latest(lab, 0), await latest(lab, committed)]).toEqual([3, 3]);
});

test("DeleteRecords goes up to the high watermark, open transactions or not", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await write(partition, 1, 0);
  await partition.append(batch(), client);
  const topics = [{ name: "a", partitions: [{ partitionIndex: 0, offset: -1 }] }];
  const answer = await lab.call(deleteRecordsHandler, { topics, timeoutMs: 0 }, 2);
  expect(answer!.topics[0]!.partitions[0]).toMatchObject({ errorCode: 0, lowWatermark: 2 });
  expect(partition.lastStableOffset).toBe(2);
  expect((await fetch(lab, { isolationLevel: committed, fetchOffset: 2 })).errorCode).toBe(0);
});

test("an archive that cannot say what was aborted fails read_committed only", async () => {
  let archived: { start: number; end: number } | null = null;
  const cold = {
    ...noColdReader,
    archivedRange: () => archived,
    abortedTransactions: () => Promise.reject(new BrokerError("CHRONIK_ARCHIVE_DAMAGED", "gone")),
  };
  const lab = new ApiLab({ cold });
  const [partition] = await lab.open();
  await partition.append(batch(), client);
  archived = { start: 0, end: 1 };
  expect((await fetch(lab, { isolationLevel: committed })).errorCode).toBe(
    ErrorCode.KAFKA_STORAGE_ERROR,
  );
  expect((await fetch(lab, { isolationLevel: 0 })).bases).toEqual([0]);
  expect(lab.log.heard).toEqual(["unreadable: 0 CHRONIK_ARCHIVE_DAMAGED"]);
});

test("DescribeProducers tells each producer's state, and what is not here", async () => {
  const lab = new ApiLab();
  const [partition] = await lab.open();
  await write(partition, 1, 0);
  await end(partition, 1, true);
  await write(partition, 1, 1);
  const topics = [
    { name: "a", partitionIndexes: [0, 2, 9] },
    { name: "nowhere", partitionIndexes: [0] },
    { name: "not a name", partitionIndexes: [0] },
  ];
  const answer = await lab.call(describeProducersHandler, { topics }, 0);
  const [known, ...others] = answer!.topics.flatMap(({ partitions }) => partitions);
  expect(known!.activeProducers).toEqual([
    {
      producerId: 1,
      producerEpoch: 2,
      lastSequence: 1,
      lastTimestamp: 1_700_000_000_000,
      coordinatorEpoch: 7,
      currentTxnStartOffset: 2,
    },
  ]);
  expect(others.map(({ errorCode }) => errorCode)).toEqual([
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.INVALID_TOPIC_EXCEPTION,
  ]);
  // Kafka has words for a topic that is not there, not for a partition.
  expect(others.map(({ errorMessage }) => errorMessage !== null)).toEqual([
    false,
    false,
    true,
    true,
  ]);
});
