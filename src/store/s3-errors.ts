import { errorText } from "../lib/errors.ts";
import { AttemptTimeout, type Failure } from "./attempts.ts";

/** What an error of the SDK, of `fetch` or of our checks means for the store's caller. (pure) */
export function classifyS3(error: unknown): Failure {
  if (error instanceof AttemptTimeout) return unavailable(error.message);
  if (error instanceof BadAnswer) {
    return { kind: "damaged", text: error.message, hint: "", passing: error.passing };
  }
  const { name, status, code } = factsOf(error);
  const text = describe(error, name, status);
  const named = byName[name] ?? byName[code];
  if (named !== undefined) return { ...named, text };
  if (status === null) return withoutAnswer(error, code, text);
  return { ...byStatus(status), text };
}

/** An answer that is not what was asked for, whatever its status says. */
export class BadAnswer extends Error {
  override readonly name = "BadAnswer";
  /** Whether another attempt may get a better one. */
  readonly passing: boolean;

  constructor(message: string, passing = true) {
    super(message);
    this.passing = passing;
  }
}

/** HTTP status of the answer that became this error; null where none came. */
export function statusOf(error: unknown): number | null {
  return factsOf(error).status;
}

export function isNamed(error: unknown, name: string): boolean {
  return factsOf(error).name === name;
}

type Meaning = Omit<Failure, "text">;

const clockHint = "set this machine's clock";
const keyHint = "check object_store.access_key and object_store.secret_key";
const credentialHint =
  "give object_store.access_key and object_store.secret_key, or AWS's own variables or files";
const permissionHint = "chronik store check tells which permission is missing";
const regionHint = "correct object_store.region or object_store.endpoint";
const bucketHint = "create the bucket or correct object_store.bucket";
const tlsHint = "name the certificate authority with object_store.ca_file";

const denied = (hint: string): Meaning => ({ kind: "denied", hint, passing: false });
const misconfigured = (hint: string): Meaning => ({
  kind: "misconfigured",
  hint,
  passing: false,
});
const full = (hint: string): Meaning => ({ kind: "no-space", hint, passing: false });
const passing: Meaning = { kind: "unavailable", hint: "", passing: true };
const garbled: Meaning = { kind: "damaged", hint: "", passing: true };
const cutShort: Meaning = { kind: "damaged", hint: "", passing: false };

/** S3's error codes, and names of errors that never reached a store. */
const byName: Readonly<Record<string, Meaning>> = {
  NoSuchBucket: misconfigured(bucketHint),
  InvalidBucketName: misconfigured(bucketHint),
  PermanentRedirect: misconfigured(regionHint),
  AuthorizationHeaderMalformed: misconfigured(regionHint),
  IllegalLocationConstraintException: misconfigured(regionHint),
  InvalidAccessKeyId: denied(keyHint),
  SignatureDoesNotMatch: denied(keyHint),
  ExpiredToken: denied("renew the session token"),
  InvalidToken: denied("renew the session token"),
  RequestTimeTooSkewed: denied(clockHint),
  RequestExpired: denied(clockHint),
  AccessDenied: denied(permissionHint),
  CredentialsProviderError: denied(credentialHint),
  EntityTooLarge: misconfigured("lower object_store.part_bytes or indexer.archive_bytes_max"),
  NotImplemented: misconfigured("this store lacks the operation"),
  QuotaExceeded: full("make room in the bucket or raise its quota"),
  XMinioStorageFull: full("make room in the object store"),
  RequestTimeout: passing,
  SlowDown: passing,
  OperationAborted: passing,
  ConditionalRequestConflict: passing,
  BadDigest: garbled,
  InvalidDigest: garbled,
  XAmzContentSHA256Mismatch: garbled,
  XAmzContentChecksumMismatch: garbled,
  IncompleteBody: garbled,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: misconfigured(tlsHint),
  UNABLE_TO_GET_ISSUER_CERT: misconfigured(tlsHint),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: misconfigured(tlsHint),
  DEPTH_ZERO_SELF_SIGNED_CERT: misconfigured(tlsHint),
  SELF_SIGNED_CERT_IN_CHAIN: misconfigured(tlsHint),
  CERT_HAS_EXPIRED: misconfigured("renew the store's certificate"),
  ERR_TLS_CERT_ALTNAME_INVALID: misconfigured("the store's certificate names another host"),
};

function byStatus(status: number): Meaning {
  if (status === 404) return { kind: "not-found", hint: "", passing: false };
  if (status === 401 || status === 403) return denied(permissionHint);
  if (status === 416) return cutShort;
  if (status === 408 || status === 409 || status === 425 || status === 429) return passing;
  if (status === 507) return full("make room in the object store");
  if (status === 501) return misconfigured("this store lacks the operation");
  if (status >= 500) return passing;
  if (status >= 300 && status < 400) return misconfigured(regionHint);
  if (status >= 400) return misconfigured("chronik store check tries each operation by itself");
  // An answer that says "done" and cannot be understood: cut short, or no S3 at all.
  return garbled;
}

function withoutAnswer(error: unknown, code: string, text: string): Failure {
  if (error instanceof Error && /credentials/i.test(error.message) && code === "") {
    return { ...denied(credentialHint), text };
  }
  // The SDK compared the body with the checksum the store keeps; its error has nothing but words.
  if (text.startsWith("Checksum mismatch")) return { ...garbled, text };
  return unavailable(text);
}

function unavailable(text: string): Failure {
  return { ...passing, text };
}

function factsOf(error: unknown): { name: string; status: number | null; code: string } {
  if (typeof error !== "object" || error === null) return { name: "", status: null, code: "" };
  const metadata: unknown = Reflect.get(error, "$metadata");
  const status: unknown =
    typeof metadata === "object" && metadata !== null
      ? Reflect.get(metadata, "httpStatusCode")
      : undefined;
  const name: unknown = Reflect.get(error, "name");
  const code: unknown = Reflect.get(error, "code");
  return {
    name: typeof name === "string" ? name : "",
    status: typeof status === "number" ? status : null,
    code: typeof code === "string" ? code : "",
  };
}

/** "503 SlowDown: Please reduce your request rate" on one line of bounded length. */
function describe(error: unknown, name: string, status: number | null): string {
  const message = errorText(error).replace(/\s+/g, " ").trim().slice(0, 300);
  if (status === null) return message;
  // What the SDK calls an answer without a body it knows.
  const label = name === "Unknown" || name === "" ? "" : ` ${name}`;
  const said = message === "UnknownError" || message === "" ? "" : `: ${message}`;
  return `${status}${label}${said}`;
}
