/**
 * OffsetFetch, v1 to v10: committed offsets, of named partitions or (null topics, v2) of all that
 * have one. v2 brought the error of the whole answer, v5 leader epochs, v7 requireStable, v8 many
 * groups at once, v10 topic ids instead of names. No offset is −1, also for a group nobody knows
 * and for a topic that was deleted since. Member id and epoch (v9) are checked where the
 * group is one of the consumer protocol (STALE_MEMBER_EPOCH, UNKNOWN_MEMBER_ID).
 */
import type { FetchResult, TopicPartitions } from "../group/api-types.ts";
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type OffsetFetchRequest,
  type OffsetFetchRequestGroup,
  type OffsetFetchResponse,
  type OffsetFetchResponseGroup,
  type OffsetFetchResponsePartitions,
  type OffsetFetchResponseTopics,
  offsetFetchApi,
} from "../protocol/messages/09-offset-fetch.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

const topicIdsFrom = 10;

export const offsetFetchHandler: ApiHandler<OffsetFetchRequest, OffsetFetchResponse> = {
  codec: offsetFetchApi,
  minVersion: 1,
  maxVersion: 10,
  async handle(context, request, version) {
    const { requireStable } = request;
    if (version >= 8) {
      const fetched = await inBatches(request.groups, batchSizeMax, (group) =>
        fetchGroup(context, group, requireStable, version),
      );
      return { groups: fetched };
    }
    const wanted =
      request.topics?.map(({ name, partitionIndexes }) => ({
        topic: name,
        partitions: partitionIndexes,
      })) ?? null;
    const fetched = await context.services.groups.fetchOffsets(
      request.groupId,
      wanted,
      requireStable,
    );
    return singleGroup(fetched, wanted, version);
  },
  failure(request, version, errorCode) {
    const { groups, topics } = request;
    if (version >= 8) {
      return { groups: groups.map(({ groupId }) => ({ groupId, errorCode, topics: [] })) };
    }
    const wanted = (topics ?? []).map(({ name, partitionIndexes }) => ({
      topic: name,
      partitions: partitionIndexes,
    }));
    return singleGroup({ errorCode, topics: [] }, wanted, version);
  },
};

async function fetchGroup(
  context: RequestContext,
  group: Decoded<OffsetFetchRequestGroup>,
  requireStable: boolean,
  version: number,
): Promise<OffsetFetchResponseGroup> {
  const { groups } = context.services;
  const { groupId } = group;
  const byId = version >= topicIdsFrom;
  const unknown: OffsetFetchResponseTopics[] = [];
  let wanted: TopicPartitions[] | null = null;
  for (const topic of group.topics ?? []) {
    wanted ??= [];
    const name = byId ? groups.topics.topicName(topic.topicId) : topic.name;
    const partitions = topic.partitionIndexes;
    if (name !== null) wanted.push({ topic: name, partitions });
    else unknown.push({ topicId: topic.topicId, partitions: unknownTopic(partitions) });
  }
  if (group.topics !== null) wanted ??= [];

  const { errorCode, topics } = await groups.fetchOffsets(groupId, wanted, requireStable, {
    memberId: group.memberId,
    memberEpoch: group.memberEpoch,
  });
  if (errorCode !== ErrorCode.NONE) return { groupId, errorCode, topics: [] };
  const known = topics.map(({ topic, partitions }) => ({
    name: topic,
    topicId: byId ? (groups.topics.topicId(topic) ?? zeroUuid) : zeroUuid,
    partitions: partitions.map(wirePartition),
  }));
  // With ids on the wire a topic that has none cannot be named.
  const nameable = known.filter((topic) => !byId || topic.topicId !== zeroUuid);
  return { groupId, errorCode, topics: [...nameable, ...unknown] };
}

function singleGroup(
  fetched: FetchResult,
  wanted: readonly TopicPartitions[] | null,
  version: number,
): OffsetFetchResponse {
  const { errorCode } = fetched;
  // v1 has no place for an error but the partitions.
  if (version < 2 && errorCode !== ErrorCode.NONE) {
    const topics = (wanted ?? []).map(({ topic, partitions }) => ({
      name: topic,
      partitions: partitions.map((partition) => noOffset(partition, errorCode)),
    }));
    return { topics };
  }
  const topics = fetched.topics.map(({ topic, partitions }) => ({
    name: topic,
    partitions: partitions.map(wirePartition),
  }));
  return { errorCode, topics };
}

function wirePartition(one: FetchResult["topics"][number]["partitions"][number]) {
  return {
    partitionIndex: one.partition,
    committedOffset: one.offset,
    committedLeaderEpoch: one.leaderEpoch,
    metadata: one.metadata,
    errorCode: one.errorCode,
  };
}

function unknownTopic(partitions: readonly number[]): OffsetFetchResponsePartitions[] {
  return partitions.map((partition) => noOffset(partition, ErrorCode.UNKNOWN_TOPIC_ID));
}

function noOffset(partitionIndex: number, errorCode: number): OffsetFetchResponsePartitions {
  return { partitionIndex, committedOffset: -1, metadata: "", errorCode };
}
