/** What went wrong at the store, as far as a caller branches on it. */
export type StoreErrorKind =
  | "not-found"
  | "invalid-key"
  | "no-space"
  /** Refused, silent or failing for now; worth another try later. */
  | "unavailable"
  /** Other bytes than asked for: too few, too many, or not those that were put. */
  | "damaged"
  /** Credentials are missing, wrong or lack a permission. */
  | "denied"
  /** The store does not do what is asked under these settings: no such bucket, wrong region. */
  | "misconfigured";

/** An object store refused or failed; says the key and the cause. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly kind: StoreErrorKind;
  readonly key: string;

  constructor(kind: StoreErrorKind, key: string, message: string, options?: { cause?: unknown }) {
    super(`object ${JSON.stringify(key)}: ${message}`, options);
    this.kind = kind;
    this.key = key;
  }
}

export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  /** When it was put, milliseconds since the epoch, as far as the store tells. */
  readonly modifiedMs?: number | null;
}

/** One page of a listing, by key in byte order. */
export interface ObjectPage {
  readonly objects: readonly StoredObject[];
  /** The `after` of the next page; null at the end. */
  readonly next: string | null;
}

/** Where archives live. Keys are relative paths with `/`; objects never change once put. Failures
 * are StoreErrors, but for those of the native engine under the local store. */
export interface ObjectStore {
  /** For logs: what and where ("local directory /var/lib/chronik"). */
  readonly description: string;
  /** Takes the finished file `path`, whose bytes have that SHA-256 (hex), as the object `key` if no
   * such object exists; durable when resolved. "exists": another object has the key and `path` is
   * untouched. An object that holds these very bytes already may count as "stored". */
  putFile(key: string, path: string, sha256: string): Promise<"stored" | "exists">;
  /** The same for bytes in memory. */
  putBytes(key: string, bytes: Uint8Array): Promise<"stored" | "exists">;
  /** Size in bytes, or null where there is no such object. */
  head(key: string): Promise<{ bytes: number } | null>;
  /** Exactly `length` bytes from `position`; fewer is a StoreError "damaged". */
  getRange(key: string, position: number, length: number): Promise<Uint8Array>;
  /** A local file with the object's bytes as the store gives them back, for verification. A copy
   * made for this call is removed by `release`. */
  openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }>;
  /** At most `limit` (1 to 1000) objects whose key begins with `prefix` and comes after `after`. */
  list(prefix: string, after: string | null, limit: number): Promise<ObjectPage>;
  /** Removes the object; an absent one is no error. */
  delete(key: string): Promise<void>;
}

/** Most objects of one page. */
export const listLimitMax = 1000;

const keyBytesMax = 1024;
const keyPattern = /^[A-Za-z0-9._=-]+(\/[A-Za-z0-9._=-]+)*$/;

/** Keys are built by chronik from legal topic names; anything else is refused before it reaches a
 * file system or a bucket. */
export function checkKey(key: string): void {
  const parts = key.split("/");
  if (key.length > keyBytesMax || !keyPattern.test(key) || parts.some((p) => /^\.+$/.test(p))) {
    throw new StoreError("invalid-key", key, "is not a legal object key");
  }
}
