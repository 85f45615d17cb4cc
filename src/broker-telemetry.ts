import type { RouterOptions } from "./api/router.ts";
import type { FetchSessions } from "./fetch/fetch-sessions.ts";
import type { GroupCoordinator } from "./group/coordinator.ts";
import type { Clock } from "./lib/clock.ts";
import { errorText } from "./lib/errors.ts";
import { RateLimit } from "./lib/rate-limit.ts";
import type { CleaningEvents } from "./log/cleaning.ts";
import type { LogEvents } from "./log/partition-parts.ts";
import type { Partitions } from "./log/partitions.ts";
import type { ClientQuotas } from "./quota/client-quotas.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import type { Indexer } from "./tier/indexer.ts";
import type { TransactionCoordinator } from "./transaction/coordinator.ts";

/** Lines of one kind that clients can repeat at will: failed appends, unreadable ranges. */
const repeatedLinesMax = 20;
const repeatedLinesPeriodMs = 60_000;

/** Log lines of the partition log: what an operator should hear of. */
export function logEvents(
  logger: Logger,
  clock: Clock,
): Omit<LogEvents, "logStartMoved"> & CleaningEvents {
  const rollbacks = new RateLimit(clock, repeatedLinesMax, repeatedLinesPeriodMs);
  const unreadables = new RateLimit(clock, repeatedLinesMax, repeatedLinesPeriodMs);
  const unmade = new RateLimit(clock, repeatedLinesMax, repeatedLinesPeriodMs);
  const where = (partition: { topic: string; index: number }) => ({
    topic: partition.topic,
    partition: partition.index,
  });
  return {
    damaged: (partition, damage) =>
      logger.error(
        "partition is damaged and answers KAFKA_STORAGE_ERROR; " +
          "restore its files from a copy or delete the topic",
        { ...where(partition), ...damage },
      ),
    rolledBack(partition, error) {
      const held = rollbacks.take();
      if (held === null) return;
      logger.error("appends failed and were rolled back to the durable end; producers retry", {
        ...where(partition),
        code: error.code,
        error: error.message,
        ...(held > 0 && { more_before: held }),
      });
    },
    unreadable(partition, offset, error) {
      const held = unreadables.take();
      if (held === null) return;
      logger.error("a range of a partition cannot be read", {
        ...where(partition),
        offset,
        code: error.code,
        error: error.message,
        ...(held > 0 && { more_before: held }),
      });
    },
    abortsNotRebuilt(file, error) {
      const held = unmade.take();
      if (held === null) return;
      logger.error("a file of aborted transactions can be neither read nor made again now", {
        file,
        code: error.code,
        error: error.message,
        ...(held > 0 && { more_before: held }),
      });
    },
    checkpointFailed: (partition, error) =>
      logger.warn("checkpoint failed; the next one tries again", {
        ...where(partition),
        error: errorText(error),
      }),
    abortsRebuilt: (file, error) =>
      logger.warn("a file of aborted transactions was lost; it was made again from the log", {
        file,
        error: error.message,
      }),
    cleaned: (partition, report) =>
      logger.info("cleaned an internal topic's segments", { ...where(partition), ...report }),
    cleaningFailed: (partition, error) =>
      logger.warn("cleaning failed; the log stays as it was and the next look tries again", {
        ...where(partition),
        error: errorText(error),
      }),
    quarantined: (from, to, reason) =>
      logger.warn("a folder that does not belong to its topic was set aside, not deleted", {
        from,
        to,
        reason,
      }),
  };
}

/** Metrics and lines of requests, by API. */
export function requestReporter(
  metrics: Metrics,
  logger: Logger,
): Pick<RouterOptions, "onRequest" | "onBug" | "onRefused"> {
  const seconds = metrics.histogram({
    name: "chronik_request_seconds",
    help: "Time from a request's start to its answer",
    labels: ["api"],
  });
  const errors = metrics.counter({
    name: "chronik_request_errors_total",
    help: "Requests answered with an error for the whole request, or ended by one",
    labels: ["api"],
  });
  const observers = new Map<string, (value: number) => void>();
  return {
    onRequest({ apiName, durationMs, failed }) {
      let observe = observers.get(apiName);
      if (!observe) {
        observe = seconds.bind([apiName]);
        observers.set(apiName, observe);
      }
      observe(durationMs / 1000);
      if (failed) errors.inc([apiName]);
    },
    onBug: (api, error) =>
      logger.error("a request handler failed: please report this", {
        api,
        error: errorText(error),
        stack: error instanceof Error ? error.stack : undefined,
      }),
    onRefused: (message) => logger.warn(message),
  };
}

