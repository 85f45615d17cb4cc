import {
  appendRecords,
  type CoordinatorTopic,
  openCoordinatorPartition,
  replayRecords,
} from "./broker-coordinator-log.ts";
import type { Config } from "./config.ts";
import { partitionForGroup } from "./group/partition-hash.ts";
import type { ShareStates } from "./group/ports.ts";
import type { Clock } from "./lib/clock.ts";
import { RateLimit } from "./lib/rate-limit.ts";
import type { Partition } from "./log/partition.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import { shareStateTopic, shareTopicForm } from "./metadata/coordinator-topics.ts";
import { featureLevel } from "./metadata/features.ts";
import { ErrorCode } from "./protocol/error-code.ts";
import { shareConfigFrom, shareGroupSettings } from "./share/config.ts";
import { deadLetterTopics } from "./share/dead-letter-topic.ts";
import type { DeadLetterEvents, DeadLetterJob } from "./share/dead-letters.ts";
import { Persister } from "./share/persister.ts";
import type { StateLog, StateTopic } from "./share/ports.ts";
import type { TopicIdPartition } from "./share/sessions.ts";
import { ShareGroups } from "./share/share-groups.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface ShareOptions {
  readonly config: Config;
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly decompress: (
    codec: number,
    records: Uint8Array,
    bytesMax: number,
  ) => Promise<Uint8Array>;
}

/** The level of share.version from which on there are dead letter queues (KIP-1191). */
const deadLetterLevel = 2;
const deadLetterLinesMax = 20;
const deadLetterLinesPeriodMs = 60_000;
const noConfigs: ReadonlyMap<string, string> = new Map();

/** Share groups over the broker's partitions. */
export function openShareGroups(options: ShareOptions): ShareGroups {
  const { metadata, partitions, clock, logger } = options;
  const { shareGroup, limits } = options.config;
  const config = shareConfigFrom(shareGroup, limits.decompressedBytesMax);
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
  const shares: ShareGroups = new ShareGroups({
    config,
    persister,
    clock,
    find: (one) => findPartition(metadata, partitions, one),
    settingsOf: (groupId) => {
      const configs = metadata.image.groupConfigs.get(groupId) ?? noConfigs;
      const level = featureLevel(metadata.image, "share.version");
      return shareGroupSettings(configs, config, level >= deadLetterLevel);
    },
    deadLetters: {
      readBudget: partitions.readBudget,
      find: deadLetterTopics(metadata, partitions),
      decompress: (codec, records) =>
        options.decompress(codec, records, config.decompressedBytesMax),
      events: deadLetterEvents(options, () => shares.deadLettersWaiting),
    },
  });
  return shares;
}

/** Metrics of dead letters, and lines for an operator. */
function deadLetterEvents(
  { metrics, clock, logger }: ShareOptions,
  waiting: () => number,
): DeadLetterEvents {
  const copied = metrics.counter({
    name: "chronik_share_dead_letters_total",
    help: "Records copied to dead letter queues",
    labels: ["cause"],
  });
  const refused = metrics.counter({
    name: "chronik_share_dead_letters_refused_total",
    help: "Records archived without a copy because their dead letter queue is not set up for it",
  });
  const failed = metrics.counter({
    name: "chronik_share_dead_letter_failures_total",
    help: "Attempts to copy records to a dead letter queue that failed and are repeated",
  });
  const backlog = metrics.gauge({
    name: "chronik_share_dead_letters_waiting",
    help: "Records that wait for their copy in a dead letter queue",
  });
  metrics.onCollect(() => backlog.set(waiting()));
  const lines = new RateLimit(clock, deadLetterLinesMax, deadLetterLinesPeriodMs);
  const tell = (message: string, job: DeadLetterJob, reason: string) => {
    const held = lines.take();
    if (held === null) return;
    const { groupId: group, topic, partition, first, last } = job;
    const where = { group, topic, partition, first_offset: first, last_offset: last };
    const more = held > 0 ? { more_before: held } : {};
    logger.child("share").warn(message, { ...where, reason, ...more });
  };
  return {
    copied: (records, isRejected) =>
      copied.inc([isRejected ? "rejected" : "delivery_count"], records),
    refused(job, records, reason) {
      refused.inc([], records);
      tell("records were archived without a copy in the dead letter queue", job, reason);
    },
    failed(job, reason) {
      failed.inc();
      tell("dead letters could not be copied; the next attempt follows", job, reason);
    },
  };
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
      if (anew) shares.dropStates(groupId, partitions);
      return errorCodes;
    },
    async remove(groupId, partitions) {
      const errorCodes = await persister.remove(keyed(groupId, partitions));
      shares.dropStates(groupId, partitions);
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
  const topic: CoordinatorTopic = {
    ...shareTopicForm(partitionCount),
    errorCode: "CHRONIK_SHARE_TOPIC",
  };
  return {
    partitionCount,
    get exists() {
      return existing() !== undefined;
    },
    partitionFor: (key) => partitionForGroup(key, partitionCount),
    async open(index) {
      const partition = await openCoordinatorPartition(topic, metadata, partitions, index);
      return stateLog(topic, partition);
    },
  };
}

function stateLog(topic: CoordinatorTopic, partition: Partition): StateLog {
  return {
    get startOffset() {
      return partition.logStartOffset;
    },
    get endOffset() {
      return partition.highWatermark;
    },
    append: (records) => appendRecords(partition, records),
    replay: (onRecord) =>
      replayRecords(topic, partition, {
        record: (key, value, _producerId, offset) => onRecord(key, value, offset),
        marker: () => undefined,
      }),
    async deleteBefore(offset) {
      const { errorCode } = await partition.deleteRecordsBefore(offset);
      return errorCode;
    },
  };
}
