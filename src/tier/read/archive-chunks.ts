import { BrokerError, errorText } from "../../lib/errors.ts";
import { StoreError, type StoreErrorKind } from "../../store/object-store.ts";
import type { AbortedTransaction, ArchiveEngine, TocChunk } from "../ports.ts";
import type { SegmentEntry } from "../registry/segment-registry.ts";
import { ByteCache } from "./byte-cache.ts";
import type { ArchivePart, ChunkSource } from "./chunk-source.ts";
import { type ColdSource, count, type TierStats } from "./tier-stats.ts";

export interface ColdReaderLimits {
  /** Decompressed chunks kept in memory, bytes. */
  readonly chunkCacheBytesMax: number;
  /** Tables of contents kept in memory, bytes (about 96 a chunk). */
  readonly tocCacheBytesMax: number;
}

export interface ArchiveChunksDeps {
  readonly source: ChunkSource;
  readonly engine: Pick<ArchiveEngine, "readToc" | "readAborted" | "inflateChunk">;
  readonly limits: ColdReaderLimits;
  readonly stats: TierStats;
  /** Whether a range costs a request over the network, so that ranges are joined. */
  readonly isRemote: boolean;
}

const tocChunkBytes = 96;
const abortedBytes = 64;
/** A manifest has 16 MiB at most, inflated. */
const headBytesMax = 17 << 20;
const abortedCacheBytesMax = 8 << 20;

/** What archives are made of, by entry and through caches: tables of contents, chunks, aborted
 * transactions. Whoever asks holds a pin of the entry. Rejects with a BrokerError where the store
 * fails (CHRONIK_STORE_UNAVAILABLE) or the object is not what it should be
 * (CHRONIK_ARCHIVE_DAMAGED). */
export class ArchiveChunks {
  /** False: what is read ahead of its readers would only be copied. */
  readonly isRemote: boolean;
  private readonly source: ChunkSource;
  private readonly engine: ArchiveChunksDeps["engine"];
  private readonly stats: TierStats;
  private readonly tocs: ByteCache<readonly TocChunk[]>;
  private readonly chunks: ByteCache<Uint8Array>;
  private readonly abortedLists: ByteCache<readonly AbortedTransaction[]>;

  constructor({ source, engine, limits, stats, isRemote }: ArchiveChunksDeps) {
    this.isRemote = isRemote;
    this.source = source;
    this.engine = engine;
    this.stats = stats;
    this.tocs = new ByteCache(limits.tocCacheBytesMax, (toc) => toc.length * tocChunkBytes);
    this.chunks = new ByteCache(limits.chunkCacheBytesMax, (chunk) => chunk.length);
    this.abortedLists = new ByteCache(abortedCacheBytesMax, (list) => list.length * abortedBytes);
  }

  /** How many bytes of each archive the caches hold now. */
  cachedBytes(): (entry: SegmentEntry) => number {
    const held = new Map<string, number>();
    for (const [key, bytes] of this.chunks.sizes()) {
      const archive = key.slice(0, key.lastIndexOf("@"));
      held.set(archive, (held.get(archive) ?? 0) + bytes);
    }
    return (entry) => held.get(cacheKey(entry)) ?? 0;
  }

  /** Bytes read ahead of readers, on their way and in memory. */
  get bytesAhead(): number {
    return this.source.bytesAhead;
  }

  async toc(entry: SegmentEntry): Promise<readonly TocChunk[]> {
    if (entry.quarantined !== undefined) {
      throw damaged(entry, `it is in quarantine (${entry.quarantined.reason})`);
    }
    const part = { position: entry.tocPosition, length: entry.bytes - entry.tocPosition };
    let source: ColdSource = "memory";
    const toc = await this.tocs.get(cacheKey(entry), () =>
      this.decoded(entry, part, async (tail, from) => {
        source = from;
        return (await this.engine.readToc(tail, entry.bytes, entry.tocCrc32c)).chunks;
      }),
    );
    count(this.stats.tocReads[source], part.length);
    return toc;
  }

  async chunk(entry: SegmentEntry, chunk: TocChunk): Promise<Uint8Array> {
    const { rawLength, crc32c } = chunk;
    let source: ColdSource = "memory";
    const bytes = await this.chunks.get(chunkKey(entry, chunk), () =>
      this.decoded(entry, partOf(chunk), (member, from) => {
        source = from;
        return this.engine.inflateChunk(member, rawLength, crc32c);
      }),
    );
    count(this.stats.chunkReads[source], bytes.length);
    return bytes;
  }

