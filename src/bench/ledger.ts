/** What one partition took (or gave back), in a form that compares and does not grow. */
export class Ledger {
  records = 0;
  batches = 0;
  /** Sums over batches, so that their order does not matter. */
  private first = 0;
  private second = 0;

  /** `batchCrc` is the batch's own checksum: it covers everything the broker must not change. */
  add(baseOffset: number, count: number, batchCrc: number): void {
    this.records += count;
    this.batches += 1;
    const low = Math.imul(baseOffset >>> 0, 0x9e37_79b1) ^ Math.imul(count, 0x85eb_ca6b);
    const high = Math.floor(baseOffset / 2 ** 32);
    this.first = (this.first + mix(low ^ batchCrc)) >>> 0;
    this.second = (this.second + mix(low + Math.imul(batchCrc, 0xc2b2_ae35) + high)) >>> 0;
  }

  get digest(): string {
    return [this.first, this.second].map((part) => part.toString(16).padStart(8, "0")).join("");
  }
}

function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x7feb_352d);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x846c_a68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
