import { assert } from "../../lib/assert.ts";
import { PartitionSegments } from "./partition-segments.ts";
import { type JournalEntry, segmentsOf, snapshotParts } from "./registry-entry.ts";
import type {
  BegunArchive,
  RegistryTotals,
  RetiredObject,
  SegmentEntry,
} from "./segment-registry.ts";

/** What the registry's journal says, entry by entry: what is archived, and which objects nothing
 * names any more. Knows no disk; applying an entry never fails. */
export class RegistryState {
  private readonly topics = new Map<string, Map<number, PartitionSegments>>();
  private readonly byKey = new Map<string, SegmentEntry>();
  /** Oldest first. */
  private readonly retired = new Map<string, RetiredObject>();
  /** Objects that are being put and that no entry names yet. */
  private readonly intended = new Map<string, RetiredObject>();
  private readonly retiredByTopic = new Map<string, number>();
  private retiredBytes = 0;
  private partitionCount = 0;
  private records = 0;
  private bytes = 0;
  private quarantined = 0;
  private unindexed = 0;
  private unindexedBytes = 0;

  /** Entries and retired objects: what a snapshot holds. */
  get size(): number {
    return this.byKey.size + this.retired.size + this.intended.size;
  }

  get totals(): RegistryTotals {
    return {
      segments: this.byKey.size,
      topics: this.topics.size,
      partitions: this.partitionCount,
      records: this.records,
      bytes: this.bytes,
      quarantined: this.quarantined,
      index_pending: this.unindexed,
      index_pending_bytes: this.unindexedBytes,
      retired: this.retired.size,
      retired_bytes: this.retiredBytes,
    };
  }

  partition(topicId: string, partition: number): PartitionSegments | undefined {
    return this.topics.get(topicId)?.get(partition);
  }

  partitionsOf(topicId: string): ReadonlyMap<number, PartitionSegments> {
    return this.topics.get(topicId) ?? new Map();
  }

  *partitions(): Generator<PartitionSegments> {
    for (const partitions of this.topics.values()) yield* partitions.values();
  }

  entryOf(key: string): SegmentEntry | undefined {
    return this.byKey.get(key);
  }

  isRetired(key: string): boolean {
    return this.retired.has(key);
  }

  get retiredTotal(): number {
    return this.retired.size;
  }

  retiredObjects(): Iterable<RetiredObject> {
    return this.retired.values();
  }

  isIntended(key: string): boolean {
    return this.intended.has(key);
  }

  begun(key: string): BegunArchive | undefined {
    const object = this.intended.get(key);
    return object !== undefined && isBegun(object) ? object : undefined;
  }

  begunArchives(): readonly BegunArchive[] {
    return [...this.intended.values()].filter(isBegun);
  }

  /** Whether a topic has entries, or archives that were begun. */
  holdsTopic(topicId: string): boolean {
    if (this.topics.has(topicId)) return true;
    return this.begunArchives().some((object) => object.topicId === topicId);
  }

  retiredCount(topicId: string): number {
    return this.retiredByTopic.get(topicId) ?? 0;
  }

  /** The state as it is now; later changes do not reach it. */
  parts(): Generator<Uint8Array> {
    const lists = [...this.partitions()].map(({ entries }) => entries.slice());
    // Whoever replays a snapshot puts nothing any more: what was intended is retired unless an
    // entry that follows names it, or it was begun.
    return snapshotParts(lists, [...this.retired.values(), ...this.intended.values()]);
  }

  /** After a replay: what an earlier life was about to put, and did not register, may go. What was
   * begun is gone on with under the same key. */
  retireIntended(): void {
    for (const object of [...this.intended.values()]) if (!isBegun(object)) this.retire(object);
  }

  /** Applies a journal entry; returns the segments it took out. */
  apply(entry: JournalEntry): readonly SegmentEntry[] {
    switch (entry.type) {
      case "add":
        this.put(entry.segment);
        return [];
      case "replace":
        return this.replace(entry);
      case "drop":
        return this.drop(entry);
      case "quarantine":
        return this.quarantine(entry);
      case "retire-topic":
        return this.retireTopic(entry.topicId, entry.v === 1 ? 0 : entry.nowMs);
      case "retire-object":
        this.retire(entry.object);
        return [];
      case "intend":
        this.intended.set(entry.object.key, entry.object);
        return [];
      case "objects-deleted":
        if (entry.v === 2) for (const key of entry.keys) this.forget(key);
        else this.forgetTopic(entry.topicId);
        return [];
      case "snapshot":
        for (const segment of entry.segments) this.put(segment);
        for (const segment of entry.retired) this.retire(retiredObject(segment, 0));
        return [];
      case "snapshot-part":
        for (const segment of segmentsOf(entry)) this.put(segment);
        for (const object of entry.retired) {
          if (isBegun(object)) this.intended.set(object.key, object);
          else this.retire(object);
        }
        return [];
    }
  }

