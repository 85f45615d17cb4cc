import { BrokerError } from "../../src/lib/errors.ts";
import type { MetadataJournal } from "../../src/metadata/ports.ts";

/** A journal in memory that can be told to fail. */
export class MemoryJournal implements MetadataJournal {
  entries: Uint8Array[] = [];
  failing = false;
  compactions = 0;
  /** Snapshots in parts wait for it. */
  snapshotGate: Promise<void> = Promise.resolve();

  async append(entry: Uint8Array): Promise<void> {
    await Promise.resolve();
    if (this.failing) throw new BrokerError("CHRONIK_DISK_FULL", "no space left");
    this.entries.push(entry.slice());
  }

  async replay(onEntry: (entry: Uint8Array) => void): Promise<void> {
    for (const entry of this.entries) onEntry(entry);
  }

  async compact(snapshot: Uint8Array): Promise<void> {
    if (this.failing) throw new BrokerError("CHRONIK_DISK_FULL", "no space left");
    this.compactions += 1;
    this.entries = [snapshot.slice()];
  }

  async compactParts(parts: Iterable<Uint8Array>): Promise<void> {
    const covered = this.entries.length;
    const snapshot: Uint8Array[] = [];
    for (const part of parts) {
      await this.snapshotGate;
      if (this.failing) throw new BrokerError("CHRONIK_DISK_FULL", "no space left");
      snapshot.push(part.slice());
    }
    this.compactions += 1;
    this.entries = [...snapshot, ...this.entries.slice(covered)];
  }
}
