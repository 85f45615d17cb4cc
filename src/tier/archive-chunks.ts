import { BrokerError, errorText } from "../lib/errors.ts";
import { type ObjectStore, StoreError, type StoreErrorKind } from "../store/object-store.ts";
import { ByteCache } from "./byte-cache.ts";
import type { AbortedTransaction, ArchiveEngine, TocChunk } from "./ports.ts";
import type { SegmentEntry } from "./segment-registry.ts";

export interface ColdReaderLimits {
  /** Decompressed chunks kept in memory, bytes. */
  readonly chunkCacheBytesMax: number;
  /** Tables of contents kept in memory, bytes (about 96 a chunk). */
  readonly tocCacheBytesMax: number;
}

const tocChunkBytes = 96;
const abortedBytes = 64;
const abortedCacheBytesMax = 8 << 20;

/** What archives are made of, by entry and through caches: tables of contents, chunks, aborted
 * transactions. Whoever asks holds a pin of the entry. Rejects with a BrokerError where the store
 * fails (CHRONIK_STORE_UNAVAILABLE) or the object is not what it should be
 * (CHRONIK_ARCHIVE_DAMAGED). */
export class ArchiveChunks {
  private readonly store: ObjectStore;
  private readonly engine: ArchiveEngine;
  private readonly tocs: ByteCache<readonly TocChunk[]>;
  private readonly chunks: ByteCache<Uint8Array>;
  private readonly abortedLists: ByteCache<readonly AbortedTransaction[]>;

  constructor(store: ObjectStore, engine: ArchiveEngine, limits: ColdReaderLimits) {
    this.store = store;
    this.engine = engine;
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

  toc(entry: SegmentEntry): Promise<readonly TocChunk[]> {
    const length = entry.bytes - entry.tocPosition;
    return this.tocs.get(cacheKey(entry), () =>
      this.decoded(entry, entry.tocPosition, length, async (tail) => {
        return (await this.engine.readToc(tail, entry.bytes)).chunks;
      }),
    );
  }

  chunk(entry: SegmentEntry, chunk: TocChunk): Promise<Uint8Array> {
    const { position, compressedLength, rawLength, crc32c } = chunk;
    return this.chunks.get(`${cacheKey(entry)}@${position}`, () =>
      this.decoded(entry, position, compressedLength, (member) =>
        this.engine.inflateChunk(member, rawLength, crc32c),
      ),
    );
  }

  aborted(entry: SegmentEntry): Promise<readonly AbortedTransaction[]> {
    return this.abortedLists.get(cacheKey(entry), async () => {
      try {
        // The manifest lies in front of the first chunk.
        const [first] = await this.toc(entry);
        const head = await this.range(entry, 0, first?.position ?? entry.tocPosition);
        return await this.engine.readAborted(head);
      } catch (error) {
        throw error instanceof BrokerError ? error : damaged(entry, errorText(error), error);
      }
    });
  }

  /** What a range of an archive says. Bytes that say nothing are asked for once more: they may have
   * been damaged on their way, which no store checks for a part of an object. */
  private async decoded<T>(
    entry: SegmentEntry,
    position: number,
    length: number,
    decode: (bytes: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const first = await this.range(entry, position, length);
    try {
      return await decode(first);
    } catch {
      const second = await this.range(entry, position, length);
      try {
        return await decode(second);
      } catch (error) {
        throw damaged(entry, errorText(error), error);
      }
    }
  }

  private async range(entry: SegmentEntry, position: number, length: number): Promise<Uint8Array> {
    try {
      return await this.store.getRange(entry.key, position, length);
    } catch (error) {
      throw lastsNot(error) ? unavailable(entry, error) : damaged(entry, errorText(error), error);
    }
  }
}

/** A topic made anew after a deletion may have archives of its own under the same object keys. */
function cacheKey(entry: SegmentEntry): string {
  return `${entry.topicId}/${entry.key}`;
}

/** Whether the store failed and the archive may be as it should. */
function lastsNot(error: unknown): boolean {
  const kinds: readonly StoreErrorKind[] = ["unavailable", "denied", "misconfigured"];
  return error instanceof StoreError && kinds.includes(error.kind);
}

function unavailable(entry: SegmentEntry, cause: unknown): BrokerError {
  const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
  return new BrokerError(
    "CHRONIK_STORE_UNAVAILABLE",
    `archive ${entry.key} (${where}) cannot be read now: ${errorText(cause)}`,
    { cause },
  );
}

export function damaged(entry: SegmentEntry, reason: string, cause?: unknown): BrokerError {
  const where = `${entry.topic}-${entry.partition} offsets ${entry.base}-${entry.last}`;
  return new BrokerError(
    "CHRONIK_ARCHIVE_DAMAGED",
    `archive ${entry.key} (${where}) cannot be read: ${reason}; ` +
      "restore the object, the other offsets stay readable",
    { cause },
  );
}
