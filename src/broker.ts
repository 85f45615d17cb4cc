import { join } from "node:path";
import { type AdminServer, serveAdmin } from "../admin/server.ts";
import { apiHandlers } from "./api/handlers.ts";
import { Router } from "./api/router.ts";
import { archiveEngine } from "./broker-archives.ts";
import { coordinatorTopics } from "./broker-offsets.ts";
import {
  openStorage,
  removeIfThere,
  type Storage,
  setCleanStopMark,
  storeFiles,
  takeCleanStopMark,
} from "./broker-storage.ts";
import { TopicKeeper } from "./broker-topics.ts";
import { adminView } from "./broker-view.ts";
import type { LoadedConfig } from "./config.ts";
import { groupConfigDefaults } from "./group/config.ts";
import { GroupCoordinator } from "./group/coordinator.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError, errorText } from "./lib/errors.ts";
import { Partitions } from "./log/partitions.ts";
import { Metadata } from "./metadata/controller.ts";
import { ProducerIds } from "./metadata/producer-ids.ts";
import { Listener } from "./net/listener.ts";
import { LocalStore } from "./store/local-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { ArchiveReader } from "./tier/cold-reader.ts";
import { Indexer } from "./tier/indexer.ts";
import { SegmentRegistry } from "./tier/segment-registry.ts";
import { brokerMetrics, logEvents, requestReporter } from "./broker-telemetry.ts";
import { endpoints, metadataOptions } from "./broker-identity.ts";

export interface BrokerOptions {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const listenerName = "PLAINTEXT";
/** Tables of contents kept in memory. */
const tocCacheBytesMax = 16 << 20;

type State = "starting" | "ready" | "draining" | "stopped";

/** Every room, built bottom-up and plugged together; the only file that sees them all. */
export class Broker {
  private readonly options: BrokerOptions;
  private readonly storage: Storage;
  private readonly metadata: Metadata;
  private readonly registry: SegmentRegistry;
  private readonly partitions: Partitions;
  private readonly topics: TopicKeeper;
  private readonly groups: GroupCoordinator;
  private readonly indexer: Indexer;
  private listener: Listener | null = null;
  private admin: AdminServer | null = null;
  private state: State = "starting";

  private constructor(options: BrokerOptions, storage: Storage, rooms: Rooms) {
    this.options = options;
    this.storage = storage;
    this.metadata = rooms.metadata;
    this.registry = rooms.registry;
    this.partitions = rooms.partitions;
    this.topics = rooms.topics;
    this.groups = rooms.groups;
    this.indexer = rooms.indexer;
  }

  /** Resolves when clients may connect. Rejects with a BrokerError that says what to do. */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config } = options.loaded;
    const storage = await openStorage(config, options.clock);
    try {
      const rooms = await buildRooms(options, storage);
      const broker = new Broker(options, storage, rooms);
      await broker.open();
      return broker;
    } catch (error) {
      await storage.engine.close();
      throw error;
    }
  }

  /** Where Kafka clients really connect. */
  get kafkaPort(): number {
    return this.listener?.addresses[0]?.port ?? -1;
  }

  get adminPort(): number {
    return this.admin?.port ?? -1;
  }

  /** Stops accepting, answers what is in flight, makes everything durable. Safe to call once. */
  async stop(): Promise<void> {
    const { logger, loaded } = this.options;
    this.state = "draining";
    logger.info("stopping: draining connections");
    this.groups.close();
    await this.listener?.drain(loaded.config.shutdown.timeoutMs);
    await this.indexer.stop();
    await this.topics.stop();
    await this.metadata.settled();
    await this.partitions.close();
    await this.storage.metadataJournal.close();
    await this.storage.registryJournal.close();
    await setCleanStopMark(this.storage);
    await this.admin?.stop();
    await this.storage.engine.close();
    this.state = "stopped";
    logger.info("stopped");
  }

  private async open(): Promise<void> {
    const { logger, metrics } = this.options;
    const { config } = this.options.loaded;
    await this.topics.start();
    brokerMetrics(metrics, {
      partitions: this.partitions,
      indexer: this.indexer,
      groups: this.groups,
      partitionSeriesMax: config.limits.metricPartitionsMax,
    });
    await this.groups.start();
    this.listener = this.listen();
    this.admin = serveAdmin(this.view(), config.adminBind, (error, path) =>
      logger.child("admin").error("admin request failed", { path, error: errorText(error) }),
    );
    this.indexer.start();
    this.state = "ready";
    this.logReady();
  }

  private listen(): Listener {
    const { clock, logger, metrics, loaded } = this.options;
    const { config } = loaded;
    const services = {
      config,
      clock,
      logger,
      metrics,
      metadata: this.metadata,
      partitions: this.partitions,
      groups: this.groups,
      producerIds: new ProducerIds(this.metadata),
    };
    const dispatcher = new Router(apiHandlers, services, {
      clock,
      ...requestReporter(metrics, logger.child("api")),
    });
    return Listener.start({
      name: listenerName,
      addresses: config.bind.map((address, index) => ({ ...address, optional: index > 0 })),
      dispatcher,
      limits: {
        frameBytesMax: config.limits.frameBytesMax,
        inFlightBytesMax: config.limits.inFlightBytesPerConnectionMax,
      },
      clock,
      logger: logger.child("net"),
      metrics,
    });
  }

  private view() {
    return adminView({
      metrics: this.options.metrics,
      metadata: this.metadata,
      partitions: this.partitions,
      registry: this.registry,
      indexer: this.indexer,
      indexingEnabled: this.options.loaded.config.indexer.enableWalIndexing,
      isLive: () => this.state !== "stopped",
      notReadyReason: () => (this.state === "ready" ? null : this.state),
    });
  }

  private logReady(): void {
    const { logger, loaded } = this.options;
    const { config } = loaded;
    logger.info("broker ready", {
      node_id: config.node.id,
      cluster_id: this.metadata.image.clusterId,
      listening: this.listener?.addresses.map((a) => `${a.host}:${a.port}`).join(","),
      advertised: `${config.advertised.host}:${config.advertised.port ?? this.kafkaPort}`,
      admin: `${config.adminBind.host}:${this.adminPort}`,
      data_dir: this.storage.dataDir,
      auto_create_topics: config.topic.autoCreate,
      compression: config.topic.compressionType,
      wal_indexing: config.indexer.enableWalIndexing,
    });
  }
}
