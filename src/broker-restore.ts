import { join } from "node:path";
import { chooseCluster, findBackup } from "./backup/find-backup.ts";
import { ManifestRestore } from "./backup/manifest-restore.ts";
import { type NewJournal, Restore, type RestoreParts } from "./backup/restore.ts";
import { readArchiveFacts, verifyWhole } from "./broker-archive-facts.ts";
import { faultPoints, openEngineOf, restoringFolder, storeFiles } from "./broker-storage.ts";
import { localStoreOf, openBucket } from "./broker-store.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import { NativeArchives } from "./native/archives.ts";
import type { NativeEngine } from "./native/engine.ts";
import { NativeFiles } from "./native/files.ts";
import { NativeJournal } from "./native/journal.ts";
import { NativeWal } from "./native/wal.ts";
import { newUuid } from "./protocol/uuid.ts";
import { type ObjectStore, StoreError } from "./store/object-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import { SegmentRegistry } from "./tier/registry/segment-registry.ts";

export interface RestoreRequest {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly clusterId: string | null;
  /** Number of a backup; null: the newest. */
  readonly backup: number | null;
  readonly fromManifests: boolean;
  readonly print: (line: string) => void;
}

/** Folders that a restore makes, the last one in place last: without metadata there is no topic. */
const built = ["wal", "registry", "metadata"] as const;
/** What an empty data directory may hold beside the folder of the local store. */
const harmless: ReadonlySet<string> = new Set(["lock", "lib", "tmp", "cache"]);

/** `chronik restore`: fills an empty data directory from the object store. A crash leaves a folder
 * `restoring`, over which no broker starts and which the next restore begins anew. */
export async function runRestore(request: RestoreRequest): Promise<void> {
  const { config, clock, logger, print } = request;
  const { engine, dataDir } = await openEngineOf(config, clock);
  try {
    const files = new NativeFiles(engine);
    const dir = join(dataDir, restoringFolder);
    await prepare(files, config, dataDir);
    await files.makeDir(dir);
    await files.makeDir(join(dataDir, "tmp"));
    const scratch = { files: storeFiles(files), scratchDir: join(dataDir, "tmp") };
    const store =
      config.objectStore.backend === "local"
        ? localStoreOf(config, scratch)
        : await openBucket(config, { clock, logger, ...scratch });
    print(`object store: ${store.description}`);
    const parts = restoreParts({ ...request, engine, files, store, dir });
    if (request.fromManifests) {
      const clusterId = request.clusterId ?? config.cluster.id ?? newUuid();
      await new ManifestRestore(parts, { clusterId, nodeId: config.node.id }).run();
    } else {
      const { backup } = request;
      const wanted = request.clusterId ?? config.cluster.id;
      const manifest = await findBackup(store, await chooseCluster(store, wanted, backup), backup);
      await new Restore(parts, manifest).run();
    }
    await parts.faultPoint("restore-built");
    for (const name of built) await files.rename(join(dir, name), join(dataDir, name));
    await parts.faultPoint("restore-moved");
    await files.removeDir(dir);
    print(`${dataDir} is ready: start chronik with the same settings`);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { message } = error;
    throw new BrokerError("CHRONIK_RESTORE", `${message}; nothing was restored, try again`, {
      cause: error,
    });
  } finally {
    await engine.close();
  }
}

/** Refuses a folder that holds anything, and clears what an earlier restore left. */
async function prepare(files: NativeFiles, config: Config, dataDir: string): Promise<void> {
  const entries = await files.listDir(dataDir);
  const isResumed = entries.some(({ name }) => name === restoringFolder);
  for (const { name, dir } of entries) {
    const path = join(dataDir, name);
    if (harmless.has(name) || isWithin(config.indexer.indexBasePath, path)) continue;
    const isOurs = name === restoringFolder || (built as readonly string[]).includes(name);
    const isEmpty = dir && (await files.listDir(path)).length === 0;
    if ((isResumed && isOurs) || (isOurs && isEmpty)) {
      await files.removeDir(path);
      // Gone last, so that a crash here is known for what it is.
      if (name === restoringFolder) await files.makeDir(path);
      continue;
    }
    throw new BrokerError(
      "CHRONIK_DATA_DIR_NOT_EMPTY",
      `the data directory ${dataDir} holds ${name}; a restore needs an empty one: move it away, ` +
        "or name another with --data-dir",
    );
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function restoreParts(
  parts: RestoreRequest & {
    readonly engine: NativeEngine;
    readonly files: NativeFiles;
    readonly store: ObjectStore;
    readonly dir: string;
  },
): RestoreParts {
  const { engine, files, store, dir, clock, print } = parts;
  const archives = new NativeArchives(engine);
  return {
    ...{ store, files, clock, dir, print },
    wal: new NativeWal(engine),
    pause: () =>
      new Promise((resolve) => {
        clock.schedule(0, resolve);
      }),
    newJournal: (name): Promise<NewJournal> => NativeJournal.open(engine, join(dir, name)),
    async openRegistry() {
      const journal = await NativeJournal.open(engine, join(dir, "registry"));
      const warn = () => undefined;
      const registry = await SegmentRegistry.open(journal, warn, () => clock.nowMs());
      const close = async () => {
        await registry.settled();
        await journal.close();
      };
      return { registry, close };
    },
    readArchive: (key, bytes, tocPosition) =>
      readArchiveFacts(archives, store, { key, bytes, tocPosition }),
    verifyArchive: (key, bytes, facts) => verifyWhole(archives, store, { key, bytes, facts }),
    faultPoint: faultPoints({ engine }),
  };
}
