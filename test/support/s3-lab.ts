import { systemClock } from "../../src/lib/clock.ts";
import type { BucketStore, ScratchFiles } from "../../src/store/bucket-store.ts";
import { openS3Store, type S3Options } from "../../src/store/s3-store.ts";
import type { Logger } from "../../src/telemetry/logger.ts";
import { accessKey, secretKey } from "./s3-server.ts";
import { silentLogger } from "./silent-logger.ts";

const MiB = 1 << 20;

/** Settings under which a test does not wait long for anything. */
export function s3Options(endpoint: string, changes: Partial<S3Options> = {}): S3Options {
  return {
    endpoint,
    region: "us-east-1",
    bucket: "archives",
    prefix: "some/folder/",
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    pathStyle: true,
    ca: null,
    checksums: "when_supported",
    partBytes: 5 * MiB,
    concurrencyMax: 4,
    attemptMs: 2_000,
    readBudgetMs: 20_000,
    writeBudgetMs: 20_000,
    ...changes,
  };
}

export function openS3(
  options: S3Options,
  files: ScratchFiles,
  scratchDir: string,
  logger: Logger = silentLogger(),
): Promise<BucketStore> {
  // Next to no jitter: back-off is tested by itself.
  const random = () => Math.random() * 0.1;
  return openS3Store(options, { clock: systemClock, random, files, scratchDir, logger });
}
