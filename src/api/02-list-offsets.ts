/**
 * ListOffsets, v1–7: latest (−1), earliest (−2), from v7 the record with the largest timestamp
 * (−3), or the first record at or past a timestamp. Latest is the high watermark, or for
 * read_committed the last stable offset. v2 isolation · v4 leader epochs · v6 flexible.
 * Omitted: v8 and later, whose specials (−4, −5, −6) ask about tiers.
 */
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

type Answer = ListOffsetsResponseListOffsetsPartitionResponse;

const leaderEpochFrom = 4;
const maxTimestampFrom = 7;
const maxTimestamp = -3;
const readCommitted = 1;

export const listOffsetsHandler: ApiHandler<ListOffsetsRequest, ListOffsetsResponse> = {
  codec: listOffsetsApi,
  minVersion: 1,
  maxVersion: 7,

  async handle(context, request, version) {
    const isolation =
      request.isolationLevel === readCommitted ? "read_committed" : "read_uncommitted";
    const topics = await Promise.all(
      request.topics.map(async ({ name, partitions }) => {
        const counts = new Map<number, number>();
        for (const { partitionIndex } of partitions) {
          counts.set(partitionIndex, (counts.get(partitionIndex) ?? 0) + 1);
        }
        const answers = partitions.map((ask) =>
          (counts.get(ask.partitionIndex) ?? 0) > 1
            ? failed(ask.partitionIndex, ErrorCode.INVALID_REQUEST)
            : lookUp(context, name, ask, isolation, version),
        );
        return { name, partitions: await Promise.all(answers) };
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

async function lookUp(
  context: RequestContext,
  topic: string,
  ask: Decoded<ListOffsetsRequestListOffsetsPartition>,
  isolation: "read_uncommitted" | "read_committed",
  version: number,
): Promise<Answer> {
  const { partitionIndex, currentLeaderEpoch, timestamp } = ask;
  const partition = findByName(context.services, topic, partitionIndex);
  if (typeof partition === "number") return failed(partitionIndex, partition);
  const stale = epochError(partition, currentLeaderEpoch);
  if (stale !== ErrorCode.NONE) return failed(partitionIndex, stale);
  if (timestamp < maxTimestamp || (timestamp === maxTimestamp && version < maxTimestampFrom)) {
    return failed(partitionIndex, ErrorCode.UNSUPPORTED_VERSION);
  }
  const found = await partition.offsetForTimestamp(timestamp, isolation);
  if (found.errorCode !== ErrorCode.NONE) return failed(partitionIndex, found.errorCode);
  const { errorCode, offset, leaderEpoch } = found;
  const answer = { partitionIndex, errorCode, offset, timestamp: found.timestamp };
  return version >= leaderEpochFrom ? { ...answer, leaderEpoch } : answer;
}

function failed(partitionIndex: number, errorCode: number): Answer {
  return { partitionIndex, errorCode, timestamp: -1, offset: -1 };
}
