import { openStorage } from "./broker-storage.ts";
import { localStore, openBucket } from "./broker-store.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import type { ScratchFiles } from "./store/bucket-store.ts";
import { checkStore, type StepReport } from "./store/store-check.ts";
import type { Logger } from "./telemetry/logger.ts";

/** An operator waits for the answer: less patience than the broker has. */
const checkBudgetMs = 10_000;

export interface CheckOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly print: (line: string) => void;
}

/** `chronik store check`: tries each operation of the configured store; true where all work. A
 * bucket is tried beside a running broker; a local folder needs the data directory for itself. */
export async function runStoreCheck(options: CheckOptions): Promise<boolean> {
  const { objectStore } = options.config;
  const ok = objectStore.backend === "local" ? await checkLocal(options) : await checkS3(options);
  options.print(ok ? "the object store can be used" : "the object store cannot be used as it is");
  return ok;
}

async function checkLocal({ config, clock, print }: CheckOptions): Promise<boolean> {
  const storage = await openStorage(config, clock);
  try {
    await storage.files.makeDir("tmp");
    const store = localStore(config, storage);
    print(store.description);
    return await checkStore(store, null, "tantivy_indexes/", (step) => print(lineOf(step)));
  } finally {
    await storage.metadataJournal.close();
    await storage.registryJournal.close();
    await storage.engine.close();
  }
}

async function checkS3({ config, clock, logger, print }: CheckOptions): Promise<boolean> {
  const { objectStore } = config;
  const patience = {
    readTimeoutMs: Math.min(objectStore.readTimeoutMs, checkBudgetMs),
    writeTimeoutMs: Math.min(objectStore.writeTimeoutMs, checkBudgetMs),
  };
  const hurried = { ...config, objectStore: { ...objectStore, ...patience } };
  const bucket = await openBucket(hurried, { clock, logger, files: noFiles, scratchDir: "" });
  print(bucket.description);
  const remote = {
    isPutConditional: () => bucket.isPutConditional(),
    beginAndAbortUpload: (key: string) => bucket.beginAndAbortUpload(key),
    partBytes: objectStore.partBytes,
  };
  return checkStore(bucket, remote, "", (step) => print(lineOf(step)));
}

function lineOf({ name, ok, text }: StepReport): string {
  return `${ok ? "ok    " : "FAILED"} ${name.padEnd(22)} ${text}`;
}

/** The check puts bytes from memory. */
const noFiles: ScratchFiles = {
  readFile: unused,
  fileSize: unused,
  appendScratch: unused,
  removeFile: unused,
};

function unused(): Promise<never> {
  return Promise.reject(new BrokerError("CHRONIK_STORE_CHECK", "the check uses no files"));
}
