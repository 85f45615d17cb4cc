/**
 * DeleteRecords, v0–2: moves the log start of partitions, durably before the answer; −1 means up to
 * the high watermark. Topics that are compacted only are refused with POLICY_VIOLATION, internal
 * ones with INVALID_TOPIC_EXCEPTION.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DeleteRecordsRequest,
  type DeleteRecordsResponse,
  type DeleteRecordsResponseDeleteRecordsPartitionResult,
  deleteRecordsApi,
} from "../protocol/messages/21-delete-records.ts";
import type { ApiHandler, RequestContext } from "./context.ts";
import { findByName } from "./find-partition.ts";

type Answer = DeleteRecordsResponseDeleteRecordsPartitionResult;

export const deleteRecordsHandler: ApiHandler<DeleteRecordsRequest, DeleteRecordsResponse> = {
  codec: deleteRecordsApi,
  minVersion: 0,
  maxVersion: 2,

  async handle(context, request) {
    const topics = await Promise.all(
      [...offsetsByTopic(request.topics)].map(async ([name, offsets]) => ({
        name,
        partitions: await Promise.all(
          [...offsets].map(([index, offset]) => deleteBefore(context, name, index, offset)),
        ),
      })),
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

/** Of a partition named twice the last offset counts; a topic without any is not answered. */
function offsetsByTopic(
  topics: Decoded<DeleteRecordsRequest>["topics"],
): ReadonlyMap<string, ReadonlyMap<number, number>> {
  const byTopic = new Map<string, Map<number, number>>();
  for (const { name, partitions } of topics) {
    if (partitions.length === 0) continue;
    const offsets = byTopic.get(name) ?? new Map<number, number>();
    for (const { partitionIndex, offset } of partitions) offsets.set(partitionIndex, offset);
    byTopic.set(name, offsets);
  }
  return byTopic;
}

async function deleteBefore(
  context: RequestContext,
  topic: string,
  partitionIndex: number,
  offset: number,
): Promise<Answer> {
  const partition = findByName(context.services, topic, partitionIndex);
  if (typeof partition === "number") return failed(partitionIndex, partition);
  if (partition.internal) return failed(partitionIndex, ErrorCode.INVALID_TOPIC_EXCEPTION);
  const { errorCode, logStartOffset } = await partition.deleteRecordsBefore(offset);
  return { partitionIndex, errorCode, lowWatermark: logStartOffset };
}

function failed(partitionIndex: number, errorCode: number): Answer {
  return { partitionIndex, errorCode, lowWatermark: -1 };
}
