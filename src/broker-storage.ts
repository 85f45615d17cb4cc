import { join, resolve } from "node:path";
import type { VolumeSpace } from "./api/35-describe-log-dirs.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import { expectedAbi, status } from "./native/abi.ts";
import { NativeArchives } from "./native/archives.ts";
import { NativeEngine } from "./native/engine.ts";
import { NativeFiles } from "./native/files.ts";
import { NativeJournal } from "./native/journal.ts";
import { openLibrary } from "./native/library.ts";
import { NativeError } from "./native/native-error.ts";
import { NativeWal } from "./native/wal.ts";
import type { DurableFiles } from "./store/local-store.ts";

/** The engine and its faces: every durable byte goes through one of these (design D16). */
export interface Storage {
  readonly engine: NativeEngine;
  readonly wal: NativeWal;
  readonly files: NativeFiles;
  readonly archives: NativeArchives;
  readonly metadataJournal: NativeJournal;
  readonly registryJournal: NativeJournal;
  readonly dataDir: string;
}

/** Microseconds a commit group may gather before its fsync, by profile (R7). */
const commitWaitUs = { low: 0, medium: 500, high: 2_000, ultra: 10_000 } as const;

/** Completions held before committers wait for the event loop. */
const completionsMax = 65_536;
const workerThreads = 4;

/** Loads the library, locks the data directory and opens the journals. */
export async function openStorage(config: Config, clock: Clock): Promise<Storage> {
  const { engine, dataDir } = await openEngineOf(config, clock);
  const files = new NativeFiles(engine);
  try {
    await refuseUnfinishedRestore(files, dataDir);
    return {
      engine,
      wal: new NativeWal(engine),
      files,
      archives: new NativeArchives(engine),
      metadataJournal: await NativeJournal.open(engine, join(dataDir, "metadata")),
      registryJournal: await NativeJournal.open(engine, join(dataDir, "registry")),
      dataDir,
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Loads the library and locks the data directory. */
export async function openEngineOf(
  config: Config,
  clock: Clock,
): Promise<{ engine: NativeEngine; dataDir: string }> {
  const dataDir = resolve(config.dataDir);
  const library = openLibrary({ dataDir, expectedAbi });
  const engine = await openEngine(dataDir, () =>
    NativeEngine.open(
      library,
      {
        dataDir,
        committerThreads: config.wal.committerThreads,
        workerThreads,
        queueBytesMax: config.wal.queueBytesMax,
        queueAppendsMax: config.wal.queueAppendsMax,
        completionsMax,
        segmentBytesMax: config.wal.segmentBytesMax,
        filesOpenMax: config.wal.openFilesMax,
        commitWaitUs: commitWaitUs[config.wal.commitProfile],
        watchdogSeconds: Math.ceil(config.limits.loopSilenceMsMax / 1000),
      },
      clock,
    ),
  );
  return { engine, dataDir };
}

/** A restore builds in this folder of the data directory, and removes it last. */
export const restoringFolder = "restoring";

async function refuseUnfinishedRestore(files: NativeFiles, dataDir: string): Promise<void> {
  const entries = await orNull(files.listDir(dataDir));
  if (!entries?.some(({ name }) => name === restoringFolder)) return;
  throw new BrokerError(
    "CHRONIK_RESTORE_UNFINISHED",
    `a restore into ${dataDir} did not come to its end; run chronik restore again`,
  );
}

async function openEngine(
  dataDir: string,
  open: () => Promise<NativeEngine>,
): Promise<NativeEngine> {
  try {
    return await open();
  } catch (cause) {
    if (!hasStatus(cause, status.LOCKED)) throw cause;
    throw new BrokerError(
      "CHRONIK_DATA_DIR_LOCKED",
      `another process uses the data directory ${dataDir}; stop it, or name another --data-dir`,
      { cause },
    );
  }
}

/** The engine's file jobs as the local object store asks for them: absence is an answer there. */
export function storeFiles(files: NativeFiles): DurableFiles {
  return {
    async putFile(from, to, ifAbsent) {
      try {
        await files.putFile(from, to, ifAbsent);
        return "stored";
      } catch (error) {
        if (hasStatus(error, status.EXISTS)) return "exists";
        throw error;
      }
    },
    readFile: (path, position, length) => orNull(files.readFile(path, position, length)),
    appendScratch: (path, position, bytes) => files.appendScratch(path, position, bytes),
    listDir: (path) => orNull(files.listDir(path)),
    async fileSize(path) {
      const slash = path.lastIndexOf("/");
      const entries = await orNull(files.listDir(path.slice(0, slash)));
      const entry = entries?.find((e) => !e.dir && e.name === path.slice(slash + 1));
      return entry?.bytes ?? null;
    },
    removeFile: (path) => removeIfThere(files, path),
  };
}

/** Removes a file; one that is not there is fine. */
export async function removeIfThere(files: NativeFiles, path: string): Promise<void> {
  await orNull(files.removeFile(path));
}

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (hasStatus(error, status.NOT_FOUND)) return null;
    throw error;
  }
}

function hasStatus(error: unknown, code: number): boolean {
  return error instanceof NativeError && error.status === code;
}

const cleanStopFile = "clean-stop";

/** Whether the last run ended in good order. Removes the mark: only the next good end sets it. */
export async function takeCleanStopMark({ files, dataDir }: Storage): Promise<boolean> {
  const path = join(dataDir, cleanStopFile);
  const mark = await orNull(files.readFile(path));
  if (mark === null) return false;
  await files.removeFile(path);
  return true;
}

export async function setCleanStopMark({ files, dataDir }: Storage): Promise<void> {
  await files.writeFile(join(dataDir, cleanStopFile), new TextEncoder().encode("clean\n"));
}

/** Named kill points of the test build. The shipped engine knows none and says so at the first. */
export function faultPoints({ engine }: Pick<Storage, "engine">): (name: string) => Promise<void> {
  let compiledIn = true;
  return async (name) => {
    if (!compiledIn) return;
    const passed = await orNull(engine.job({ op: "fault_point", name }));
    compiledIn = passed !== null;
  };
}

/** Size and free space of the volume of a folder, for DescribeLogDirs; -1 where unknown. */
export function volumeSpace({ files }: Storage): VolumeSpace {
  return async (folder) => {
    try {
      const { freeBytes, totalBytes } = await files.disk(resolve(folder));
      return { totalBytes, usableBytes: freeBytes };
    } catch (error) {
      if (error instanceof NativeError) return { totalBytes: -1, usableBytes: -1 };
      throw error;
    }
  };
}
