import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { archiveInspector, walOf } from "./broker-integrity.ts";
import { findingView, orphansView } from "./broker-integrity-view.ts";
import { openStorage, restoringFolder, type Storage, storeFiles } from "./broker-storage.ts";
import { localStore, openBucket } from "./broker-store.ts";
import type { VerifyOptions } from "./cli/segment-options.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError, errorText } from "./lib/errors.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import { adviceOf, type Finding } from "./tier/check/findings.ts";
import { findOrphans, type OrphanReport } from "./tier/check/orphans.ts";
import { EntryWalk } from "./tier/check/scrub-state.ts";
import {
  type CheckOutcome,
  checkSegment,
  type SegmentCheckDeps,
} from "./tier/check/segment-check.ts";
import { type SegmentEntry, SegmentRegistry } from "./tier/registry/segment-registry.ts";

export interface SegmentVerifyParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: VerifyOptions;
  readonly print: (line: string) => void;
}

/** `unchecked`: nothing damaged was found, and not everything could be looked at. */
export type VerifyResult = "sound" | "damaged" | "unchecked";

/** Entries looked at side by side: a shallow look is three waits for the store, a deep one a copy
 * on the disk. */
const shallowAtOnce = 8;
/** Times in a row that the store may fail before the rest is left. */
const failuresMax = 3;
const readBytes = 8 << 20;
const youngMs = 3_600_000;
const journalDamage = ["CHRONIK_DAMAGED", "CHRONIK_CORRUPT", "CHRONIK_METADATA_DAMAGED"];

/** `chronik segment verify`: looks over the data of a stopped broker. Changes nothing, but for
 * archives found sound that were in quarantine: they are taken into use again. */
export async function runSegmentVerify(parts: SegmentVerifyParts): Promise<VerifyResult> {
  const report = new Report(parts);
  mustHoldData(parts.config.dataDir);
  let storage: Storage;
  try {
    storage = await openStorage(parts.config, parts.clock);
  } catch (error) {
    if (error instanceof BrokerError && error.code === "CHRONIK_DATA_DIR_LOCKED") {
      throw new BrokerError(
        error.code,
        `${error.message}; a running broker verifies by POST /admin/integrity/run?deep=true`,
        { cause: error },
      );
    }
    return report.journalDamaged(error);
  }
  try {
    await verifyAll(parts, storage, report);
  } finally {
    await storage.metadataJournal.close();
    await storage.registryJournal.close();
    await storage.engine.close();
  }
  return report.end();
}

/** A mistyped folder is not a sound one, and none is made of it. */
function mustHoldData(dataDir: string): void {
  const folders = ["metadata", "registry", "wal", restoringFolder];
  const isEmpty = (path: string) => !existsSync(path) || readdirSync(path).length === 0;
  if (folders.some((name) => !isEmpty(join(dataDir, name)))) return;
  throw new BrokerError(
    "CHRONIK_DATA_DIR_UNUSABLE",
    `${dataDir} holds no data of a broker: name the folder with --data-dir`,
  );
}

async function verifyAll(
  parts: SegmentVerifyParts,
  storage: Storage,
  report: Report,
): Promise<void> {
  const { options } = parts;
  let registry: SegmentRegistry;
  try {
    await storage.metadataJournal.replay(() => undefined);
    registry = await SegmentRegistry.open(storage.registryJournal);
  } catch (error) {
    report.journalDamaged(error);
    return;
  }
  await storage.files.makeDir(join(storage.dataDir, "tmp"));
  const store = await openForReading(parts, storage);
  const inspector = archiveInspector(storage.archives);
  await verifyArchives({ store, inspector, readBytes }, registry, options, report);
  if (options.deep) await verifyWals(storage, options, report);
  if (options.topic === null && options.partition === null) {
    await listOrphans(store, registry, parts.clock, report);
  }
  report.store = store.description;
  await registry.settled();
}

/** Without the probe that a broker makes: it would write. */
async function openForReading(parts: SegmentVerifyParts, storage: Storage): Promise<ObjectStore> {
  const { config, clock, logger } = parts;
  if (config.objectStore.backend === "local") return localStore(config, storage);
  const scratchDir = join(storage.dataDir, "tmp");
  return openBucket(config, { clock, logger, files: storeFiles(storage.files), scratchDir });
}

async function verifyArchives(
  deps: SegmentCheckDeps,
  registry: SegmentRegistry,
  options: VerifyOptions,
  report: Report,
): Promise<void> {
  const walk = new EntryWalk(registry, null);
  let failures = 0;
  const work = async () => {
    for (let entry = walk.next(); entry !== null; entry = walk.next()) {
      if (!isWanted(options, entry.topic, entry.partition)) continue;
      if (failures >= failuresMax) {
        report.unchecked++;
        continue;
      }
      // A shallow look cannot take anything out of quarantine.
      const depth = options.deep || entry.quarantined !== undefined ? "deep" : "shallow";
      const outcome = await checkSegment(deps, entry, depth, () => Promise.resolve(true));
      failures = outcome.kind === "unavailable" ? failures + 1 : 0;
      report.archive(entry, outcome);
      if (outcome.kind === "sound" && entry.quarantined !== undefined) {
        await registry.unquarantine(entry);
        report.released(entry);
      }
    }
  };
  await Promise.all(Array.from({ length: options.deep ? 1 : shallowAtOnce }, work));
}

function isWanted(options: VerifyOptions, topic: string, partition: number): boolean {
  return (
    (options.topic === null || options.topic === topic) &&
    (options.partition === null || options.partition === partition)
  );
}

