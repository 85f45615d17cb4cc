import { Backup } from "./backup/backup.ts";
import { faultPoints, type Storage } from "./broker-storage.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import { newUuid } from "./protocol/uuid.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface BackupRooms {
  readonly config: Config;
  readonly storage: Storage;
  readonly store: ObjectStore;
  readonly metadata: Metadata;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** The backup in the object store (design D9): on by default where the store is remote. */
export function openBackup(rooms: BackupRooms): Backup {
  const { config, storage, store, metadata, partitions, clock, logger, metrics } = rooms;
  const { enabled, interval, stopTimeoutMs } = config.backup;
  const isRemote = config.objectStore.backend !== "local";
  const backup = new Backup({
    enabled: enabled === "auto" ? isRemote : enabled === "true",
    store,
    sources: {
      registry: storage.registryJournal,
      metadata: storage.metadataJournal,
      partitions: () => partitions.all(),
    },
    clusterId: metadata.image.clusterId,
    nodeId: config.node.id,
    intervalMs: interval * 1000,
    stopMsMax: stopTimeoutMs,
    clock,
    logger: logger.child("backup"),
    newRun: newUuid,
    faultPoint: faultPoints(storage),
  });
  backupMetrics(metrics, backup, clock);
  return backup;
}

/** What `/admin/backup` shows. */
export function backupView({ status }: Backup) {
  const { lastSuccessMs, ...rest } = status;
  return {
    enabled: rest.enabled,
    sequence: rest.sequence,
    last_success: lastSuccessMs === null ? null : new Date(lastSuccessMs).toISOString(),
    bytes: rest.bytes,
    parts: rest.parts,
    succeeded: rest.succeeded,
    failed: rest.failed,
    last_error: rest.lastError,
  };
}

function backupMetrics(metrics: Metrics, backup: Backup, clock: Clock): void {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help });
  const last = gauge(
    "chronik_backup_last_success_timestamp_seconds",
    "When the newest complete backup began; 0 before the first of this run",
  );
  const age = gauge(
    "chronik_backup_age_seconds",
    "Age of the newest complete backup; -1 before the first of this run",
  );
  const bytes = gauge("chronik_backup_bytes", "Bytes of the objects of the newest backup");
  const sequence = gauge("chronik_backup_sequence", "Number of the newest backup; 0 for none");
  const runs = metrics.gauge({
    name: "chronik_backup_runs",
    help: "Backups of this run, by outcome",
    labels: ["outcome"],
  });
  metrics.onCollect(() => {
    const { lastSuccessMs, succeeded, failed, ...status } = backup.status;
    if (!status.enabled) return;
    last.set(lastSuccessMs === null ? 0 : lastSuccessMs / 1000);
    age.set(lastSuccessMs === null ? -1 : Math.max(0, clock.nowMs() - lastSuccessMs) / 1000);
    bytes.set(status.bytes);
    sequence.set(status.sequence ?? 0);
    runs.set(succeeded, ["succeeded"]);
    runs.set(failed, ["failed"]);
  });
}
