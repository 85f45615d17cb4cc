/** What the group coordinator needs from other rooms; broker.ts plugs in what satisfies it. */

/** One record of `__consumer_offsets`; a null value deletes its key. */
export interface OffsetsRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly timestamp: number;
}

/** Who writes records inside a transaction. */
export interface TransactionalWriter {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** Asked when the records get their offsets: an ErrorCode refuses them. */
  readonly check: () => number;
}

/** The end of what one producer's transaction wrote to a partition. */
export interface TransactionMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly commit: boolean;
  readonly transactionVersion: 0 | 1 | 2;
}

export interface LogReplay {
  /** `producerId` is −1 outside of transactions. */
  record(key: Uint8Array, value: Uint8Array | null, producerId: number, offset: number): void;
  marker(producerId: number, commit: boolean): void;
}

/** One partition of `__consumer_offsets`. */
export interface OffsetsLog {
  /** `max.message.bytes`: a larger batch is refused. */
  readonly batchBytesMax: number;
  /**
   * Appends the records as one batch; resolves in call order, once they are durable, with the base
   * offset, or with an ErrorCode and nothing appended.
   */
  append(
    records: readonly OffsetsRecord[],
    writer?: TransactionalWriter,
  ): Promise<{ readonly errorCode: number; readonly baseOffset: number }>;
  /** Appends the marker that ends a transaction here; resolves like `append`. */
  appendMarker(marker: TransactionMarker): Promise<{ readonly errorCode: number }>;
  /** Replays all records and markers from log start to the current end, in offset order. */
  replay(onto: LogReplay): Promise<void>;
}

export interface CoordinatorTopics {
  /** The log of one partition of `__consumer_offsets`; creates that topic on first need. */
  offsetsLog(partition: number): Promise<OffsetsLog>;
  /** Partitions `__consumer_offsets` has, or will have once it is created. */
  readonly partitionCount: number;
  topicExists(name: string): boolean;
  topicId(name: string): string | null;
  topicName(id: string): string | null;
  /** Partitions of a topic; null when there is no such topic. */
  partitionCountOf(topic: string): number | null;
  /** Names of all topics. */
  topicNames(): Iterable<string>;
  /** Grows whenever a topic comes, goes or gets partitions; goes on growing after a restart. */
  readonly topicsVersion: number;
  /** Configs set for one group (GROUP resources), as text; null when there are none. */
  groupConfig(groupId: string): ReadonlyMap<string, string> | null;
}

export interface SharePartitionStart {
  readonly topicId: string;
  readonly partition: number;
  /** −1: share.auto.offset.reset decides when it is first read. */
  readonly startOffset: number;
}

/** The durable states of share partitions. */
export interface ShareStates {
  /** Whether it is known to exist. */
  has(groupId: string, topicId: string, partition: number): boolean;
  /** Begins states; those that exist are left alone unless `anew`. An ErrorCode for each. */
  initialize(
    groupId: string,
    epoch: number,
    partitions: readonly SharePartitionStart[],
    anew: boolean,
  ): Promise<number[]>;
  /** Forgets states; an ErrorCode for each. */
  remove(
    groupId: string,
    partitions: readonly { readonly topicId: string; readonly partition: number }[],
  ): Promise<number[]>;
}

/** Where a client of a listener reaches the leader of a partition of `__consumer_offsets`. */
export interface CoordinatorNodes {
  /** null while that partition has no leader, or the listener no address to give out. */
  coordinatorOf(
    partition: number,
    listener: string,
  ): { readonly nodeId: number; readonly host: string; readonly port: number } | null;
}
