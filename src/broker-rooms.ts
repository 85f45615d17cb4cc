import { join } from "node:path";
import type { Backup } from "./backup/backup.ts";
import { openBackup } from "./broker-backup.ts";
import { openClientMetrics } from "./broker-client-metrics.ts";
import { type ClientRooms, openClientRooms } from "./broker-clients.ts";
import { type ColdRooms, openColdRooms } from "./broker-cold.ts";
import { brokerImage, staticConfigs } from "./broker-identity.ts";
import { openScrubbed } from "./broker-integrity.ts";
import { coordinatorTopics } from "./broker-offsets.ts";
import { openRetention } from "./broker-retention.ts";
import { openRewrites, type Rewrites } from "./broker-rewrites.ts";
import { openShareGroups, shareStates } from "./broker-share.ts";
import { faultPoints, removeIfThere, type Storage, takeCleanStopMark } from "./broker-storage.ts";
import { logEvents } from "./broker-telemetry.ts";
import { openRegistry, openTierKeeping, type TierKeeping } from "./broker-tier.ts";
import { TopicKeeper } from "./broker-topics.ts";
import { openTransactions } from "./broker-transactions.ts";
import type { ClientMetrics } from "./client-metrics/client-metrics.ts";
import type { Config, LoadedConfig } from "./config.ts";
import { consumerConfigFrom, groupConfigFrom } from "./group/config.ts";
import { GroupCoordinator } from "./group/coordinator.ts";
import type { ShareStates } from "./group/ports.ts";
import { shareMembershipFrom } from "./group/share-settings.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import { Cleaning } from "./log/cleaning.ts";
import { defaultLogLimits } from "./log/config.ts";
import { Partitions } from "./log/partitions.ts";
import type { ColdReader } from "./log/ports.ts";
import { Rolling } from "./log/rolling.ts";
import { Metadata } from "./metadata/controller.ts";
import { ProducerIds } from "./metadata/producer-ids.ts";
import { newUuid } from "./protocol/uuid.ts";
import type { ShareGroups } from "./share/share-groups.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { Scrub } from "./tier/check/scrub.ts";
import { Indexer, type IndexerDeps } from "./tier/indexer.ts";
import type { SegmentRegistry } from "./tier/registry/segment-registry.ts";
import type { Retainer } from "./tier/retainer.ts";
import type { TransactionCoordinator } from "./transaction/coordinator.ts";

/** What the broker is made of, built bottom-up. */
export interface Rooms
  extends ClientRooms,
    TierKeeping,
    Omit<ColdRooms, "cold" | "engine" | "store"> {
  readonly metadata: Metadata;
  readonly registry: SegmentRegistry;
  readonly partitions: Partitions;
  readonly topics: TopicKeeper;
  readonly groups: GroupCoordinator;
  readonly shares: ShareGroups;
  readonly producerIds: ProducerIds;
  readonly transactions: TransactionCoordinator;
  readonly clientMetrics: ClientMetrics;
  readonly indexer: Indexer;
  readonly scrub: Scrub;
  readonly rewrites: Rewrites;
  readonly rolling: Rolling;
  readonly cleaning: Cleaning;
  readonly retainer: Retainer;
  readonly backup: Backup;
}

export interface RoomOptions {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What clients are told where no port was configured. */
  readonly kafkaPort: number;
}

export async function buildRooms(options: RoomOptions, storage: Storage): Promise<Rooms> {
  const { loaded, clock, logger } = options;
  const { config } = loaded;
  const metadata = await openMetadata(options, storage);
  await noticeUncleanStop(metadata, storage, logger);
  const registry = await openRegistry(storage, clock, logger);
  const { cold, engine, store, ...coldRooms } = await openColdRooms({
    ...{ config, storage, clock, logger, registry },
    metrics: options.metrics,
  });
  const events = logEvents(logger.child("log"), clock);
  const { partitions, retainer, scrub } = openScrubbed(
    cold,
    { ...options, config, storage, store, registry },
    (reader) => openPartitions(options, metadata, storage, { registry, cold: reader, events }),
  );
  const backup = openBackup({ ...options, config, storage, store, metadata, partitions });
  const keeping = openTierKeeping({
    ...{ storage, registry, store, clock, logger },
    gate: () => backup.gate(),
  });
  const all = () => partitions.all();
  const topics = new TopicKeeper({
    ...{ metadata, partitions, registry, clock, faultPoint: faultPoints(storage) },
    reaper: keeping.reaper,
    logger: logger.child("topics"),
  });
  const indexer = openIndexer(options, storage, {
    ...{ engine, store, registry, partitions: all, walSpace: partitions.walSpace },
    timeline: keeping.timeline,
  });
  const shares = openShares(options, metadata, partitions, storage);
  const groups = openGroups(options, metadata, partitions, shareStates(shares));
  const producerIds = new ProducerIds(metadata);
  const transactions = openTransactions(
    { metadata, partitions, groups, producerIds, clock, logger },
    config.transaction,
    config.limits,
  );
  const cleaning = new Cleaning(clock, all, events);
  const rolling = new Rolling(clock, all, events.checkpointFailed);
  return {
    metadata,
    registry,
    partitions,
    topics,
    groups,
    shares,
    producerIds,
    transactions,
    ...openClientRooms(config, clock, metadata),
    clientMetrics: openClientMetrics({
      ...{ config, clock, logger, metadata },
      metrics: options.metrics,
      decompress: (codec, bytes, bytesMax) => storage.wal.decompress(codec, bytes, bytesMax),
    }),
    ...{ indexer, scrub, rolling, cleaning, retainer, backup },
    rewrites: openRewrites({
      ...{ config, storage, metadata, registry, store, engine, indexer, clock, logger },
      ...{ partitions: all, metrics: options.metrics },
    }),
    ...keeping,
    ...coldRooms,
  };
}