  async aborted(entry: SegmentEntry): Promise<readonly AbortedTransaction[]> {
    // The manifest lies in front of the first chunk.
    const [first] = await this.toc(entry);
    const part = { position: 0, length: first?.position ?? entry.tocPosition };
    if (part.length > headBytesMax) throw damaged(entry, `its manifest has ${part.length} bytes`);
    return this.abortedLists.get(cacheKey(entry), () =>
      this.decoded(entry, part, (head, from) => {
        count(this.stats.tocReads[from], head.length);
        return this.engine.readAborted(head);
      }),
    );
  }

  /** Starts a ranged read of the first chunks of `row`, neighbours, that are neither in a cache nor
   * on their way; null where none was started (see ChunkSource.ahead). */
  ahead(
    entry: SegmentEntry,
    row: readonly TocChunk[],
    bytesMax: number,
    wanted: boolean,
  ): Promise<void> | null {
    const parts = row.filter((chunk) => !this.chunks.has(chunkKey(entry, chunk))).map(partOf);
    return this.source.ahead(entry, parts, bytesMax, wanted);
  }

  /** Whether a chunk costs no request. */
  isAtHand(entry: SegmentEntry, chunk: TocChunk): boolean {
    const isCached = this.chunks.has(chunkKey(entry, chunk));
    return isCached || this.source.isAtHand(entry, partOf(chunk));
  }

  /** The object is deleted: nothing of it is kept. */
  forget(key: string): void {
    this.source.forget(key);
  }

  /** What a part of an archive says. Bytes that say nothing are asked for once more: they may have
   * been damaged on their way, which no store checks for a part of an object. */
  private async decoded<T>(
    entry: SegmentEntry,
    part: ArchivePart,
    decode: (bytes: Uint8Array, source: ColdSource) => Promise<T>,
  ): Promise<T> {
    const first = await readable(entry, this.source.read(entry, part));
    try {
      return await decode(first.bytes, first.source);
    } catch (error) {
      if (lastsNot(error)) throw unavailable(entry, error);
      const second = await readable(entry, this.source.readAgain(entry, part));
      try {
        return await decode(second.bytes, second.source);
      } catch (again) {
        throw lastsNot(again) ? unavailable(entry, again) : damaged(entry, errorText(again), again);
      }
    }
  }
}

function partOf({ position, compressedLength }: TocChunk): ArchivePart {
  return { position, length: compressedLength };
}

/** The same with the errors of readers. */
async function readable<T>(entry: SegmentEntry, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    throw lastsNot(error) ? unavailable(entry, error) : damaged(entry, errorText(error), error);
  }
}

function chunkKey(entry: SegmentEntry, { position }: TocChunk): string {
  return `${cacheKey(entry)}@${position}`;
}

/** A topic made anew after a deletion may have archives of its own under the same object keys. */
function cacheKey(entry: SegmentEntry): string {
  return `${entry.topicId}/${entry.key}`;
}

/** Whether the store failed and the archive may be as it should. */
function lastsNot(error: unknown): boolean {
  const kinds: readonly StoreErrorKind[] = ["unavailable", "denied", "misconfigured"];
  if (error instanceof StoreError) return kinds.includes(error.kind);
  // Of the engine, which also reads for the local store: too much to do, or at its end.
  const codes = ["CHRONIK_BUSY", "CHRONIK_CLOSED", "CHRONIK_POISONED"];
  return error instanceof BrokerError && codes.includes(error.code);
}

function unavailable(entry: SegmentEntry, cause: unknown): BrokerError {
  const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
  return new BrokerError(
    "CHRONIK_STORE_UNAVAILABLE",
    `archive ${entry.key} (${where}) cannot be read now: ${errorText(cause)}`,
    { cause },
  );
}

/** CHRONIK_ARCHIVE_DAMAGED, with the entry it is about. */
export class ArchiveDamage extends BrokerError {
  readonly entry: SegmentEntry;

  constructor(entry: SegmentEntry, reason: string, cause?: unknown) {
    const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
    super(
      "CHRONIK_ARCHIVE_DAMAGED",
      `archive ${entry.key} (${where}) cannot be read: ${reason}; ` +
        "restore the object, the other offsets stay readable",
      { cause },
    );
    this.entry = entry;
  }
}

export function damaged(entry: SegmentEntry, reason: string, cause?: unknown): BrokerError {
  return new ArchiveDamage(entry, reason, cause);
}
