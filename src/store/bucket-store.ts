import { errorText } from "../lib/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Attempts } from "./attempts.ts";
import type { BucketCalls } from "./bucket-calls.ts";
import { BucketUpload, type UploadSource } from "./bucket-upload.ts";
import {
  checkKey,
  listLimitMax,
  type ObjectPage,
  type ObjectStore,
  StoreError,
} from "./object-store.ts";

/** The engine's file jobs that objects pass through on their way; native/files.ts satisfies it. */
export interface ScratchFiles {
  readFile(path: string, position: number, length: number): Promise<Uint8Array | null>;
  fileSize(path: string): Promise<number | null>;
  appendScratch(path: string, position: number, bytes: Uint8Array): Promise<void>;
  removeFile(path: string): Promise<void>;
}

export interface BucketStoreOptions {
  readonly calls: BucketCalls;
  /** Fetches wait for these: a short budget, and slots of their own. */
  readonly reads: Attempts;
  readonly writes: Attempts;
  readonly files: ScratchFiles;
  readonly scratchDir: string;
  readonly logger: Logger;
  readonly random: () => number;
  /** "s3://bucket/prefix at https://…". */
  readonly place: string;
  /** Before every key; empty, or ends in `/`. */
  readonly prefix: string;
  readonly partBytes: number;
}

const probeBytes = new TextEncoder().encode("chronik\n");

/** Objects in a bucket. Retries, put-if-absent and copies for verification are here; what goes over
 * the network is behind BucketCalls. */
export class BucketStore implements ObjectStore {
  readonly description: string;
  private readonly options: BucketStoreOptions;
  private readonly upload: BucketUpload;
  private refusesSecondPut: Promise<boolean> | null = null;
  private scratchCount = 0;

  constructor(options: BucketStoreOptions) {
    const { calls, writes, logger, partBytes, place } = options;
    this.options = options;
    this.description = place;
    const verb = `put to ${place}`;
    this.upload = new BucketUpload({ calls, attempts: writes, logger, partBytes, verb });
  }

  /** For the end of the process: nothing is tried again from now on, and nothing is begun once the
   * store did not answer. */
  stop(): void {
    const ending = { isStoreAway: false };
    this.options.reads.stop(ending);
    this.options.writes.stop(ending);
  }

  async putFile(key: string, path: string, sha256: string): Promise<"stored" | "exists"> {
    const { files } = this.options;
    const bytes = await files.fileSize(path);
    if (bytes === null) throw new StoreError("not-found", key, `there is no file ${path} to put`);
    return this.put(key, {
      bytes,
      sha256,
      async read(position, length) {
        const read = await files.readFile(path, position, length);
        if (read?.length === length) return read;
        throw new StoreError("damaged", key, `the file ${path} changed while it was put`);
      },
    });
  }

  putBytes(key: string, bytes: Uint8Array): Promise<"stored" | "exists"> {
    return this.put(key, {
      bytes: bytes.length,
      sha256: sha256Of(bytes),
      read: (position, length) => Promise.resolve(bytes.subarray(position, position + length)),
    });
  }

  async head(key: string): Promise<{ bytes: number } | null> {
    const found = await this.look(this.wholeKey(key));
    return found === null ? null : { bytes: found.bytes };
  }

  async getRange(key: string, position: number, length: number): Promise<Uint8Array> {
    return this.read(this.wholeKey(key), position, length);
  }

