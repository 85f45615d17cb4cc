/**
 * ListOffsets, v1–11: latest (−1), earliest (−2), the record with the largest timestamp (−3), the
 * tiers' borders (−4, −5, −6), or the first record at or past a timestamp.
 * Latest is the high watermark, or for read_committed the last stable offset.
 *
 * v2 isolation · v4 leader epochs · v6 flexible · v7 −3 · v8 −4 · v9 −5 · v10 a timeout for what
 * has to be looked up in archives · v11 −6.
 */
import {
  earliestLocalTimestamp,
  earliestPendingUploadTimestamp,
  latestTieredTimestamp,
  type TierTimestamp,
  tierOffset,
} from "../log/special-offsets.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ListOffsetsRequest,
  type ListOffsetsRequestListOffsetsPartition,
  type ListOffsetsResponse,
  type ListOffsetsResponseListOffsetsPartitionResponse,
  listOffsetsApi,
} from "../protocol/messages/02-list-offsets.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { epochError, findByName } from "./find-partition.ts";
import { namedTwice } from "./named-twice.ts";

type Ask = Decoded<ListOffsetsRequestListOffsetsPartition>;
type Answer = ListOffsetsResponseListOffsetsPartitionResponse;

const leaderEpochFrom = 4;
const timeoutFrom = 10;
/** The version that brought each special timestamp. */
const specialsFrom: ReadonlyMap<number, number> = new Map([
  [-1, 1],
  [-2, 1],
  [-3, 7],
  [earliestLocalTimestamp, 8],
  [latestTieredTimestamp, 9],
  [earliestPendingUploadTimestamp, 11],
]);
const readCommitted = 1;

export const listOffsetsHandler: ApiHandler<ListOffsetsRequest, ListOffsetsResponse> = {
  codec: listOffsetsApi,
  minVersion: 1,
  maxVersion: 11,

  async handle(context, request, version) {
    const timeoutMs = version >= timeoutFrom ? request.timeoutMs : 0;
    const isolation =
      request.isolationLevel === readCommitted ? "read_committed" : "read_uncommitted";
    const topics = await Promise.all(
      [...asksByTopic(request.topics)].map(async ([name, asks]) => {
        const twice = namedTwice(asks.map(({ partitionIndex }) => partitionIndex));
        const answers = asks
          .filter(({ partitionIndex }) => !twice.has(partitionIndex))
          .map((ask) =>
            within(context, timeoutMs, ask, lookUp(context, name, ask, isolation, version)),
          );
        const refused = [...twice].map((index) => failed(index, ErrorCode.INVALID_REQUEST));
        return { name, partitions: [...refused, ...(await Promise.all(answers))] };
      }),
    );
    return { throttleTimeMs: 0, topics };
  },

  failure: (request, _version, errorCode) => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => failed(partitionIndex, errorCode)),
    })),
  }),
};

/** A topic named twice is asked about once; one without partitions is not answered. */
function asksByTopic(
  topics: Decoded<ListOffsetsRequest>["topics"],
): ReadonlyMap<string, readonly Ask[]> {
  const byTopic = new Map<string, Ask[]>();
  for (const { name, partitions } of topics) {
    if (partitions.length === 0) continue;
    const asks = byTopic.get(name) ?? [];
    for (const ask of partitions) asks.push(ask);
    byTopic.set(name, asks);
  }
  return byTopic;
}

async function lookUp(
  context: RequestContext,
  topic: string,
  ask: Ask,
  isolation: "read_uncommitted" | "read_committed",
  version: number,
): Promise<Answer> {
  const { partitionIndex, currentLeaderEpoch, timestamp } = ask;
  if (timestamp < 0 && version < (specialsFrom.get(timestamp) ?? Number.POSITIVE_INFINITY)) {
    return failed(partitionIndex, ErrorCode.UNSUPPORTED_VERSION);
  }
  const partition = findByName(context.services, topic, partitionIndex);
  if (typeof partition === "number") return failed(partitionIndex, partition);
  const stale = epochError(partition, currentLeaderEpoch);
  if (stale !== ErrorCode.NONE) return failed(partitionIndex, stale);
  if (isTierTimestamp(timestamp)) {
    const archiving = context.services.config.indexer.enableWalIndexing;
    const committed = isolation === "read_committed";
    const found = tierOffset(timestamp, partition, archiving, committed);
    return { partitionIndex, errorCode: ErrorCode.NONE, timestamp: -1, ...found };
  }
  const found = await partition.offsetForTimestamp(timestamp, isolation);
  if (found.errorCode !== ErrorCode.NONE) return failed(partitionIndex, found.errorCode);
  const { errorCode, offset, leaderEpoch } = found;
  const answer = { partitionIndex, errorCode, offset, timestamp: found.timestamp };
  return version >= leaderEpochFrom ? { ...answer, leaderEpoch } : answer;
}

/** The answer, or REQUEST_TIMED_OUT where it takes longer; 0: however long it takes. */
function within(
  { services }: RequestContext,
  timeoutMs: number,
  { partitionIndex }: { partitionIndex: number },
  answer: Promise<Answer>,
): Promise<Answer> {
  if (timeoutMs <= 0) return answer;
  const { deadlines } = services.partitions;
  return new Promise((resolve, reject) => {
    const late = () => resolve(failed(partitionIndex, ErrorCode.REQUEST_TIMED_OUT));
    const deadline = deadlines.add(timeoutMs, late);
    answer.then(resolve, reject).finally(() => deadlines.remove(deadline));
  });
}

function isTierTimestamp(timestamp: number): timestamp is TierTimestamp {
  return timestamp <= earliestLocalTimestamp && timestamp >= earliestPendingUploadTimestamp;
}

function failed(partitionIndex: number, errorCode: number): Answer {
  return { partitionIndex, errorCode, timestamp: -1, offset: -1 };
}
