import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type Storage, storeFiles } from "./broker-storage.ts";
import { meteredStore } from "./broker-tier-metrics.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import { BrokerError, errorText } from "./lib/errors.ts";
import type { BucketStore, ScratchFiles } from "./store/bucket-store.ts";
import { LocalStore } from "./store/local-store.ts";
import { type ObjectStore, StoreError } from "./store/object-store.ts";
import type { S3Options } from "./store/s3-store.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** The configured store, and how to end its work. */
export interface OpenedStore {
  readonly store: ObjectStore;
  /** No request is repeated any more, so that a stop does not wait for a store that is away. */
  readonly stop: () => void;
}

export interface StoreParts {
  readonly config: Config;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Counts what is asked of the store; null outside a broker. */
  readonly metrics: Metrics | null;
}

/** Opens the store. A remote one that does not answer keeps nobody from starting: records wait in
 * the WAL until it does. */
export async function openStore(parts: StoreParts): Promise<OpenedStore> {
  const { config, storage, clock } = parts;
  const logger = parts.logger.child("store");
  if (config.objectStore.backend === "local") {
    return { store: metered(parts, localStore(config, storage)), stop: () => undefined };
  }
  const files = storeFiles(storage.files);
  const scratchDir = join(storage.dataDir, "tmp");
  const bucket = await openBucket(config, { clock, logger, files, scratchDir });
  void bucket.isPutConditional().catch((error: unknown) => reportUnusable(logger, error));
  return { store: metered(parts, bucket), stop: () => bucket.stop() };
}

function metered({ metrics, clock }: StoreParts, store: ObjectStore): ObjectStore {
  return metrics === null ? store : meteredStore(store, clock, metrics);
}

/** Objects of the local store lie under `index_base_path`; keys begin with that folder's name. */
export function localStore(config: Config, storage: Storage): LocalStore {
  return new LocalStore({
    root: config.indexer.indexBasePath,
    prefix: "tantivy_indexes/",
    scratchDir: join(storage.dataDir, "tmp"),
    files: storeFiles(storage.files),
  });
}

/** The bucket of the configuration; the SDK is loaded here and not before. */
export async function openBucket(
  config: Config,
  deps: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly files: ScratchFiles;
    readonly scratchDir: string;
  },
): Promise<BucketStore> {
  const { openS3Store } = await import("./store/s3-store.ts");
  return openS3Store(s3Options(config), { ...deps, random });
}

function s3Options({ objectStore }: Config): S3Options {
  const { accessKey, secretKey, sessionToken, prefix, caFile } = objectStore;
  const session = sessionToken === null ? {} : { sessionToken };
  return {
    endpoint: objectStore.endpoint,
    region: objectStore.region,
    bucket: objectStore.bucket,
    prefix: prefix === null ? "" : `${prefix}/`,
    credentials:
      accessKey === null || secretKey === null
        ? null
        : { accessKeyId: accessKey, secretAccessKey: secretKey, ...session },
    pathStyle: objectStore.pathStyle,
    ca: caFile === null ? null : readCertificates(caFile),
    checksums: objectStore.checksums,
    partBytes: objectStore.partBytes,
    concurrencyMax: objectStore.concurrencyMax,
    attemptMs: objectStore.attemptTimeoutMs,
    readBudgetMs: objectStore.readTimeoutMs,
    writeBudgetMs: objectStore.writeTimeoutMs,
  };
}

function readCertificates(file: string): string {
  const path = resolve(file);
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new BrokerError(
      "CHRONIK_CONFIG",
      `object_store.ca_file ${path} cannot be read: ${errorText(cause)}`,
      { cause },
    );
  }
}

function reportUnusable(logger: Logger, error: unknown): void {
  const lasting = error instanceof StoreError && error.kind !== "unavailable";
  const text = "the object store cannot be used; records stay in the WAL until it can";
  if (lasting) logger.error(text, { error: errorText(error) });
  else logger.warn(text, { error: errorText(error) });
}

/** [0, 1), from the system's source. */
function random(): number {
  const [word = 0] = crypto.getRandomValues(new Uint32Array(1));
  return word / 2 ** 32;
}
