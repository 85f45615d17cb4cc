import { assert } from "../lib/assert.ts";
import { zeroUuid } from "../protocol/uuid.ts";

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
 * it becomes visible when it is durable, in the order of the log.
 */
export class GroupOffsets {
  private readonly topics = new Map<string, Map<number, CommittedOffset>>();
  private readonly pending = new Map<string, Map<number, number>>();
  private offsetBytes = 0;
  private pendingCount = 0;

  /** Bytes held, roughly. */
  get sizeBytes(): number {
    return this.offsetBytes;
  }

  get isEmpty(): boolean {
    return this.topics.size === 0 && this.pendingCount === 0;
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

  /** A durable commit (or, with null, a durable deletion). */
  apply(topic: string, partition: number, committed: CommittedOffset | null): void {
    const partitions = this.topics.get(topic) ?? new Map<number, CommittedOffset>();
    const before = partitions.get(partition);
    if (before !== undefined) this.offsetBytes -= offsetBytes(topic, before);
    if (committed === null) {
      partitions.delete(partition);
    } else {
      partitions.set(partition, committed);
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
    return this.get(topic, partition) !== null || this.isPending(topic, partition);
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
        if (this.isPending(topic, partition)) continue;
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
