import { assert } from "../lib/assert.ts";
import { BrokerError } from "../lib/errors.ts";
import type { RegistryJournal } from "./ports.ts";

/** One archived segment. Offsets are inclusive, timestamps in milliseconds, sizes in bytes. */
export interface SegmentEntry {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly generation: number;
  readonly base: number;
  readonly last: number;
  readonly records: number;
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  readonly key: string;
  readonly bytes: number;
  readonly rawBytes: number;
  readonly sha256: string;
  readonly tocPosition: number;
  readonly documents: number;
  /** Transactions that the manifest names as aborted; absent in entries from before there were
   * transactions: none. */
  readonly aborted?: number;
  readonly index: string;
  readonly createdMs: number;
}

/** Journal entries, JSON with a version: format 1 (ARCHITECTURE.md, "Segment registry"). */
type JournalEntry =
  | { v: 1; type: "add"; segment: SegmentEntry }
  | { v: 1; type: "retire-topic"; topicId: string }
  | { v: 1; type: "objects-deleted"; topicId: string }
  | { v: 1; type: "snapshot"; segments: SegmentEntry[]; retired: SegmentEntry[] };

export interface RegistryTotals {
  segments: number;
  topics: number;
  partitions: number;
  records: number;
  bytes: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** A snapshot replaces the journal once this many entries came after the last one, and as many as
 * it would hold: writing it costs no more than the entries did. */
const journalEntriesMin = 4_096;

/** Which object holds which topic, partition and offsets (R20). Durable before it is visible; the
 * entries of a partition are contiguous and never overlap. */
export class SegmentRegistry {
  private readonly journal: RegistryJournal;
  private readonly onWarning: (message: string, error: unknown) => void;
  private readonly partitions = new Map<string, PartitionSegments>();
  /** Entries of deleted topics whose objects are not deleted yet. */
  private readonly retired = new Map<string, SegmentEntry[]>();
  private readonly pins = new Map<string, number>();
  private entriesSinceSnapshot = 0;
  private liveEntries = 0;
  private writing: Promise<unknown> = Promise.resolve();

  private constructor(journal: RegistryJournal, onWarning: SegmentRegistry["onWarning"]) {
    this.journal = journal;
    this.onWarning = onWarning;
  }

  /** `onWarning` hears of snapshots that could not be written: the journal only stays longer. */
  static async open(
    journal: RegistryJournal,
    onWarning: (message: string, error: unknown) => void = () => undefined,
  ): Promise<SegmentRegistry> {
    const registry = new SegmentRegistry(journal, onWarning);
    await journal.replay((bytes) => {
      registry.apply(decodeEntry(bytes));
      registry.entriesSinceSnapshot++;
    });
    return registry;
  }

  /** Adds an entry, durable when resolved. Refuses overlaps, holes that reach past `logStart` (what
   * lies below was deleted from the WAL before it was archived), and what `isWanted` denies when
   * its turn comes: a topic deleted meanwhile is retired behind this entry or before it. */
  async add(
    segment: SegmentEntry,
    logStart: number,
    isWanted: () => boolean = () => true,
  ): Promise<void> {
    await this.commit(() => {
      if (!isWanted()) {
        throw new BrokerError(
          "CHRONIK_TOPIC_GONE",
          `topic ${segment.topic} was deleted or is closing; its archive was not registered`,
        );
      }
      this.checkFits(segment, logStart);
      return { v: 1, type: "add", segment };
    });
  }

  /** Takes all entries of a deleted topic out of sight; the objects may go once this is durable. */
  async retireTopic(topicId: string): Promise<readonly SegmentEntry[]> {
    await this.commit(() => ({ v: 1, type: "retire-topic", topicId }));
    return this.retired.get(topicId) ?? [];
  }

  /** Forgets a retired topic after its objects are gone. */
  async objectsDeleted(topicId: string): Promise<void> {
    if (this.retired.has(topicId)) {
      await this.commit(() => ({ v: 1, type: "objects-deleted", topicId }));
    }
  }

  /** Topics retired in an earlier life whose objects may still exist. */
  retiredTopics(): string[] {
    return [...this.retired.keys()];
  }

  /** Whether the object of a deleted topic under this key is still on its way out. */
  isRetiredKey(key: string): boolean {
    for (const segments of this.retired.values()) {
      if (segments.some((segment) => segment.key === key)) return true;
    }
    return false;
  }

  /** Entries of one partition in offset order. */
  segments(topicId: string, partition: number): readonly SegmentEntry[] {
    return this.partitions.get(partitionKey(topicId, partition))?.entries ?? [];
  }

  all(): SegmentEntry[] {
    return [...this.partitions.values()].flatMap(({ entries }) => entries);
  }

  /** The entry that holds `offset`, if any. */
  find(topicId: string, partition: number, offset: number): SegmentEntry | undefined {
    const entries = this.segments(topicId, partition);
    const entry = entries[lastAtOrBefore(entries, offset)];
    return entry && offset <= entry.last ? entry : undefined;
  }

  /** Archived offsets [start, end) of a partition: the newest run without a hole. */
  range(topicId: string, partition: number): { start: number; end: number } | null {
    const held = this.partitions.get(partitionKey(topicId, partition));
    const last = held?.entries[held.entries.length - 1];
    return held && last ? { start: held.runStart, end: last.last + 1 } : null;
  }

