/** How far a partition may be read: everything below is durable where it must be. (pure)
 *
 * Standalone, that is the local durable end; a cluster adds its followers' ends here. It never
 * goes back. */
export class HighWatermark {
  private offset: number;

  constructor(offset: number) {
    this.offset = offset;
  }

  get value(): number {
    return this.offset;
  }

  /** True when the mark moved. */
  localDurable(endOffset: number): boolean {
    if (endOffset <= this.offset) return false;
    this.offset = endOffset;
    return true;
  }
}
