/** What went wrong at the store, as far as a caller branches on it. */
export type StoreErrorKind = "not-found" | "invalid-key" | "no-space" | "unavailable" | "damaged";

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

/** Where archives live. Keys are relative paths with `/`; objects never change once put. */
export interface ObjectStore {
  /** For logs: what and where ("local directory /var/lib/chronik"). */
  readonly description: string;
  /** Takes the finished file `path` as the object `key` if no such object exists; durable when
   * resolved. "exists": another object has the key and `path` is untouched. */
  putFile(key: string, path: string): Promise<"stored" | "exists">;
  /** Size in bytes, or null where there is no such object. */
  head(key: string): Promise<{ bytes: number } | null>;
  /** Exactly `length` bytes from `position`; fewer is a StoreError "damaged". */
  getRange(key: string, position: number, length: number): Promise<Uint8Array>;
  /** A local file with the object's bytes as the store gives them back, for verification. A copy
   * made for this call is removed by `release`. */
  openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }>;
  /** Removes the object; an absent one is no error. */
  delete(key: string): Promise<void>;
}

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