  private put(segment: SegmentEntry): void {
    let partitions = this.topics.get(segment.topicId);
    if (!partitions) {
      partitions = new Map();
      this.topics.set(segment.topicId, partitions);
    }
    let held = partitions.get(segment.partition);
    if (!held) {
      held = new PartitionSegments();
      partitions.set(segment.partition, held);
      this.partitionCount++;
    }
    held.push(segment);
    this.count(segment);
  }

  private replace(entry: JournalEntry & { type: "replace" }): readonly SegmentEntry[] {
    const held = this.held(entry.topicId, entry.partition);
    const first = this.byKey.get(entry.remove[0] ?? "");
    assert(first !== undefined, "a segment to replace is registered");
    const start = held.indexFrom(first.base);
    const removed = held.splice(start, entry.remove.length, entry.add);
    this.retireAll(removed, entry.nowMs);
    for (const segment of entry.add) this.count(segment);
    return removed;
  }

  private drop(entry: JournalEntry & { type: "drop" }): readonly SegmentEntry[] {
    const { topicId, partition, before, nowMs } = entry;
    const held = this.partition(topicId, partition);
    if (!held) return [];
    const removed = held.splice(0, held.indexFrom(before), []);
    this.retireAll(removed, nowMs);
    if (held.length === 0) this.removePartition(topicId, partition);
    return removed;
  }

  private quarantine(entry: JournalEntry & { type: "quarantine" }): readonly SegmentEntry[] {
    const held = this.held(entry.topicId, entry.partition);
    const index = held.indexFrom(entry.base);
    const old = held.find(entry.base);
    assert(old !== undefined, "a segment to quarantine is registered");
    const { quarantined: _, ...rest } = old;
    const { quarantined } = entry;
    const segment = quarantined === null ? rest : { ...rest, quarantined };
    held.splice(index, 1, [segment]);
    this.uncount(old);
    this.count(segment);
    return [old];
  }

  private retireTopic(topicId: string, nowMs: number): readonly SegmentEntry[] {
    const lists = [...this.partitionsOf(topicId).values()].map(({ entries }) => entries);
    this.partitionCount -= lists.length;
    this.topics.delete(topicId);
    const removed = lists.flat();
    this.retireAll(removed, nowMs);
    for (const { first: _, ...object } of this.begunArchives()) {
      if (object.topicId === topicId) this.retire({ ...object, retiredMs: nowMs });
    }
    return removed;
  }

  private retireAll(segments: readonly SegmentEntry[], nowMs: number): void {
    for (const segment of segments) {
      this.uncount(segment);
      this.retire(retiredObject(segment, nowMs));
    }
  }

  private held(topicId: string, partition: number): PartitionSegments {
    const held = this.partition(topicId, partition);
    assert(held !== undefined, `partition ${partition} of ${topicId} has archives`);
    return held;
  }

  private removePartition(topicId: string, partition: number): void {
    const partitions = this.topics.get(topicId);
    if (partitions?.delete(partition) !== true) return;
    this.partitionCount--;
    if (partitions.size === 0) this.topics.delete(topicId);
  }

  private count(segment: SegmentEntry): void {
    this.intended.delete(segment.key);
    // A snapshot that was made while the object was being put has it among the retired.
    this.forget(segment.key);
    this.byKey.set(segment.key, segment);
    this.records += segment.records;
    this.bytes += segment.bytes;
    if (segment.quarantined) this.quarantined++;
    if (segment.index !== "pending") return;
    this.unindexed++;
    this.unindexedBytes += segment.rawBytes;
  }

  private uncount(segment: SegmentEntry): void {
    this.byKey.delete(segment.key);
    this.records -= segment.records;
    this.bytes -= segment.bytes;
    if (segment.quarantined) this.quarantined--;
    if (segment.index !== "pending") return;
    this.unindexed--;
    this.unindexedBytes -= segment.rawBytes;
  }

  private retire(object: RetiredObject): void {
    this.intended.delete(object.key);
    if (this.retired.has(object.key)) return;
    this.retired.set(object.key, object);
    this.retiredBytes += object.bytes;
    this.retiredByTopic.set(object.topicId, this.retiredCount(object.topicId) + 1);
  }

  private forget(key: string): void {
    this.intended.delete(key);
    const object = this.retired.get(key);
    if (!object) return;
    this.retired.delete(key);
    this.retiredBytes -= object.bytes;
    const left = this.retiredCount(object.topicId) - 1;
    if (left > 0) this.retiredByTopic.set(object.topicId, left);
    else this.retiredByTopic.delete(object.topicId);
  }

  /** As the first release wrote it: all objects of a topic at once. */
  private forgetTopic(topicId: string): void {
    for (const object of [...this.retired.values()]) {
      if (object.topicId === topicId) this.forget(object.key);
    }
  }
}

export function retiredObject(segment: SegmentEntry, retiredMs: number): RetiredObject {
  const { key, topic, topicId, partition, bytes } = segment;
  return { key, topicId, topic, partition, bytes, retiredMs };
}

function isBegun(object: RetiredObject): object is BegunArchive {
  return object.first !== undefined;
}
