import { PartitionOffsetsLog } from "./broker-offsets.ts";
import { partitionForGroup } from "./group/partition-hash.ts";
import type { ShareStates } from "./group/ports.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import type { Partition } from "./log/partition.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { CreateTopicSpec } from "./metadata/requests.ts";
import { ErrorCode, errorName } from "./protocol/error-code.ts";
import { shareConfigDefaults, shareGroupSettings } from "./share/config.ts";
import { Persister } from "./share/persister.ts";
import type { StateLog, StateTopic } from "./share/ports.ts";
import type { TopicIdPartition } from "./share/sessions.ts";
import { ShareGroups } from "./share/share-groups.ts";
import type { Logger } from "./telemetry/logger.ts";

export const shareStateTopic = "__share_group_state";

export interface ShareOptions {
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly logger: Logger;
}

const noConfigs: ReadonlyMap<string, string> = new Map();

/** Share groups over the broker's partitions. */
export function openShareGroups(options: ShareOptions): ShareGroups {
  const { metadata, partitions, clock, logger } = options;
  const config = shareConfigDefaults;
  const persister = new Persister({
    config,
    topic: stateTopic(metadata, partitions, config.statePartitions),
    clock,
    onProblem: (error) =>
      logger.child("share").error("share groups are unavailable", {
        code: error.code,
        error: error.message,
      }),
  });
  return new ShareGroups({
    config,
    persister,
    clock,
    find: (one) => findPartition(metadata, partitions, one),
    settingsOf: (groupId) =>
      shareGroupSettings(metadata.image.groupConfigs.get(groupId) ?? noConfigs, config),
  });
}

/** What membership needs of the states: an operator's changes end what is in memory of them. */
export function shareStates(shares: ShareGroups): ShareStates {
  const { persister } = shares;
  const keyed = <One extends TopicIdPartition>(groupId: string, some: readonly One[]) =>
    some.map((one) => ({ groupId, topicId: one.topicId, partition: one.partition }));
  return {
    has: (groupId, topicId, partition) => persister.has({ groupId, topicId, partition }),
    async initialize(groupId, epoch, partitions, anew) {
      const inits = partitions.map(({ topicId, partition, startOffset }) => ({
        key: { groupId, topicId, partition },
        epoch,
        start: startOffset,
      }));
      const errorCodes = await persister.initialize(inits, anew);
      if (anew) shares.dropGroup(groupId);
      return errorCodes;
    },
    async remove(groupId, partitions) {
      const errorCodes = await persister.remove(keyed(groupId, partitions));
      shares.dropGroup(groupId);
      return errorCodes;
    },
  };
}

/** By id: the id of a deleted topic is unknown even where its name lives on. */
function findPartition(
  metadata: Metadata,
  partitions: Partitions,
  { topicId, partition }: TopicIdPartition,
): Partition | number {
  const found = partitions.byId(topicId, partition);
  if (found !== undefined) return found;
  const known = metadata.image.topicsById.get(topicId);
  if (known === undefined) return ErrorCode.UNKNOWN_TOPIC_ID;
  if (known.partitions[partition] === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  return ErrorCode.NOT_LEADER_OR_FOLLOWER;
}

function stateTopic(metadata: Metadata, partitions: Partitions, count: number): StateTopic {
  const existing = () => metadata.image.topicsByName.get(shareStateTopic);
  const partitionCount = existing()?.partitions.length ?? count;
  return {
    partitionCount,
    get exists() {
      return existing() !== undefined;
    },
    partitionFor: (key) => partitionForGroup(key, partitionCount),
    async open(index) {
      if (existing() === undefined) await createStateTopic(metadata, partitionCount);
      const partition = partitions.get(shareStateTopic, index);
      if (partition !== undefined) return new PartitionStateLog(partition);
      throw new BrokerError(
        "CHRONIK_SHARE_TOPIC",
        `partition ${index} of ${shareStateTopic} is not open; its share groups are unavailable`,
      );
    },
  };
}

/** As Kafka sets it up: nothing ages out, the persister cuts off what nothing depends on. */
async function createStateTopic(metadata: Metadata, partitionCount: number): Promise<void> {
  const spec: CreateTopicSpec = {
    name: shareStateTopic,
    numPartitions: partitionCount,
    replicationFactor: 1,
    assignments: [],
    configs: [
      ["cleanup.policy", "delete"],
      ["compression.type", "producer"],
      ["segment.bytes", String(100 << 20)],
      ["retention.ms", "-1"],
    ],
  };
  const [outcome] = await metadata.createTopics([spec], false);
  // Another request may have created it in between.
  if (metadata.image.topicsByName.has(shareStateTopic)) return;
  throw new BrokerError(
    "CHRONIK_SHARE_TOPIC",
    `${shareStateTopic} cannot be created: ` +
      (outcome?.errorMessage ?? errorName(outcome?.errorCode ?? -1)),
  );
}

class PartitionStateLog extends PartitionOffsetsLog implements StateLog {
  get startOffset(): number {
    return this.partition.logStartOffset;
  }

  get endOffset(): number {
    return this.partition.highWatermark;
  }

  async deleteBefore(offset: number): Promise<number> {
    const { errorCode } = await this.partition.deleteRecordsBefore(offset);
    return errorCode;
  }
}
