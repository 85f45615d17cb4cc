import { BrokerError, errorText } from "../../lib/errors.ts";
import { type ObjectStore, StoreError } from "../../store/object-store.ts";
import type { ArchiveIdentity, TocChunk } from "../ports.ts";
import type { SegmentEntry } from "../registry/segment-registry.ts";

/** What an archive's manifest says of itself. */
export interface ManifestFacts extends ArchiveIdentity {
  readonly generation: number;
  readonly records: number;
}

/** How archives are looked into; broker-integrity.ts plugs the engine in. Bytes that say nothing
 * are a BrokerError with code CHRONIK_CORRUPT. */
export interface ArchiveInspector {
  /** The manifest out of an object's first bytes. */
  manifest(head: Uint8Array): Promise<ManifestFacts>;
  /** The table of contents out of an object's last bytes. */
  toc(tail: Uint8Array, archiveBytes: number, crc32c?: number): Promise<readonly TocChunk[]>;
  /** Reads a whole local file: hashes, every batch, counts, offsets; rejects where it is not what
   * the entry says. `sha256` null does not compare the file's own hash. */
  verifyFile(path: string, entry: SegmentEntry, sha256: string | null): Promise<void>;
}

/** `shallow`: size, table of contents and manifest (a head and two ranged reads). `hash`: all bytes
 * against the registered SHA-256. `deep`: a copy read as an archive, with every batch's CRC. */
export type Depth = "shallow" | "hash" | "deep";

export type CheckOutcome =
  | { readonly kind: "sound" }
  /** Twice the same answer: not what was registered. */
  | { readonly kind: "damaged"; readonly reason: string }
  /** The store or its disk failed: says nothing about the archive. */
  | { readonly kind: "unavailable"; readonly reason: string }
  | { readonly kind: "stopped" };

/** Told before so many bytes are used; resolves when they may be, false where it shall end. */
export type Pace = (bytes: number) => Promise<boolean>;

export interface SegmentCheckDeps {
  readonly store: ObjectStore;
  readonly inspector: ArchiveInspector;
  /** Bytes of one ranged read of a `hash` check. */
  readonly readBytes: number;
}

/** Manifest and table of contents have 16 MiB at most inflated, and a header each. */
const partBytesMax = 17 << 20;
/** Hashed in one go on the event loop: well below a millisecond. */
const hashBytes = 256 << 10;

/** Looks at one entry's object; what seems damaged is read a second time before it counts, after
 * `settle` (false: the check shall end): what a store or the way to it does for a moment passes. */
export async function checkSegment(
  deps: SegmentCheckDeps,
  entry: SegmentEntry,
  depth: Depth,
  pace: Pace,
  settle: () => Promise<boolean> = () => Promise.resolve(true),
): Promise<CheckOutcome> {
  const first = await checkOnce(deps, entry, depth, pace);
  if (first.kind !== "damaged") return first;
  if (!(await settle())) return { kind: "stopped" };
  return checkOnce(deps, entry, depth, pace);
}

class Damage extends Error {}
class Stopped extends Error {}

async function checkOnce(
  deps: SegmentCheckDeps,
  entry: SegmentEntry,
  depth: Depth,
  pace: Pace,
): Promise<CheckOutcome> {
  try {
    const head = await deps.store.head(entry.key);
    if (head === null) throw new Damage("the object is missing from the store");
    if (head.bytes !== entry.bytes) {
      throw new Damage(`the object has ${head.bytes} bytes, ${entry.bytes} were registered`);
    }
    if (depth === "shallow") await checkParts(deps, entry, pace);
    else if (depth === "deep" || entry.sha256 === "") await checkFile(deps, entry, pace);
    else await checkHash(deps, entry, pace);
    return { kind: "sound" };
  } catch (error) {
    return outcomeOf(error);
  }
}

