/** What a backup looks like in the store; FORMAT.md is its description. (pure) */
import { BrokerError } from "../lib/errors.ts";

/** An object of frames, gzip. `bytes` and `sha256` are of the object, `rawBytes` of the frames. */
export interface Part {
  readonly key: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly rawBytes: number;
}

/** Entries of a journal up to `end`, in the order of the parts. */
export interface JournalParts {
  readonly end: number;
  readonly parts: readonly Part[];
}

/** Names everything that belongs to one backup; put last. */
export interface Manifest {
  readonly clusterId: string;
  readonly nodeId: number;
  /** Counts backups of the cluster, without a gap. */
  readonly sequence: number;
  /** Of the process that wrote it, made up at its start. */
  readonly run: string;
  /** Wall clock when it began. */
  readonly createdMs: number;
  readonly registry: JournalParts;
  readonly partitions: readonly Part[];
  readonly logs: readonly Part[];
  readonly metadata: JournalParts;
}

/** One piece of a part: what it is, as JSON, and its bytes. */
export interface Frame {
  readonly head: unknown;
  readonly data: Uint8Array;
}

/** Where a partition's log stood. */
export interface PartitionHead {
  readonly topicId: string;
  readonly partition: number;
  readonly logStart: number;
  readonly highWatermark: number;
  readonly epochs: readonly (readonly [epoch: number, startOffset: number])[];
}

/** Whole batches of an internal topic's partition from `from` on; `reset`: what earlier frames hold
 * of it counts no more. */
export interface LogHead {
  readonly topicId: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  readonly reset: boolean;
}

export const metaPrefix = "meta/";
const format = "chronik-backup";
const version = 1;
const sequenceDigits = 16;
const frameHeaderBytes = 8;
/** Of a manifest, unpacked; of a part, unpacked. */
export const manifestBytesMax = 64 << 20;
export const partRawBytesMax = 512 << 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Cluster ids are free text: what a key may not hold is written as `=` and two hex digits. */
export function clusterPrefix(clusterId: string): string {
  let text = "";
  for (const byte of encoder.encode(clusterId)) {
    const char = String.fromCharCode(byte);
    const isPlain = /[A-Za-z0-9_-]/.test(char);
    text += isPlain ? char : `=${byte.toString(16).padStart(2, "0")}`;
  }
  return `${metaPrefix}${text}/`;
}

