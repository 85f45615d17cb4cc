/** What the tier room asks of its neighbours; broker.ts plugs the implementations in. */

/** One sealed or active WAL segment of a partition. Offsets are inclusive. */
export interface WalSegment {
  readonly id: number;
  readonly base: number;
  readonly last: number;
  readonly bytes: number;
  readonly records: number;
  readonly maxTimestamp: number;
  readonly sealed: boolean;
  /** Wall clock of the first append, milliseconds. */
  readonly firstAppendMs: number;
}

/** A partition as the indexer sees it; log/partition.ts satisfies it. */
export interface TierPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly index: number;
  readonly internal: boolean;
  /** False once its topic is deleted or the broker stops. */
  readonly isOpen: boolean;
  readonly damage: unknown;
  /** The engine's handle of this partition's log. */
  readonly walHandle: number;
  readonly logStartOffset: number;
  /** min(high watermark, last stable offset): only what lies below may be archived (D4). */
  readonly archivableEnd: number;
  segments(): readonly WalSegment[];
  /** Milliseconds since the first record that is not sealed yet was appended, by the monotonic
   * clock; null where there is none. A jump of the wall clock neither seals nor delays. */
  unsealedAgeMs(): number | null;
  /** Rotates the active segment; resolves once it is sealed on disk. */
  seal(): Promise<void>;
  /** Writes a durable checkpoint that records `archivedTo` (exclusive). */
  checkpoint(archivedTo: number): Promise<void>;
  /** Unlinks sealed segments that checkpoint and registry cover; returns bytes freed. */
  releaseSegments(ids: readonly number[]): Promise<number>;
  /** Drops the copies in WAL and memory of what is archived below `end`; bytes freed in the WAL. */
  leaveToArchives(end: number): Promise<number>;
  leaderEpochs(): readonly (readonly [epoch: number, startOffset: number])[];
  producerSnapshot(): string;
  /** Aborted transactions with offsets in [from, to); below `archivableEnd` all are decided. */
  abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]>;
  searchIndexMode(): IndexMode;
  /** What the topic says of its WAL once archived; null: nothing, `delete_after_index` rules. */
  readonly localRetention: LocalRetention | null;
  /** `remote.log.copy.disable`: no new archives, what there is stays readable. */
  readonly copyDisabled: boolean;
}

