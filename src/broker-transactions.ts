import {
  appendRecords,
  type CoordinatorTopic,
  openCoordinatorPartition,
  replayRecords,
} from "./broker-coordinator-log.ts";
import type { GroupCoordinator } from "./group/coordinator.ts";
import type { Clock } from "./lib/clock.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import {
  offsetsTopic,
  transactionStateTopic,
  transactionTopicForm,
} from "./metadata/coordinator-topics.ts";
import { featureLevel } from "./metadata/features.ts";
import type { ProducerIds } from "./metadata/producer-ids.ts";
import { ErrorCode } from "./protocol/error-code.ts";
import type { Logger } from "./telemetry/logger.ts";
import {
  type TransactionLimits,
  type TransactionSettings,
  transactionConfigFrom,
} from "./transaction/config.ts";
import { TransactionCoordinator } from "./transaction/coordinator.ts";
import type { MarkerWriter, StateTopic } from "./transaction/ports.ts";

export interface TransactionRooms {
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly groups: GroupCoordinator;
  readonly producerIds: ProducerIds;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface TransactionTopicSettings extends TransactionSettings {
  readonly stateLogNumPartitions: number;
  readonly stateLogSegmentBytes: number;
}

export function openTransactions(
  rooms: TransactionRooms,
  settings: TransactionTopicSettings,
  limits: TransactionLimits,
): TransactionCoordinator {
  const { metadata, partitions, groups, producerIds, clock, logger } = rooms;
  return new TransactionCoordinator({
    config: transactionConfigFrom(settings, limits),
    topic: stateTopic(metadata, partitions, settings),
    nodes: {
      coordinatorOf(partition, listener) {
        const topic = metadata.image.topicsByName.get(transactionStateTopic);
        const leader = topic?.partitions[partition]?.leader;
        const broker = leader === undefined ? undefined : metadata.image.brokers.get(leader);
        const endpoint = broker?.endpoints.find((e) => e.listener === listener);
        if (!broker || !endpoint) return null;
        return { nodeId: broker.id, host: endpoint.host, port: endpoint.port };
      },
    },
    markers: markerWriter(metadata, partitions, groups),
    producerIds,
    clock,
    transactionVersion: () => {
      const level = featureLevel(metadata.image, "transaction.version");
      return level >= 2 ? 2 : level >= 1 ? 1 : 0;
    },
    onProblem: (error) =>
      logger.child("transactions").error("transactions are held up", {
        code: error.code,
        error: error.message,
      }),
  });
}

function stateTopic(
  metadata: Metadata,
  partitions: Partitions,
  settings: TransactionTopicSettings,
): StateTopic {
  const topic: CoordinatorTopic = {
    ...transactionTopicForm(settings),
    errorCode: "CHRONIK_TRANSACTION_TOPIC",
  };
  const existing = metadata.image.topicsByName.get(transactionStateTopic);
  return {
    partitionCount: existing?.partitions.length ?? topic.partitionCount,
    exists: () => metadata.image.topicsByName.has(transactionStateTopic),
    async stateLog(index) {
      const partition = await openCoordinatorPartition(topic, metadata, partitions, index);
      return {
        leaderEpoch: partition.leaderEpoch,
        append: (records) => appendRecords(partition, records),
        replay: (onRecord) =>
          replayRecords(topic, partition, {
            record: (key, value) => onRecord(key, value),
            marker: () => undefined,
          }),
      };
    },
  };
}

/** Markers into partitions, those of `__consumer_offsets` by way of the group coordinator. */
function markerWriter(
  metadata: Metadata,
  partitions: Partitions,
  groups: GroupCoordinator,
): MarkerWriter {
  return {
    async write(topic, index, marker) {
      // Only the metadata say that a partition is gone; one that is not open may come back.
      if (metadata.image.topicsByName.get(topic)?.partitions[index] === undefined) {
        return { kind: "gone" };
      }
      const partition = partitions.get(topic, index);
      if (partition === undefined) {
        return { kind: "failed", errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER };
      }
      const errorCode =
        topic === offsetsTopic
          ? await groups.completeTransaction(index, marker)
          : (await partition.appendMarker(marker)).errorCode;
      return errorCode === ErrorCode.NONE ? { kind: "written" } : { kind: "failed", errorCode };
    },
  };
}
