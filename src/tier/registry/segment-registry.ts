import { assert } from "../../lib/assert.ts";
import type { RegistryJournal } from "../ports.ts";
import { checkCovers, checkWanted, conflict, where } from "./registry-checks.ts";
import { decodeEntry, encodeEntry, type JournalEntry } from "./registry-entry.ts";
import { RegistryState, retiredObject } from "./registry-state.ts";

/** One archived segment. Offsets are inclusive, timestamps in milliseconds, sizes in bytes. Batches
 * of a generation above 1 may leave holes in [base, last], at both ends as well. */
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
  /** Of the object; "" where only the archive itself could be asked (`--from-manifests`). */
  readonly sha256: string;
  readonly tocPosition: number;
  /** See ArchiveSummary; absent in entries of before 2026-11-22. */
  readonly tocCrc32c?: number;
  readonly documents: number;
  /** Transactions that the manifest names as aborted; absent in entries from before there were
   * transactions: none. */
  readonly aborted?: number;
  readonly index: string;
  readonly createdMs: number;
  /** How often its bytes were merged, at most (D8); absent: never. */
  readonly merges?: number;
  /** Ends a round of compaction: every archive up to this one was rewritten by the keys of all
   * offsets below. */
  readonly cleanedTo?: number;
  /** Found damaged: kept, but not read. */
  readonly quarantined?: { readonly reason: string; readonly sinceMs: number };
}

/** An object that no entry names any more. `retiredMs` is 0 where a journal of the first release
 * does not tell. */
export interface RetiredObject {
  readonly key: string;
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly bytes: number;
  readonly retiredMs: number;
  /** Not retired, but about to be put: a segment's first archive, of these offsets. */
  readonly first?: { readonly base: number; readonly last: number };
}

/** A first archive that was begun and has no entry yet. */
export type BegunArchive = RetiredObject & Required<Pick<RetiredObject, "first">>;

/** A change of the registry that is durable and in force. */
export interface RegistryChange {
  readonly type: JournalEntry["type"];
  /** Segments that are no more, or not as they were. */
  readonly removed: readonly SegmentEntry[];
  readonly added: readonly SegmentEntry[];
}

export interface RegistryTotals {
  segments: number;
  topics: number;
  partitions: number;
  records: number;
  bytes: number;
  quarantined: number;
  /** Archives whose index was deferred (D18), and the bytes of their batches. */
  index_pending: number;
  index_pending_bytes: number;
  /** Objects on their way out. */
  retired: number;
  retired_bytes: number;
}

/** A snapshot replaces the journal once this many entries came after the last one, and as many as
 * this share of what it would hold: a start replays no more, and writing it costs a few times what
 * the entries did. */
const journalEntriesMin = 4_096;
const journalShareMax = 0.25;

/** Which object holds which topic, partition and offsets (R20). Durable before it is visible; the
 * entries of a partition never overlap, and no object is named twice. */
export class SegmentRegistry {
  private readonly journal: RegistryJournal;
  private readonly onWarning: (message: string, error: unknown) => void;
  private readonly nowMs: () => number;
  private readonly state = new RegistryState();
  private readonly pins = new Map<string, number>();
  private readonly listeners: ((change: RegistryChange) => void)[] = [];
  private entriesSinceSnapshot = 0;
  private writing: Promise<unknown> = Promise.resolve();
  private compacting: Promise<void> | null = null;

  private constructor(
    journal: RegistryJournal,
    onWarning: SegmentRegistry["onWarning"],
    nowMs: () => number,
  ) {
    this.journal = journal;
    this.onWarning = onWarning;
    this.nowMs = nowMs;
  }

