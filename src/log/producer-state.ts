/** What each producer id wrote last to one partition, and its transactions. (pure)
 *
 * What is not durable yet can be undone: every change keeps what was before until `settle` passes
 * it, and `rollBack` puts that back, the windows of retries and the open transactions included. */
import type { AbortedTransaction } from "./aborted-index.ts";
import { OpenTransactions } from "./open-transactions.ts";
import {
  checkData,
  checkMarker,
  type Placed,
  type ProducerBatch,
  type ProducerData,
  type ProducerEntry,
  type ProducerMarker,
  type ProducerVerdict,
  withData,
  withMarker,
} from "./producer-entry.ts";

export interface ProducerStateOptions {
  /** `producer.id.expiration.ms` at this moment. */
  readonly expirationMs: () => number;
  /** Beyond this many the longest unseen of some is forgotten. */
  readonly producersMax: number;
  /** Beyond this many no transaction begins. */
  readonly transactionsMax: number;
  /** Whether one more abort could be remembered: without room no transaction begins. */
  readonly hasRoom: () => boolean;
}

/** One producer as DescribeProducers shows it. */
export interface ActiveProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** −1: none known. */
  readonly lastSequence: number;
  readonly lastTimestamp: number;
  /** −1 before the first marker. */
  readonly coordinatorEpoch: number;
  /** −1: no transaction is open. */
  readonly currentTxnStartOffset: number;
}

/** Durable state of one producer. */
export interface ProducerSnapshot {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly transactionStart: number;
  readonly timestamp: number;
  readonly batches: readonly ProducerBatch[];
}

interface Producer {
  entry: ProducerEntry;
  /** Monotonic clock. */
  seenMs: number;
}

/** A change that is not durable yet. */
interface Undo {
  readonly producerId: number;
  readonly lastOffset: number;
  readonly before: ProducerEntry | null;
  /** First offset of the transaction that this marker ends; −1: none. */
  readonly endsTransaction: number;
  readonly aborts: boolean;
}

const evictionScan = 64;

export class ProducerState {
  private readonly options: ProducerStateOptions;
  private readonly producers = new Map<number, Producer>();
  private readonly open = new OpenTransactions();
  /** Oldest first; everything before `undoFirst` was settled. */
  private undo: Undo[] = [];
  private undoFirst = 0;

  constructor(options: ProducerStateOptions) {
    this.options = options;
  }

  get size(): number {
    return this.producers.size;
  }

  /** Transactions that are not decided. */
  get transactions(): number {
    return this.open.size;
  }

  /** First offset of the oldest transaction whose marker is not durable. */
  get firstUnstableOffset(): number | null {
    return this.open.firstUnstableOffset;
  }

  /** The bytes in front of it, as `append` was told. */
  get firstUnstablePosition(): number | null {
    return this.open.firstUnstablePosition;
  }

  /** May this batch be appended? Changes nothing. */
  check(data: ProducerData, nowMs: number): ProducerVerdict | { readonly kind: "too-many" } {
    const entry = this.live(data.producerId, nowMs);
    const verdict = checkData(entry, data);
    const begins = data.isTransactional && (entry?.transactionStart ?? -1) < 0;
    if (verdict.kind !== "accept" || !begins) return verdict;
    const { transactionsMax, hasRoom } = this.options;
    return this.open.size < transactionsMax && hasRoom() ? verdict : { kind: "too-many" };
  }

  checkMarker(marker: ProducerMarker, nowMs: number): ProducerVerdict {
    return checkMarker(this.live(marker.producerId, nowMs), marker);
  }

  /** Whether this very epoch has a transaction open here, durable or not. */
  hasOpenTransaction(producerId: number, producerEpoch: number): boolean {
    const entry = this.producers.get(producerId)?.entry;
    return entry?.producerEpoch === producerEpoch && entry.transactionStart >= 0;
  }

  /** Records an accepted batch, pending until settled; `position` counts the log's bytes before
   * it, from the opening on. `durableEnd` says which producers may be forgotten for it. */
  append(
    data: ProducerData,
    placed: Placed,
    position: number,
    durableEnd: number,
    nowMs: number,
  ): void {
    const before = this.live(data.producerId, nowMs);
    const after = withData(before, data, placed);
    this.put(data.producerId, before, after, durableEnd, nowMs);
    if (after.transactionStart === placed.firstOffset)
      this.open.begin(placed.firstOffset, position);
    this.remember(data.producerId, before, placed.lastOffset, -1, false);
  }

  /** As `append` for a marker. */
  appendMarker(marker: ProducerMarker, placed: Placed, durableEnd: number, nowMs: number): void {
    const before = this.live(marker.producerId, nowMs);
    this.put(marker.producerId, before, withMarker(before, marker, placed), durableEnd, nowMs);
    const ends = before?.transactionStart ?? -1;
    this.remember(marker.producerId, before, placed.lastOffset, ends, !marker.commit);
  }

  /** Everything below `endOffset` is durable and stays: its markers decide. Returns what they
   * aborted, in the order of the markers. */
  settle(endOffset: number): AbortedTransaction[] {
    const aborted: AbortedTransaction[] = [];
    for (;;) {
      const next = this.undo[this.undoFirst];
      if (next === undefined || next.lastOffset >= endOffset) break;
      this.undoFirst++;
      if (next.endsTransaction >= 0) this.decide(next, aborted);
    }
    this.compactUndo();
    return aborted;
  }

  /** Forgets every batch and marker at or past `endOffset`: the log was cut back to there. */
  rollBack(endOffset: number): void {
    for (;;) {
      const last = this.undo.length > this.undoFirst ? this.undo.at(-1) : undefined;
      if (last === undefined || last.lastOffset < endOffset) break;
      this.undo.pop();
      this.takeBack(last);
    }
    this.compactUndo();
  }

