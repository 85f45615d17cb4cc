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

interface Item {
  readonly position: number;
  readonly entry: Uint8Array;
}

const replayBytesMax = 4 << 20;
const headerBytes = 13;
const entryKind = 0;
const snapshotKind = 1;
const high32 = 0x1_0000_0000;

/**
 * A durable list of opaque entries on an engine log: the metadata journal and the segment registry
 * stand on it. Each entry is wrapped, little-endian, as {u8 kind (0 entry, 1 snapshot), u32 length,
 * u64 covered, bytes}: the engine gives entries back to back. A snapshot replaces the entries at
 * positions below `covered`; those in flight when it was taken come after it at replay.
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

  /** Hands over the durable entries at [from, to) as they lie there, in order, a snapshot with the
   * position below which it replaces them; for copies. Rejects when they are gone. */
  async scan(
    from: number,
    to: number,
    onEntry: (entry: Uint8Array, position: number, covered: number | null) => Promise<void>,
  ): Promise<void> {
    for (let at = from; at < to; ) {
      const read = await this.engine.readRange(this.log, at, to, replayBytesMax);
      if (read.nextOffset <= at) {
        throw new BrokerError("CHRONIK_DAMAGED", `${this.path} has no entry ${at}`);
      }
      for (const { item, covered } of this.split(read.bytes, at)) {
        if (item.position >= from) await onEntry(item.entry, item.position, covered);
      }
      at = read.nextOffset;
    }
  }

  /** Durable when resolved; rejects with NativeError. Calls are kept in order. */
  append(entry: Uint8Array): Promise<void> {
    return this.write(entryKind, 0, entry);
  }

  /** Hands over the newest snapshot, if any, first, then what it does not cover, in order. Call it
   * once, before the first append. */
  async replay(onEntry: (entry: Uint8Array) => void): Promise<void> {
    let snapshot: Item | null = null;
    let pending: Item[] = [];
    let at = this.start;
    while (at < this.next) {
      const read = await this.engine.readRange(this.log, at, this.next, replayBytesMax);
      if (read.nextOffset <= at) {
        throw new BrokerError("CHRONIK_DAMAGED", `${this.path} has no entry ${at}`);
      }
      for (const { item, covered } of this.split(read.bytes, at)) {
        if (covered === null) {
          pending.push(item);
          continue;
        }
        snapshot = item;
        pending = pending.filter((earlier) => earlier.position >= covered);
        this.liveFrom = pending[0]?.position ?? item.position;
      }
      at = read.nextOffset;
    }
    if (snapshot !== null) onEntry(snapshot.entry);
    for (const { entry } of pending) onEntry(entry);
  }

  /** Writes `snapshot`, which holds every entry whose append has resolved by now, and frees the
   * segments it makes unneeded. */
  compact(snapshot: Uint8Array): Promise<void> {
    const covered = this.durable;
    // Submitted before the snapshot: it opens the next segment, so all before it can go.
    const sealed = this.engine.job({ op: "seal", log: this.log });
    const written = this.write(snapshotKind, covered, snapshot);
    const done = Promise.all([this.compacting, sealed, written]).then(() => this.free(covered));
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

  private *split(
    bytes: Uint8Array,
    from: number,
  ): Generator<{ item: Item; covered: number | null }> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let position = from;
    for (let at = 0; at < bytes.length; position++) {
      const length = at + headerBytes <= bytes.length ? view.getUint32(at + 1, true) : -1;
      const end = at + headerBytes + length;
      if (length < 0 || end > bytes.length) {
        throw new BrokerError("CHRONIK_DAMAGED", `${this.path} holds an entry cut short`);
      }
      const covered = view.getUint32(at + 9, true) * high32 + view.getUint32(at + 5, true);
      const item = { position, entry: bytes.slice(at + headerBytes, end) };
      yield { item, covered: bytes[at] === snapshotKind ? covered : null };
      at = end;
    }
  }
}