/** The cluster id out of any key of its backup; null for other keys. */
export function clusterOf(key: string): string | null {
  const folder = /^meta\/([A-Za-z0-9_=-]+)\//.exec(key)?.[1];
  if (folder === undefined) return null;
  const bytes: number[] = [];
  for (let at = 0; at < folder.length; at++) {
    if (folder[at] !== "=") {
      bytes.push(folder.charCodeAt(at));
      continue;
    }
    const byte = /^[0-9a-f]{2}$/.exec(folder.slice(at + 1, at + 3))?.[0];
    if (byte === undefined) return null;
    bytes.push(Number.parseInt(byte, 16));
    at += 2;
  }
  try {
    return decoder.decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

export function manifestKey(clusterId: string, sequence: number): string {
  return `${clusterPrefix(clusterId)}manifests/${digits(sequence)}.json.gz`;
}

export function manifestPrefix(clusterId: string): string {
  return `${clusterPrefix(clusterId)}manifests/`;
}

export function partPrefix(clusterId: string): string {
  return `${clusterPrefix(clusterId)}parts/`;
}

export function partKey(options: {
  readonly clusterId: string;
  readonly sequence: number;
  readonly kind: string;
  readonly sha256: string;
}): string {
  const { clusterId, sequence, kind, sha256 } = options;
  return `${partPrefix(clusterId)}${digits(sequence)}-${kind}-${sha256.slice(0, 16)}.gz`;
}

/** The sequence in a manifest's or part's key; null where it is neither. */
export function sequenceOf(key: string): number | null {
  const found = /\/(?:manifests\/(\d{16})\.json\.gz|parts\/(\d{16})-[a-z]+-[0-9a-f]{16}\.gz)$/.exec(
    key,
  );
  return found === null ? null : Number(found[1] ?? found[2]);
}

function digits(sequence: number): string {
  return String(sequence).padStart(sequenceDigits, "0");
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  return encoder.encode(JSON.stringify({ format, version, ...manifest }));
}

/** Throws a BrokerError CHRONIK_BACKUP_DAMAGED or CHRONIK_BACKUP_VERSION that names `key`. */
export function decodeManifest(bytes: Uint8Array, key: string, clusterId: string): Manifest {
  const json = parseObject(bytes, key);
  if (json["format"] !== format) throw damaged(key, "it is no manifest of a backup");
  if (json["version"] !== version) {
    throw new BrokerError(
      "CHRONIK_BACKUP_VERSION",
      `${key} has backup format ${String(json["version"])}, this chronik reads ${version}: ` +
        "use the version that wrote it",
    );
  }
  if (json["clusterId"] !== clusterId) throw damaged(key, "it is of another cluster");
  const reader = new Fields(json, key, partPrefix(clusterId));
  return {
    clusterId,
    nodeId: reader.count("nodeId"),
    sequence: reader.count("sequence"),
    run: reader.text("run"),
    createdMs: reader.count("createdMs"),
    registry: reader.journal("registry"),
    partitions: reader.parts("partitions"),
    logs: reader.parts("logs"),
    metadata: reader.journal("metadata"),
  };
}

/** Every part that a manifest names. */
export function partsOf({ registry, partitions, logs, metadata }: Manifest): Part[] {
  return [...registry.parts, ...partitions, ...logs, ...metadata.parts];
}

/** `{u32 bytes of the head, u32 bytes of the data, head as JSON, data}`, little-endian. */
export function encodeFrame(head: object, data: Uint8Array): Uint8Array {
  const json = encoder.encode(JSON.stringify(head));
  const bytes = new Uint8Array(frameHeaderBytes + json.length + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, json.length, true);
  view.setUint32(4, data.length, true);
  bytes.set(json, frameHeaderBytes);
  bytes.set(data, frameHeaderBytes + json.length);
  return bytes;
}

/** Throws a BrokerError CHRONIK_BACKUP_DAMAGED. Data shares memory with `raw`. */
export function* framesIn(raw: Uint8Array, key: string): Generator<Frame> {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  let at = 0;
  while (at < raw.length) {
    const isWhole = at + frameHeaderBytes <= raw.length;
    const headEnd = at + frameHeaderBytes + (isWhole ? view.getUint32(at, true) : 0);
    const end = headEnd + (isWhole ? view.getUint32(at + 4, true) : 0);
    if (!isWhole || end > raw.length) throw damaged(key, "a piece of it is cut short");
    const head = parseObject(raw.subarray(at + frameHeaderBytes, headEnd), key);
    yield { head, data: raw.subarray(headEnd, end) };
    at = end;
  }
}

export function partitionHead(head: unknown, key: string): PartitionHead {
  const fields = new Fields(head as Record<string, unknown>, key, "");
  return {
    ...fields.partition(),
    logStart: fields.count("logStart"),
    highWatermark: fields.count("highWatermark"),
    epochs: fields.epochs("epochs"),
  };
}

export function logHead(head: unknown, key: string): LogHead {
  const fields = new Fields(head as Record<string, unknown>, key, "");
  const range = { from: fields.count("from"), to: fields.count("to") };
  return { ...fields.partition(), ...range, reset: fields.value("reset") === true };
}

export function damaged(key: string, what: string, cause?: unknown): BrokerError {
  return new BrokerError(
    "CHRONIK_BACKUP_DAMAGED",
    `${key} cannot be used: ${what}. Nothing was restored; an earlier backup is taken with ` +
      "--backup, what archives say of themselves with --from-manifests",
    { cause },
  );
}

function parseObject(bytes: Uint8Array, key: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(decoder.decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (cause) {
    throw damaged(key, "its JSON cannot be read", cause);
  }
  throw damaged(key, "its JSON is not an object");
}

/** Fields of JSON that came from outside, each checked when it is read. */
class Fields {
  private readonly json: Record<string, unknown>;
  private readonly key: string;
  private readonly partPrefix: string;

  constructor(json: Record<string, unknown>, key: string, parts: string) {
    this.json = json;
    this.key = key;
    this.partPrefix = parts;
  }

  value(name: string): unknown {
    return this.json[name];
  }

  count(name: string): number {
    const value = this.json[name];
    if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value);
    throw damaged(this.key, `its field ${name} is no count`);
  }

  text(name: string): string {
    const value = this.json[name];
    if (typeof value === "string") return value;
    throw damaged(this.key, `its field ${name} is no text`);
  }

  partition(): { topicId: string; partition: number } {
    return { topicId: this.text("topicId"), partition: this.count("partition") };
  }

  epochs(name: string): (readonly [number, number])[] {
    return this.array(name).map((pair) => {
      const [epoch, start, ...rest] = Array.isArray(pair) ? pair : [];
      if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(start) || rest.length > 0) {
        throw damaged(this.key, `its field ${name} holds no epochs`);
      }
      return [Number(epoch), Number(start)] as const;
    });
  }

  journal(name: string): JournalParts {
    const fields = this.inner(this.json[name]);
    return { end: fields.count("end"), parts: fields.parts("parts") };
  }

  parts(name: string): Part[] {
    return this.array(name).map((one) => {
      const fields = this.inner(one);
      const key = fields.text("key");
      const sha256 = fields.text("sha256");
      const bytes = fields.count("bytes");
      const rawBytes = fields.count("rawBytes");
      const isOwn = key.startsWith(this.partPrefix) && sequenceOf(key) !== null;
      if (!isOwn || !/^[0-9a-f]{64}$/.test(sha256) || rawBytes > partRawBytesMax) {
        throw damaged(this.key, `it names a part ${JSON.stringify(key)} that no backup has`);
      }
      return { key, bytes, sha256, rawBytes };
    });
  }

  private array(name: string): unknown[] {
    const value = this.json[name];
    if (Array.isArray(value)) return value;
    throw damaged(this.key, `its field ${name} is no list`);
  }

  private inner(value: unknown): Fields {
    if (typeof value !== "object" || value === null) {
      throw damaged(this.key, "one of its fields is no object");
    }
    return new Fields(value as Record<string, unknown>, this.key, this.partPrefix);
  }
}
