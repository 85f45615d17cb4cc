/** ListPartitionReassignments, version 0: with one broker no partition ever moves. */
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ListPartitionReassignmentsRequest,
  type ListPartitionReassignmentsResponse,
  listPartitionReassignmentsApi,
} from "../protocol/messages/46-list-partition-reassignments.ts";
import type { ApiHandler } from "./context.ts";

export const listPartitionReassignmentsHandler: ApiHandler<
  ListPartitionReassignmentsRequest,
  ListPartitionReassignmentsResponse
> = {
  codec: listPartitionReassignmentsApi,
  minVersion: 0,
  maxVersion: 0,
  handle: () => answer(ErrorCode.NONE, null),
  failure: (_request, _version, errorCode, message) => answer(errorCode, message),
};

function answer(
  errorCode: number,
  errorMessage: string | null,
): ListPartitionReassignmentsResponse {
  return { throttleTimeMs: 0, errorCode, errorMessage, topics: [] };
}
