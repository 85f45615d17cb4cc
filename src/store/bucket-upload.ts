import { errorText } from "../lib/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Attempts } from "./attempts.ts";
import type { BucketCalls, PartTag } from "./bucket-calls.ts";
import { StoreError } from "./object-store.ts";

/** What is to be put: a file or bytes in memory. */
export interface UploadSource {
  readonly bytes: number;
  /** Of the whole, in hex. */
  readonly sha256: string;
  read(position: number, length: number): Promise<Uint8Array>;
}

export interface UploadOptions {
  readonly calls: BucketCalls;
  readonly attempts: Attempts;
  readonly logger: Logger;
  /** Bytes of one part; what is not larger goes up in one request. */
  readonly partBytes: number;
  /** "put to s3://bucket at https://…". */
  readonly verb: string;
}

/** Parts of one upload under way at a time: two hide the wait for the disk and cost two buffers. */
const partsAtOnce = 2;
const partsMax = 10_000;

/** One attempt-by-attempt upload of an object that must not be there yet. */
export class BucketUpload {
  private readonly options: UploadOptions;

  constructor(options: UploadOptions) {
    this.options = options;
  }

  /** "refused": the key is taken, perhaps by an earlier attempt of ours whose answer was lost. */
  put(key: string, source: UploadSource, ifAbsent: boolean): Promise<"stored" | "refused"> {
    return source.bytes <= this.options.partBytes
      ? this.putWhole(key, source, ifAbsent)
      : this.putParts(key, source, ifAbsent);
  }

  /** Begins an upload and gives it up, for a look at what is permitted. */
  async beginAndAbort(key: string): Promise<void> {
    await this.abort(key, await this.begin(key, "0".repeat(64)));
  }

  private async putWhole(
    key: string,
    source: UploadSource,
    ifAbsent: boolean,
  ): Promise<"stored" | "refused"> {
    const { calls, attempts, verb } = this.options;
    const body = await source.read(0, source.bytes);
    const { sha256 } = source;
    return attempts.run({ key, verb, bytes: body.length }, (signal) =>
      calls.put(key, body, { sha256, ifAbsent, signal }),
    );
  }

  private async putParts(
    key: string,
    source: UploadSource,
    ifAbsent: boolean,
  ): Promise<"stored" | "refused"> {
    const { calls, attempts, verb, logger } = this.options;
    const uploadId = await this.begin(key, source.sha256);
    try {
      const parts = await this.sendParts(key, uploadId, source);
      const done = await attempts.run({ key, verb, bytes: 0 }, (signal) =>
        calls.completeUpload(key, uploadId, parts, { ifAbsent, signal }),
      );
      // A completed upload is gone too: an earlier attempt may have done it.
      if (done === "stored") return "stored";
      if (done === "refused") await this.abort(key, uploadId);
      return "refused";
    } catch (error) {
      await this.abort(key, uploadId).catch((failure: unknown) => {
        logger.warn("an unfinished upload is left in the bucket; a lifecycle rule removes it", {
          key,
          upload: uploadId,
          error: errorText(failure),
        });
      });
      throw error;
    }
  }

  private async sendParts(
    key: string,
    uploadId: string,
    source: UploadSource,
  ): Promise<readonly PartTag[]> {
    const { calls, attempts, partBytes, verb } = this.options;
    const count = Math.ceil(source.bytes / partBytes);
    if (count > partsMax) {
      const size = `${source.bytes} bytes are more than ${partsMax} parts of ${partBytes}`;
      throw new StoreError("misconfigured", key, `${size}; raise object_store.part_bytes`);
    }
    const tags: PartTag[] = [];
    let next = 0;
    let failed = false;
    const lane = async (): Promise<void> => {
      while (next < count && !failed) {
        const number = next++;
        const position = number * partBytes;
        const body = await source.read(position, Math.min(partBytes, source.bytes - position));
        const part = { key, uploadId, number: number + 1, body };
        tags[number] = await attempts.run({ key, verb, bytes: body.length }, (signal) =>
          calls.uploadPart(part, signal),
        );
      }
    };
    const watched = () =>
      lane().catch((error: unknown) => {
        failed = true;
        throw error;
      });
    // All lanes end before the upload is given up: a part in flight would outlive it.
    const ended = await Promise.allSettled(Array.from({ length: partsAtOnce }, watched));
    for (const lane of ended) if (lane.status === "rejected") throw lane.reason;
    return tags;
  }

  private begin(key: string, sha256: string): Promise<string> {
    const { calls, attempts, verb } = this.options;
    return attempts.run({ key, verb, bytes: 0 }, (signal) =>
      calls.createUpload(key, sha256, signal),
    );
  }

  private abort(key: string, uploadId: string): Promise<void> {
    const { calls, attempts } = this.options;
    return attempts.run({ key, verb: "relieved of an unfinished upload", bytes: 0 }, (signal) =>
      calls.abortUpload(key, uploadId, signal),
    );
  }
}
