import { assert } from "../lib/assert.ts";
import { BrokerError } from "../lib/errors.ts";
import type { NativeEngine } from "./engine.ts";

interface SegmentJson {
  readonly id: number;
  readonly last: number;
  readonly sealed: boolean;
}

interface OpenedJournal {
  readonly log: number;
  readonly log_start: number;
  readonly log_end: number;
  readonly damaged: null | { file: string; position: number; reason: string };
}

/** One wrapped entry as it is read back. */
interface Item {
  readonly position: number;
  readonly kind: number;
  readonly covered: number;
  readonly entry: Uint8Array;
}

/** The newest snapshot that came to its end: its frames lie in [first, end], and among them entries
 * that came while it was written. */
interface Snapshot {
  readonly covered: number;
  readonly first: number;
  readonly end: number;
}

const replayBytesMax = 4 << 20;
const headerBytes = 13;
const entryKind = 0;
const snapshotKind = 1;
const snapshotPartKind = 2;
const snapshotEndKind = 3;
const high32 = 0x1_0000_0000;

/**
 * A durable list of opaque entries on an engine log: the metadata journal and the segment registry
 * stand on it. Each entry is wrapped, little-endian, as {u8 kind, u32 length, u64 covered, bytes}:
 * the engine gives entries back to back. Kinds: 0 an entry, 1 a whole snapshot, 2 a part of one,
 * 3 the end of a snapshot in parts (bytes: u32 how many). A snapshot replaces the entries at
 * positions below `covered`; later ones come after it at replay, also those that lie between its
 * parts. Parts whose end is not there count for nothing.
 */
export class NativeJournal {
  private readonly engine: NativeEngine;
  private readonly path: string;
  private readonly log: number;
  private readonly start: number;
  /** Position of the next entry, and end of those known durable. */
  private next: number;
  private durable: number;
  /** First position that replay still needs. */
  private liveFrom: number;
  private inFlight = 0;
  private writingParts = false;
  private failed: unknown = null;
  private compacting: Promise<void> = Promise.resolve();

  private constructor(engine: NativeEngine, path: string, opened: OpenedJournal) {
    this.engine = engine;
    this.path = path;
    this.log = opened.log;
    this.start = opened.log_start;
    this.next = opened.log_end;
    this.durable = opened.log_end;
    this.liveFrom = opened.log_start;
  }

  /** Opens or creates the journal in `path`; CHRONIK_DAMAGED when stored entries are damaged. */
  static async open(engine: NativeEngine, path: string): Promise<NativeJournal> {
    const { json } = await engine.job<OpenedJournal>({
      op: "open_log",
      dir: path,
      prefix: "journal",
      log_id: "0".repeat(32),
      partition: 0,
      from_offset: 0,
      kind: "journal",
    });
    if (json.damaged !== null) {
      const { file, position, reason } = json.damaged;
      throw new BrokerError("CHRONIK_DAMAGED", `${file} is damaged at ${position}: ${reason}`);
    }
    return new NativeJournal(engine, path, json);
  }

  /** Entries a replay would hand over; callers compact when this grows. */
  get entryCount(): number {
    return this.next - this.liveFrom;
  }

  /** First position that replay needs. */
  get liveStart(): number {
    return this.liveFrom;
  }

  /** End of what is durable. */
  get durableEnd(): number {
    return this.durable;
  }

  /** For copies: what a replay would hand over of the journal up to `to`, or, with `from`, the
   * entries at [from, to) alone. Rejects when a snapshot made them go meanwhile. */
  async copy(
    from: number | null,
    to: number,
    onEntry: (entry: Uint8Array) => Promise<void>,
  ): Promise<void> {
    if (from === null) {
      await this.walk(this.liveFrom, to, onEntry);
      return;
    }
    for await (const { kind, entry } of this.items(from, to)) {
      if (kind === entryKind) await onEntry(entry);
    }
  }

  /** Durable when resolved; rejects with NativeError. Calls are kept in order. */
  append(entry: Uint8Array): Promise<void> {
    return this.write(entryKind, 0, entry);
  }

  /** Hands over the newest snapshot, if any, first, then what it does not cover, in order. Call it
   * once, before the first append. */
  async replay(onEntry: (entry: Uint8Array) => void): Promise<void> {
    this.liveFrom = await this.walk(this.start, this.next, onEntry);
  }

  /** Writes `snapshot`, which holds every entry whose append has resolved by now, and frees the
   * segments it makes unneeded. */
  compact(snapshot: Uint8Array): Promise<void> {
    return this.compactBy((covered) => this.write(snapshotKind, covered, snapshot));
  }

  /** The same for a snapshot too large to be held or written at once: each part is asked for when
   * the one before it is durable. Without its end, which is written last, it counts for nothing. */
  compactParts(parts: Iterable<Uint8Array>): Promise<void> {
    assert(!this.writingParts, `one snapshot of ${this.path} is written at a time`);
    this.writingParts = true;
    const done = this.compactBy(async (covered) => {
      let count = 0;
      for (const part of parts) {
        await this.write(snapshotPartKind, covered, part);
        count++;
      }
      const end = Buffer.alloc(4);
      end.writeUInt32LE(count);
      await this.write(snapshotEndKind, covered, end);
    });
    return done.finally(() => {
      this.writingParts = false;
    });
  }

