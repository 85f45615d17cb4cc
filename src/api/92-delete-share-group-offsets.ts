/**
 * DeleteShareGroupOffsets, v0 (KIP-932): a share group without members forgets where it was in
 * some topics; answered when that is durable.
 */
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type DeleteShareGroupOffsetsRequest,
  type DeleteShareGroupOffsetsResponse,
  deleteShareGroupOffsetsApi,
} from "../protocol/messages/92-delete-share-group-offsets.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler } from "./context.ts";
import { servesShareGroups } from "./share-session.ts";

export const deleteShareGroupOffsetsHandler: ApiHandler<
  DeleteShareGroupOffsetsRequest,
  DeleteShareGroupOffsetsResponse
> = {
  codec: deleteShareGroupOffsetsApi,
  minVersion: 0,
  maxVersion: 0,
  async handle({ services }, { groupId, topics }) {
    if (!servesShareGroups(services)) return failed(ErrorCode.UNSUPPORTED_VERSION);
    const { share } = services.groups;
    const { topicsByName } = services.metadata.image;
    if (groupId === "") return failed(ErrorCode.INVALID_GROUP_ID);
    const known = await share.initializedPartitions(groupId);
    const responses = topics.map(({ topicName }) => {
      const topicId = topicsByName.get(topicName)?.id;
      if (topicId !== undefined && known.has(topicId)) {
        return { topicName, topicId, errorCode: ErrorCode.NONE, errorMessage: null };
      }
      const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      const unknown = errorInfos.get(errorCode)?.message ?? null;
      const text = topicId === undefined ? unknown : "There is no offset information to delete.";
      return { topicName, topicId: zeroUuid, errorCode, errorMessage: text };
    });
    const wanted = responses.filter(({ errorCode }) => errorCode === ErrorCode.NONE);
    const topicIds = new Set(wanted.map(({ topicId }) => topicId));
    const errorCode = await share.deleteOffsets(groupId, topicIds);
    if (errorCode !== ErrorCode.NONE) return failed(errorCode);
    return { throttleTimeMs: 0, errorCode, errorMessage: null, responses };
  },
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): DeleteShareGroupOffsetsResponse {
  const errorMessage = errorInfos.get(errorCode)?.message ?? null;
  return { throttleTimeMs: 0, errorCode, errorMessage, responses: [] };
}
