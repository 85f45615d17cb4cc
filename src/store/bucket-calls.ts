import type { StoredObject } from "./object-store.ts";

/** One request each to a bucket, with no retry; s3-store.ts makes them. Keys are whole: with the
 * configured prefix. Errors are the SDK's, `fetch`'s or BadAnswer; s3-errors.ts reads them. */
export interface BucketCalls {
  /** `sha256` goes with the object as metadata. "refused": `ifAbsent`, and the key is taken. */
  put(key: string, body: Uint8Array, mark: PutMark): Promise<"stored" | "refused">;
  head(key: string, signal: AbortSignal): Promise<BucketObject | null>;
  /** Exactly these bytes. */
  getRange(
    key: string,
    position: number,
    length: number,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>>;
  list(prefix: string, after: string, limit: number, signal: AbortSignal): Promise<BucketPage>;
  delete(key: string, signal: AbortSignal): Promise<void>;
  createUpload(key: string, sha256: string, signal: AbortSignal): Promise<string>;
  uploadPart(part: PartOfUpload, signal: AbortSignal): Promise<PartTag>;
  /** "gone": the store knows no such upload, because it is complete or was given up. */
  completeUpload(
    key: string,
    uploadId: string,
    parts: readonly PartTag[],
    options: { readonly ifAbsent: boolean; readonly signal: AbortSignal },
  ): Promise<"stored" | "refused" | "gone">;
  abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<void>;
}

export interface PutMark {
  readonly sha256: string;
  readonly ifAbsent: boolean;
  readonly signal: AbortSignal;
}

export interface BucketObject {
  readonly bytes: number;
  /** As it was put, in hex; null where the object carries none. */
  readonly sha256: string | null;
}

export interface BucketPage {
  readonly objects: readonly StoredObject[];
  readonly more: boolean;
}

export interface PartOfUpload {
  readonly key: string;
  readonly uploadId: string;
  /** From 1. */
  readonly number: number;
  readonly body: Uint8Array;
}

/** What completes an upload: the store's name and checksum of a part. */
export interface PartTag {
  readonly number: number;
  readonly etag: string;
  readonly crc32: string | null;
}
