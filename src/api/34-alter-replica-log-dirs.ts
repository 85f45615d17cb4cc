/**
 * AlterReplicaLogDirs, versions 1–2. There is one data directory: moving a partition to it changes
 * nothing, any other fails with LOG_DIR_NOT_FOUND. A partition named twice counts once.
 */
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AlterReplicaLogDirsRequest,
  type AlterReplicaLogDirsResponse,
  alterReplicaLogDirsApi,
} from "../protocol/messages/34-alter-replica-log-dirs.ts";
import type { ApiHandler } from "./context.ts";
import { findByName } from "./find-partition.ts";

/** Kafka's limit on the name of the folder it would move to. */
const topicLengthMax = 249;

export const alterReplicaLogDirsHandler: ApiHandler<
  AlterReplicaLogDirsRequest,
  AlterReplicaLogDirsResponse
> = {
  codec: alterReplicaLogDirsApi,
  minVersion: 1,
  maxVersion: 2,
  handle(context, request) {
    const { config } = context.services;
    return answer(request, (path, topic, index) => {
      if (topic.length > topicLengthMax) return ErrorCode.INVALID_TOPIC_EXCEPTION;
      if (path !== config.dataDir) return ErrorCode.LOG_DIR_NOT_FOUND;
      const found = findByName(context.services, topic, index);
      return typeof found === "number" ? found : ErrorCode.NONE;
    });
  },
  failure: (request, _version, errorCode) => answer(request, () => errorCode),
};

function answer(
  request: Decoded<AlterReplicaLogDirsRequest>,
  errorOf: (path: string, topic: string, index: number) => number,
): AlterReplicaLogDirsResponse {
  const byTopic = new Map<string, Map<number, number>>();
  for (const { path, topics } of request.dirs) {
    for (const { name, partitions } of topics) {
      const errors = byTopic.get(name) ?? new Map<number, number>();
      if (partitions.length > 0) byTopic.set(name, errors);
      for (const index of partitions) errors.set(index, errorOf(path, name, index));
    }
  }
  const results = [...byTopic].map(([topicName, errors]) => ({
    topicName,
    partitions: [...errors].map(([partitionIndex, errorCode]) => ({ partitionIndex, errorCode })),
  }));
  return { throttleTimeMs: 0, results };
}
