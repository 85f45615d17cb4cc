/**
 * DescribeShareGroupOffsets, v0 and v1 (KIP-932): where share groups are. v1 brought the lag
 * (KIP-1226). A partition without a state, or of which nothing was ever delivered, has start
 * offset −1.
 */
import { batchSizeMax, inBatches } from "../group/in-batches.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeShareGroupOffsetsRequest,
  type DescribeShareGroupOffsetsRequestGroup,
  type DescribeShareGroupOffsetsResponse,
  type DescribeShareGroupOffsetsResponseGroup,
  type DescribeShareGroupOffsetsResponsePartition,
  describeShareGroupOffsetsApi,
} from "../protocol/messages/90-describe-share-group-offsets.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import type { ApiHandler, Services } from "./context.ts";
import { servesShareGroups } from "./share-session.ts";

interface Wanted {
  readonly topicName: string;
  readonly partitions: readonly number[];
}

export const describeShareGroupOffsetsHandler: ApiHandler<
  DescribeShareGroupOffsetsRequest,
  DescribeShareGroupOffsetsResponse
> = {
  codec: describeShareGroupOffsetsApi,
  minVersion: 0,
  maxVersion: 1,
  async handle({ services }, request) {
    if (!servesShareGroups(services)) return failed(request, ErrorCode.UNSUPPORTED_VERSION);
    const groups = await inBatches(request.groups, batchSizeMax, (group) =>
      describe(services, group),
    );
    return { throttleTimeMs: 0, groups };
  },
  failure: (request, _version, errorCode) => failed(request, errorCode),
};

function failed(
  request: Decoded<DescribeShareGroupOffsetsRequest>,
  errorCode: number,
): DescribeShareGroupOffsetsResponse {
  const groups = request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode }));
  return { throttleTimeMs: 0, groups };
}

async function describe(
  services: Services,
  { groupId, topics }: Decoded<DescribeShareGroupOffsetsRequestGroup>,
): Promise<DescribeShareGroupOffsetsResponseGroup> {
  const wanted = topics ?? (await allTopics(services, groupId));
  const described = await inBatches(wanted, batchSizeMax, async ({ topicName, partitions }) => {
    const topicId = services.metadata.image.topicsByName.get(topicName)?.id ?? null;
    const offsets: DescribeShareGroupOffsetsResponsePartition[] = [];
    for (const partition of partitions) {
      offsets.push(
        topicId === null
          ? unknown(partition)
          : await describePartition(services, groupId, topicId, partition),
      );
    }
    return { topicName, topicId: topicId ?? zeroUuid, partitions: offsets };
  });
  return { groupId, topics: described, errorCode: ErrorCode.NONE };
}

/** Topics with a share state in the group. */
async function allTopics(services: Services, groupId: string): Promise<Wanted[]> {
  const topics = await services.groups.share.initializedPartitions(groupId);
  return [...topics].flatMap(([topicId, { partitions }]) => {
    const topicName = services.metadata.image.topicsById.get(topicId)?.name;
    return topicName === undefined ? [] : [{ topicName, partitions: [...partitions] }];
  });
}

async function describePartition(
  services: Services,
  groupId: string,
  topicId: string,
  partition: number,
): Promise<DescribeShareGroupOffsetsResponsePartition> {
  const read = await services.shares.persister.read({ groupId, topicId, partition });
  if (read.state === null) return unknown(partition);
  const { startOffset, leaderEpoch, deliveryCompleteCount } = read.state;
  if (startOffset < 0 || deliveryCompleteCount < 0) return unknown(partition);
  const log = services.partitions.byId(topicId, partition);
  const lag = log === undefined ? -1 : log.highWatermark - startOffset - deliveryCompleteCount;
  // A start that was set by hand is of no epoch yet: Kafka calls that 0.
  return { ...unknown(partition), startOffset, leaderEpoch: Math.max(0, leaderEpoch), lag };
}

function unknown(partitionIndex: number): DescribeShareGroupOffsetsResponsePartition {
  return {
    partitionIndex,
    startOffset: -1,
    leaderEpoch: 0,
    lag: -1,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
  };
}