  /** Forgets producers unseen for the expiration time, unless something of theirs is pending or a
   * transaction is open. */
  expire(durableEnd: number, nowMs: number): number {
    let count = 0;
    for (const [producerId, producer] of this.producers) {
      if (!this.expired(producer, nowMs) || isHeld(producer.entry, durableEnd)) continue;
      this.producers.delete(producerId);
      count++;
    }
    return count;
  }

  /** Durable state, for checkpoints and manifests. */
  snapshot(durableEnd: number): ProducerSnapshot[] {
    const pending = new Map<number, ProducerEntry | null>();
    for (let at = this.undoFirst; at < this.undo.length; at++) {
      const change = this.undo[at];
      if (change === undefined || change.lastOffset < durableEnd) continue;
      if (!pending.has(change.producerId)) pending.set(change.producerId, change.before);
    }
    const out: ProducerSnapshot[] = [];
    for (const [producerId, { entry: current }] of this.producers) {
      const before = pending.get(producerId);
      const entry = before === undefined ? current : before;
      if (entry === null) continue;
      const { producerEpoch, coordinatorEpoch, transactionStart, timestamp, batches } = entry;
      const fields = { producerEpoch, coordinatorEpoch, transactionStart, timestamp, batches };
      out.push({ producerId, ...fields });
    }
    return out;
  }

  /** Takes over a snapshot; `positionOf` counts the bytes in front of an offset, `nowMs` restarts
   * the expiration. */
  restore(
    snapshots: readonly ProducerSnapshot[],
    positionOf: (offset: number) => number,
    nowMs: number,
  ): void {
    for (const { producerId, ...fields } of snapshots) {
      const entry = { ...fields, lastOffset: -1 };
      this.put(producerId, null, entry, Number.MAX_SAFE_INTEGER, nowMs);
    }
    const starts = snapshots.map(({ transactionStart }) => transactionStart);
    starts.sort((a, b) => a - b);
    for (const start of starts) if (start >= 0) this.open.begin(start, positionOf(start));
  }

  active(): ActiveProducer[] {
    return Array.from(this.producers, ([producerId, { entry }]) => ({
      producerId,
      producerEpoch: entry.producerEpoch,
      lastSequence: entry.batches.at(-1)?.lastSequence ?? -1,
      lastTimestamp: entry.timestamp,
      coordinatorEpoch: entry.coordinatorEpoch,
      currentTxnStartOffset: entry.transactionStart,
    }));
  }

  private live(producerId: number, nowMs: number): ProducerEntry | null {
    const producer = this.producers.get(producerId);
    return producer === undefined || this.expired(producer, nowMs) ? null : producer.entry;
  }

  private expired({ entry, seenMs }: Producer, nowMs: number): boolean {
    return entry.transactionStart < 0 && nowMs - seenMs >= this.options.expirationMs();
  }

  private put(
    producerId: number,
    before: ProducerEntry | null,
    after: ProducerEntry,
    durableEnd: number,
    nowMs: number,
  ): void {
    const known = this.producers.get(producerId);
    if (known !== undefined && before !== null) {
      known.entry = after;
      known.seenMs = nowMs;
      return;
    }
    // A producer that expired begins anew, at the end of the map.
    this.producers.delete(producerId);
    if (this.producers.size >= this.options.producersMax) this.evictOne(durableEnd);
    this.producers.set(producerId, { entry: after, seenMs: nowMs });
  }

  private remember(
    producerId: number,
    before: ProducerEntry | null,
    lastOffset: number,
    endsTransaction: number,
    aborts: boolean,
  ): void {
    this.undo.push({ producerId, lastOffset, before, endsTransaction, aborts });
  }

  private decide(marker: Undo, aborted: AbortedTransaction[]): void {
    const { producerId, lastOffset, endsTransaction: firstOffset } = marker;
    this.open.forget(firstOffset);
    if (!marker.aborts) return;
    const unstable = this.open.firstUnstableOffset ?? lastOffset + 1;
    const lastStableOffset = Math.min(unstable, lastOffset + 1);
    aborted.push({ producerId, firstOffset, lastOffset, lastStableOffset });
  }

  private takeBack({ producerId, before }: Undo): void {
    const producer = this.producers.get(producerId);
    const begun = producer?.entry.transactionStart ?? -1;
    if (begun >= 0 && begun !== before?.transactionStart) this.open.forget(begun);
    if (before === null) this.producers.delete(producerId);
    else if (producer !== undefined) producer.entry = before;
  }

  private compactUndo(): void {
    if (this.undoFirst === this.undo.length) {
      this.undo.length = 0;
      this.undoFirst = 0;
    } else if (this.undoFirst >= 1024) {
      this.undo = this.undo.slice(this.undoFirst);
      this.undoFirst = 0;
    }
  }

  private evictOne(durableEnd: number): void {
    let victim: number | null = null;
    let seenMs = Number.POSITIVE_INFINITY;
    let scanned = 0;
    for (const [producerId, producer] of this.producers) {
      if (!isHeld(producer.entry, durableEnd) && producer.seenMs < seenMs) {
        victim = producerId;
        seenMs = producer.seenMs;
      }
      if (++scanned >= evictionScan && victim !== null) break;
    }
    if (victim !== null) this.producers.delete(victim);
  }
}

/** Neither expires nor is evicted: something is pending, or a transaction is open. */
function isHeld(entry: ProducerEntry, durableEnd: number): boolean {
  return entry.lastOffset >= durableEnd || entry.transactionStart >= 0;
}
