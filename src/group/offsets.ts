import { assert } from "../lib/assert.ts";
import { zeroUuid } from "../protocol/uuid.ts";
import { TransactionalOffsets } from "./transactional-offsets.ts";

/** One committed offset. */
export interface CommittedOffset {
  readonly offset: number;
  /** −1 when the client gave none. */
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly commitTimestampMs: number;
  /** −1: kept for the broker's retention time. Only OffsetCommit v2 to v4 can say otherwise. */
  readonly expireTimestampMs: number;
  /** The topic it was committed for; the zero uuid when that is not known. */
  readonly topicId: string;
}

/** How old offsets of a group become before they go; null: they stay. */
export interface ExpiryRule {
  /** null: each offset counts from its own commit. */
  readonly sinceMs: number | null;
}

/**
 * The committed offsets of one group: pure data. What is being written is `pending` and invisible;
 * it becomes visible when it is durable, in the order of the log. Offsets of an open transaction
 * become visible when its commit marker is durable.
 */
export class GroupOffsets {
  private readonly topics = new Map<string, Map<number, CommittedOffset>>();
  private readonly pending = new Map<string, Map<number, number>>();
  private readonly transactional = new TransactionalOffsets();
  /** Places of committed offsets among all changes, which came in the order of the log. */
  private readonly orders = new WeakMap<CommittedOffset, number>();
  private order = 0;
  private offsetBytes = 0;
  private pendingCount = 0;

  /** Bytes held, roughly. */
  get sizeBytes(): number {
    return this.offsetBytes;
  }

  get isEmpty(): boolean {
    return this.topics.size === 0 && this.pendingCount === 0 && this.transactional.isEmpty;
  }

  get hasPending(): boolean {
    return this.pendingCount > 0;
  }

  get(topic: string, partition: number): CommittedOffset | null {
    return this.topics.get(topic)?.get(partition) ?? null;
  }

  /** Every topic with its offsets, in the order of their first commits. */
  all(): ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>> {
    return this.topics;
  }

  /** Producers with offsets in an open transaction. */
  transactionalProducers(): IterableIterator<number> {
    return this.transactional.producers();
  }

  /** Does an open transaction hold an offset of the partition? */
  isUnstable(topic: string, partition: number): boolean {
    return this.transactional.has(topic, partition);
  }

  /** Every offset of a topic, those of open transactions too; a partition may come twice. */
  *ofTopic(topic: string): Generator<{ partition: number; committed: CommittedOffset }> {
    for (const [partition, committed] of this.topics.get(topic) ?? []) {
      yield { partition, committed };
    }
    yield* this.transactional.ofTopic(topic);
  }

  /** A durable commit inside a transaction. */
  applyTransactional(
    producerId: number,
    topic: string,
    partition: number,
    committed: CommittedOffset,
  ): void {
    const offset = { committed, order: ++this.order };
    const before = this.transactional.set(producerId, topic, partition, offset);
    if (before !== null) this.offsetBytes -= offsetBytes(topic, before);
    this.offsetBytes += offsetBytes(topic, committed);
  }

  /** A durable marker: the producer's offsets count from now on, or never will. */
  endTransaction(producerId: number, commit: boolean): void {
    for (const { topic, partition, committed, order } of this.transactional.end(producerId)) {
      this.offsetBytes -= offsetBytes(topic, committed);
      const current = this.get(topic, partition);
      // What was written later has the last word, also where it was committed earlier.
      const isLater = current !== null && (this.orders.get(current) ?? 0) > order;
      if (commit && !isLater) this.put(topic, partition, committed, order);
    }
  }

  /** A durable commit (or, with null, a durable deletion). */
  apply(topic: string, partition: number, committed: CommittedOffset | null): void {
    this.put(topic, partition, committed, ++this.order);
    if (committed !== null) return;
    for (const gone of this.transactional.remove(topic, partition)) {
      this.offsetBytes -= offsetBytes(topic, gone);
    }
  }

  private put(
    topic: string,
    partition: number,
    committed: CommittedOffset | null,
    order: number,
  ): void {
    const partitions = this.topics.get(topic) ?? new Map<number, CommittedOffset>();
    const before = partitions.get(partition);
    if (before !== undefined) this.offsetBytes -= offsetBytes(topic, before);
    if (committed === null) {
      partitions.delete(partition);
    } else {
      partitions.set(partition, committed);
      this.orders.set(committed, order);
      this.offsetBytes += offsetBytes(topic, committed);
    }
    if (partitions.size === 0) this.topics.delete(topic);
    else this.topics.set(topic, partitions);
  }

  beginWrite(topic: string, partition: number): void {
    const partitions = this.pending.get(topic) ?? new Map<number, number>();
    partitions.set(partition, (partitions.get(partition) ?? 0) + 1);
    this.pending.set(topic, partitions);
    this.pendingCount++;
  }

  endWrite(topic: string, partition: number): void {
    const partitions = this.pending.get(topic);
    const count = partitions?.get(partition) ?? 0;
    assert(partitions !== undefined && count > 0, `no write under way for ${topic}-${partition}`);
    if (count === 1) partitions.delete(partition);
    else partitions.set(partition, count - 1);
    if (partitions.size === 0) this.pending.delete(topic);
    this.pendingCount--;
  }

  /** Is there an offset now, or will there be one when the writes under way are done? */
  hasOrWillHave(topic: string, partition: number): boolean {
    const isWritten = this.get(topic, partition) !== null || this.isUnstable(topic, partition);
    return isWritten || this.isPending(topic, partition);
  }

  isPending(topic: string, partition: number): boolean {
    return (this.pending.get(topic)?.get(partition) ?? 0) > 0;
  }

  /** Every partition `hasOrWillHave` is true for. */
  partitions(): { topic: string; partition: number }[] {
    const found: { topic: string; partition: number }[] = [];
    for (const [topic, partitions] of this.topics) {
      for (const partition of partitions.keys()) found.push({ topic, partition });
    }
    for (const [topic, partitions] of this.pending) {
      for (const partition of partitions.keys()) {
        if (this.get(topic, partition) === null) found.push({ topic, partition });
      }
    }
    for (const { topic, partition } of this.transactional.partitions()) {
      const isFound = this.get(topic, partition) !== null || this.isPending(topic, partition);
      if (!isFound) found.push({ topic, partition });
    }
    return found;
  }

  /** What has outlived its time. `keeps` exempts topics the group still reads. */
  expired(
    rule: ExpiryRule,
    retentionMs: number,
    nowMs: number,
    keeps: (topic: string) => boolean,
  ): { topic: string; partition: number }[] {
    const found: { topic: string; partition: number }[] = [];
    for (const [topic, partitions] of this.topics) {
      if (keeps(topic)) continue;
      for (const [partition, committed] of partitions) {
        if (this.isPending(topic, partition) || this.isUnstable(topic, partition)) continue;
        const { commitTimestampMs, expireTimestampMs } = committed;
        const endMs =
          expireTimestampMs >= 0
            ? expireTimestampMs
            : (rule.sinceMs ?? commitTimestampMs) + retentionMs;
        if (nowMs >= endMs) found.push({ topic, partition });
      }
    }
    return found;
  }
}

/** Was the offset committed for the topic that has this id now? Unknown ids match. */
export function isForTopic(committed: CommittedOffset, topicId: string | null): boolean {
  if (committed.topicId === zeroUuid) return true;
  return committed.topicId === topicId;
}

function offsetBytes(topic: string, committed: CommittedOffset): number {
  const fixedBytes = 160;
  return fixedBytes + 2 * (committed.metadata.length + topic.length);
}
