import type { CommittedOffset } from "./offsets.ts";

/** An offset a transaction has written, with its place among all changes of the group. */
export interface TransactionalOffset {
  readonly committed: CommittedOffset;
  readonly order: number;
}

export interface EndedOffset extends TransactionalOffset {
  readonly topic: string;
  readonly partition: number;
}

type ByPartition = Map<number, TransactionalOffset>;

/**
 * Offsets of one group inside transactions that are open: pure data. They are durable and count for
 * nothing until their producer's marker comes.
 */
export class TransactionalOffsets {
  private readonly byProducer = new Map<number, Map<string, ByPartition>>();
  /** Producers with an offset of the partition, by topic and partition. */
  private readonly producersOf = new Map<string, Map<number, Set<number>>>();

  get isEmpty(): boolean {
    return this.byProducer.size === 0;
  }

  producers(): IterableIterator<number> {
    return this.byProducer.keys();
  }

  has(topic: string, partition: number): boolean {
    return this.producersOf.get(topic)?.has(partition) ?? false;
  }

  get(producerId: number, topic: string, partition: number): CommittedOffset | null {
    return this.byProducer.get(producerId)?.get(topic)?.get(partition)?.committed ?? null;
  }

  *partitions(): Generator<{ topic: string; partition: number }> {
    for (const [topic, partitions] of this.producersOf) {
      for (const partition of partitions.keys()) yield { topic, partition };
    }
  }

  /** Every offset of the topic, of whatever transaction. */
  *ofTopic(topic: string): Generator<{ partition: number; committed: CommittedOffset }> {
    for (const topics of this.byProducer.values()) {
      for (const [partition, { committed }] of topics.get(topic) ?? []) {
        yield { partition, committed };
      }
    }
  }

  /** Returns the offset of the same transaction that it replaces. */
  set(
    producerId: number,
    topic: string,
    partition: number,
    offset: TransactionalOffset,
  ): CommittedOffset | null {
    const before = this.get(producerId, topic, partition);
    const topics = this.byProducer.get(producerId) ?? new Map<string, ByPartition>();
    const partitions: ByPartition = topics.get(topic) ?? new Map();
    partitions.set(partition, offset);
    topics.set(topic, partitions);
    this.byProducer.set(producerId, topics);
    const owners = this.producersOf.get(topic) ?? new Map<number, Set<number>>();
    const producers = owners.get(partition) ?? new Set<number>();
    owners.set(partition, producers.add(producerId));
    this.producersOf.set(topic, owners);
    return before;
  }

  /** Takes the producer's offsets out. */
  end(producerId: number): EndedOffset[] {
    const ended: EndedOffset[] = [];
    for (const [topic, partitions] of this.byProducer.get(producerId) ?? []) {
      for (const [partition, offset] of partitions) ended.push({ topic, partition, ...offset });
    }
    for (const { topic, partition } of ended) this.removeOwner(producerId, topic, partition);
    this.byProducer.delete(producerId);
    return ended;
  }

  /** A deletion takes what open transactions wrote with it. Returns what is gone. */
  remove(topic: string, partition: number): CommittedOffset[] {
    const gone: CommittedOffset[] = [];
    for (const producerId of [...(this.producersOf.get(topic)?.get(partition) ?? [])]) {
      const topics = this.byProducer.get(producerId);
      const partitions = topics?.get(topic);
      const offset = partitions?.get(partition);
      if (topics === undefined || partitions === undefined || offset === undefined) continue;
      gone.push(offset.committed);
      partitions.delete(partition);
      if (partitions.size === 0) topics.delete(topic);
      if (topics.size === 0) this.byProducer.delete(producerId);
      this.removeOwner(producerId, topic, partition);
    }
    return gone;
  }

  private removeOwner(producerId: number, topic: string, partition: number): void {
    const owners = this.producersOf.get(topic);
    const producers = owners?.get(partition);
    producers?.delete(producerId);
    if (producers?.size === 0) owners?.delete(partition);
    if (owners?.size === 0) this.producersOf.delete(topic);
  }
}