  totals(): RegistryTotals {
    const totals = { segments: 0, topics: 0, partitions: 0, records: 0, bytes: 0 };
    const topics = new Set<string>();
    for (const { entries } of this.partitions.values()) {
      if (entries.length > 0) totals.partitions++;
      for (const entry of entries) {
        topics.add(entry.topicId);
        totals.segments++;
        totals.records += entry.records;
        totals.bytes += entry.bytes;
      }
    }
    totals.topics = topics.size;
    return totals;
  }

  /** Keeps an object from being deleted while it is read; call the result once when done. */
  pin(entry: SegmentEntry): () => void {
    this.pins.set(entry.key, (this.pins.get(entry.key) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const left = (this.pins.get(entry.key) ?? 0) - 1;
      if (left > 0) this.pins.set(entry.key, left);
      else this.pins.delete(entry.key);
    };
  }

  isPinned(entry: SegmentEntry): boolean {
    return this.pins.has(entry.key);
  }

  /** Resolves when every change asked for so far is done with. */
  async settled(): Promise<void> {
    await this.writing;
  }

  /** One entry at a time: check, make durable, then apply. */
  private commit(make: () => JournalEntry): Promise<void> {
    const step = this.writing.then(async () => {
      const entry = make();
      await this.journal.append(encoder.encode(JSON.stringify(entry)));
      this.apply(entry);
      this.entriesSinceSnapshot++;
    });
    // Behind the entry's answer: it is durable and in force whatever becomes of the snapshot.
    this.writing = step.then(
      () => this.snapshotIfDue(),
      () => undefined,
    );
    return step;
  }

  private async snapshotIfDue(): Promise<void> {
    if (this.entriesSinceSnapshot < Math.max(journalEntriesMin, this.liveEntries)) return;
    try {
      await this.snapshot();
    } catch (error) {
      this.onWarning("the segment registry's journal could not be compacted", error);
      // Not again at every entry: a snapshot of many segments is work.
      this.entriesSinceSnapshot = 0;
    }
  }

  private async snapshot(): Promise<void> {
    const entry: JournalEntry = {
      v: 1,
      type: "snapshot",
      segments: this.all(),
      retired: [...this.retired.values()].flat(),
    };
    await this.journal.compact(encoder.encode(JSON.stringify(entry)));
    this.entriesSinceSnapshot = 0;
  }

  private checkFits(segment: SegmentEntry, logStart: number): void {
    const where = `${segment.topic}-${segment.partition} [${segment.base}, ${segment.last}]`;
    assert(segment.base <= segment.last, `segment ${where} is empty`);
    const range = this.range(segment.topicId, segment.partition);
    if (!range || segment.base === range.end) return;
    const overlaps = segment.base < range.end;
    if (overlaps || segment.base > logStart) {
      const problem = overlaps ? "overlaps" : "leaves a hole after";
      throw new BrokerError(
        "CHRONIK_REGISTRY_CONFLICT",
        `archive ${where} ${problem} the archived offsets up to ${range.end - 1}; ` +
          "it was not registered",
      );
    }
  }

  private put(segment: SegmentEntry): void {
    this.liveEntries++;
    const key = partitionKey(segment.topicId, segment.partition);
    const held = this.partitions.get(key);
    if (!held) {
      this.partitions.set(key, { entries: [segment], runStart: segment.base });
      return;
    }
    const last = held.entries[held.entries.length - 1];
    if (last && last.last + 1 !== segment.base) held.runStart = segment.base;
    held.entries.push(segment);
  }

  private apply(entry: JournalEntry): void {
    switch (entry.type) {
      case "add":
        this.put(entry.segment);
        return;
      case "retire-topic":
        for (const [key, { entries }] of this.partitions) {
          if (entries[0]?.topicId !== entry.topicId) continue;
          for (const segment of entries) push(this.retired, entry.topicId, segment);
          this.partitions.delete(key);
        }
        return;
      case "objects-deleted":
        this.liveEntries -= this.retired.get(entry.topicId)?.length ?? 0;
        this.retired.delete(entry.topicId);
        return;
      case "snapshot":
        this.liveEntries = entry.retired.length;
        this.partitions.clear();
        this.retired.clear();
        for (const segment of entry.segments) this.put(segment);
        for (const s of entry.retired) push(this.retired, s.topicId, s);
        return;
    }
  }
}

interface PartitionSegments {
  readonly entries: SegmentEntry[];
  /** First offset of the newest run without a hole. */
  runStart: number;
}

function push(map: Map<string, SegmentEntry[]>, key: string, segment: SegmentEntry): void {
  const entries = map.get(key);
  if (entries) entries.push(segment);
  else map.set(key, [segment]);
}

function partitionKey(topicId: string, partition: number): string {
  return `${topicId}/${partition}`;
}

/** Index of the last entry whose base is at or before `offset`; -1 when all lie after it. */
export function lastAtOrBefore(entries: readonly { base: number }[], offset: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    assert(entry !== undefined, "binary search stays inside the array");
    if (entry.base <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function decodeEntry(bytes: Uint8Array): JournalEntry {
  const entry = JSON.parse(decoder.decode(bytes)) as { v: number; type: string };
  const known = ["add", "retire-topic", "objects-deleted", "snapshot"];
  if (entry.v !== 1 || !known.includes(entry.type)) {
    throw new BrokerError(
      "CHRONIK_UNKNOWN_FORMAT",
      `the segment registry holds an entry of version ${entry.v}, type ${entry.type}, ` +
        "which this build does not know; start the newer chronik that wrote it",
    );
  }
  return entry as unknown as JournalEntry;
}
