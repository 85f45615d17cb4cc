import { BrokerError } from "../../lib/errors.ts";
import type { RetiredObject, SegmentEntry } from "./segment-registry.ts";

/** Journal entries, JSON with a version (ARCHITECTURE.md, "Segment registry"). Version 1 is what
 * the first release wrote; a journal may hold both. Times in milliseconds. */
export type JournalEntry =
  | { v: 1; type: "add"; segment: SegmentEntry }
  | { v: 1; type: "retire-topic"; topicId: string }
  | { v: 1; type: "objects-deleted"; topicId: string }
  | { v: 1; type: "snapshot"; segments: SegmentEntry[]; retired: SegmentEntry[] }
  | {
      v: 2;
      type: "replace";
      topicId: string;
      partition: number;
      /** Keys of consecutive entries, in offset order. */
      remove: readonly string[];
      add: readonly SegmentEntry[];
      nowMs: number;
    }
  | { v: 2; type: "drop"; topicId: string; partition: number; before: number; nowMs: number }
  | {
      v: 2;
      type: "quarantine";
      topicId: string;
      partition: number;
      base: number;
      quarantined: { readonly reason: string; readonly sinceMs: number } | null;
    }
  | { v: 2; type: "retire-topic"; topicId: string; nowMs: number }
  | { v: 2; type: "retire-object"; object: RetiredObject }
  /** The object is about to be put: it is retired at the next start unless an entry names it. A
   * first archive (`first`) is begun and stays so; who does not know the field retires it. */
  | { v: 2; type: "intend"; object: RetiredObject }
  | { v: 2; type: "objects-deleted"; keys: readonly string[] }
  | SnapshotPart;

/** Some of what a snapshot holds: entries of one or more partitions in offset order, and retired
 * objects, oldest first, with those that were begun. The parts of one snapshot are replayed in
 * order, before anything else. */
interface SnapshotPart {
  v: 2;
  type: "snapshot-part";
  partitions: readonly SnapshotPartition[];
  retired: readonly RetiredObject[];
}

interface SnapshotPartition {
  topic: string;
  topicId: string;
  partition: number;
  segments: readonly Omit<SegmentEntry, "topic" | "topicId" | "partition">[];
}

const known: readonly (readonly string[])[] = [
  [],
  ["add", "retire-topic", "objects-deleted", "snapshot"],
  [
    "replace",
    "drop",
    "quarantine",
    "retire-topic",
    "retire-object",
    "intend",
    "objects-deleted",
    "snapshot-part",
  ],
];

/** Segments, or retired objects, of one part: about a quarter of a megabyte, so that writing one
 * holds nothing up. */
const partItemsMax = 512;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function encodeEntry(entry: JournalEntry): Uint8Array {
  return encoder.encode(JSON.stringify(entry));
}

export function decodeEntry(bytes: Uint8Array): JournalEntry {
  const entry = JSON.parse(decoder.decode(bytes)) as { v: number; type: string };
  if (known[entry.v]?.includes(entry.type) !== true) {
    throw new BrokerError(
      "CHRONIK_UNKNOWN_FORMAT",
      `the segment registry holds an entry of version ${entry.v}, type ${entry.type}, ` +
        "which this build does not know; start the newer chronik that wrote it",
    );
  }
  return entry as unknown as JournalEntry;
}

/** The entries that a part of a snapshot stands for; names are shared, not repeated. */
export function* segmentsOf(part: SnapshotPart): Generator<SegmentEntry> {
  for (const { topic, topicId, partition, segments } of part.partitions) {
    for (const segment of segments) yield { topic, topicId, partition, ...segment };
  }
}

/** The parts of a snapshot, each made when it is asked for. What is given must not change before
 * the last was. */
export function* snapshotParts(
  partitions: Iterable<readonly SegmentEntry[]>,
  retired: readonly RetiredObject[],
): Generator<Uint8Array> {
  let part: SnapshotPartition[] = [];
  let room = partItemsMax;
  for (const entries of partitions) {
    for (let at = 0; at < entries.length; ) {
      const taken = entries.slice(at, at + room);
      part.push(snapshotPartition(taken));
      at += taken.length;
      room -= taken.length;
      if (room > 0) continue;
      yield encodeEntry({ v: 2, type: "snapshot-part", partitions: part, retired: [] });
      part = [];
      room = partItemsMax;
    }
  }
  yield encodeEntry({
    v: 2,
    type: "snapshot-part",
    partitions: part,
    retired: retired.slice(0, room),
  });
  for (let at = room; at < retired.length; at += partItemsMax) {
    const some = retired.slice(at, at + partItemsMax);
    yield encodeEntry({ v: 2, type: "snapshot-part", partitions: [], retired: some });
  }
}

function snapshotPartition(entries: readonly SegmentEntry[]): SnapshotPartition {
  const { topic, topicId, partition } = entries[0] ?? { topic: "", topicId: "", partition: 0 };
  const segments = entries.map(({ topic: _, topicId: _id, partition: _p, ...rest }) => rest);
  return { topic, topicId, partition, segments };
}
