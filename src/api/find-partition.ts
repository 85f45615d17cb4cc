import type { Partition } from "../log/partition.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { Services } from "./context.ts";

const noEpoch = -1;

/** A partition this broker leads, or why not as an ErrorCode. */
export type Found = Partition | number;

/** By name, for versions without topic ids. */
export function findByName(services: Services, topic: string, index: number): Found {
  const partition = services.partitions.get(topic, index);
  if (partition !== undefined) return partition;
  const known = services.metadata.image.topicsByName.get(topic);
  if (known?.partitions[index] === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  return ErrorCode.NOT_LEADER_OR_FOLLOWER;
}

/** By id: the id of a deleted topic is unknown even where its name lives on. */
export function findById(services: Services, topicId: string, index: number): Found {
  const partition = services.partitions.byId(topicId, index);
  if (partition !== undefined) return partition;
  const known = services.metadata.image.topicsById.get(topicId);
  if (known === undefined) return ErrorCode.UNKNOWN_TOPIC_ID;
  if (known.partitions[index] === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  return ErrorCode.NOT_LEADER_OR_FOLLOWER;
}

/** What a client's idea of the leader epoch is worth; −1: it has none, and any other negative
 * one is old. */
export function epochError(partition: Partition, currentLeaderEpoch: number): number {
  const isCurrent = currentLeaderEpoch === noEpoch || currentLeaderEpoch === partition.leaderEpoch;
  if (isCurrent) return ErrorCode.NONE;
  return currentLeaderEpoch < partition.leaderEpoch
    ? ErrorCode.FENCED_LEADER_EPOCH
    : ErrorCode.UNKNOWN_LEADER_EPOCH;
}
