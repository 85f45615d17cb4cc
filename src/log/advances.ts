/** Told of the bytes that the high watermark moved over, and of those that the last stable offset
 * did; of 0 and 0 when the partition was closed. */
export type AdvanceListener = (bytes: number, stableBytes: number) => void;

/** How far readers of a partition came since its opening, and who waits for more. (pure) */
export class Advances {
  /** Bytes that the high watermark moved over. */
  bytes = 0;
  /** Bytes that the last stable offset moved over; negative where it stood, at the opening, that
   * many before the end. */
  stableBytes: number;
  private readonly listeners = new Set<AdvanceListener>();

  constructor(stableBytes: number) {
    this.stableBytes = stableBytes;
  }

  listen(listener: AdvanceListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  advance(bytes: number, stableBytes: number): void {
    this.bytes += bytes;
    this.stableBytes += stableBytes;
    for (const listener of this.listeners) listener(bytes, stableBytes);
  }

  close(): void {
    for (const listener of this.listeners) listener(0, 0);
    this.listeners.clear();
  }
}
