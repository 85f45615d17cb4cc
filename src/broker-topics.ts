import type { Clock } from "./lib/clock.ts";
import { BrokerError, errorText } from "./lib/errors.ts";
import type { PartitionLogConfig, TopicCompression } from "./log/config.ts";
import type { Partitions } from "./log/partitions.ts";
import type { TopicConfig } from "./metadata/config-catalogue.ts";
import type { Metadata } from "./metadata/controller.ts";
import type { TopicImage } from "./metadata/image.ts";
import type { MetadataChange } from "./metadata/requests.ts";
import { isInternalTopic } from "./metadata/topic-name.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Reaper } from "./tier/reaper.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";

export interface TopicKeeperParts {
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly registry: SegmentRegistry;
  readonly reaper: Reaper;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Named kill points of the test build; does nothing in the shipped one. */
  readonly faultPoint: (name: string) => Promise<void>;
}

/** Partitions opened at a time at start; each costs a few file reads. */
const openingsMax = 64;
const openRetryMs = 5_000;
/** After a failed deletion: a remote store may be away for a while. */
const deletionRetryMs = 60_000;

/** Follows the metadata: opens what was created, drops what was deleted, passes configs on. */
export class TopicKeeper {
  private readonly parts: TopicKeeperParts;
  private readonly deletions = new Set<Promise<void>>();
  private stopping = false;

  constructor(parts: TopicKeeperParts) {
    this.parts = parts;
  }

  /** Opens every partition of the image and finishes deletions a stop cut short. */
  async start(): Promise<void> {
    const { metadata } = this.parts;
    const jobs = [...metadata.image.topicsById.values()].flatMap((topic) =>
      topic.partitions.map((partition) => ({ topic, partition })),
    );
    const work = async () => {
      for (let job = jobs.pop(); job; job = jobs.pop()) {
        await this.open(job.topic, job.partition.index, job.partition.leaderEpoch);
      }
    };
    await Promise.all(Array.from({ length: openingsMax }, work));
    metadata.subscribe((change) => this.follow(change));
    for (const topicId of metadata.image.tombstones.keys()) this.beginDeletion(topicId);
  }

  /** Deletions under way go on at the next start. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.deletions);
  }

  private async follow({ previous, next, commands }: MetadataChange): Promise<void> {
    for (const command of commands) {
      switch (command.type) {
        case "topic":
        case "partitions-added":
        case "topic-configs": {
          const topic = next.topicsById.get(command.id);
          if (topic) await this.openAll(topic);
          break;
        }
        case "topic-deleted": {
          const name = previous.topicsById.get(command.id)?.name;
          this.parts.logger.info("topic deleted", { topic: name, topic_id: command.id });
          await this.parts.partitions.drop(command.id);
          this.beginDeletion(command.id);
          break;
        }
        case "broker-configs":
        case "leader-epochs":
          for (const topic of next.topicsById.values()) await this.openAll(topic);
          break;
        case "cluster":
        case "broker":
        case "topic-cleaned":
        case "group-configs":
        case "producer-ids":
          break;
      }
    }
  }

  private async openAll(topic: TopicImage): Promise<void> {
    await Promise.all(topic.partitions.map(({ index }) => this.openOrRetry(topic.id, index)));
  }

  /** What a full disk kept from opening is opened when it has room again: the metadata have it. */
  private async openOrRetry(topicId: string, index: number): Promise<void> {
    const { clock, logger, metadata } = this.parts;
    const topic = metadata.image.topicsById.get(topicId);
    const partition = topic?.partitions[index];
    if (this.stopping || topic === undefined || partition === undefined) return;
    try {
      await this.open(topic, index, partition.leaderEpoch);
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      logger.error("a partition cannot be opened; it is tried again", {
        topic: topic.name,
        partition: index,
        error: errorText(error),
      });
      clock.schedule(openRetryMs, () => void this.openOrRetry(topicId, index));
    }
  }

  private async open(topic: TopicImage, index: number, leaderEpoch: number): Promise<void> {
    const config = partitionConfig(this.parts.metadata, topic.name);
    await this.parts.partitions.open(topic, index, leaderEpoch, config);
  }

  private beginDeletion(topicId: string): void {
    const deletion = this.finishDeletion(topicId)
      .catch((error: unknown) => {
        this.parts.logger.error("deleting a topic's data failed; it is tried again in a minute", {
          topic_id: topicId,
          error: errorText(error),
        });
        this.parts.clock.schedule(deletionRetryMs, () => {
          if (!this.stopping) this.beginDeletion(topicId);
        });
      })
      .finally(() => this.deletions.delete(deletion));
    this.deletions.add(deletion);
  }

  /** WAL folders, then archives, then the tombstone: each step may be repeated after a crash. */
  private async finishDeletion(topicId: string): Promise<void> {
    const { metadata, partitions, registry, reaper, faultPoint } = this.parts;
    await partitions.drop(topicId);
    await faultPoint("topic-dropped");
    await partitions.emptyTrash();
    await registry.retireTopic(topicId);
    await faultPoint("topic-retired");
    if (!(await reaper.topicReaped(topicId))) return;
    await faultPoint("topic-reaped");
    await metadata.topicDeletionFinished(topicId);
  }
}

/** What the log needs of a topic's resolved configuration. Coordinators read their topics as they
 * wrote them: those are never compressed. */
export function partitionConfig(metadata: Metadata, topic: string): PartitionLogConfig {
  const config = metadata.topicConfig(topic);
  return {
    maxMessageBytes: config.messageBytesMax,
    timestampType: config.logAppendTime ? "LogAppendTime" : "CreateTime",
    timestampBeforeMaxMs: config.timestampBeforeMsMax,
    timestampAfterMaxMs: config.timestampAfterMsMax,
    compression: isInternalTopic(topic) ? null : compressionOf(config),
    compact: config.compact,
    delete: config.deletes,
    minInsyncReplicas: config.insyncReplicasMin,
    searchIndex: config.searchIndex,
    segmentBytesMax: config.segmentBytes,
    segmentMs: config.segmentMs,
    segmentJitterMs: config.segmentJitterMs,
    retentionMs: config.retentionMs,
    retentionBytes: config.retentionBytes,
    localRetention: config.setsLocalRetention
      ? { ms: config.localRetentionMs, bytes: config.localRetentionBytes }
      : null,
    copyDisabled: config.remoteCopyDisabled,
  };
}

/** Null where batches stay as their producers sent them. */
function compressionOf(config: TopicConfig): TopicCompression | null {
  switch (config.compressionType) {
    case "uncompressed":
      return { codec: "none", level: null };
    case "gzip":
      return { codec: "gzip", level: config.compressionGzipLevel };
    case "snappy":
      return { codec: "snappy", level: null };
    case "lz4":
      return { codec: "lz4", level: config.compressionLz4Level };
    case "zstd":
      return { codec: "zstd", level: config.compressionZstdLevel };
    default:
      return null;
  }
}
