/** Plain data of the transaction coordinator; Kafka's words. */

/** `PrepareEpochFence` and `Dead` are never stored: they are only ever on their way. */
export type TransactionStateName =
  | "Empty"
  | "Ongoing"
  | "PrepareCommit"
  | "PrepareAbort"
  | "CompleteCommit"
  | "CompleteAbort"
  | "Dead"
  | "PrepareEpochFence";

/** In the order of the ids in `__transaction_state`. */
export const transactionStateNames: readonly TransactionStateName[] = [
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
  "Dead",
  "PrepareEpochFence",
];

/** KIP-890: 2 bumps the producer epoch with every end of a transaction. */
export type TransactionVersion = 0 | 1 | 2;

/** The partitions of one topic, by number. */
export type TopicPartitionSet = ReadonlyMap<string, ReadonlySet<number>>;

/** All that is known of one transactional id: what a record of `__transaction_state` holds. */
export interface TransactionData {
  readonly state: TransactionStateName;
  readonly producerId: number;
  /** The id before the newest change; −1 for none. Tells a retry over an id's rotation. */
  readonly prevProducerId: number;
  /** The id that follows once the markers are written, when epochs ran out; −1 for none. */
  readonly nextProducerId: number;
  /** −1 until the first InitProducerId is durable. */
  readonly producerEpoch: number;
  /** The epoch before the newest bump, in memory only; −1 after a restart. */
  readonly lastProducerEpoch: number;
  readonly timeoutMs: number;
  readonly partitions: TopicPartitionSet;
  /** Wall clock; −1 while there is no transaction. */
  readonly startMs: number;
  readonly lastUpdateMs: number;
  /** Of the client that made the newest change. */
  readonly clientVersion: TransactionVersion;
}

export interface ProducerIdAndEpoch {
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export const noProducerId = -1;
export const noProducerEpoch = -1;
export const producerEpochMax = 32_767;

/** The largest epoch is kept back for fencing. */
export function isEpochExhausted(producerEpoch: number): boolean {
  return producerEpoch >= producerEpochMax - 1;
}

export const noPartitions: TopicPartitionSet = new Map();

export function hasPartition(set: TopicPartitionSet, topic: string, partition: number): boolean {
  return set.get(topic)?.has(partition) ?? false;
}

export function partitionCountIn(set: TopicPartitionSet): number {
  let count = 0;
  for (const partitions of set.values()) count += partitions.size;
  return count;
}

export function* partitionsIn(set: TopicPartitionSet): Generator<TopicPartition> {
  for (const [topic, partitions] of set) {
    for (const partition of partitions) yield { topic, partition };
  }
}

/** A set of both; neither argument changes. */
export function withPartitions(
  set: TopicPartitionSet,
  added: Iterable<TopicPartition>,
): TopicPartitionSet {
  const result = new Map<string, ReadonlySet<number>>(set);
  const fresh = new Set<string>();
  for (const { topic, partition } of added) {
    if (hasPartition(result, topic, partition)) continue;
    if (fresh.has(topic)) {
      (result.get(topic) as Set<number>).add(partition);
      continue;
    }
    result.set(topic, new Set([...(result.get(topic) ?? []), partition]));
    fresh.add(topic);
  }
  return result;
}
