/** What is counted for each of many, the least recently used forgotten first. (pure) */
export class Recent<T> {
  private readonly sizeMax: number;
  private readonly ageMsMax: number;
  private readonly create: () => T;
  private readonly entries = new Map<string, { readonly value: T; usedMs: number }>();

  constructor(sizeMax: number, ageMsMax: number, create: () => T) {
    this.sizeMax = sizeMax;
    this.ageMsMax = ageMsMax;
    this.create = create;
  }

  get size(): number {
    return this.entries.size;
  }

  use(key: string, nowMs: number): T {
    const entry = this.entries.get(key) ?? { value: this.create(), usedMs: nowMs };
    entry.usedMs = nowMs;
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const [oldest, { usedMs }] of this.entries) {
      if (this.entries.size <= this.sizeMax && nowMs - usedMs <= this.ageMsMax) break;
      this.entries.delete(oldest);
    }
    return entry.value;
  }

  clear(): void {
    this.entries.clear();
  }
}
