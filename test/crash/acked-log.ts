import { type BatchHeader, sizeInBytes } from "../../src/protocol/record-batch.ts";

export interface AckedBatch {
  readonly baseOffset: number;
  readonly records: number;
  readonly hash: bigint;
}

/** What producers were told is stored: `topic-partition` → base offset → the batch's own bytes. */
export class AckedLog {
  readonly byPartition = new Map<string, Map<number, AckedBatch>>();
  count = 0;

  /** Throws when two acknowledged batches share an offset. */
  add(partition: string, batch: AckedBatch): void {
    const batches = this.of(partition);
    const known = batches.get(batch.baseOffset);
    if (known && known.hash !== batch.hash) {
      throw new Error(`offset ${partition}/${batch.baseOffset} was acknowledged for two batches`);
    }
    if (!known) this.count++;
    batches.set(batch.baseOffset, batch);
  }

  of(partition: string): Map<number, AckedBatch> {
    let batches = this.byPartition.get(partition);
    if (!batches) {
      batches = new Map();
      this.byPartition.set(partition, batches);
    }
    return batches;
  }
}

export function partitionName(topic: string, index: number): string {
  return `${topic}-${index}`;
}

/** Magic and CRC, attributes to end: all but base offset, length and leader epoch. */
const keptFrom = 16;

/** Hash of what must come back unchanged: everything but base offset and leader epoch. */
export function keptHash(batch: Uint8Array, position: number, header: BatchHeader): bigint {
  const size = sizeInBytes(header);
  return BigInt(Bun.hash(batch.subarray(position + keptFrom, position + size))) ^ BigInt(size);
}
