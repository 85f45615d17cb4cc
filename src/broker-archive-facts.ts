import type { ArchiveFacts } from "./backup/archive-facts.ts";
import { type ReportJson, summaryOfReport } from "./broker-archives.ts";
import { BrokerError } from "./lib/errors.ts";
import { decodeProducers, type ProducerTuple } from "./log/checkpoint.ts";
import type { NativeArchives } from "./native/archives.ts";
import type { ObjectStore } from "./store/object-store.ts";
import type { ArchiveSummary } from "./tier/ports.ts";

/** What is read of `manifest.json` and `toc.json` (ffi/src/archive/FORMAT.md). */
interface ManifestJson {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  readonly generation: number;
  readonly created_at: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly min_timestamp: number;
  readonly max_timestamp: number;
  readonly records: number;
  readonly bytes: number;
  readonly documents: number;
  readonly index: string;
  readonly aborted: readonly unknown[];
  readonly leader_epochs: readonly { readonly epoch: number; readonly start_offset: number }[];
  readonly producer_snapshot: string | null;
}

interface TocJson {
  readonly manifest: { readonly position: number; readonly length: number };
  readonly batches: { readonly position: number };
}

const locatorBytes = 54;
const locatorPosition = 24;
/** Most tables of contents, with the locator behind them. */
const tailBytes = 256 << 10;
const headBytesMax = 32 << 20;
const producersFormat = 2;

/** What an archive says of itself, by two ranged reads: its end, and its manifest. A table of
 * contents that is larger than most costs a third where its position is not known. */
export async function readArchiveFacts(
  archives: NativeArchives,
  store: ObjectStore,
  archive: { readonly key: string; readonly bytes: number; readonly tocPosition: number | null },
): Promise<ArchiveFacts> {
  const { key, bytes } = archive;
  const guess = Math.max(0, bytes - tailBytes);
  let tail = await store.getRange(
    key,
    archive.tocPosition ?? guess,
    bytes - (archive.tocPosition ?? guess),
  );
  const tocPosition = archive.tocPosition ?? locate(tail, key, bytes);
  if (archive.tocPosition === null && tocPosition < guess) {
    tail = await store.getRange(key, tocPosition, bytes - tocPosition);
  }
  const toc = await archives.readToc<TocJson>(tail, bytes);
  const headBytes = toc.batches.position;
  if (headBytes <= 0 || headBytes > Math.min(headBytesMax, tocPosition)) {
    throw unusable(key, "its manifest is too large");
  }
  const head = await store.getRange(key, 0, headBytes);
  const manifest = await archives.parseManifest<ManifestJson>(head);
  return {
    topic: manifest.topic,
    topicId: manifest.topic_id,
    partition: manifest.partition,
    generation: manifest.generation,
    base: manifest.base_offset,
    last: manifest.last_offset,
    records: manifest.records,
    minTimestamp: manifest.min_timestamp,
    maxTimestamp: manifest.max_timestamp,
    rawBytes: manifest.bytes,
    documents: manifest.documents,
    aborted: manifest.aborted.length,
    index: manifest.index,
    createdMs: manifest.created_at,
    tocPosition,
    epochs: manifest.leader_epochs.map((one) => [one.epoch, one.start_offset] as const),
    producers: producersOf(manifest.producer_snapshot),
  };
}

/** Reads the whole archive, with every batch, and compares it with its own words. */
export async function verifyWhole(
  archives: NativeArchives,
  store: ObjectStore,
  { key, bytes, facts }: { key: string; bytes: number; facts: ArchiveFacts },
): Promise<ArchiveSummary> {
  const file = await store.openForVerify(key);
  try {
    const report = await archives.verifyArchive<ReportJson>(file.path, {
      size: bytes,
      topic_id: facts.topicId,
      partition: facts.partition,
      generation: facts.generation,
      base_offset: facts.base,
      last_offset: facts.last,
      records: facts.records,
    });
    return summaryOfReport(report);
  } finally {
    await file.release();
  }
}

function locate(tail: Uint8Array, key: string, bytes: number): number {
  const at = tail.length - locatorBytes;
  if (at < 0) throw unusable(key, `it has ${bytes} bytes`);
  const view = new DataView(tail.buffer, tail.byteOffset + at, locatorBytes);
  const position = Number(view.getBigUint64(locatorPosition, true));
  if (position < bytes) return position;
  throw unusable(key, "it does not end as an archive does");
}

/** Of another format than ours: the producers are unknown, and may begin anywhere. */
function producersOf(text: string | null): ArchiveFacts["producers"] {
  if (text === null) return [];
  const json = JSON.parse(text) as { format?: number; producers?: readonly ProducerTuple[] };
  return json.format === producersFormat ? decodeProducers(json.producers ?? []) : [];
}

function unusable(key: string, why: string): BrokerError {
  return new BrokerError("CHRONIK_ARCHIVE_DAMAGED", `object ${key} is no archive: ${why}`);
}
