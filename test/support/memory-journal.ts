import type { RegistryJournal } from "../../src/tier/ports.ts";

/** A journal in memory; `failNext` makes the next append fail as a full disk would. */
export class MemoryJournal implements RegistryJournal {
  entries: Uint8Array[] = [];
  failNext: Error | null = null;
  compactions = 0;

  append(entry: Uint8Array): Promise<void> {
    if (this.failNext) {
      const error = this.failNext;
      this.failNext = null;
      return Promise.reject(error);
    }
    this.entries.push(entry.slice());
    return Promise.resolve();
  }

  replay(onEntry: (entry: Uint8Array) => void): Promise<void> {
    for (const entry of this.entries) onEntry(entry);
    return Promise.resolve();
  }

  compact(snapshot: Uint8Array): Promise<void> {
    this.entries = [snapshot.slice()];
    this.compactions++;
    return Promise.resolve();
  }
}
