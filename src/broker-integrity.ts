import { join } from "node:path";
import { checkTocCrc, chunksOf, type TocJson } from "./broker-archives.ts";
import type { Storage } from "./broker-storage.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import type { Partitions } from "./log/partitions.ts";
import type { ColdReader } from "./log/ports.ts";
import type { NativeArchives } from "./native/archives.ts";
import { uuidToBytes } from "./protocol/uuid.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";
import { Scrub } from "./tier/check/scrub.ts";
import type { ScrubbedWal } from "./tier/check/scrub-wal.ts";
import type { ArchiveInspector } from "./tier/check/segment-check.ts";
import { ArchiveDamage } from "./tier/read/archive-chunks.ts";
import type { SegmentEntry, SegmentRegistry } from "./tier/registry/segment-registry.ts";

interface ManifestJson {
  readonly topic_id: string;
  readonly partition: number;
  readonly generation: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly records: number;
  readonly members: readonly { readonly sha256: string }[];
}

/** The native archive jobs as integrity checks ask for them. */
export function archiveInspector(archives: NativeArchives): ArchiveInspector {
  return {
    async manifest(head) {
      const manifest = await archives.parseManifest<ManifestJson>(head);
      return {
        topicId: manifest.topic_id,
        partition: manifest.partition,
        generation: manifest.generation,
        base: manifest.base_offset,
        last: manifest.last_offset,
        records: manifest.records,
        batchesSha256: manifest.members[0]?.sha256 ?? "",
      };
    },
    async toc(tail, archiveBytes, crc32c) {
      checkTocCrc(tail, crc32c);
      return chunksOf(await archives.readToc<TocJson>(tail, archiveBytes));
    },
    async verifyFile(path, entry, sha256) {
      await archives.verifyArchive(path, {
        size: entry.bytes,
        topic_id: entry.topicId,
        partition: entry.partition,
        generation: entry.generation,
        base_offset: entry.base,
        last_offset: entry.last,
        records: entry.records,
        ...(sha256 === null ? {} : { sha256 }),
      });
    },
  };
}

const MiB = 1 << 20;
/** A request to a bucket costs money, one to a file nearly nothing. */
const readBytes = { local: MiB, s3: 8 * MiB } as const;
const bytesPerSec = { local: 8 * MiB, s3: 2 * MiB } as const;

interface IntegrityParts {
  readonly config: Config;
  readonly storage: Storage;
  readonly store: ObjectStore;
  readonly registry: SegmentRegistry;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** The partitions over `reader`, and the background scrub, which hears of damage that their readers
 * met. */
export function openScrubbed<T extends { readonly partitions: Partitions }>(
  reader: ColdReader,
  parts: Omit<IntegrityParts, "partitions">,
  open: (reader: ColdReader) => T,
): T & { readonly scrub: Scrub } {
  const { cold, onDamage } = reportingReader(reader);
  const opened = open(cold);
  const scrub = openScrub({ ...parts, partitions: opened.partitions });
  onDamage((entry) => scrub.suspect(entry));
  return { ...opened, scrub };
}

/** The background scrub of a broker, with its metrics. */
function openScrub(parts: IntegrityParts): Scrub {
  const { config, storage, store, registry, partitions, clock, metrics } = parts;
  const { backend } = config.objectStore;
  const { enabled, intervalSecs } = config.scrub;
  const scrub = new Scrub(
    {
      enabled,
      intervalMs: intervalSecs * 1_000,
      bytesPerSec: config.scrub.bytesPerSec || bytesPerSec[backend],
    },
    {
      store,
      registry,
      inspector: archiveInspector(storage.archives),
      wals: () => partitionWals(storage, partitions),
      readBytes: readBytes[backend],
      clock,
      logger: parts.logger.child("integrity"),
      state: scrubState(storage),
    },
  );
  integrityMetrics(metrics, scrub);
  return scrub;
}

/** Tells of damage that readers met, and changes nothing else: a read may have failed for reasons
 * of its own, so a check decides. */
function reportingReader(reader: ColdReader): {
  readonly cold: ColdReader;
  readonly onDamage: (tell: (entry: SegmentEntry) => void) => void;
} {
  let tell: (entry: SegmentEntry) => void = () => undefined;
  const watched = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (error instanceof ArchiveDamage && error.entry.quarantined === undefined) {
        tell(error.entry);
      }
      throw error;
    }
  };
  const cold: ColdReader = {
    archivedRange: (...place) => reader.archivedRange(...place),
    read: (...range) => watched(reader.read(...range)),
    findTime: (...wanted) => watched(reader.findTime(...wanted)),
    abortedTransactions: (...range) => watched(reader.abortedTransactions(...range)),
  };
  return {
    cold,
    onDamage(listener) {
      tell = listener;
    },
  };
}

/** Of topics that are open; a deleted one's files go anyway. */
function* partitionWals(storage: Storage, partitions: Partitions): Iterable<ScrubbedWal> {
  for (const { topic, topicId, index } of partitions.all()) {
    yield walOf(storage, topic, topicId, index);
  }
}

/** A partition's WAL files, named as the log names them. */
export function walOf(
  { wal, dataDir }: Storage,
  topic: string,
  topicId: string,
  partition: number,
): ScrubbedWal {
  return {
    topic,
    topicId,
    partition,
    verify: () =>
      wal.verifyLog({
        dir: join(dataDir, "wal", topic, String(partition)),
        prefix: `wal_${partition}`,
        logId: Buffer.from(uuidToBytes(topicId)).toString("hex"),
        partition,
      }),
  };
}

function scrubState({ files, dataDir }: Storage) {
  const path = join(dataDir, "integrity", "scrub.json");
  return {
    async load() {
      try {
        return await files.readFile(path);
      } catch (error) {
        if (error instanceof BrokerError && error.code === "CHRONIK_NOT_FOUND") return null;
        throw error;
      }
    },
    async save(bytes: Uint8Array) {
      await files.makeDir(join(dataDir, "integrity"));
      await files.writeFile(path, bytes);
    },
  };
}

function integrityMetrics(metrics: Metrics, scrub: Scrub): void {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help, labels: [] });
  const quarantined = gauge("chronik_integrity_quarantined", "Archives not read: damaged");
  const findings = gauge("chronik_integrity_findings", "Damaged archives and WAL places known");
  const verified = gauge("chronik_integrity_verified", "Archives found sound since start");
  const damaged = gauge("chronik_integrity_damaged", "Archives and WAL places found damaged");
  const bytes = gauge("chronik_integrity_bytes_read", "Bytes read to verify, since start");
  const orphans = gauge("chronik_integrity_orphans", "Objects nothing names, at the last listing");
  const orphanBytes = gauge("chronik_integrity_orphan_bytes", "Bytes of those objects");
  const lastRound = gauge("chronik_integrity_last_round_seconds", "When the last round ended");
  metrics.onCollect(() => {
    const status = scrub.status();
    quarantined.set(status.quarantined);
    findings.set(status.findings.length + status.findingsDropped);
    verified.set(status.verified);
    damaged.set(status.damaged);
    bytes.set(status.bytesRead);
    orphans.set(status.orphans?.orphans ?? 0);
    orphanBytes.set(status.orphans?.orphanBytes ?? 0);
    lastRound.set((status.lastRound?.finishedMs ?? 0) / 1_000);
  });
}
