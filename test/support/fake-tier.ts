import { type ObjectPage, type ObjectStore, StoreError } from "../../src/store/object-store.ts";
import type {
  AbortedTransaction,
  ArchiveEngine,
  ArchiveIdentity,
  ArchiveRequest,
  ArchiveSummary,
  IndexMode,
  LocalRetention,
  PartitionRetention,
  RetainedPartition,
  RewriteRequest,
  TimeHit,
  TocChunk,
  WalSegment,
} from "../../src/tier/ports.ts";

/** A partition whose WAL is a list of segments; records what the tier room did to it. */
export class FakePartition implements RetainedPartition {
  readonly topic = "t";
  readonly topicId = "id-t";
  readonly index: number;
  readonly internal = false;
  logStartOffset = 0;
  localRetention: LocalRetention | null = null;
  copyDisabled = false;
  retention: PartitionRetention = { deletes: true, retentionMs: -1, retentionBytes: -1 };
  failAdvance = false;
  readonly start = {
    advance: (offset: number): Promise<void> => {
      if (this.failAdvance) return Promise.reject(new Error("disk full"));
      this.journal.push(`start ${offset}`);
      this.logStartOffset = Math.max(this.logStartOffset, offset);
      return Promise.resolve();
    },
    releaseDeleted: (): Promise<number> => {
      const gone = this.wal.filter((s) => s.sealed && s.last < this.logStartOffset);
      return this.releaseSegments(gone.map(({ id }) => id));
    },
  };
  isOpen = true;
  damage: unknown = null;
  readonly walHandle: number;
  unsealedAge: number | null = null;
  archivableEnd: number;
  wal: WalSegment[];
  journal: string[] = [];
  aborted: AbortedTransaction[] = [];

  constructor(options: { index?: number; segments: WalSegment[]; archivableEnd?: number }) {
    this.index = options.index ?? 0;
    this.walHandle = this.index + 1;
    this.wal = options.segments;
    this.archivableEnd = options.archivableEnd ?? 1e9;
  }

  get highWatermark(): number {
    return (this.wal.at(-1)?.last ?? this.archivableEnd - 1) + 1;
  }

  segments(): readonly WalSegment[] {
    return this.wal;
  }

  unsealedAgeMs(): number | null {
    return this.unsealedAge;
  }

  seal(): Promise<void> {
    this.unsealedAge = null;
    this.journal.push("seal");
    this.wal = this.wal.map((s) => ({ ...s, sealed: true }));
    return Promise.resolve();
  }

  checkpoint(archivedTo: number): Promise<void> {
    this.journal.push(`checkpoint ${archivedTo}`);
    return Promise.resolve();
  }

  releaseSegments(ids: readonly number[]): Promise<number> {
    this.journal.push(`release ${ids.join(",")}`);
    const gone = this.wal.filter((s) => ids.includes(s.id));
    this.wal = this.wal.filter((s) => !ids.includes(s.id));
    return Promise.resolve(gone.reduce((sum, s) => sum + s.bytes, 0));
  }

  leaveToArchives(): Promise<number> {
    return Promise.resolve(0);
  }

  leaderEpochs(): readonly (readonly [number, number])[] {
    return [[0, 0]];
  }

  producerSnapshot(): string {
    return "[]";
  }

  abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]> {
    const overlap = (one: AbortedTransaction) => one.lastOffset >= from && one.firstOffset < to;
    return Promise.resolve(this.aborted.filter(overlap));
  }

  searchIndexMode(): IndexMode {
    return "full";
  }
}

/** Builds "archives" that are JSON in a memory store; verify compares identities. */
export class FakeArchives implements ArchiveEngine {
  readonly files: Map<string, string>;
  builds = 0;
  failVerify = false;

  constructor(files: Map<string, string>) {
    this.files = files;
  }

  build(request: ArchiveRequest, path: string): Promise<ArchiveSummary> {
    this.builds++;
    const batchesSha256 = `batches-${request.base}-${request.last}`;
    const file = { ...request, batchesSha256, unique: this.builds };
    this.files.set(path, JSON.stringify(file));
    return Promise.resolve(
      this.summary(request.base, request.last, batchesSha256, `sha${this.builds}00000000`),
    );
  }

