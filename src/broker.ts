import { type AdminServer, serveAdmin } from "../admin/server.ts";
import { apiHandlers } from "./api/handlers.ts";
import { type Dispatcher, Router } from "./api/router.ts";
import { listenerName } from "./broker-identity.ts";
import { logRetention, retentionMetrics } from "./broker-retention.ts";
import { buildRooms, type Rooms } from "./broker-rooms.ts";
import { openStorage, type Storage, setCleanStopMark, volumeSpace } from "./broker-storage.ts";
import { brokerMetrics, requestReporter } from "./broker-telemetry.ts";
import { tierMetrics } from "./broker-tier-metrics.ts";
import { adminView } from "./broker-view.ts";
import { watchWalSpace } from "./broker-wal-space.ts";
import type { LoadedConfig } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import { Listener } from "./net/listener.ts";
import { StartGate } from "./net/start-gate.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface BrokerOptions {
  readonly loaded: LoadedConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

type State = "starting" | "ready" | "draining" | "stopped";

/** Every room, built bottom-up and plugged together; the only file that sees them all. */
export class Broker {
  private readonly options: BrokerOptions;
  private readonly storage: Storage;
  private readonly rooms: Rooms;
  private listener: Listener | null = null;
  private admin: AdminServer | null = null;
  private state: State = "starting";

  private constructor(options: BrokerOptions, storage: Storage, rooms: Rooms) {
    this.options = options;
    this.storage = storage;
    this.rooms = rooms;
  }

  /** Resolves when clients are served. Rejects with a BrokerError that says what to do. */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config } = options.loaded;
    const storage = await openStorage(config, options.clock);
    try {
      const kafkaPort = options.loaded.config.bind[0]?.port ?? 0;
      const rooms = await buildRooms({ ...options, kafkaPort }, storage);
      const broker = new Broker(options, storage, rooms);
      try {
        await broker.open();
      } catch (error) {
        await broker.listener?.drain(0);
        await broker.admin?.stop();
        throw error;
      }
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
    this.rooms.transactions.close();
    this.rooms.groups.close();
    await this.listener?.drain(loaded.config.shutdown.timeoutMs);
    await this.rooms.shares.close();
    this.rooms.rolling.stop();
    await this.rooms.retainer.stop();
    await this.rooms.cleaning.stop();
    this.rooms.stopStore();
    await this.rooms.scrub.stop();
    await Promise.all([this.rooms.indexer.stop(), this.rooms.rewrites.stop()]);
    await this.rooms.reaper.stop();
    await this.rooms.topics.stop();
    await this.rooms.metadata.settled();
    await this.rooms.registry.settled();
    await this.rooms.backup.stop();
    await this.rooms.partitions.close();
    await this.rooms.closeCache();
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
    const gate = new StartGate(this.router());
    this.listener = this.listen(gate);
    watchWalSpace(this.rooms, this.options);
    await this.rooms.topics.start();
    brokerMetrics(metrics, {
      partitions: this.rooms.partitions,
      indexer: this.rooms.indexer,
      groups: this.rooms.groups,
      transactions: this.rooms.transactions,
      fetchSessions: this.rooms.fetchSessions,
      quotas: this.rooms.quotas,
      partitionSeriesMax: config.limits.metricPartitionsMax,
    });
    retentionMetrics(metrics, this.rooms.retainer);
    tierMetrics(metrics, { ...this.rooms, clock: this.options.clock });
    await this.rooms.groups.start();
    await this.rooms.shares.persister.start();
    await this.rooms.transactions.start();
    this.rooms.metadata.subscribe(async ({ previous, commands }) => {
      for (const command of commands) {
        if (command.type !== "topic-deleted") continue;
        const name = previous.topicsById.get(command.id)?.name;
        if (name !== undefined) await this.rooms.groups.topicDeleted(name, command.id);
        await this.rooms.shares.topicDeleted(command.id);
      }
    });
    this.admin = serveAdmin(this.view(), config.adminBind, (error, path) =>
      logger.child("admin").error("admin request failed", { path, error: errorText(error) }),
    );
    // Nothing fails from here on: no client is served by a broker that gives up.
    gate.open();
    this.rooms.reaper.start();
    this.rooms.indexer.start();
    this.rooms.rewrites.merger.start();
    this.rooms.rewrites.compaction.start();
    this.rooms.rolling.start();
    this.rooms.retainer.start();
    await this.rooms.scrub.start();
    this.rooms.cleaning.start();
    this.rooms.backup.start();
    this.state = "ready";
    this.logReady();
  }

  private router(): Router {
    const { clock, logger, metrics, loaded } = this.options;
    const services = {
      config: loaded.config,
      clock,
      logger,
      metrics,
      metadata: this.rooms.metadata,
      partitions: this.rooms.partitions,
      fetchSessions: this.rooms.fetchSessions,
      quotas: this.rooms.quotas,
      groups: this.rooms.groups,
      shares: this.rooms.shares,
      producerIds: this.rooms.producerIds,
      transactions: this.rooms.transactions,
      clientMetrics: this.rooms.clientMetrics,
    };
    const handlers = apiHandlers(volumeSpace(this.storage), loaded.config.telemetry.enabled);
    return new Router(handlers, services, {
      clock,
      ...requestReporter(metrics, logger.child("api")),
    });
  }

  private listen(dispatcher: Dispatcher): Listener {
    const { clock, logger, metrics, loaded } = this.options;
    const { config } = loaded;
    return Listener.start({
      name: listenerName,
      addresses: config.bind.map((address, index) => ({ ...address, optional: index > 0 })),
      dispatcher,
      limits: {
        frameBytesMax: config.limits.frameBytesMax,
        frameMsMax: config.limits.frameMsMax,
        idleMsMax: config.limits.connectionIdleMsMax,
        inFlightBytesMax: config.limits.inFlightBytesPerConnectionMax,
        inFlightBytesTotalMax: config.limits.inFlightBytesMax,
        inFlightCountMax: config.limits.inFlightRequestsPerConnectionMax,
        connectionsMax: config.limits.connectionsMax,
      },
      connectionThrottleMs: (address) => this.rooms.quotas.connection(address),
      onBacklog: (bytes) => this.rooms.partitions.readBudget.hold(bytes),
      clock,
      pace: this.rooms.partitions.coldPace,
      logger: logger.child("net"),
      metrics,
    });
  }

  private view() {
    return adminView({
      metrics: this.options.metrics,
      metadata: this.rooms.metadata,
      partitions: this.rooms.partitions,
      registry: this.rooms.registry,
      timeline: this.rooms.timeline,
      chunks: this.rooms.chunks,
      clock: this.options.clock,
      indexer: this.rooms.indexer,
      scrub: this.rooms.scrub,
      backup: this.rooms.backup,
      merger: this.rooms.rewrites.merger,
      indexingEnabled: this.options.loaded.config.indexer.enableWalIndexing,
      isLive: () => this.state !== "stopped",
      notReadyReason: () => (this.state === "ready" ? null : this.state),
    });
  }

  private logReady(): void {
    const { logger, loaded } = this.options;
    const { config } = loaded;
    logRetention(logger, this.rooms.metadata);
    logger.info("broker ready", {
      node_id: config.node.id,
      cluster_id: this.rooms.metadata.image.clusterId,
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
