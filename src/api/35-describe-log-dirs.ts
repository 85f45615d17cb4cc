/**
 * DescribeLogDirs, versions 1–5: the one data directory with the bytes each partition has in the
 * local log (what moved to the object store is not counted). v4+: size and free space of the
 * volume. Null topics mean all; partitions that do not exist are left out, as in Kafka.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeLogDirsRequest,
  type DescribeLogDirsResponse,
  type DescribeLogDirsResponseDescribeLogDirsPartition,
  describeLogDirsApi,
} from "../protocol/messages/35-describe-log-dirs.ts";
import type { ApiHandler, RequestContext } from "./context.ts";

type PartitionEntry = DescribeLogDirsResponseDescribeLogDirsPartition;

/** Size and free bytes of the volume that holds a folder; −1 where unknown. */
export type VolumeSpace = (folder: string) => Promise<{ totalBytes: number; usableBytes: number }>;

export function describeLogDirsHandler(
  volumeSpace: VolumeSpace,
): ApiHandler<DescribeLogDirsRequest, DescribeLogDirsResponse> {
  return {
    codec: describeLogDirsApi,
    minVersion: 1,
    maxVersion: 5,
    async handle(context, request) {
      const logDir = context.services.config.dataDir;
      const space = await volumeSpace(logDir);
      const topics = [...partitionsByTopic(context, request)].map(([name, partitions]) => ({
        name,
        partitions,
      }));
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        results: [{ errorCode: ErrorCode.NONE, logDir, topics, ...space, isCordoned: false }],
      };
    },
    failure: (_request, _version, errorCode) => ({ throttleTimeMs: 0, errorCode, results: [] }),
  };
}

function partitionsByTopic(
  context: RequestContext,
  request: Decoded<DescribeLogDirsRequest>,
): Map<string, PartitionEntry[]> {
  const byTopic = new Map<string, PartitionEntry[]>();
  const wanted =
    request.topics &&
    new Map(request.topics.map(({ topic, partitions }) => [topic, new Set(partitions)]));
  for (const { topic, index, bytes } of context.services.partitions.all()) {
    if (wanted !== null && wanted.get(topic)?.has(index) !== true) continue;
    const entries = byTopic.get(topic) ?? [];
    byTopic.set(topic, entries);
    entries.push({ partitionIndex: index, partitionSize: bytes, offsetLag: 0, isFutureKey: false });
  }
  return byTopic;
}
