import type { Entry } from "./entry.ts";

/** Which groups of a shard hold offsets of open transactions, by producer id. (pure) */
export class OpenTransactions {
  private readonly groupsOf = new Map<number, Set<Entry>>();

  opened(producerId: number, entry: Entry): void {
    const groups = this.groupsOf.get(producerId) ?? new Set<Entry>();
    this.groupsOf.set(producerId, groups.add(entry));
  }

  /** The producer's groups, which it leaves. */
  ended(producerId: number): Entry[] {
    const groups = [...(this.groupsOf.get(producerId) ?? [])];
    this.groupsOf.delete(producerId);
    return groups;
  }

  /** The group is gone. */
  forget(entry: Entry): void {
    for (const producerId of entry.offsets.transactionalProducers()) {
      const groups = this.groupsOf.get(producerId);
      groups?.delete(entry);
      if (groups?.size === 0) this.groupsOf.delete(producerId);
    }
  }
}
