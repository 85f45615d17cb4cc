import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type AttemptOptions, Attempts, RetryBudget } from "./attempts.ts";
import type {
  BucketCalls,
  BucketObject,
  BucketPage,
  PartOfUpload,
  PartTag,
  PutMark,
} from "./bucket-calls.ts";
import { BucketStore, type ScratchFiles } from "./bucket-store.ts";
import { FetchHandler } from "./fetch-handler.ts";
import { BadAnswer, classifyS3, isNamed, statusOf } from "./s3-errors.ts";

export interface S3Options {
  /** null: AWS, or what AWS's own variables say. */
  readonly endpoint: string | null;
  /** null: what AWS's own variables and files say, else us-east-1. */
  readonly region: string | null;
  readonly bucket: string;
  /** Before every key; empty, or ends in `/`. */
  readonly prefix: string;
  /** null: the SDK's default chain. */
  readonly credentials: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  } | null;
  readonly pathStyle: boolean;
  /** PEM of the certificate authorities to trust; null: the system's. */
  readonly ca: string | null;
  /** "when_required": no CRC32 headers, which older stores refuse, but Content-MD5. */
  readonly checksums: "when_supported" | "when_required";
  readonly partBytes: number;
  readonly concurrencyMax: number;
  readonly attemptMs: number;
  readonly readBudgetMs: number;
  readonly writeBudgetMs: number;
}

export interface S3Deps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly files: ScratchFiles;
  readonly scratchDir: string;
  readonly logger: Logger;
}

const regionDefault = "us-east-1";
const sha256Field = "sha256";

/** A store in an S3 bucket. Nothing is asked of the network yet. */
export async function openS3Store(options: S3Options, deps: S3Deps): Promise<BucketStore> {
  const { clock, random, files, scratchDir, logger } = deps;
  const { bucket, prefix, partBytes, endpoint } = options;
  const client = await openClient(options);
  const shared: Omit<AttemptOptions, "budgetMs"> = {
    clock,
    random,
    concurrencyMax: options.concurrencyMax,
    attemptMs: options.attemptMs,
    retries: new RetryBudget(clock),
    classify: classifyS3,
  };
  return new BucketStore({
    calls: new S3Calls(client, options),
    reads: new Attempts({ ...shared, budgetMs: options.readBudgetMs }),
    writes: new Attempts({ ...shared, budgetMs: options.writeBudgetMs }),
    files,
    scratchDir,
    logger,
    random,
    place: `s3://${bucket}/${prefix} at ${endpoint ?? "AWS"}`,
    prefix,
    partBytes,
  });
}

async function openClient(options: S3Options): Promise<S3Client> {
  const config: S3ClientConfig = {
    forcePathStyle: options.pathStyle,
    requestChecksumCalculation: sdkWord(options.checksums),
    responseChecksumValidation: sdkWord(options.checksums),
    // Attempts repeats, with its own time limits.
    maxAttempts: 1,
    requestHandler: new FetchHandler(options.ca),
    expectContinueHeader: false,
    ...(options.endpoint === null ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === null ? {} : { credentials: options.credentials }),
  };
  if (options.region !== null) return new S3Client({ ...config, region: options.region });
  const client = new S3Client(config);
  return (await hasRegion(client)) ? client : new S3Client({ ...config, region: regionDefault });
}

/** Whether AWS's variables and files name a region. Without one most of what speaks like S3 takes
 * any; AWS itself answers where the bucket is. */
async function hasRegion({ config }: S3Client): Promise<boolean> {
  try {
    await config.region();
    return true;
  } catch (error) {
    if (isMissingRegion(error)) return false;
    throw error;
  }
}

/** The SDK has no class for it. */
export function isMissingRegion(error: unknown): boolean {
  return error instanceof Error && /^Region is missing/.test(error.message);
}

function sdkWord(checksums: S3Options["checksums"]): "WHEN_SUPPORTED" | "WHEN_REQUIRED" {
  return checksums === "when_supported" ? "WHEN_SUPPORTED" : "WHEN_REQUIRED";
}

/** The SDK's commands in the words of BucketCalls. */
class S3Calls implements BucketCalls {
  private readonly client: S3Client;
  private readonly bucket: string;
  private readonly withCrc: boolean;

  constructor(client: S3Client, { bucket, checksums }: S3Options) {
    this.client = client;
    this.bucket = bucket;
    this.withCrc = checksums === "when_supported";
  }

  async put(key: string, body: Uint8Array, mark: PutMark): Promise<"stored" | "refused"> {
    const checksum = this.checksumOf(body);
    const command = new PutObjectCommand({
      ...this.at(key),
      Body: body,
      ContentType: contentTypeOf(key),
      Metadata: { [sha256Field]: mark.sha256 },
      ...checksum,
      ...(mark.ifAbsent ? { IfNoneMatch: "*" } : {}),
    });
    return refusedOr(mark.ifAbsent, async () => {
      const { ChecksumCRC32: stored } = await this.client.send(command, abortable(mark.signal));
      if (stored !== undefined && this.withCrc && stored !== checksum.ChecksumCRC32) {
        throw new BadAnswer(`the store answers CRC32 ${stored} for other bytes`);
      }
      return "stored" as const;
    });
  }

