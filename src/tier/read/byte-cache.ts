/** A bounded cache, least recently used out first; concurrent loads of one key share one load. */
export class ByteCache<V> {
  private readonly bytesMax: number;
  private readonly sizeOf: (value: V) => number;
  private readonly entries = new Map<string, V>();
  private readonly loading = new Map<string, Promise<V>>();
  private held = 0;

  constructor(bytesMax: number, sizeOf: (value: V) => number) {
    this.bytesMax = bytesMax;
    this.sizeOf = sizeOf;
  }

  get bytes(): number {
    return this.held;
  }

  /** What is held, by key. */
  *sizes(): Generator<[key: string, bytes: number]> {
    for (const [key, value] of this.entries) yield [key, this.sizeOf(value)];
  }

  /** Whether `get` would load nothing. */
  has(key: string): boolean {
    return this.entries.has(key) || this.loading.has(key);
  }

  get(key: string, load: () => Promise<V>): Promise<V> {
    const cached = this.entries.get(key);
    if (cached !== undefined) {
      this.entries.delete(key);
      this.entries.set(key, cached);
      return Promise.resolve(cached);
    }
    const pending = this.loading.get(key);
    if (pending) return pending;
    const loaded = load()
      .then((value) => {
        this.put(key, value);
        return value;
      })
      .finally(() => this.loading.delete(key));
    this.loading.set(key, loaded);
    return loaded;
  }

  private put(key: string, value: V): void {
    const bytes = this.sizeOf(value);
    if (bytes > this.bytesMax) return;
    this.entries.set(key, value);
    this.held += bytes;
    for (const [oldKey, old] of this.entries) {
      if (this.held <= this.bytesMax) break;
      this.entries.delete(oldKey);
      this.held -= this.sizeOf(old);
    }
  }
}
