/**
 * AlterShareGroupOffsets, v0 (KIP-932): sets where a share group without members reads on, and
 * makes the group if need be; answered when that is durable.
 */
import type { ShareOffset } from "../group/share-membership.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode, errorInfos } from "../protocol/error-code.ts";
import {
  type AlterShareGroupOffsetsRequest,
  type AlterShareGroupOffsetsResponse,
  type AlterShareGroupOffsetsResponseTopic,
  alterShareGroupOffsetsApi,
} from "../protocol/messages/91-alter-share-group-offsets.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler, Services } from "./context.ts";
import { servesShareGroups } from "./share-session.ts";

type Request = Decoded<AlterShareGroupOffsetsRequest>;

export const alterShareGroupOffsetsHandler: ApiHandler<
  AlterShareGroupOffsetsRequest,
  AlterShareGroupOffsetsResponse
> = {
  codec: alterShareGroupOffsetsApi,
  minVersion: 0,
  maxVersion: 0,
  async handle({ services }, request) {
    if (!servesShareGroups(services)) return failed(ErrorCode.UNSUPPORTED_VERSION);
    const offsets = request.topics.flatMap((topic) => offsetsOf(services, topic));
    const errorCode = await services.groups.share.alterOffsets(request.groupId, offsets);
    if (errorCode !== ErrorCode.NONE) return failed(errorCode);
    const responses = request.topics.map((topic) => answerOf(services, topic));
    return { throttleTimeMs: 0, errorCode, errorMessage: null, responses };
  },
  failure: (_request, _version, errorCode) => failed(errorCode),
};

function failed(errorCode: number): AlterShareGroupOffsetsResponse {
  const errorMessage = errorInfos.get(errorCode)?.message ?? null;
  return { throttleTimeMs: 0, errorCode, errorMessage, responses: [] };
}

/** Of partitions that exist. */
function offsetsOf(services: Services, topic: Request["topics"][number]): ShareOffset[] {
  const known = services.metadata.image.topicsByName.get(topic.topicName);
  if (known === undefined) return [];
  return topic.partitions
    .filter(({ partitionIndex }) => known.partitions[partitionIndex] !== undefined)
    .map(({ partitionIndex: partition, startOffset }) => ({
      topicId: known.id,
      partition,
      startOffset,
    }));
}

function answerOf(
  services: Services,
  { topicName, partitions }: Request["topics"][number],
): AlterShareGroupOffsetsResponseTopic {
  const known = services.metadata.image.topicsByName.get(topicName);
  const unknownError = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const errorMessage = errorInfos.get(unknownError)?.message ?? null;
  return {
    topicName,
    topicId: known?.id ?? zeroUuid,
    partitions: partitions.map(({ partitionIndex }) =>
      known?.partitions[partitionIndex] === undefined
        ? { partitionIndex, errorCode: unknownError, errorMessage }
        : { partitionIndex, errorCode: ErrorCode.NONE, errorMessage: null },
    ),
  };
}
