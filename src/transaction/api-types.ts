import type {
  ProducerIdAndEpoch,
  TopicPartition,
  TopicPartitionSet,
  TransactionVersion,
} from "./transaction-types.ts";

/** Requests and results of the coordinator, free of wire versions. */

export interface InitProducerIdAsk {
  readonly transactionalId: string;
  readonly timeoutMs: number;
  /** What a producer that recovers believes to have; null without. */
  readonly expected: ProducerIdAndEpoch | null;
}

export interface ProducerIdResult extends ProducerIdAndEpoch {
  readonly errorCode: number;
}

export interface TransactionalProducer extends ProducerIdAndEpoch {
  readonly transactionalId: string;
}

export interface AddPartitionsAsk extends TransactionalProducer {
  readonly partitions: readonly TopicPartition[];
  readonly clientVersion: TransactionVersion;
}

export interface EndTransactionAsk extends TransactionalProducer {
  readonly commit: boolean;
  readonly clientVersion: TransactionVersion;
}

export interface PartitionAsk extends TransactionalProducer, TopicPartition {
  /** Transaction version 2: the partition joins the transaction if it is not in it. */
  readonly addIfMissing: boolean;
}

export interface DescribedTransaction extends ProducerIdAndEpoch {
  readonly errorCode: number;
  readonly transactionalId: string;
  readonly state: string;
  readonly timeoutMs: number;
  readonly startMs: number;
  readonly partitions: TopicPartitionSet;
}

export interface TransactionFilter {
  readonly producerIds: readonly number[];
  readonly states: readonly string[];
  /** Only what runs longer than this; −1: all. */
  readonly durationMs: number;
}

export interface TransactionList {
  readonly errorCode: number;
  readonly unknownStates: readonly string[];
  readonly transactions: readonly {
    readonly transactionalId: string;
    readonly producerId: number;
    readonly state: string;
  }[];
}