  rewrite(
    request: RewriteRequest,
    sources: readonly string[],
    path: string,
  ): Promise<ArchiveSummary> {
    const found = sources.map((source) => JSON.parse(this.files.get(source) ?? "{}"));
    const covers = found.every(
      (one: ArchiveIdentity, i) => one.base === (i === 0 ? request.base : found[i - 1].last + 1),
    );
    if (!covers || found.at(-1)?.last !== request.last) {
      return Promise.reject(new Error("the sources do not cover the range"));
    }
    this.builds++;
    const batchesSha256 = `batches-${request.base}-${request.last}`;
    this.files.set(path, JSON.stringify({ ...request, batchesSha256, unique: this.builds }));
    const sha256 = `${this.builds}sha00000000`;
    return Promise.resolve(this.summary(request.base, request.last, batchesSha256, sha256));
  }

  stopBuilds(): Promise<void> {
    return Promise.resolve();
  }

  verify(path: string, expected: ArchiveIdentity & { records: number }): Promise<ArchiveSummary> {
    const text = this.files.get(path);
    if (text === undefined || this.failVerify)
      return Promise.reject(new Error("verification failed"));
    const file = JSON.parse(text) as ArchiveIdentity &
      Partial<Pick<ArchiveRequest, "indexMode" | "aborted">>;
    if (file.batchesSha256 !== expected.batchesSha256)
      return Promise.reject(new Error("other batches"));
    const summary = this.summary(expected.base, expected.last, file.batchesSha256, "verified");
    const index = file.indexMode === undefined ? {} : { index: file.indexMode };
    const aborted = file.aborted?.length ?? 0;
    return Promise.resolve({ ...summary, ...index, aborted });
  }

  manifest(path: string): Promise<ArchiveIdentity> {
    const text = this.files.get(path);
    return text === undefined
      ? Promise.reject(new Error("no such archive"))
      : Promise.resolve(JSON.parse(text) as ArchiveIdentity);
  }

  readToc(): Promise<{ chunks: readonly TocChunk[] }> {
    return Promise.reject(new Error("not an archive"));
  }

  readAborted(): Promise<readonly AbortedTransaction[]> {
    return Promise.reject(new Error("not an archive"));
  }

  inflateChunk(): Promise<Uint8Array> {
    return Promise.reject(new Error("not an archive"));
  }

  findTime(): Promise<TimeHit | null> {
    return Promise.resolve(null);
  }

  private summary(
    base: number,
    last: number,
    batchesSha256: string,
    sha256: string,
  ): ArchiveSummary {
    return {
      bytes: 10,
      sha256,
      batchesSha256,
      tocPosition: 0,
      base,
      last,
      records: last - base + 1,
      rawBytes: 100,
      minTimestamp: 0,
      maxTimestamp: 0,
      documents: last - base + 1,
      indexBytes: 5,
      aborted: 0,
    };
  }
}

/** Objects in memory, sharing the file map of FakeArchives; can lose a put's answer or fail. */
export class FakeStore implements ObjectStore {
  readonly description = "memory";
  readonly files: Map<string, string>;
  failPuts = false;
  loseAnswer = false;

  constructor(files: Map<string, string>) {
    this.files = files;
  }

  putFile(key: string, path: string): Promise<"stored" | "exists"> {
    if (this.failPuts) return Promise.reject(new StoreError("unavailable", key, "store is down"));
    if (this.files.has(key)) return Promise.resolve("exists");
    this.files.set(key, this.files.get(path) ?? "");
    this.files.delete(path);
    if (this.loseAnswer) {
      this.loseAnswer = false;
      return Promise.reject(new StoreError("unavailable", key, "answer lost"));
    }
    return Promise.resolve("stored");
  }

  putBytes(): Promise<"stored" | "exists"> {
    return Promise.reject(new Error("the tier puts files"));
  }

  list(): Promise<ObjectPage> {
    return Promise.reject(new Error("the tier lists nothing"));
  }

  head(key: string): Promise<{ bytes: number } | null> {
    const text = this.files.get(key);
    return Promise.resolve(text === undefined ? null : { bytes: text.length });
  }

  getRange(key: string): Promise<Uint8Array> {
    return Promise.reject(new StoreError("not-found", key, "is missing from the object store"));
  }

  openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }> {
    return Promise.resolve({ path: key, release: () => Promise.resolve() });
  }

  delete(key: string): Promise<void> {
    this.files.delete(key);
    return Promise.resolve();
  }
}
