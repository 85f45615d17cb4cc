/**
 * DeleteRecords, v0–2: moves the log start of partitions, durably before the answer; −1 means up to
 * the high watermark. Topics that are compacted only are refused with POLICY_VIOLATION, internal
 * ones with INVALID_TOPIC_EXCEPTION.
 */
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
      request.topics.map(async ({ name, partitions }) => ({
        name,
        partitions: await Promise.all(
          partitions.map(({ partitionIndex, offset }) =>
            deleteBefore(context, name, partitionIndex, offset),
          ),
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