function openShares(
  { loaded, clock, logger, metrics }: RoomOptions,
  metadata: Metadata,
  partitions: Partitions,
  { wal }: Storage,
): ShareGroups {
  return openShareGroups({
    ...{ config: loaded.config, metadata, partitions, clock, logger, metrics },
    decompress: (codec, records, bytesMax) => wal.decompress(codec, records, bytesMax),
  });
}

async function noticeUncleanStop(
  metadata: Metadata,
  storage: Storage,
  logger: Logger,
): Promise<void> {
  if (await takeCleanStopMark(storage)) return;
  if (metadata.image.partitionCount > 0) {
    logger.warn("the last stop was not clean; leader epochs go up so that clients notice");
  }
  await metadata.bumpLeaderEpochs();
}

function openPartitions(
  options: RoomOptions,
  metadata: Metadata,
  storage: Storage,
  tier: {
    readonly registry: SegmentRegistry;
    readonly cold: ColdReader;
    readonly events: ReturnType<typeof logEvents>;
  },
): { partitions: Partitions; retainer: Retainer } {
  const { loaded, clock } = options;
  const { config } = loaded;
  const retainer: Retainer = openRetention(options, storage, metadata, tier.registry, () =>
    partitions.all(),
  );
  const partitions = new Partitions({
    dataDir: storage.dataDir,
    wal: storage.wal,
    files: storage.files,
    cold: tier.cold,
    clock,
    limits: {
      ...defaultLogLimits,
      tailCacheBytesMax: config.limits.tailCacheBytesMax,
      appendBytesInFlightMax: config.wal.queueBytesMax,
      walBytesMax: config.wal.maxBytes,
      decompressedBytesMax: config.limits.decompressedBytesMax,
      producerIdExpirationMs: () => metadata.brokerNumber("producer.id.expiration.ms"),
      producerIdCheckIntervalMs: config.producer.idExpirationCheckIntervalMs,
      producersMax: config.limits.producersPerPartitionMax,
      readBytesMax: config.limits.readBytesMax,
      coldPercentBesideTails: config.limits.coldPercentBesideTails,
      fetchWaitersMax: config.limits.fetchWaitersMax,
    },
    events: {
      ...tier.events,
      logStartMoved: (partition) => retainer.logStartMoved(partition),
    },
  });
  return { partitions, retainer };
}

function openMetadata(options: RoomOptions, storage: Storage): Promise<Metadata> {
  const { loaded, logger, kafkaPort } = options;
  const { config } = loaded;
  return Metadata.open({
    journal: storage.metadataJournal,
    broker: brokerImage(config, kafkaPort),
    clusterId: config.cluster.id,
    staticConfigs: staticConfigs(loaded),
    numPartitions: config.topic.numPartitions,
    replicationFactor: config.topic.replicationFactor,
    limits: {
      partitionsPerTopicMax: config.limits.partitionsPerTopicMax,
      partitionsMax: config.limits.partitionsMax,
    },
    newUuid,
    onWarning: (message, error) =>
      logger.child("metadata").warn(message, { error: errorText(error) }),
  });
}

function openIndexer(
  { loaded, clock, logger }: RoomOptions,
  storage: Storage,
  parts: Pick<
    IndexerDeps,
    "engine" | "store" | "registry" | "partitions" | "timeline" | "walSpace"
  >,
): Indexer {
  return new Indexer(indexerConfig(loaded.config), {
    ...parts,
    logger: logger.child("indexer"),
    clock,
    nowMs: () => clock.nowMs(),
    scratchDir: join(storage.dataDir, "tmp"),
    removeFile: (path) => removeIfThere(storage.files, path),
    deleteAfterIndex: loaded.config.indexer.deleteAfterIndex,
    faultPoint: faultPoints(storage),
  });
}

function indexerConfig(config: Config) {
  return {
    enabled: config.indexer.enableWalIndexing,
    intervalSecs: config.indexer.walIndexingIntervalSecs,
    minSegmentAgeSecs: config.indexer.minSegmentAgeSecs,
    segmentsPerRunMax: config.indexer.maxSegmentsPerRun,
    parallel: config.indexer.parallelIndexing,
    concurrentTasksMax: config.indexer.maxConcurrentTasks,
    archiveBytesMax: config.indexer.archiveBytesMax,
    archivesPerSecMax: config.indexer.archivesPerSecMax,
    pendingBytesMax: config.indexer.pendingBytesMax,
    pendingAgeSecsMax: config.indexer.pendingAgeSecsMax,
  };
}

function openGroups(
  { loaded, clock, logger }: RoomOptions,
  metadata: Metadata,
  partitions: Partitions,
  states: ShareStates,
): GroupCoordinator {
  const { group, consumerGroup, shareGroup, limits } = loaded.config;
  const share = shareMembershipFrom(shareGroup);
  return new GroupCoordinator({
    config: { ...groupConfigFrom(group, limits, consumerConfigFrom(consumerGroup)), share },
    topics: coordinatorTopics(metadata, partitions, group.offsetsTopicNumPartitions),
    nodes: {
      coordinatorOf(partition, listener) {
        const topic = metadata.image.topicsByName.get("__consumer_offsets");
        const leader = topic?.partitions[partition]?.leader;
        const broker = leader === undefined ? undefined : metadata.image.brokers.get(leader);
        const endpoint = broker?.endpoints.find((e) => e.listener === listener);
        if (!broker || !endpoint) return null;
        return { nodeId: broker.id, host: endpoint.host, port: endpoint.port };
      },
    },
    shareStates: states,
    clock,
    onProblem: (error) =>
      logger.child("groups").error("groups are unavailable", {
        code: error.code,
        error: error.message,
      }),
  });
}
