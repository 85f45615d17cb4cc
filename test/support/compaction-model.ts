/** What a compacted log must hold, by a reference that is nothing but Kafka's rules over a list. */

export interface ModelRecord {
  readonly offset: number;
  readonly key: string | null;
  /** null: a tombstone. */
  readonly value: string | null;
  readonly timestamp: number;
  /** Base offset of its batch. */
  readonly batch: number;
  /** null: not of a transaction. */
  readonly producer: number | null;
}

/** A record as a reader sees it. */
export type Seen = Pick<ModelRecord, "offset" | "key" | "value" | "timestamp">;

interface Held extends ModelRecord {
  fate: "counts" | "open" | "aborted";
  alive: boolean;
}

/** What a cleaning went by. */
export interface ModelRound {
  /** Every key below was taken into the map. */
  readonly mapEnd: number;
  /** Last offset of what was rewritten. */
  readonly rewrittenTo: number;
  readonly nowMs: number;
  readonly retentionMs: number;
}

export class CompactionModel {
  private readonly records: Held[] = [];
  /** Until when the tombstones of a batch stay, once they were found to be last. */
  private readonly horizons = new Map<number, number>();

  add(record: ModelRecord): void {
    this.records.push({
      ...record,
      fate: record.producer === null ? "counts" : "open",
      alive: true,
    });
  }

  /** The producer's open transaction is decided. */
  end(producer: number, commit: boolean): void {
    for (const record of this.records) {
      if (record.producer === producer && record.fate === "open") {
        record.fate = commit ? "counts" : "aborted";
      }
    }
  }

  clean({ mapEnd, rewrittenTo, nowMs, retentionMs }: ModelRound): void {
    const last = new Map<string, number>();
    for (const { offset, key, fate } of this.records) {
      if (offset < mapEnd && key !== null && fate === "counts") last.set(key, offset);
    }
    const found = new Set<number>();
    for (const record of this.records) {
      const { offset, key, value, fate, batch } = record;
      if (!record.alive || offset > rewrittenTo) continue;
      if (fate === "aborted") record.alive = false;
      if (fate !== "counts") continue;
      const isKnown = offset < mapEnd;
      if (key === null) record.alive = !isKnown;
      else if ((last.get(key) ?? -1) > offset) record.alive = false;
      else if (value === null && isKnown) {
        const horizon = this.horizons.get(batch);
        record.alive = horizon === undefined || nowMs < horizon;
        if (record.alive && horizon === undefined) found.add(batch);
      }
    }
    for (const batch of found) this.horizons.set(batch, nowMs + retentionMs);
  }

  visible(committedBelow: number | null): Seen[] {
    return this.records
      .filter(({ alive, offset, fate }) => {
        if (!alive) return false;
        return committedBelow === null || (offset < committedBelow && fate === "counts");
      })
      .map(({ offset, key, value, timestamp }) => ({ offset, key, value, timestamp }));
  }

  /** Key to last value of what counts below `end`, tombstones applied. */
  table(end: number): Map<string, string> {
    return tableOf(this.records.filter(({ offset, fate }) => offset < end && fate === "counts"));
  }

  get removed(): number {
    return this.records.filter(({ alive }) => !alive).length;
  }
}

export function tableOf(records: readonly Pick<Seen, "key" | "value">[]): Map<string, string> {
  const table = new Map<string, string>();
  for (const { key, value } of records) {
    if (key === null) continue;
    if (value === null) table.delete(key);
    else table.set(key, value);
  }
  return table;
}