  async openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }> {
    const { files, scratchDir, partBytes } = this.options;
    const whole = this.wholeKey(key);
    const found = await this.look(whole);
    if (found === null) throw new StoreError("not-found", key, "is missing from the object store");
    const path = `${scratchDir}/object-${this.scratchCount++}.tmp`;
    const release = () => files.removeFile(path);
    try {
      let position = 0;
      do {
        const length = Math.min(partBytes, found.bytes - position);
        const piece =
          length === 0 ? new Uint8Array() : await this.copyPiece(whole, position, length);
        await files.appendScratch(path, position, piece);
        position += length;
      } while (position < found.bytes);
    } catch (error) {
      await release();
      throw error;
    }
    return { path, release };
  }

  async list(prefix: string, after: string | null, limit: number): Promise<ObjectPage> {
    const { calls, reads, place, prefix: own } = this.options;
    const count = Math.min(limit, listLimitMax);
    const operation = { key: prefix, verb: `listed in ${place}`, bytes: count * 256 };
    const page = await reads.run(operation, (signal) =>
      calls.list(own + prefix, after === null ? "" : own + after, count, signal),
    );
    const objects = page.objects.map((object) => ({
      ...object,
      key: object.key.slice(own.length),
    }));
    const next = page.more ? (objects.at(-1)?.key ?? null) : null;
    const moved = next !== null && (after === null || next > after);
    if (page.more && !moved) {
      throw new StoreError("damaged", prefix, `the listing of ${place} does not go on`);
    }
    return { objects, next };
  }

  async delete(key: string): Promise<void> {
    await this.remove(this.wholeKey(key));
  }

  /**
   * Whether the store refuses a second put of one key (`If-None-Match: *`), found out once with an
   * object made for it. Where it does not, every put looks first. Says so in the log.
   */
  isPutConditional(): Promise<boolean> {
    this.refusesSecondPut ??= this.probe().catch((error: unknown) => {
      this.refusesSecondPut = null;
      throw error;
    });
    return this.refusesSecondPut;
  }

  /** Begins an upload in parts and gives it up. */
  beginAndAbortUpload(key: string): Promise<void> {
    return this.upload.beginAndAbort(this.wholeKey(key));
  }

  private async put(key: string, source: UploadSource): Promise<"stored" | "exists"> {
    const whole = this.wholeKey(key);
    const ifAbsent = await this.isPutConditional();
    if (!ifAbsent && (await this.look(whole)) !== null) return this.settle(whole, source);
    const done = await this.upload.put(whole, source, ifAbsent);
    return done === "stored" ? "stored" : this.settle(whole, source);
  }

  /** The key is taken: by these bytes (a put of ours whose answer was lost) or by others. */
  private async settle(whole: string, source: UploadSource): Promise<"stored" | "exists"> {
    const found = await this.look(whole);
    if (found === null) {
      const text = "was there and is gone: something else deletes objects; it is put again later";
      throw new StoreError("unavailable", whole, text);
    }
    if (found.bytes !== source.bytes) return "exists";
    const sha256 = found.sha256 ?? (await this.hashOf(whole, found.bytes));
    return sha256 === source.sha256 ? "stored" : "exists";
  }

  /** For objects of stores that drop metadata. */
  private async hashOf(whole: string, bytes: number): Promise<string> {
    const hasher = new Bun.CryptoHasher("sha256");
    for (let position = 0; position < bytes; ) {
      const length = Math.min(this.options.partBytes, bytes - position);
      hasher.update(await this.copyPiece(whole, position, length));
      position += length;
    }
    return hasher.digest("hex");
  }

  private async probe(): Promise<boolean> {
    const { logger, random, place } = this.options;
    const name = Math.floor(random() * 2 ** 48).toString(16);
    const key = this.wholeKey(`.chronik-probe-${name.padStart(12, "0")}`);
    const source = {
      bytes: probeBytes.length,
      sha256: sha256Of(probeBytes),
      read: () => Promise.resolve(probeBytes),
    };
    const refuses = await this.secondPutRefused(key, source);
    await this.remove(key).catch((error: unknown) => {
      logger.warn("the probe object stays in the bucket", { key, error: errorText(error) });
    });
    if (refuses) {
      logger.info("the object store refuses a second put of one key", { store: place });
    } else {
      logger.warn(
        "the object store does not refuse a second put of one key; each put looks for the " +
          "object first, so let no other broker write to this prefix",
        { store: place },
      );
    }
    return refuses;
  }

  private async secondPutRefused(key: string, source: UploadSource): Promise<boolean> {
    try {
      await this.upload.put(key, source, true);
      return (await this.upload.put(key, source, true)) === "refused";
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === "misconfigured")) throw error;
      // A store that does not know the condition may refuse the request as such; if it was for
      // another reason, this fails in the same way.
      await this.upload.put(key, source, false);
      return false;
    }
  }

  private look(whole: string) {
    const { calls, reads, place } = this.options;
    const operation = { key: whole, verb: `looked up in ${place}`, bytes: 0 };
    return reads.run(operation, (signal) => calls.head(whole, signal));
  }

  private async read(whole: string, position: number, length: number): Promise<Uint8Array> {
    const { calls, reads, place } = this.options;
    if (length === 0) {
      if ((await this.look(whole)) !== null) return new Uint8Array();
      throw new StoreError("not-found", whole, `is missing from ${place}`);
    }
    return reads.run({ key: whole, verb: `read from ${place}`, bytes: length }, (signal) =>
      calls.getRange(whole, position, length, signal),
    );
  }

  /** Reads that no client waits for take a writer's slot and time. */
  private copyPiece(whole: string, position: number, length: number) {
    const { calls, writes, place } = this.options;
    return writes.run({ key: whole, verb: `read from ${place}`, bytes: length }, (signal) =>
      calls.getRange(whole, position, length, signal),
    );
  }

  private remove(whole: string): Promise<void> {
    const { calls, writes, place } = this.options;
    return writes.run({ key: whole, verb: `deleted from ${place}`, bytes: 0 }, (signal) =>
      calls.delete(whole, signal),
    );
  }

  private wholeKey(key: string): string {
    checkKey(key);
    return this.options.prefix + key;
  }
}

function sha256Of(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
