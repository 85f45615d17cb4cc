/**
 * DeleteGroups, v0 to v3: deletes groups without members, and their offsets; answered when that is
 * durable. v3 brought an error text for each group.
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type DeleteGroupsRequest,
  type DeleteGroupsResponse,
  deleteGroupsApi,
} from "../protocol/messages/42-delete-groups.ts";
import type { ApiHandler } from "./context.ts";

export const deleteGroupsHandler: ApiHandler<DeleteGroupsRequest, DeleteGroupsResponse> = {
  codec: deleteGroupsApi,
  minVersion: 0,
  maxVersion: 3,
  async handle(context, request) {
    const { groups } = context.services;
    const names = [...new Set(request.groupsNames)];
    const results = await inBatches(names, batchSizeMax, async (groupId) => {
      const errorCode = await groups.deleteGroup(groupId);
      if (errorCode === ErrorCode.NONE) return { groupId, errorCode };
      return { groupId, errorCode, errorMessage: errorInfos.get(errorCode)?.message ?? null };
    });
    return { throttleTimeMs: 0, results };
  },
  failure(request, _version, errorCode) {
    const results = request.groupsNames.map((groupId) => ({ groupId, errorCode }));
    return { throttleTimeMs: 0, results };
  },
};
