/** What producers were told is stored: base offset → hash of the batch's own bytes. */
export class AckedLog {
  readonly byPartition = new Map<number, Map<number, AckedBatch>>();
  count = 0;

  /** Throws when two acknowledged batches share an offset. */
  add(partition: number, batch: AckedBatch): void {
    const batches = this.byPartition.get(partition) ?? new Map<number, AckedBatch>();
    this.byPartition.set(partition, batches);
    const known = batches.get(batch.baseOffset);
    if (known && known.hash !== batch.hash) {
      throw new Error(`offset ${partition}/${batch.baseOffset} was acknowledged for two batches`);
    }
    if (!known) this.count++;
    batches.set(batch.baseOffset, batch);
  }
}

export interface AckedBatch {
  readonly baseOffset: number;
  readonly records: number;
  readonly hash: number | bigint;
}

/** Attributes to end: what the broker must keep byte for byte, and what the CRC covers. */
const keptFrom = 16;

/** Hash of what must come back unchanged: everything but base offset and leader epoch. */
export function keptHash(batch: Uint8Array): number | bigint {
  const length = new DataView(batch.buffer, batch.byteOffset).getInt32(8);
  return Bun.hash(batch.subarray(keptFrom)) + BigInt(length);
}
