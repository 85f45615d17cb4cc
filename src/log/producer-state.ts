/** Idempotence: what each producer id wrote last, and whether the next batch may follow. (pure)
 *
 * Rules of Kafka 4.x for producers without transactions: the same epoch and the same first and last
 * sequence as one of the last five batches is a retry; otherwise the sequence must go on by one,
 * wrapping at 2^31 − 1; a new epoch starts at 0; an unknown producer starts anywhere.
 *
 * Entries of batches that are not durable yet are pending. `rollBack` forgets them when the log is
 * cut back, so durable entries leave the window only when five newer ones are durable too. */

export interface ProducerBatch {
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** The batch's largest timestamp; a retry is answered with it. */
  readonly timestamp: number;
}

interface Producer {
  /** In offset order, never empty. */
  readonly batches: ProducerBatch[];
  /** Monotonic clock. */
  seenMs: number;
}

export type ProducerVerdict =
  | { readonly kind: "accept" }
  | { readonly kind: "duplicate"; readonly of: ProducerBatch }
  | { readonly kind: "stale-epoch"; readonly currentEpoch: number }
  | { readonly kind: "out-of-order"; readonly expected: number };

export const batchesKept = 5;
const sequenceMax = 0x7fff_ffff;
const evictionScan = 64;
const accept: ProducerVerdict = { kind: "accept" };

export interface ProducerStateOptions {
  /** `producer.id.expiration.ms`. */
  readonly expirationMs: number;
  /** Beyond this many the longest unseen of some is forgotten. */
  readonly producersMax: number;
}

export class ProducerState {
  private readonly producers = new Map<number, Producer>();
  private readonly options: ProducerStateOptions;

  constructor(options: ProducerStateOptions) {
    this.options = options;
  }

  get size(): number {
    return this.producers.size;
  }

  /** May this batch be appended? Changes nothing. */
  check(
    producerId: number,
    producerEpoch: number,
    firstSequence: number,
    lastSequence: number,
    nowMs: number,
  ): ProducerVerdict {
    const producer = this.producers.get(producerId);
    if (producer === undefined || this.expired(producer, nowMs)) return accept;
    const { batches } = producer;
    const last = batches[batches.length - 1];
    if (last === undefined) return accept;
    if (producerEpoch < last.producerEpoch) {
      return { kind: "stale-epoch", currentEpoch: last.producerEpoch };
    }
    if (producerEpoch > last.producerEpoch) {
      return firstSequence === 0 ? accept : { kind: "out-of-order", expected: 0 };
    }
    const oldest = Math.max(0, batches.length - batchesKept);
    for (let index = batches.length - 1; index >= oldest; index--) {
      const batch = batches[index];
      if (batch === undefined || batch.producerEpoch !== producerEpoch) break;
      if (batch.firstSequence === firstSequence && batch.lastSequence === lastSequence) {
        return { kind: "duplicate", of: batch };
      }
    }
    const expected = last.lastSequence === sequenceMax ? 0 : last.lastSequence + 1;
    return firstSequence === expected ? accept : { kind: "out-of-order", expected };
  }

  /** Records an accepted batch, pending while its last offset ≥ `durableEnd`. */
  add(producerId: number, batch: ProducerBatch, durableEnd: number, nowMs: number): void {
    let producer = this.producers.get(producerId);
    if (producer !== undefined && this.expired(producer, nowMs)) {
      this.producers.delete(producerId);
      producer = undefined;
    }
    if (producer === undefined) {
      if (this.producers.size >= this.options.producersMax) this.evictOne(durableEnd);
      producer = { batches: [], seenMs: nowMs };
      this.producers.set(producerId, producer);
    }
    producer.seenMs = nowMs;
    producer.batches.push(batch);
    if (producer.batches.length > batchesKept) trim(producer.batches, durableEnd);
  }

  /** Forgets every batch at or past `endOffset`: the log was cut back to there. */
  rollBack(endOffset: number): void {
    for (const [producerId, { batches }] of this.producers) {
      while ((batches[batches.length - 1]?.lastOffset ?? -1) >= endOffset) batches.pop();
      if (batches.length === 0) this.producers.delete(producerId);
    }
  }

  /** Forgets producers unseen for the expiration time, unless a batch of theirs is pending. */
  expire(durableEnd: number, nowMs: number): number {
    let count = 0;
    for (const [producerId, producer] of this.producers) {
      const pending = (producer.batches.at(-1)?.lastOffset ?? -1) >= durableEnd;
      if (pending || !this.expired(producer, nowMs)) continue;
      this.producers.delete(producerId);
      count++;
    }
    return count;
  }

  /** Durable state, for checkpoints and manifests: per producer its last five batches. */
  snapshot(durableEnd: number): ProducerSnapshot[] {
    const out: ProducerSnapshot[] = [];
    for (const [producerId, { batches }] of this.producers) {
      const durable = batches.filter((batch) => batch.lastOffset < durableEnd);
      trim(durable, durableEnd);
      if (durable.length > 0) out.push({ producerId, batches: durable });
    }
    return out;
  }

  /** Takes over a snapshot or a batch found by recovery; `nowMs` restarts the expiration. */
  restore(snapshot: ProducerSnapshot, nowMs: number): void {
    for (const batch of snapshot.batches) {
      this.add(snapshot.producerId, batch, Number.MAX_SAFE_INTEGER, nowMs);
    }
  }

  private expired(producer: Producer, nowMs: number): boolean {
    return nowMs - producer.seenMs >= this.options.expirationMs;
  }

  private evictOne(durableEnd: number): void {
    let victim: number | null = null;
    let seenMs = Number.POSITIVE_INFINITY;
    let scanned = 0;
    for (const [producerId, producer] of this.producers) {
      const pending = (producer.batches.at(-1)?.lastOffset ?? -1) >= durableEnd;
      if (!pending && producer.seenMs < seenMs) {
        victim = producerId;
        seenMs = producer.seenMs;
      }
      if (++scanned >= evictionScan && victim !== null) break;
    }
    if (victim !== null) this.producers.delete(victim);
  }
}

export interface ProducerSnapshot {
  readonly producerId: number;
  readonly batches: readonly ProducerBatch[];
}

/** Drops the front while what a rollback to `durableEnd` may leave still has its full window. */
function trim(batches: ProducerBatch[], durableEnd: number): void {
  let durable = batches.length;
  while (durable > 0 && (batches[durable - 1]?.lastOffset ?? -1) >= durableEnd) durable--;
  const epoch = batches[durable - 1]?.producerEpoch;
  let first = Math.max(0, durable - batchesKept);
  while (first < durable && batches[first]?.producerEpoch !== epoch) first++;
  if (first > 0) batches.splice(0, first);
}
