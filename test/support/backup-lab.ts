import { Backup } from "../../src/backup/backup.ts";
import type { BackupPartition, BackupSegment, JournalSource } from "../../src/backup/ports.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { buildBatch } from "../../src/protocol/records.ts";
import { FakeClock } from "./fake-clock.ts";
import type { MemoryStore } from "./memory-store.ts";
import { silentLogger } from "./silent-logger.ts";

const encoder = new TextEncoder();

/** A journal in memory; `snapshot` replaces all there is. */
export class LabJournal implements JournalSource {
  liveStart = 0;
  entries: { readonly position: number; readonly entry: Uint8Array }[] = [];
  durableEnd = 0;
  copies: (number | null)[] = [];

  append(text: string): void {
    this.entries.push({ position: this.durableEnd++, entry: encoder.encode(text) });
  }

  snapshot(text: string): void {
    this.liveStart = this.durableEnd;
    this.entries = [];
    this.append(text);
  }

  async copy(
    from: number | null,
    to: number,
    onEntry: (entry: Uint8Array) => Promise<void>,
  ): Promise<void> {
    this.copies.push(from);
    for (const { position, entry } of this.entries) {
      if (position >= (from ?? 0) && position < to) await onEntry(entry);
    }
  }
}

/** A log of batches of one record each, at chosen offsets. */
export class LabPartition implements BackupPartition {
  readonly topicId: string;
  readonly internal: boolean;
  readonly isOpen = true;
  damage: unknown = null;
  logStartOffset = 0;
  highWatermark = 0;
  list: BackupSegment[] = [];
  batches: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  /** Runs at the next read. */
  onRead: (() => void) | null = null;
  readonly topic: string;
  readonly index: number;

  constructor(topic: string, topicId: string, index: number, internal: boolean) {
    this.topic = topic;
    this.topicId = topicId;
    this.index = index;
    this.internal = internal;
  }

  get bytes(): number {
    return this.batches.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  append(key: string): void {
    const record = { offsetDelta: 0, timestamp: 1, value: null, headers: [] };
    const offset = this.highWatermark++;
    const bytes = buildBatch(
      [{ ...record, key: encoder.encode(key) }],
      { baseOffset: offset },
      crc32c,
    );
    this.batches.push({ offset, bytes });
  }

  segments(): readonly BackupSegment[] {
    return this.list;
  }

  leaderEpochs(): readonly (readonly [number, number])[] {
    return [[0, 0]];
  }

  async read({ offset, offsetLimit }: { offset: number; offsetLimit: number }) {
    const { onRead } = this;
    this.onRead = null;
    onRead?.();
    const next = this.batches.find((one) => one.offset >= offset && one.offset < offsetLimit);
    if (next === undefined) return { errorCode: 0, chunks: [], bytes: 0, nextOffset: offsetLimit };
    const { bytes } = next;
    return { errorCode: 0, chunks: [bytes], bytes: bytes.length, nextOffset: next.offset + 1 };
  }
}

export interface BackupLab {
  readonly backup: Backup;
  readonly registry: LabJournal;
  readonly metadata: LabJournal;
  readonly partitions: LabPartition[];
  readonly clock: FakeClock;
}

let runs = 0;

/** A backup over memory. */
export function backupLab(store: MemoryStore, changes: { enabled?: boolean } = {}): BackupLab {
  const clock = new FakeClock();
  const registry = new LabJournal();
  const metadata = new LabJournal();
  const partitions: LabPartition[] = [];
  const backup = new Backup({
    enabled: changes.enabled ?? true,
    store,
    sources: { registry, metadata, partitions: () => partitions },
    clusterId: "lab",
    nodeId: 1,
    intervalMs: 60_000,
    stopMsMax: 1_000,
    // Pauses take no time here; the interval and the stop are the fake clock's.
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      schedule(delayMs, task) {
        if (delayMs > 0) return clock.schedule(delayMs, task);
        queueMicrotask(task);
        return { cancel: () => undefined };
      },
      soon: (task) => queueMicrotask(task),
    },
    logger: silentLogger(),
    newRun: () => `run-${runs++}`,
    faultPoint: () => Promise.resolve(),
  });
  return { backup, registry, metadata, partitions, clock };
}
