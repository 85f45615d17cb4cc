/** What one producer id wrote last to a partition, and what may follow: Kafka 4.x's rules for
 * idempotence and for transactions of version 1 and 2 (KIP-98, KIP-890). Values. (pure) */

export interface ProducerBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** The batch's largest timestamp, milliseconds; a retry is answered with it. */
  readonly timestamp: number;
}

export interface ProducerEntry {
  readonly producerEpoch: number;
  /** Of the last marker; −1 before the first. */
  readonly coordinatorEpoch: number;
  /** First offset of the open transaction; −1: none is open. */
  readonly transactionStart: number;
  /** Of the last batch or marker, milliseconds. */
  readonly timestamp: number;
  /** Of the last batch or marker. */
  readonly lastOffset: number;
  /** The last batches of this epoch that carried sequences, oldest first, five at most. */
  readonly batches: readonly ProducerBatch[];
}

/** A batch of a producer id. `baseSequence` −1: a coordinator wrote it, without sequences. */
export interface ProducerData {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly isTransactional: boolean;
  /** Version 2 ends every transaction with a new epoch, so an unknown producer starts at 0. */
  readonly transactionVersion: number;
}

/** The end of a transaction in this partition. */
export interface ProducerMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly commit: boolean;
  readonly transactionVersion: number;
}

/** Where a batch or marker came to lie. */
export interface Placed {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly timestamp: number;
}

export type ProducerVerdict =
  | { readonly kind: "accept" }
  | { readonly kind: "duplicate"; readonly of: ProducerBatch }
  | { readonly kind: "stale-epoch"; readonly currentEpoch: number }
  | { readonly kind: "out-of-order"; readonly expected: number }
  /** A write outside the transaction that is open. */
  | { readonly kind: "open-transaction" }
  /** A marker of a coordinator that was replaced. */
  | { readonly kind: "stale-coordinator"; readonly currentEpoch: number };

export const batchesKept = 5;
const sequenceMax = 0x7fff_ffff;
const epochMax = 0x7fff;
const markerVersion2 = 2;
const accept: ProducerVerdict = { kind: "accept" };

/** May this batch follow? The same epoch and the same first and last sequence as one of the last
 * five batches is a retry; otherwise the sequence goes on by one, wrapping at 2^31 − 1, a new epoch
 * starts at 0, and an unknown producer starts anywhere. */
export function checkData(entry: ProducerEntry | null, data: ProducerData): ProducerVerdict {
  const { producerEpoch, baseSequence, lastSequence } = data;
  const hasSequence = baseSequence >= 0;
  if (entry === null) {
    const fromZero = hasSequence && data.transactionVersion >= markerVersion2;
    return fromZero && baseSequence !== 0 ? { kind: "out-of-order", expected: 0 } : accept;
  }
  if (producerEpoch < entry.producerEpoch) {
    return { kind: "stale-epoch", currentEpoch: entry.producerEpoch };
  }
  if (hasSequence) {
    const { batches } = entry;
    const isSameEpoch = producerEpoch === entry.producerEpoch;
    for (let index = isSameEpoch ? batches.length - 1 : -1; index >= 0; index--) {
      const batch = batches[index];
      if (batch?.firstSequence === baseSequence && batch.lastSequence === lastSequence) {
        return { kind: "duplicate", of: batch };
      }
    }
    const last = isSameEpoch ? (batches.at(-1)?.lastSequence ?? -1) : -1;
    const expected = last === sequenceMax ? 0 : last + 1;
    if (baseSequence !== expected) return { kind: "out-of-order", expected };
  }
  const mixes = entry.transactionStart >= 0 && !data.isTransactional;
  return mixes ? { kind: "open-transaction" } : accept;
}

/** May this marker follow? Version 2: its epoch is above the producer's; the same epoch is taken
 * only as the repeat of a marker already written, when nothing is open (or no epoch is left). */
export function checkMarker(entry: ProducerEntry | null, marker: ProducerMarker): ProducerVerdict {
  if (entry === null) return accept;
  const { producerEpoch, transactionVersion } = marker;
  const isRepeat =
    producerEpoch === entry.producerEpoch &&
    (transactionVersion < markerVersion2 ||
      entry.transactionStart < 0 ||
      producerEpoch === epochMax);
  if (producerEpoch <= entry.producerEpoch && !isRepeat) {
    return { kind: "stale-epoch", currentEpoch: entry.producerEpoch };
  }
  if (marker.coordinatorEpoch < entry.coordinatorEpoch) {
    return { kind: "stale-coordinator", currentEpoch: entry.coordinatorEpoch };
  }
  return accept;
}

export function withData(
  entry: ProducerEntry | null,
  data: ProducerData,
  placed: Placed,
): ProducerEntry {
  const { producerEpoch, baseSequence, lastSequence } = data;
  const { firstOffset, lastOffset, timestamp } = placed;
  const window = entry?.producerEpoch === producerEpoch ? entry.batches : [];
  const open = entry?.transactionStart ?? -1;
  const batch = { firstSequence: baseSequence, lastSequence, firstOffset, lastOffset, timestamp };
  return {
    producerEpoch,
    coordinatorEpoch: entry?.coordinatorEpoch ?? -1,
    transactionStart: open < 0 && data.isTransactional ? firstOffset : open,
    timestamp,
    lastOffset,
    batches: baseSequence < 0 ? window : [...window.slice(1 - batchesKept), batch],
  };
}

export function withMarker(
  entry: ProducerEntry | null,
  marker: ProducerMarker,
  placed: Placed,
): ProducerEntry {
  const { producerEpoch, coordinatorEpoch } = marker;
  return {
    producerEpoch,
    coordinatorEpoch,
    transactionStart: -1,
    timestamp: placed.timestamp,
    lastOffset: placed.lastOffset,
    batches: entry?.producerEpoch === producerEpoch ? entry.batches : [],
  };
}
