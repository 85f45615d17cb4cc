import {
  boolean,
  bytes,
  choice,
  integer,
  optionalText,
  pattern,
  type RawValue,
  type Setting,
} from "./config-values.ts";

const MiB = 1024 * 1024;

/** Where archives go. The variables without CHRONIK_ are those of the original, and AWS's. */
export const objectStoreSettings = {
  "objectStore.backend": choice({
    names: ["object_store"],
    variables: ["OBJECT_STORE_BACKEND"],
    values: ["local", "s3"],
    default: "local",
    doc: "Where archives go: files under index_base_path, or a bucket",
  }),
  "objectStore.endpoint": optionalText({
    variables: ["S3_ENDPOINT"],
    default: null,
    doc: "URL of an S3-compatible server; AWS, or what AWS_ENDPOINT_URL says, when not given",
  }),
  "objectStore.region": optionalText({
    variables: ["S3_REGION"],
    default: null,
    doc: "Region of the bucket; what AWS's variables and files say, else us-east-1, when not given",
  }),
  "objectStore.bucket": pattern({
    variables: ["S3_BUCKET"],
    default: "chronik-storage",
    form: /^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/,
    accepts: "3 to 63 letters, digits, dots and hyphens",
    doc: "Bucket that holds the archives; it must be there",
  }),
  "objectStore.prefix": keyPrefix({
    variables: ["S3_PREFIX"],
    default: null,
    doc: "Folder of the bucket that all objects lie in; one broker to a prefix",
  }),
  "objectStore.accessKey": optionalText({
    variables: ["S3_ACCESS_KEY"],
    default: null,
    doc: "Access key id; AWS's variables, files and instance roles are used when not given",
  }),
  "objectStore.secretKey": secret({
    variables: ["S3_SECRET_KEY"],
    default: null,
    doc: "Secret of the access key; not taken from the command line",
  }),
  "objectStore.sessionToken": secret({
    variables: ["S3_SESSION_TOKEN"],
    default: null,
    doc: "Token of temporary credentials; not taken from the command line",
  }),
  "objectStore.pathStyle": boolean({
    variables: ["S3_PATH_STYLE"],
    default: true,
    doc: "Whether the bucket stands in the path of a URL; false puts it into the host name",
  }),
  "objectStore.caFile": optionalText({
    variables: ["AWS_CA_BUNDLE"],
    default: null,
    doc: "PEM file of the certificate authorities to trust instead of the system's",
  }),
  "objectStore.checksums": choice({
    values: ["when_supported", "when_required"],
    default: "when_supported",
    doc: "when_required sends Content-MD5 and no CRC32 checksums, for servers that refuse those",
  }),
  "objectStore.partBytes": bytes({
    default: 8 * MiB,
    min: 5 * MiB,
    max: 512 * MiB,
    doc: "Size of a part where an archive is put in several, and of a copy's reads",
  }),
  "objectStore.concurrencyMax": integer({
    default: 8,
    min: 1,
    max: 256,
    doc: "Requests under way at a time, for reads and for writes each",
  }),
  "objectStore.attemptTimeoutMs": integer({
    default: 10_000,
    min: 100,
    max: 600_000,
    doc: "Milliseconds for one request, to which a second is added for each MiB",
  }),
  "objectStore.readTimeoutMs": integer({
    default: 25_000,
    min: 100,
    max: 3_600_000,
    doc: "Milliseconds for a read that a consumer waits for, with all its attempts",
  }),
  "objectStore.writeTimeoutMs": integer({
    default: 120_000,
    min: 100,
    max: 3_600_000,
    doc: "Milliseconds for a put of one part or a deletion, with all its attempts",
  }),
} as const satisfies Record<string, Setting<unknown>>;

interface Optional {
  readonly variables: readonly string[];
  readonly default: string | null;
  readonly doc: string;
}

/** A text that is never shown, and not taken from the command line, which others can read. */
function secret(options: Optional): Setting<string | null> {
  return { ...optionalText(options), secret: true };
}

/** `a/b`, with or without a slash at either end; stored without. */
function keyPrefix(options: Optional): Setting<string | null> {
  return {
    ...optionalText(options),
    accepts: "folder names of letters, digits and . _ = - with / between",
    parse(raw: RawValue) {
      const bare = String(raw)
        .trim()
        .replace(/^\/|\/$/g, "");
      const parts = bare.split("/");
      const legal = parts.every((part) => /^[A-Za-z0-9._=-]+$/.test(part) && !/^\.+$/.test(part));
      return legal && bare.length <= 256 ? bare : undefined;
    },
  };
}