/** `cleanup.policy`, `retention.ms`, `retention.bytes`; negative: no limit. */
export interface PartitionRetention {
  readonly deletes: boolean;
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

/** `local.retention.ms` and `.bytes`: −2 follows the limit over all tiers, −1 is none. */
export interface LocalRetention {
  readonly ms: number;
  readonly bytes: number;
}

/** A partition as retention sees it; log/partition.ts satisfies it. */
export interface RetainedPartition extends TierPartition {
  readonly highWatermark: number;
  readonly retention: PartitionRetention;
  readonly start: {
    /** Moves the log start up to `offset`, durable when resolved. Rejects with a BrokerError. */
    advance(offset: number): Promise<void>;
    /** Unlinks sealed segments below the log start; bytes freed. */
    releaseDeleted(): Promise<number>;
  };
}

/** Transactional records of `producerId` from `firstOffset` to the marker at `lastOffset` were
 * aborted. */
export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

export type IndexMode = "full" | "text" | "keys" | "none" | "pending";

/** What a finished archive says of itself. */
export interface ArchiveSummary {
  readonly bytes: number;
  readonly sha256: string;
  readonly batchesSha256: string;
  readonly tocPosition: number;
  /** CRC-32C of the table of contents, which binds manifest and chunks; told by `verify`. */
  readonly tocCrc32c?: number;
  readonly base: number;
  readonly last: number;
  readonly records: number;
  readonly rawBytes: number;
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  readonly documents: number;
  readonly indexBytes: number;
  /** Aborted transactions that the manifest names. */
  readonly aborted: number;
  /** How it is indexed; told by `verify`. */
  readonly index?: IndexMode;
}

export interface ArchiveRequest {
  readonly walHandle: number;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly generation: number;
  readonly base: number;
  readonly last: number;
  readonly leaderEpochs: readonly (readonly [epoch: number, startOffset: number])[];
  readonly producerSnapshot: string;
  /** Those that overlap [base, last]. */
  readonly aborted: readonly AbortedTransaction[];
  readonly indexMode: IndexMode;
}

/** One archive made of others of its partition, which cover exactly [base, last] (D8). */
export interface RewriteRequest {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Above those of the sources. */
  readonly generation: number;
  readonly base: number;
  readonly last: number;
  /** "merge" joins the sources' indexes, which must be of one mode; a mode builds it anew. */
  readonly index: IndexMode | "merge";
}

/** What a compaction goes by, beside its sources. Times in milliseconds. */
export interface CleanRequest {
  /** Scratch file of the offset map; see `mapKeys`. */
  readonly map: string;
  readonly nowMs: number;
  /** `delete.retention.ms`: how long tombstones and markers stay once found to be last. */
  readonly deleteRetentionMs: number;
  /** Producers with records since their last marker before the first source. */
  readonly writing: readonly number[];
  /** Makes an archive even of one source of which everything stays. */
  readonly always: boolean;
}

export interface Compacted {
  /** Null: everything stays as it is, and no archive was made. */
  readonly summary: ArchiveSummary | null;
  readonly bytesBefore: number;
  readonly recordsBefore: number;
  /** As in the request, behind the last source. */
  readonly writing: readonly number[];
}

/** The engine's jobs of compaction (D8). */
export interface CompactionEngine {
  /** Takes the keys of a local archive into the scratch file `map`: a new one that begins at
   * `fromOffset`, or with null the one that is there. `end`: every key below it is taken; `full`:
   * it lies within the archive, which has more keys than fit. */
  mapKeys(
    source: string,
    map: string,
    fromOffset: number | null,
  ): Promise<{ readonly end: number; readonly full: boolean }>;
  /** `ArchiveEngine.rewrite`, but of each key below the map's end only the last record stays. */
  compact(
    request: RewriteRequest,
    sources: readonly string[],
    path: string,
    clean: CleanRequest,
  ): Promise<Compacted>;
  /** See ArchiveEngine. */
  stopBuilds(): Promise<void>;
}

/** What identifies an archive's contents (D5a): two builds of the same batches agree on these. */
export interface ArchiveIdentity {
  readonly topicId: string;
  readonly partition: number;
  readonly base: number;
  readonly last: number;
  readonly batchesSha256: string;
}

/** One chunk of an archive's table of contents. */
export interface TocChunk {
  readonly position: number;
  readonly compressedLength: number;
  readonly rawLength: number;
  readonly crc32c: number;
  readonly base: number;
  readonly last: number;
  readonly maxTimestamp: number;
  readonly leaderEpoch: number;
}

/** The engine's archive jobs; native/archives.ts satisfies it. */
export interface ArchiveEngine {
  /** Builds the archive of [base, last] into the new file `path` (fsynced). */
  build(request: ArchiveRequest, path: string): Promise<ArchiveSummary>;
  /** Makes one archive of the local ones at `sources` (offset order), verified as they are read,
   * into the new file `path` (fsynced). Their batches stay as they are. */
  rewrite(
    request: RewriteRequest,
    sources: readonly string[],
    path: string,
  ): Promise<ArchiveSummary>;
  /** For a stop: builds and rewrites under way reject soon, and no other begins. */
  stopBuilds(): Promise<void>;
  /** Reads the file back: whole sha256, every member, batches contiguous, counts. Rejects when
   * anything differs from `expected`. */
  verify(
    path: string,
    expected: ArchiveIdentity & { records: number; sha256: string | null },
  ): Promise<ArchiveSummary>;
  /** Identity from an archive's manifest. */
  manifest(path: string): Promise<ArchiveIdentity>;
  /** The table of contents out of an object's last bytes, from the TOC's position on; rejects where
   * it does not have the CRC-32C that was registered, if one was: it is another archive's. */
  readToc(
    tail: Uint8Array,
    archiveBytes: number,
    crc32c?: number,
  ): Promise<{ chunks: readonly TocChunk[] }>;
  /** The aborted transactions that an object's manifest names, out of its first bytes. */
  readAborted(head: Uint8Array): Promise<readonly AbortedTransaction[]>;
  inflateChunk(member: Uint8Array, rawLength: number, crc32c: number): Promise<Uint8Array>;
  /** First record at or past `fromOffset` with timestamp >= target; with target -1 the one with the
   * largest timestamp. */
  findTime(batches: Uint8Array, target: number, fromOffset: number): Promise<TimeHit | null>;
}

export interface TimeHit {
  readonly offset: number;
  readonly timestamp: number;
  readonly leaderEpoch: number;
}

/** Durable journal with snapshots; native/journal.ts satisfies it. */
export interface RegistryJournal {
  append(entry: Uint8Array): Promise<void>;
  replay(onEntry: (entry: Uint8Array) => void): Promise<void>;
  /** Writes a snapshot of every entry whose append has resolved by now, part by part, and frees
   * what it makes unneeded. Parts are taken one by one; a snapshot that did not come to its end
   * counts for nothing. */
  compactParts(parts: Iterable<Uint8Array>): Promise<void>;
}
