import type { Clock } from "./lib/clock.ts";
import { BrokerError } from "./lib/errors.ts";
import type { NativeArchives } from "./native/archives.ts";
import type {
  ArchiveEngine,
  ArchiveRequest,
  ArchiveSummary,
  IndexMode,
  RewriteRequest,
  TimeHit,
  TocChunk,
} from "./tier/ports.ts";

/** The answers of the archive jobs, as ffi/src/jobs/archive.rs makes them. */
export interface SummaryJson {
  readonly size: number;
  readonly sha256: string;
  readonly batches_sha256: string;
  readonly toc_position: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly records: number;
  readonly raw_bytes: number;
  readonly min_timestamp: number;
  readonly max_timestamp: number;
  readonly documents: number;
  readonly index_bytes: number;
  readonly aborted: number;
}

export interface ReportJson {
  readonly size: number;
  readonly sha256: string;
  readonly toc_position: number;
  readonly toc_crc32c: number;
  readonly manifest: ManifestJson;
}

interface ManifestJson {
  readonly topic_id: string;
  readonly partition: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly min_timestamp: number;
  readonly max_timestamp: number;
  readonly records: number;
  /** Of the batches. */
  readonly bytes: number;
  readonly documents: number;
  readonly index: IndexMode;
  readonly aborted: readonly {
    readonly producer_id: number;
    readonly first_offset: number;
    readonly last_offset: number;
  }[];
  readonly members: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly sha256: string;
  }[];
}

export interface TocJson {
  readonly batches: {
    readonly chunks: readonly {
      readonly position: number;
      readonly length: number;
      readonly bytes: number;
      readonly crc32c: number;
      readonly base_offset: number;
      readonly last_offset: number;
      readonly max_timestamp: number;
      readonly leader_epoch: number;
    }[];
  };
}

/** The native archive jobs in the tier room's words. */
export function archiveEngine(
  archives: NativeArchives,
  clock: Clock,
  scratchDir: string,
): ArchiveEngine {
  return {
    async build(request, path) {
      const summary = await archives.buildArchive<SummaryJson>({
        log: request.walHandle,
        fromOffset: request.base,
        toOffset: request.last,
        path,
        scratchDir,
        spec: buildSpec(request, clock.nowMs()),
      });
      return summaryOf(summary);
    },
    async rewrite(request, sources, path) {
      const summary = await archives.rewriteArchive<SummaryJson>({
        sources,
        path,
        scratchDir,
        index: request.index,
        spec: rewriteSpec(request, clock.nowMs()),
      });
      return summaryOf(summary);
    },
    stopBuilds: () => archives.stopBuilds(),
    async verify(path, expected) {
      const report = await archives.verifyArchive<ReportJson>(path, {
        topic_id: expected.topicId,
        partition: expected.partition,
        base_offset: expected.base,
        last_offset: expected.last,
        records: expected.records,
        batches_sha256: expected.batchesSha256,
        ...(expected.sha256 === null ? {} : { sha256: expected.sha256 }),
      });
      return summaryOfReport(report);
    },
    async manifest(path) {
      const manifest = await archives.readManifest<ManifestJson>(path);
      return {
        topicId: manifest.topic_id,
        partition: manifest.partition,
        base: manifest.base_offset,
        last: manifest.last_offset,
        batchesSha256: batchesSha256(manifest),
      };
    },
    async readToc(tail, archiveBytes, crc32c) {
      checkTocCrc(tail, crc32c);
      const toc = await archives.readToc<TocJson>(tail, archiveBytes);
      return { chunks: chunksOf(toc) };
    },
    async readAborted(head) {
      const manifest = await archives.parseManifest<ManifestJson>(head);
      return manifest.aborted.map((range) => ({
        producerId: range.producer_id,
        firstOffset: range.first_offset,
        lastOffset: range.last_offset,
      }));
    },
    inflateChunk: (member, rawLength, crc32c) => archives.inflateChunk(member, rawLength, crc32c),
    findTime: (batches, target, fromOffset): Promise<TimeHit | null> =>
      archives.findTime(batches, target, fromOffset),
  };
}

/** Place of the TOC's CRC-32C before an archive's end (FORMAT.md, "Locator"). */
const tocCrcFromEnd = 14;

/** The engine checks the TOC against the locator; this, that both are of the archive registered. */
export function checkTocCrc(tail: Uint8Array, crc32c: number | undefined): void {
  if (crc32c === undefined || tail.length < tocCrcFromEnd) return;
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  if (view.getUint32(tail.length - tocCrcFromEnd, true) === crc32c) return;
  throw new BrokerError("CHRONIK_CORRUPT", "its table of contents is another archive's");
}

export function rewriteSpec(request: RewriteRequest, nowMs: number): object {
  return {
    topic: request.topic,
    topic_id: request.topicId,
    partition: request.partition,
    generation: request.generation,
    created_at: nowMs,
    base_offset: request.base,
    last_offset: request.last,
  };
}

function buildSpec(request: ArchiveRequest, nowMs: number): object {
  return {
    topic: request.topic,
    topic_id: request.topicId,
    partition: request.partition,
    generation: request.generation,
    created_at: nowMs,
    leader_epochs: request.leaderEpochs.map(([epoch, start]) => ({ epoch, start_offset: start })),
    aborted: request.aborted.map(({ producerId, firstOffset, lastOffset }) => ({
      producer_id: producerId,
      first_offset: firstOffset,
      last_offset: lastOffset,
    })),
    producer_snapshot: request.producerSnapshot,
    index: request.indexMode,
  };
}

/** The chunks of a table of contents as the engine prints it. */
export function chunksOf(toc: TocJson): TocChunk[] {
  return toc.batches.chunks.map((chunk) => ({
    position: chunk.position,
    compressedLength: chunk.length,
    rawLength: chunk.bytes,
    crc32c: chunk.crc32c,
    base: chunk.base_offset,
    last: chunk.last_offset,
    maxTimestamp: chunk.max_timestamp,
    leaderEpoch: chunk.leader_epoch,
  }));
}

export function summaryOf(json: SummaryJson): ArchiveSummary {
  return {
    bytes: json.size,
    sha256: json.sha256,
    batchesSha256: json.batches_sha256,
    tocPosition: json.toc_position,
    base: json.base_offset,
    last: json.last_offset,
    records: json.records,
    rawBytes: json.raw_bytes,
    minTimestamp: json.min_timestamp,
    maxTimestamp: json.max_timestamp,
    documents: json.documents,
    indexBytes: json.index_bytes,
    aborted: json.aborted,
  };
}

export function summaryOfReport(report: ReportJson): ArchiveSummary {
  const { size, sha256, toc_position, toc_crc32c, manifest } = report;
  const indexFiles = manifest.members.filter(({ name }) => name !== batchesMember);
  return {
    bytes: size,
    sha256,
    batchesSha256: batchesSha256(manifest),
    tocPosition: toc_position,
    tocCrc32c: toc_crc32c,
    base: manifest.base_offset,
    last: manifest.last_offset,
    records: manifest.records,
    rawBytes: manifest.bytes,
    minTimestamp: manifest.min_timestamp,
    maxTimestamp: manifest.max_timestamp,
    documents: manifest.documents,
    indexBytes: indexFiles.reduce((sum, { bytes }) => sum + bytes, 0),
    aborted: manifest.aborted.length,
    index: manifest.index,
  };
}

const batchesMember = "batches";

function batchesSha256(manifest: ManifestJson): string {
  return manifest.members.find(({ name }) => name === batchesMember)?.sha256 ?? "";
}