  /** `onWarning` hears of snapshots that could not be written: the journal only stays longer.
   * `nowMs` is the wall clock that retired objects are dated by. */
  static async open(
    journal: RegistryJournal,
    onWarning: (message: string, error: unknown) => void = () => undefined,
    nowMs: () => number = () => 0,
  ): Promise<SegmentRegistry> {
    const registry = new SegmentRegistry(journal, onWarning, nowMs);
    await journal.replay((bytes) => {
      const entry = decodeEntry(bytes);
      registry.state.apply(entry);
      if (entry.type !== "snapshot-part") registry.entriesSinceSnapshot++;
    });
    registry.state.retireIntended();
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
      checkWanted(segment, isWanted);
      this.checkFits(segment, logStart);
      this.checkKeyFree(segment);
      return { v: 1, type: "add", segment };
    });
  }

  /** Puts `add` in the place of `remove` at once, durable when resolved; the objects of `remove`
   * are retired by the same journal entry. `remove` are consecutive entries of one partition as the
   * registry gave them, `add` covers exactly their offsets under new keys. Rejects with
   * CHRONIK_REGISTRY_CONFLICT if one of them changed meanwhile, with CHRONIK_TOPIC_GONE as add. */
  async replace(
    remove: readonly SegmentEntry[],
    add: readonly SegmentEntry[],
    isWanted: () => boolean = () => true,
  ): Promise<void> {
    checkCovers(remove, add);
    const [first] = remove;
    assert(first !== undefined, "there is something to replace");
    const { topicId, partition } = first;
    const keys = remove.map((segment) => segment.key);
    await this.commit(() => {
      checkWanted(first, isWanted);
      this.checkUnchanged(remove);
      for (const segment of add) this.checkKeyFree(segment);
      return { v: 2, type: "replace", topicId, partition, remove: keys, add, nowMs: this.nowMs() };
    });
  }

  /** Drops the oldest entries of a partition, those whose last offset lies below `before`; they are
   * returned, and their objects retired, once that is durable. */
  async dropBefore(
    topicId: string,
    partition: number,
    before: number,
  ): Promise<readonly SegmentEntry[]> {
    let dropped: readonly SegmentEntry[] = [];
    await this.commit(() => {
      const held = this.state.partition(topicId, partition);
      dropped = held?.entries.slice(0, held.indexFrom(before)) ?? [];
      if (dropped.length === 0) return null;
      return { v: 2, type: "drop", topicId, partition, before, nowMs: this.nowMs() };
    });
    return dropped;
  }

  /** Marks an entry as damaged, durable when resolved: its object is kept, its offsets are not
   * read. Rejects with CHRONIK_REGISTRY_CONFLICT if it is not registered any more. */
  async quarantine(entry: SegmentEntry, reason: string, nowMs: number): Promise<void> {
    await this.setQuarantine(entry, { reason, sinceMs: nowMs });
  }

  async unquarantine(entry: SegmentEntry): Promise<void> {
    await this.setQuarantine(entry, null);
  }

  /** Takes all entries of a deleted topic out of sight; their objects, and those of archives that
   * were begun, may go once this is durable. */
  async retireTopic(topicId: string): Promise<void> {
    await this.commit(() => {
      if (!this.state.holdsTopic(topicId)) return null;
      return { v: 2, type: "retire-topic", topicId, nowMs: this.nowMs() };
    });
  }

  /** Before an object is put under a key that no other build will have: durable when resolved. If
   * the process ends before an entry names it, the next start retires it; a failure in this life is
   * `retireUnregistered`'s. */
  async intend(segment: SegmentEntry): Promise<void> {
    await this.commit(() => {
      this.checkKeyFree(segment);
      return { v: 2, type: "intend", object: retiredObject(segment, this.nowMs()) };
    });
  }

  /** As `intend`, for a segment's first archive, whose key all builds of it have: it stays begun
   * over starts, until an entry names it, its topic is retired, or `retireBegun`. Nothing else may
   * lie under the key. Rejects with CHRONIK_TOPIC_GONE as `add`. */
  async begin(segment: SegmentEntry, isWanted: () => boolean = () => true): Promise<void> {
    await this.commit(() => {
      checkWanted(segment, isWanted);
      if (this.isBegun(segment)) return null;
      this.checkKeyFree(segment);
      const { base, last } = segment;
      const object = { ...retiredObject(segment, this.nowMs()), first: { base, last } };
      return { v: 2, type: "intend", object };
    });
  }

  /** First archives that were begun, in this life or an earlier one, and have no entry yet. */
  begunArchives(): readonly BegunArchive[] {
    return this.state.begunArchives();
  }

  /** Whether this first archive was begun. */
  isBegun({ topicId, key }: SegmentEntry): boolean {
    return this.state.begun(key)?.topicId === topicId;
  }

  /** Retires a first archive that nobody will go on with. */
  async retireBegun(key: string): Promise<void> {
    await this.commit(() => {
      const begun = this.state.begun(key);
      if (begun === undefined) return null;
      const { first: _, ...object } = begun;
      return { v: 2, type: "retire-object", object: { ...object, retiredMs: this.nowMs() } };
    });
  }

  /** Retires an object that was put for `segment` and never registered. One that an entry names
   * stays. */
  async retireUnregistered(segment: SegmentEntry): Promise<void> {
    await this.commit(() => {
      const isKnown = this.state.entryOf(segment.key) || this.state.isRetired(segment.key);
      if (isKnown) return null;
      return { v: 2, type: "retire-object", object: retiredObject(segment, this.nowMs()) };
    });
  }

  /** Objects that no entry names any more and that may be deleted, oldest first. */
  retiredObjects(): Iterable<RetiredObject> {
    return this.state.retiredObjects();
  }

  /** How many retired objects there are. */
  get retiredTotal(): number {
    return this.state.retiredTotal;
  }

  /** How many retired objects of a topic are not deleted yet. */
  retiredCount(topicId: string): number {
    return this.state.retiredCount(topicId);
  }

  /** Forgets retired objects that are deleted, and begun ones that are to stay; durable when
   * resolved. */
  async objectsDeleted(keys: readonly string[]): Promise<void> {
    await this.commit(() => {
      const known = keys.filter((key) => this.state.isRetired(key) || this.state.begun(key));
      return known.length === 0 ? null : { v: 2, type: "objects-deleted", keys: known };
    });
  }

  /** Whether the object under this key is still on its way out. */
  isRetiredKey(key: string): boolean {
    return this.state.isRetired(key);
  }

  /** Whether the key is, or was a moment ago, another object's than this entry's. */
  isTakenKey({ key, topicId }: SegmentEntry): boolean {
    const begun = this.state.begun(key);
    const isNamed = this.state.isRetired(key) || this.state.entryOf(key) !== undefined;
    return isNamed || (begun !== undefined && begun.topicId !== topicId);
  }

  /** Whether an object is about to be put under this key, or was a moment ago. */
  isIntendedKey(key: string): boolean {
    return this.state.isIntended(key);
  }

  /** The entry that names this object, if any. */
  entryOf(key: string): SegmentEntry | undefined {
    return this.state.entryOf(key);
  }

  /** Entries of one partition in offset order. What was returned only grows at its end. */
  segments(topicId: string, partition: number): readonly SegmentEntry[] {
    return this.state.partition(topicId, partition)?.entries ?? [];
  }

  /** Every partition's entries, each list in offset order. */
  *lists(): Generator<readonly SegmentEntry[]> {
    for (const { entries } of this.state.partitions()) yield entries;
  }

  /** Every entry, copied: for tools and tests, not for what runs often. */
  all(): SegmentEntry[] {
    return [...this.lists()].flat();
  }

  /** The entry that holds `offset`, if any. */
  find(topicId: string, partition: number, offset: number): SegmentEntry | undefined {
    return this.state.partition(topicId, partition)?.find(offset);
  }

  /** First entry that reaches to `fromOffset` or past it and has a timestamp of at least `target`
   * somewhere. Entries are not in the order of time; asking costs a few dozen steps. */
  firstAtTime(
    topicId: string,
    partition: number,
    target: number,
    fromOffset: number,
  ): SegmentEntry | undefined {
    return this.state.partition(topicId, partition)?.firstAtTime(target, fromOffset);
  }

  /** First entry with the largest timestamp among those that reach to `fromOffset` or past it. */
  latest(topicId: string, partition: number, fromOffset: number): SegmentEntry | undefined {
    return this.state.partition(topicId, partition)?.latest(fromOffset);
  }

  /** Archived offsets [start, end) of a partition: the newest run without a hole. */
  range(topicId: string, partition: number): { start: number; end: number } | null {
    return this.state.partition(topicId, partition)?.range ?? null;
  }

  totals(): RegistryTotals {
    return this.state.totals;
  }

  /** The whole registry as it is now, as journal entries that are made one by one as they are asked
   * for: replayed in order they give it back. */
  snapshotParts(): Generator<Uint8Array> {
    return this.state.parts();
  }

  /** `listener` is called after each change, when it is durable and in force; it must not throw. */
  subscribe(listener: (change: RegistryChange) => void): void {
    this.listeners.push(listener);
  }

  /** Keeps an object from being deleted while it is read; call the result once when done. */
  pin(entry: { readonly key: string }): () => void {
    const { key } = entry;
    this.pins.set(key, (this.pins.get(key) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const left = (this.pins.get(key) ?? 0) - 1;
      if (left > 0) this.pins.set(key, left);
      else this.pins.delete(key);
    };
  }

  isPinned(entry: { readonly key: string }): boolean {
    return this.pins.has(entry.key);
  }

  /** Resolves when every change asked for so far is done with, and no snapshot is being written. */
  async settled(): Promise<void> {
    await this.writing;
    await this.compacting;
  }

  /** One entry at a time: check, make durable, then apply. Null: nothing is to be changed. */
  private commit(make: () => JournalEntry | null): Promise<void> {
    const step = this.writing.then(async () => {
      const entry = make();
      if (entry === null) return;
      await this.journal.append(encodeEntry(entry));
      const removed = this.state.apply(entry);
      this.entriesSinceSnapshot++;
      this.snapshotIfDue();
      const change = { type: entry.type, removed, added: this.addedBy(entry, removed) };
      for (const listener of this.listeners) listener(change);
    });
    this.writing = step.catch(() => undefined);
    return step;
  }

  /** Beside the entries that follow: they are durable and in force whatever becomes of it. */
  private snapshotIfDue(): void {
    if (this.compacting !== null) return;
    if (this.entriesSinceSnapshot < Math.max(journalEntriesMin, this.state.size * journalShareMax))
      return;
    // Counted from here, also when it fails: a snapshot of many segments is work.
    this.entriesSinceSnapshot = 0;
    this.compacting = this.journal
      .compactParts(this.state.parts())
      .catch((error: unknown) =>
        this.onWarning("the segment registry's journal could not be compacted", error),
      )
      .finally(() => {
        this.compacting = null;
      });
  }

  private addedBy(entry: JournalEntry, removed: readonly SegmentEntry[]): readonly SegmentEntry[] {
    if (entry.type === "add") return [entry.segment];
    if (entry.type === "replace") return entry.add;
    if (entry.type !== "quarantine") return [];
    return removed.flatMap(({ key }) => this.state.entryOf(key) ?? []);
  }

  private async setQuarantine(
    entry: SegmentEntry,
    quarantined: { readonly reason: string; readonly sinceMs: number } | null,
  ): Promise<void> {
    const { topicId, partition, base, key } = entry;
    await this.commit(() => {
      const now = this.state.entryOf(key);
      if (now === undefined) throw conflict(entry, "is not registered any more");
      if (now.quarantined === undefined && quarantined === null) return null;
      return { v: 2, type: "quarantine", topicId, partition, base, quarantined };
    });
  }

  private checkFits(segment: SegmentEntry, logStart: number): void {
    assert(segment.base <= segment.last, `segment ${where(segment)} is empty`);
    const range = this.range(segment.topicId, segment.partition);
    if (!range || segment.base === range.end) return;
    const overlaps = segment.base < range.end;
    if (overlaps || segment.base > logStart) {
      const problem = overlaps ? "overlaps" : "leaves a hole after";
      throw conflict(segment, `${problem} the archived offsets up to ${range.end - 1}`);
    }
  }

  /** An object that is named already, or about to be deleted, cannot be an entry's. */
  private checkKeyFree(segment: SegmentEntry): void {
    const begun = this.state.begun(segment.key);
    if (begun !== undefined && begun.topicId !== segment.topicId) {
      throw conflict(segment, `has the key ${segment.key} of an archive of ${begun.topicId}`);
    }
    if (this.state.isRetired(segment.key)) {
      throw conflict(segment, `has the key ${segment.key} of an object that is being deleted`);
    }
    const named = this.state.entryOf(segment.key);
    if (named) throw conflict(segment, `has the key ${segment.key} of archive ${where(named)}`);
  }

  private checkUnchanged(entries: readonly SegmentEntry[]): void {
    for (const entry of entries) {
      const now = this.state.entryOf(entry.key);
      if (now === undefined) throw conflict(entry, "is not registered any more");
      if (now.quarantined) throw conflict(entry, "is in quarantine");
    }
  }
}