  async head(key: string, signal: AbortSignal): Promise<BucketObject | null> {
    try {
      const command = new HeadObjectCommand(this.at(key));
      const found = await this.client.send(command, abortable(signal));
      if (found.ContentLength === undefined) {
        throw new BadAnswer("the store answers without a length");
      }
      return { bytes: found.ContentLength, sha256: found.Metadata?.[sha256Field] ?? null };
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
  }

  async getRange(
    key: string,
    position: number,
    length: number,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const last = position + length - 1;
    const command = new GetObjectCommand({ ...this.at(key), Range: `bytes=${position}-${last}` });
    const found = await this.client.send(command, abortable(signal));
    const stream = found.Body?.transformToWebStream();
    const range = found.ContentRange?.replace(/\/.*$/, "");
    if (stream === undefined || range !== `bytes ${position}-${last}`) {
      await stream?.cancel();
      const got = `${found.ContentRange ?? "no range"}, ${found.ContentLength ?? "?"} bytes`;
      const end = Number(found.ContentRange?.replace(/^.*\//, ""));
      throw new BadAnswer(`asked for bytes ${position}-${last}, answered ${got}`, !(end <= last));
    }
    return readExactly(stream, length);
  }

  async list(
    prefix: string,
    after: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<BucketPage> {
    const command = new ListObjectsV2Command({
      Bucket: this.bucket,
      Prefix: prefix,
      MaxKeys: limit,
      ...(after === "" ? {} : { StartAfter: after }),
    });
    const found = await this.client.send(command, abortable(signal));
    const objects = (found.Contents ?? []).map((content) => {
      const { Key: key = "", Size: bytes = 0, LastModified: modified } = content;
      if (key.startsWith(prefix)) return { key, bytes, modifiedMs: modified?.getTime() ?? null };
      throw new BadAnswer(`the listing of ${prefix} holds ${key}`);
    });
    return { objects, more: found.IsTruncated === true };
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    try {
      await this.client.send(new DeleteObjectCommand(this.at(key)), abortable(signal));
    } catch (error) {
      if (!isNamed(error, "NoSuchKey")) throw error;
    }
  }

  async createUpload(key: string, sha256: string, signal: AbortSignal): Promise<string> {
    const command = new CreateMultipartUploadCommand({
      ...this.at(key),
      ContentType: contentTypeOf(key),
      Metadata: { [sha256Field]: sha256 },
      ...(this.withCrc ? { ChecksumAlgorithm: "CRC32" } : {}),
    });
    const { UploadId: id } = await this.client.send(command, abortable(signal));
    if (id === undefined) throw new BadAnswer("the store began an upload without an id");
    return id;
  }

  async uploadPart(part: PartOfUpload, signal: AbortSignal): Promise<PartTag> {
    const checksum = this.checksumOf(part.body);
    const command = new UploadPartCommand({
      ...this.at(part.key),
      UploadId: part.uploadId,
      PartNumber: part.number,
      Body: part.body,
      ...checksum,
    });
    const { ETag: etag } = await this.client.send(command, abortable(signal));
    if (etag === undefined) throw new BadAnswer("the store took a part without a tag");
    return { number: part.number, etag, crc32: checksum.ChecksumCRC32 ?? null };
  }

  async completeUpload(
    key: string,
    uploadId: string,
    parts: readonly PartTag[],
    { ifAbsent, signal }: { readonly ifAbsent: boolean; readonly signal: AbortSignal },
  ): Promise<"stored" | "refused" | "gone"> {
    const command = new CompleteMultipartUploadCommand({
      ...this.at(key),
      UploadId: uploadId,
      MultipartUpload: {
        Parts: parts.map(({ number, etag, crc32 }) => ({
          PartNumber: number,
          ETag: etag,
          ...(crc32 === null ? {} : { ChecksumCRC32: crc32 }),
        })),
      },
      ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
    });
    try {
      return await refusedOr(ifAbsent, async () => {
        await this.client.send(command, abortable(signal));
        return "stored" as const;
      });
    } catch (error) {
      if (isNamed(error, "NoSuchUpload")) return "gone";
      throw error;
    }
  }

  async abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<void> {
    const command = new AbortMultipartUploadCommand({ ...this.at(key), UploadId: uploadId });
    try {
      await this.client.send(command, abortable(signal));
    } catch (error) {
      if (!isNamed(error, "NoSuchUpload")) throw error;
    }
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: key };
  }

  private checksumOf(body: Uint8Array): { ChecksumCRC32?: string; ContentMD5?: string } {
    if (!this.withCrc) {
      return { ContentMD5: new Bun.CryptoHasher("md5").update(body).digest("base64") };
    }
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(Bun.hash.crc32(body));
    return { ChecksumCRC32: crc.toString("base64") };
  }
}

function abortable(signal: AbortSignal): { abortSignal: AbortSignal } {
  return { abortSignal: signal };
}

function contentTypeOf(key: string): string {
  return key.endsWith(".tar.gz") ? "application/gzip" : "application/octet-stream";
}

async function refusedOr(ifAbsent: boolean, put: () => Promise<"stored">) {
  try {
    return await put();
  } catch (error) {
    if (ifAbsent && statusOf(error) === 412) return "refused" as const;
    throw error;
  }
}

/** Never takes more than was asked for, whatever the store sends. */
async function readExactly(
  stream: ReadableStream<Uint8Array>,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer> | null = null;
  let filled = 0;
  for await (const piece of stream) {
    if (filled + piece.length > length) {
      throw new BadAnswer(`asked for ${length} bytes, more are sent`);
    }
    filled += piece.length;
    const { buffer } = piece;
    const isAll = piece.length === length && buffer.byteLength === length;
    if (isAll && buffer instanceof ArrayBuffer) {
      bytes = new Uint8Array(buffer);
      continue;
    }
    bytes ??= new Uint8Array(length);
    bytes.set(piece, filled - piece.length);
  }
  if (bytes !== null && filled === length) return bytes;
  throw new BadAnswer(`asked for ${length} bytes, ${filled} are sent`);
}
