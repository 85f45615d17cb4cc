import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { errorText } from "../lib/errors.ts";
import { type ObjectStore, StoreError } from "../store/object-store.ts";
import { damaged, encodeFrame, type Frame, framesIn, type Part, partKey } from "./format.ts";

/** Both run on threads of their own: the event loop only waits. */
const pack = promisify(gzip);
const unpack = promisify(gunzip);

/** Frames beyond this begin the next part. */
const partRawBytes = 4 << 20;
const packLevel = 3;
/** Hashed at a time: about a millisecond. */
const hashStepBytes = 1 << 20;

export interface PartOwner {
  readonly clusterId: string;
  readonly sequence: number;
  /** Told before a part is put: if the backup fails it is named by none. */
  putting?(key: string): void;
}

/** Lets the event loop go on between two pieces of work. */
export type Pause = () => Promise<void>;

/** Frames on their way into the store: each part is put, read back and compared. */
export class PartWriter {
  readonly parts: Part[] = [];
  private readonly store: ObjectStore;
  private readonly owner: PartOwner;
  private readonly kind: string;
  private readonly pause: Pause;
  private pending: Uint8Array[] = [];
  private pendingBytes = 0;

  constructor(store: ObjectStore, owner: PartOwner, kind: string, pause: Pause) {
    this.store = store;
    this.owner = owner;
    this.kind = kind;
    this.pause = pause;
  }

  async add(head: object, data: Uint8Array): Promise<void> {
    const frame = encodeFrame(head, data);
    this.pending.push(frame);
    this.pendingBytes += frame.length;
    if (this.pendingBytes >= partRawBytes) await this.flush();
  }

  /** Resolves with the parts, all of them in the store. */
  async finish(): Promise<Part[]> {
    await this.flush();
    return this.parts;
  }

  private async flush(): Promise<void> {
    if (this.pendingBytes === 0) return;
    const raw = Buffer.concat(this.pending, this.pendingBytes);
    this.pending = [];
    this.pendingBytes = 0;
    const packed = await pack(raw, { level: packLevel });
    const sha256 = await sha256Of(packed, this.pause);
    const key = partKey({ ...this.owner, kind: this.kind, sha256 });
    this.owner.putting?.(key);
    // "exists": an attempt before this one put the very same part, its hash stands in the key.
    await this.store.putBytes(key, packed);
    const part = { key, bytes: packed.length, sha256, rawBytes: raw.length };
    await readPacked(this.store, part, this.pause);
    this.parts.push(part);
  }
}

/** The frames of parts, in order. Rejects with a BrokerError that names the part. */
export async function* readFrames(
  store: ObjectStore,
  parts: readonly Part[],
  pause: Pause,
): AsyncGenerator<Frame & { readonly key: string }> {
  for (const part of parts) {
    const packed = await readPacked(store, part, pause);
    const raw = await inflate(packed, part.key, part.rawBytes);
    if (raw.length !== part.rawBytes) {
      throw damaged(part.key, `it holds ${raw.length} bytes and not ${part.rawBytes}`);
    }
    for (const frame of framesIn(raw, part.key)) yield { ...frame, key: part.key };
  }
}

/** Unpacks at most `rawBytesMax` bytes; more are no backup of ours. */
export async function inflate(
  packed: Uint8Array,
  key: string,
  rawBytesMax: number,
): Promise<Uint8Array> {
  try {
    return await unpack(packed, { maxOutputLength: Math.max(1, rawBytesMax) });
  } catch (cause) {
    throw damaged(key, `it cannot be unpacked (${errorText(cause)})`, cause);
  }
}

export function deflate(raw: Uint8Array): Promise<Uint8Array> {
  return pack(raw, { level: packLevel });
}

async function readPacked(store: ObjectStore, part: Part, pause: Pause): Promise<Uint8Array> {
  const { key, bytes, sha256 } = part;
  const head = await store.head(key);
  if (head === null) throw damaged(key, "it is missing from the object store");
  if (head.bytes !== bytes) throw damaged(key, `it has ${head.bytes} bytes and not ${bytes}`);
  const packed = await getWhole(store, key, bytes);
  if ((await sha256Of(packed, pause)) !== sha256) throw damaged(key, "its SHA-256 is another");
  return packed;
}

/** An object's bytes; what the store itself calls damaged or missing is named as ours. */
export async function getWhole(
  store: ObjectStore,
  key: string,
  bytes: number,
): Promise<Uint8Array> {
  try {
    return await store.getRange(key, 0, bytes);
  } catch (error) {
    const isGone = error instanceof StoreError && ["not-found", "damaged"].includes(error.kind);
    throw isGone ? damaged(key, errorText(error), error) : error;
  }
}

async function sha256Of(bytes: Uint8Array, pause: Pause): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for (let at = 0; at < bytes.length; at += hashStepBytes) {
    if (at > 0) await pause();
    hasher.update(bytes.subarray(at, at + hashStepBytes));
  }
  return hasher.digest("hex");
}
