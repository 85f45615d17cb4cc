import { join } from "node:path";
import { archiveEngine } from "./broker-archives.ts";
import { openClientMetrics } from "./broker-client-metrics.ts";
import { type ClientRooms, openClientRooms } from "./broker-clients.ts";
import { brokerImage, staticConfigs } from "./broker-identity.ts";
import { coordinatorTopics } from "./broker-offsets.ts";
import { openRewrites, type Rewrites } from "./broker-rewrites.ts";
import { openShareGroups, shareStates } from "./broker-share.ts";
import { faultPoints, removeIfThere, type Storage, takeCleanStopMark } from "./broker-storage.ts";
import { openStore } from "./broker-store.ts";
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
import { Rolling } from "./log/rolling.ts";
import { Metadata } from "./metadata/controller.ts";
import { ProducerIds } from "./metadata/producer-ids.ts";
import { newUuid } from "./protocol/uuid.ts";
import type { ShareGroups } from "./share/share-groups.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { ArchiveChunks } from "./tier/archive-chunks.ts";
import { ArchiveReader } from "./tier/cold-reader.ts";
import { Indexer, type IndexerDeps } from "./tier/indexer.ts";
import type { SegmentRegistry } from "./tier/segment-registry.ts";
import type { TransactionCoordinator } from "./transaction/coordinator.ts";

/** What the broker is made of, built bottom-up. */
export interface Rooms extends ClientRooms, TierKeeping {
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
  readonly rewrites: Rewrites;
  readonly rolling: Rolling;
  readonly cleaning: Cleaning;
  /** See OpenedStore. */
  readonly stopStore: () => void;
  readonly chunks: ArchiveChunks;
}

export interface RoomOptions {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What clients are told where no port was configured. */
  readonly kafkaPort: number;
}

/** Tables of contents of archives kept in memory. */
const tocCacheBytesMax = 16 << 20;

export async function buildRooms(options: RoomOptions, storage: Storage): Promise<Rooms> {
  const { loaded, clock, logger } = options;
  const { config } = loaded;
  const metadata = await openMetadata(options, storage);
  await noticeUncleanStop(metadata, storage, logger);
  const registry = await openRegistry(storage, clock, logger);
  const scratchDir = join(storage.dataDir, "tmp");
  const { store, stop: stopStore } = await openStore({
    ...{ config, storage, clock, logger },
    metrics: options.metrics,
  });
  const keeping = openTierKeeping({ storage, registry, store, clock, logger });
  const engine = archiveEngine(storage.archives, clock, scratchDir);
  const chunks = new ArchiveChunks(store, engine, coldCaches(config));
  const cold = new ArchiveReader(registry, chunks, engine);
  const events = logEvents(logger.child("log"), clock);
  const partitions = openPartitions(options, metadata, storage, cold, events);
  const all = () => partitions.all();
  const topics = new TopicKeeper({
    ...{ metadata, partitions, registry, clock },
    reaper: keeping.reaper,
    logger: logger.child("topics"),
  });
  const indexer = openIndexer(options, storage, {
    ...{ engine, store, registry, partitions: all },
    timeline: keeping.timeline,
  });
  const shares = openShareGroups({
    config,
    metadata,
    partitions,
    clock,
    logger,
    metrics: options.metrics,
    decompress: (codec, records, bytesMax) => storage.wal.decompress(codec, records, bytesMax),
  });
  const groups = openGroups(options, metadata, partitions, shareStates(shares));
  const producerIds = new ProducerIds(metadata);
  const transactions = openTransactions(
    { metadata, partitions, groups, producerIds, clock, logger },
    config.transaction,
    config.limits,
  );
  const cleaning = new Cleaning(clock, all, events);
  const rolling = new Rolling(clock, config.wal.segmentAgeMsMax, all, events.checkpointFailed);
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
    indexer,
    rewrites: openRewrites({
      ...{ config, storage, metadata, registry, store, engine, indexer, clock, logger },
      ...{ partitions: all, metrics: options.metrics },
    }),
    rolling,
    cleaning,
    ...keeping,
    chunks,
    stopStore,
  };
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
  { loaded, clock }: RoomOptions,
  metadata: Metadata,
  storage: Storage,
  cold: ArchiveReader,
  events: ReturnType<typeof logEvents>,
): Partitions {
  const { config } = loaded;
  return new Partitions({
    dataDir: storage.dataDir,
    wal: storage.wal,
    files: storage.files,
    cold,
    clock,
    limits: {
      ...defaultLogLimits,
      tailCacheBytesMax: config.limits.tailCacheBytesMax,
      appendBytesInFlightMax: config.wal.queueBytesMax,
      decompressedBytesMax: config.limits.decompressedBytesMax,
      producerIdExpirationMs: () => metadata.brokerNumber("producer.id.expiration.ms"),
      producerIdCheckIntervalMs: config.producer.idExpirationCheckIntervalMs,
      producersMax: config.limits.producersPerPartitionMax,
      readBytesMax: config.limits.readBytesMax,
      fetchWaitersMax: config.limits.fetchWaitersMax,
    },
    events,
  });
}

function coldCaches({ limits }: Config) {
  return { chunkCacheBytesMax: limits.chunkCacheBytesMax, tocCacheBytesMax };
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
  parts: Pick<IndexerDeps, "engine" | "store" | "registry" | "partitions" | "timeline">,
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