  private compactBy(write: (covered: number) => Promise<void>): Promise<void> {
    const covered = this.durable;
    // Submitted before the snapshot: it opens the next segment, so all before it can go.
    const sealed = this.engine.job({ op: "seal", log: this.log });
    const written = write(covered);
    // Both to their end, whatever becomes of the other: the parts of two snapshots never mix.
    const ended = Promise.allSettled([this.compacting, sealed, written]);
    const done = ended.then(() => Promise.all([sealed, written])).then(() => this.free(covered));
    // A failed compaction is told to its caller; the next one must not fail with it.
    this.compacting = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async close(): Promise<void> {
    await this.compacting;
    await this.engine.job({ op: "close_log", log: this.log });
  }

  private async free(covered: number): Promise<void> {
    this.liveFrom = Math.max(this.liveFrom, covered);
    const job = { op: "segments", log: this.log };
    const { json } = await this.engine.job<{ segments: SegmentJson[] }>(job);
    const ids = json.segments
      .filter((segment) => segment.sealed && segment.last < covered)
      .map((segment) => segment.id);
    if (ids.length > 0) await this.engine.job({ op: "release", log: this.log, ids });
  }

  private async write(kind: number, covered: number, entry: Uint8Array): Promise<void> {
    // The engine cut the log back at the first failure: nothing may slip in behind the gap.
    if (this.failed !== null) throw this.failed;
    const bytes = Buffer.allocUnsafe(headerBytes + entry.length);
    bytes.writeUInt8(kind, 0);
    bytes.writeUInt32LE(entry.length, 1);
    bytes.writeUInt32LE(covered % high32, 5);
    bytes.writeUInt32LE(Math.floor(covered / high32), 9);
    bytes.set(entry, headerBytes);
    const position = this.next++;
    this.inFlight++;
    try {
      await this.engine.append(this.log, position, position, 1, 0, bytes);
      this.durable = position + 1;
    } catch (error) {
      this.failed ??= error;
      throw error;
    } finally {
      this.inFlight--;
      if (this.inFlight === 0 && this.failed !== null) {
        this.next = this.durable;
        this.failed = null;
      }
    }
  }

  /** The newest snapshot, then what it does not cover. Returns where what was needed begins. */
  private async walk(
    start: number,
    to: number,
    onEntry: (entry: Uint8Array) => void | Promise<void>,
  ): Promise<number> {
    const snapshot = await this.newestSnapshot(start, to);
    const from = snapshot === null ? start : Math.min(snapshot.covered, snapshot.first);
    const between: Uint8Array[] = [];
    for await (const { position, kind, covered, entry } of this.items(from, to)) {
      if (snapshot === null || position > snapshot.end) {
        if (kind === entryKind) await onEntry(entry);
        continue;
      }
      if (kind === entryKind && position >= snapshot.covered) between.push(entry);
      const isOfSnapshot = position >= snapshot.first && covered === snapshot.covered;
      if (isOfSnapshot && kind !== entryKind && kind !== snapshotEndKind) await onEntry(entry);
      if (position === snapshot.end) for (const later of between) await onEntry(later);
    }
    return from;
  }

  /** The snapshot whose end comes last. Its parts must be there: it was ended after they were. */
  private async newestSnapshot(from: number, to: number): Promise<Snapshot | null> {
    let newest: (Snapshot & { readonly expected: number; readonly found: number }) | null = null;
    let parts = { covered: -1, first: -1, count: 0 };
    for await (const { position, kind, covered, entry } of this.items(from, to)) {
      if (kind === entryKind) continue;
      if (kind === snapshotKind) {
        newest = { covered, first: position, end: position, expected: 0, found: 0 };
        continue;
      }
      if (parts.covered !== covered) parts = { covered, first: position, count: 0 };
      if (kind === snapshotPartKind) {
        parts.count++;
        continue;
      }
      const expected = Buffer.from(entry).readUInt32LE();
      newest = { covered, first: parts.first, end: position, expected, found: parts.count };
    }
    if (newest !== null && newest.expected !== newest.found) {
      const { end, expected, found } = newest;
      throw new BrokerError(
        "CHRONIK_DAMAGED",
        `${this.path} holds ${found} of the ${expected} parts of the snapshot that ends at ${end}`,
      );
    }
    return newest;
  }

  private async *items(from: number, to: number): AsyncGenerator<Item> {
    for (let at = from; at < to; ) {
      const read = await this.engine.readRange(this.log, at, to, replayBytesMax);
      if (read.nextOffset <= at) {
        throw new BrokerError("CHRONIK_DAMAGED", `${this.path} has no entry ${at}`);
      }
      yield* this.split(read.bytes, at);
      at = read.nextOffset;
    }
  }

  private *split(bytes: Uint8Array, from: number): Generator<Item> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let position = from;
    for (let at = 0; at < bytes.length; position++) {
      const length = at + headerBytes <= bytes.length ? view.getUint32(at + 1, true) : -1;
      const end = at + headerBytes + length;
      const kind = bytes[at] ?? -1;
      if (length < 0 || end > bytes.length) {
        throw new BrokerError("CHRONIK_DAMAGED", `${this.path} holds an entry cut short`);
      }
      if (kind > snapshotEndKind) {
        throw new BrokerError(
          "CHRONIK_UNKNOWN_FORMAT",
          `${this.path} holds an entry of kind ${kind}; start the newer chronik that wrote it`,
        );
      }
      const covered = view.getUint32(at + 9, true) * high32 + view.getUint32(at + 5, true);
      yield { position, kind, covered, entry: bytes.slice(at + headerBytes, end) };
      at = end;
    }
  }
}
