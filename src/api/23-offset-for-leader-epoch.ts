/**
 * OffsetForLeaderEpoch, v2–4: where a leader epoch ended, so that clients notice a truncated log.
 * −1/−1 for an epoch this log does not know. v3 replica id · v4 flexible.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type OffsetForLeaderEpochRequest,
  type OffsetForLeaderEpochRequestOffsetForLeaderPartition,
  type OffsetForLeaderEpochResponse,
  type OffsetForLeaderEpochResponseEpochEndOffset,
  offsetForLeaderEpochApi,
} from "../protocol/messages/23-offset-for-leader-epoch.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { epochError, findByName } from "./find-partition.ts";

type Answer = OffsetForLeaderEpochResponseEpochEndOffset;

export const offsetForLeaderEpochHandler: ApiHandler<
  OffsetForLeaderEpochRequest,
  OffsetForLeaderEpochResponse
> = {
  codec: offsetForLeaderEpochApi,
  minVersion: 2,
  maxVersion: 4,

  handle: (context, request) => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((ask) => lookUp(context, topic, ask)),
    })),
  }),

  failure: (request, _version, errorCode) => ({
    throttleTimeMs: 0,
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map(({ partition }) => failed(partition, errorCode)),
    })),
  }),
};

function lookUp(
  context: RequestContext,
  topic: string,
  ask: Decoded<OffsetForLeaderEpochRequestOffsetForLeaderPartition>,
): Answer {
  const found = findByName(context.services, topic, ask.partition);
  if (typeof found === "number") return failed(ask.partition, found);
  const stale = epochError(found, ask.currentLeaderEpoch);
  if (stale !== ErrorCode.NONE) return failed(ask.partition, stale);
  const end = found.endOffsetForEpoch(ask.leaderEpoch);
  return { partition: ask.partition, errorCode: ErrorCode.NONE, ...end };
}

function failed(partition: number, errorCode: number): Answer {
  return { partition, errorCode, leaderEpoch: -1, endOffset: -1 };
}