function outcomeOf(error: unknown): CheckOutcome {
  if (error instanceof Stopped) return { kind: "stopped" };
  if (error instanceof Damage) return { kind: "damaged", reason: error.message };
  const isGone = error instanceof StoreError && ["not-found", "damaged"].includes(error.kind);
  const codes = ["CHRONIK_CORRUPT", "CHRONIK_NOT_FOUND", "CHRONIK_OUT_OF_RANGE"];
  const isBad = error instanceof BrokerError && codes.includes(error.code);
  if (isGone || isBad) return { kind: "damaged", reason: errorText(error) };
  return { kind: "unavailable", reason: errorText(error) };
}

/** Table of contents and manifest, and that they are this entry's. */
async function checkParts(deps: SegmentCheckDeps, entry: SegmentEntry, pace: Pace): Promise<void> {
  const { store, inspector } = deps;
  const tailBytes = entry.bytes - entry.tocPosition;
  if (tailBytes <= 0 || tailBytes > partBytesMax) {
    throw new Damage(`the registered table of contents would have ${tailBytes} bytes`);
  }
  await allowed(pace, tailBytes);
  const tail = await store.getRange(entry.key, entry.tocPosition, tailBytes);
  const chunks = await inspector.toc(tail, entry.bytes, entry.tocCrc32c);
  const [first] = chunks;
  const last = chunks.at(-1);
  if (first === undefined || last === undefined) throw new Damage("it holds no batches");
  const whole = first.base === entry.base && last.last === entry.last;
  const within = first.base >= entry.base && last.last <= entry.last;
  if (entry.generation === 1 ? !whole : !within) {
    throw new Damage(`its table of contents has offsets ${first.base}-${last.last}`);
  }
  if (first.position > Math.min(partBytesMax, entry.tocPosition)) {
    throw new Damage(`its manifest would have ${first.position} bytes`);
  }
  await allowed(pace, first.position);
  const manifest = await inspector.manifest(await store.getRange(entry.key, 0, first.position));
  const other = difference(manifest, entry);
  if (other !== null) throw new Damage(`its manifest says ${other}`);
}

function difference(manifest: ManifestFacts, entry: SegmentEntry): string | null {
  const fields = ["topicId", "partition", "generation", "base", "last", "records"] as const;
  const field = fields.find((name) => manifest[name] !== entry[name]);
  return field === undefined ? null : `${field} ${manifest[field]}, not ${entry[field]}`;
}

/** All bytes in pieces, nothing kept. Equal to the registered hash is all that verification before
 * the registration saw. */
async function checkHash(deps: SegmentCheckDeps, entry: SegmentEntry, pace: Pace): Promise<void> {
  const hasher = new Bun.CryptoHasher("sha256");
  for (let position = 0; position < entry.bytes; position += deps.readBytes) {
    const length = Math.min(deps.readBytes, entry.bytes - position);
    const bytes = await deps.store.getRange(entry.key, position, length);
    for (let at = 0; at < length; at += hashBytes) {
      const piece = bytes.subarray(at, at + hashBytes);
      await allowed(pace, piece.length);
      hasher.update(piece);
    }
  }
  const found = hasher.digest("hex");
  if (found === entry.sha256) return;
  await checkFile(deps, { ...entry, sha256: "" }, pace);
  throw new Damage(
    `its SHA-256 is ${found}, ${entry.sha256} was registered; its batches are whole all the same`,
  );
}

/** An entry made from the archive's own words has no hash of the whole (`sha256` ""): the hashes in
 * its manifest and the CRCs of its batches tell. */
async function checkFile(deps: SegmentCheckDeps, entry: SegmentEntry, pace: Pace): Promise<void> {
  await allowed(pace, entry.bytes);
  const file = await deps.store.openForVerify(entry.key);
  try {
    const sha256 = entry.sha256 === "" ? null : entry.sha256;
    await deps.inspector.verifyFile(file.path, entry, sha256);
  } finally {
    await file.release();
  }
}

async function allowed(pace: Pace, bytes: number): Promise<void> {
  if (!(await pace(bytes))) throw new Stopped("stopped");
}
