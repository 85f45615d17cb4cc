import type { NativeEngine } from "./engine.ts";

/** First record found by time in a run of batches. */
export interface RecordTime {
  readonly offset: number;
  readonly timestamp: number;
  readonly leaderEpoch: number;
}

/** The engine's archive jobs (design D5): build, verify, and read members by range. What a job's
 * JSON holds is the archive format's business: ffi/chronik.h and ffi/src/archive say it; tier types
 * it. Failures are NativeError. */
export class NativeArchives {
  private readonly engine: NativeEngine;

  constructor(engine: NativeEngine) {
    this.engine = engine;
  }

  /** Writes offsets `from` to `to` (inclusive) of a log as one archive file and returns its
   * summary. */
  async buildArchive<Summary>(options: {
    log: number;
    fromOffset: number;
    toOffset: number;
    path: string;
    scratchDir: string;
    spec: object;
  }): Promise<Summary> {
    const { json } = await this.engine.job<Summary>({
      op: "build_archive",
      log: options.log,
      from_offset: options.fromOffset,
      to_offset: options.toOffset,
      path: options.path,
      scratch_dir: options.scratchDir,
      spec: options.spec,
    });
    return json;
  }

  /** Makes one archive file of those at `sources` (offset order) and returns its summary. `index`:
   * "merge" joins their indexes, a mode builds one anew. */
  async rewriteArchive<Summary>(options: {
    sources: readonly string[];
    path: string;
    scratchDir: string;
    spec: object;
    index: string;
  }): Promise<Summary> {
    const { json } = await this.engine.job<Summary>({
      op: "rewrite_archive",
      sources: options.sources,
      path: options.path,
      scratch_dir: options.scratchDir,
      spec: options.spec,
      index: options.index,
    });
    return json;
  }

  /** As `rewriteArchive`, by the cleaner's rules. */
  async compactArchive<Outcome>(options: {
    sources: readonly string[];
    path: string;
    scratchDir: string;
    spec: object;
    index: string;
    clean: object;
  }): Promise<Outcome> {
    const { json } = await this.engine.job<Outcome>({
      op: "compact_archive",
      sources: options.sources,
      path: options.path,
      scratch_dir: options.scratchDir,
      spec: options.spec,
      index: options.index,
      clean: options.clean,
    });
    return json;
  }

  /** Takes the keys of an archive into an offset map: a new one from `fromOffset` on, or with null
   * the one in the file `map`. */
  async mapKeys(
    source: string,
    map: string,
    fromOffset: number | null,
    keysMax: number | null = null,
  ): Promise<{ end: number; keys: number; full: boolean }> {
    const { json } = await this.engine.job<{ end: number; keys: number; full: boolean }>({
      op: "map_keys",
      source,
      map,
      ...(fromOffset === null ? {} : { from_offset: fromOffset }),
      ...(keysMax === null ? {} : { keys_max: keysMax }),
    });
    return json;
  }

  /** For a stop: builds and rewrites under way give up with CHRONIK_CLOSED, and no other begins. */
  async stopBuilds(): Promise<void> {
    await this.engine.job({ op: "stop_builds" });
  }

  /** Reads the whole archive back; rejects with CHRONIK_CORRUPT where it does not match. */
  async verifyArchive<Report>(path: string, expected: object): Promise<Report> {
    const job = { op: "verify_archive", path, expected };
    return (await this.engine.job<{ report: Report }>(job)).json.report;
  }

  async readManifest<Manifest>(path: string): Promise<Manifest> {
    const job = { op: "read_manifest", path };
    return (await this.engine.job<{ manifest: Manifest }>(job)).json.manifest;
  }

  /** The manifest out of an archive's first bytes. */
  async parseManifest<Manifest>(head: Uint8Array): Promise<Manifest> {
    const job = { op: "read_manifest" };
    return (await this.engine.job<{ manifest: Manifest }>(job, head)).json.manifest;
  }

  /** The raw batches of one chunk member, which nobody writes meanwhile. */
  async inflateChunk(member: Uint8Array, rawLength: number, crc32c: number): Promise<Uint8Array> {
    const job = { op: "inflate_chunk", raw_len: rawLength, crc32c };
    return (await this.engine.job(job, member, true)).raw;
  }

  /** The table of contents out of the last bytes of an object of `archiveBytes`; `tail` begins at
   * the TOC or before it. */
  async readToc<Toc>(tail: Uint8Array, archiveBytes: number): Promise<Toc> {
    const job = { op: "read_toc", archive_bytes: archiveBytes };
    return (await this.engine.job<{ toc: Toc }>(job, tail)).json.toc;
  }

  /** First record at or past `fromOffset` with timestamp ≥ `target` (−1: the largest) in whole
   * batches back to back. */
  async findTime(
    batches: Uint8Array,
    target: number,
    fromOffset: number,
  ): Promise<RecordTime | null> {
    const job = { op: "find_time", target, from_offset: fromOffset };
    const { json } = await this.engine.job<{ offset: number; timestamp: number; epoch: number }>(
      job,
      batches,
      true,
    );
    if (json.offset < 0) return null;
    return { offset: json.offset, timestamp: json.timestamp, leaderEpoch: json.epoch };
  }
}