interface MetricSources {
  readonly partitions: Partitions;
  readonly indexer: Indexer;
  readonly groups: GroupCoordinator;
  readonly transactions: TransactionCoordinator;
  readonly fetchSessions: FetchSessions;
  readonly quotas: ClientQuotas;
  /** Partitions that get series of their own. */
  readonly partitionSeriesMax: number;
}

/** Gauges read off the rooms whenever the metrics page is asked for. */
export function brokerMetrics(metrics: Metrics, sources: MetricSources): void {
  const { partitions, indexer, groups, fetchSessions, quotas } = sources;
  const gauge = (name: string, help: string, labels: readonly string[] = []) =>
    metrics.gauge({ name, help, labels, seriesMax: Math.max(1, sources.partitionSeriesMax) });
  const byPartition = ["topic", "partition"];
  const logEnd = gauge("chronik_partition_end_offset", "Log end offset", byPartition);
  const logStart = gauge("chronik_partition_start_offset", "Log start offset", byPartition);
  const walBytes = gauge("chronik_wal_bytes", "Bytes in the WAL, all partitions");
  const transactions = gauge("chronik_open_transactions", "Undecided, all partitions");
  const aborts = gauge("chronik_aborted_transactions", "Remembered aborts, all partitions");
  const abortsHeld = gauge("chronik_aborted_transactions_in_memory", "Those of them in memory");
  const tailBytes = gauge("chronik_tail_cache_bytes", "Newest batches held in memory");
  const appendBytes = gauge("chronik_appends_in_flight_bytes", "Bytes not yet durable");
  const parked = gauge("chronik_fetches_parked", "Fetches waiting for data");
  const sessions = gauge("chronik_fetch_sessions", "Incremental fetch sessions");
  const sessionPartitions = gauge("chronik_fetch_session_partitions", "Partitions in them");
  const evictions = gauge("chronik_fetch_session_evictions", "Sessions evicted since start");
  const counted = gauge("chronik_quota_clients", "Clients counted for quotas, of each kind");
  const groupCount = gauge("chronik_groups", "Consumer groups");
  const pending = gauge("chronik_indexer_pending_bytes", "Sealed WAL bytes not yet archived");
  const archived = gauge("chronik_archived_bytes", "Bytes of registered archives");
  const runs = gauge("chronik_indexer_runs", "Indexer runs since start");
  const indexed = gauge("chronik_indexer_records", "Records archived since start");
  const failures = gauge("chronik_indexer_errors", "Indexer errors since start");
  transactionMetrics(gauge, metrics, sources.transactions);
  metrics.onCollect(() => {
    let wal = 0;
    let open = 0;
    let aborted = 0;
    let series = 0;
    for (const partition of partitions.all()) {
      wal += partition.bytes;
      open += partition.openTransactions;
      aborted += partition.rememberedAborts;
      if (series++ >= sources.partitionSeriesMax) continue;
      const labels = [partition.topic, String(partition.index)];
      logEnd.set(partition.logEndOffset, labels);
      logStart.set(partition.logStartOffset, labels);
    }
    const stats = indexer.stats();
    walBytes.set(wal);
    transactions.set(open);
    aborts.set(aborted);
    abortsHeld.set(partitions.abortsInMemory);
    tailBytes.set(partitions.tailCacheBytes);
    appendBytes.set(partitions.appendBytesInFlight);
    parked.set(partitions.waiters.parked);
    sessions.set(fetchSessions.size);
    sessionPartitions.set(fetchSessions.partitions);
    evictions.set(fetchSessions.evictions);
    counted.set(quotas.tracked);
    groupCount.set(groups.groupCount);
    pending.set(stats.pending.bytes);
    archived.set(stats.registry.bytes);
    runs.set(stats.totals.runs);
    indexed.set(stats.totals.records_indexed);
    failures.set(stats.totals.errors);
  });
}

/** What the transaction coordinator counts as it goes: reading it costs nothing. */
function transactionMetrics(
  gauge: (name: string, help: string) => { set(value: number): void },
  metrics: Metrics,
  coordinator: TransactionCoordinator,
): void {
  const ids = gauge("chronik_transactional_ids", "Transactional ids");
  const ongoing = gauge("chronik_transactions_ongoing", "Transactions not decided");
  const completing = gauge("chronik_transactions_completing", "Decided, markers on their way");
  const timeouts = gauge("chronik_transaction_timeouts", "Aborted by timeout since start");
  metrics.onCollect(() => {
    ids.set(coordinator.idCount);
    ongoing.set(coordinator.ongoingCount);
    completing.set(coordinator.completingCount);
    timeouts.set(coordinator.timeoutCount);
  });
}