async function verifyWals(storage: Storage, options: VerifyOptions, report: Report): Promise<void> {
  const { files, dataDir } = storage;
  const folder = join(dataDir, "wal");
  for (const topic of await foldersOf(storage, folder)) {
    const partitions = await foldersOf(storage, join(folder, topic));
    for (const name of partitions.filter((name) => /^\d{1,9}$/.test(name))) {
      const partition = Number(name);
      if (!isWanted(options, topic, partition)) continue;
      try {
        const id = await files.readFile(join(folder, topic, "topic-id"));
        const topicId = new TextDecoder().decode(id).trim();
        const { findings } = await walOf(storage, topic, topicId, partition).verify();
        report.wals++;
        for (const { file, reason, first, last } of findings) {
          const place = { topic, topicId, partition, first, last, key: file };
          report.finding({ kind: "wal", ...place, reason, foundMs: report.nowMs() });
        }
      } catch (error) {
        report.uncheckedLine(`WAL of ${topic}-${partition}: ${errorText(error)}`);
      }
    }
  }
}

async function foldersOf({ files }: Storage, path: string): Promise<string[]> {
  try {
    return (await files.listDir(path)).filter(({ dir }) => dir).map(({ name }) => name);
  } catch (error) {
    if (error instanceof BrokerError && error.code === "CHRONIK_NOT_FOUND") return [];
    throw error;
  }
}

async function listOrphans(
  store: ObjectStore,
  registry: SegmentRegistry,
  clock: Clock,
  report: Report,
): Promise<void> {
  const nowMs = () => clock.nowMs();
  const onPage = () => Promise.resolve(true);
  try {
    const found = await findOrphans({ store, registry, nowMs, youngMs, onPage });
    if (found !== null) report.orphans(found);
  } catch (error) {
    report.uncheckedLine(`listing of the store: ${errorText(error)}`);
  }
}

/** Lines as they come, and the sum at the end. */
class Report {
  unchecked = 0;
  wals = 0;
  store = "";
  private readonly parts: SegmentVerifyParts;
  private sound = 0;
  private damaged = 0;
  private unnamed: OrphanReport | null = null;

  constructor(parts: SegmentVerifyParts) {
    this.parts = parts;
  }

  nowMs(): number {
    return this.parts.clock.nowMs();
  }

  archive(entry: SegmentEntry, outcome: CheckOutcome): void {
    const { topic, topicId, partition, base, last, key } = entry;
    if (outcome.kind === "sound") this.sound++;
    else if (outcome.kind === "damaged") {
      const place = { topic, topicId, partition, first: base, last, key };
      const { reason } = outcome;
      this.finding({ kind: "archive", ...place, reason, foundMs: this.nowMs() });
    } else {
      const reason = outcome.kind === "unavailable" ? outcome.reason : "stopped";
      this.uncheckedLine(`archive ${key} (${topic}-${partition} ${base}-${last}): ${reason}`);
    }
  }

  finding(finding: Finding): void {
    this.damaged++;
    const { kind, topic, partition, first, last, key, reason } = finding;
    const offsets = first === null ? "" : ` offsets ${first}-${last}`;
    const where = topic === "" ? "" : ` ${topic}-${partition}${offsets}`;
    this.line({ type: "finding", ...findingView(finding) }, () => [
      `DAMAGED   ${kind}${where} ${key}: ${reason}`,
      `          ${adviceOf(finding)}`,
    ]);
  }

  released({ topic, partition, base, last, key }: SegmentEntry): void {
    const where = `${topic}-${partition} offsets ${base}-${last} ${key}`;
    this.line(
      { type: "released", topic, partition, first_offset: base, last_offset: last, key },
      () => [`RELEASED  archive ${where} is sound again and out of quarantine`],
    );
  }

  uncheckedLine(text: string): void {
    this.unchecked++;
    this.line({ type: "unchecked", text }, () => [`UNCHECKED ${text}`]);
  }

  orphans(report: OrphanReport): void {
    this.unnamed = report;
    this.line({ type: "orphans", ...orphansView(report) }, () => [
      ...report.list.map(({ key, bytes, ageMs }) => {
        const age = ageMs === null ? "unknown age" : `${Math.floor(ageMs / 3_600_000)} h old`;
        return `ORPHAN    ${key} ${bytes} bytes, ${age}`;
      }),
      ...(report.orphans > report.list.length
        ? [`ORPHAN    and ${report.orphans - report.list.length} more`]
        : []),
    ]);
  }

  /** Without its journals nothing else can be found. Throws what is no damage. */
  journalDamaged(error: unknown): VerifyResult {
    if (!(error instanceof BrokerError) || !journalDamage.includes(error.code)) throw error;
    const [, file = ""] = /^(\S+)/.exec(error.message) ?? [];
    const place = { topic: "", topicId: "", partition: -1, first: null, last: null, key: file };
    this.finding({ kind: "journal", ...place, reason: error.message, foundMs: this.nowMs() });
    return "damaged";
  }

  end(): VerifyResult {
    const { damaged, unchecked, sound, wals } = this;
    const orphans = this.unnamed?.orphans ?? null;
    const { deep } = this.parts.options;
    this.line({ type: "summary", deep, sound, damaged, unchecked, wals, orphans }, () => [
      `${deep ? "deep" : "shallow"} check of ${this.store}`,
      `${sound} archives sound, ${damaged} places damaged, ${unchecked} not checked` +
        (deep ? `, ${wals} partitions' WAL read` : "; the WAL and all bytes are read with --deep"),
      ...(orphans === null ? [] : [`${orphans} objects that nothing names (kept)`]),
    ]);
    if (damaged > 0) return "damaged";
    return unchecked > 0 ? "unchecked" : "sound";
  }

  private line(json: object, text: () => string[]): void {
    if (this.parts.options.json) this.parts.print(JSON.stringify(json));
    else for (const line of text()) this.parts.print(line);
  }
}
