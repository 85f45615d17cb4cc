/** What the share room needs from other rooms; broker.ts plugs in what satisfies it. */

/** One record of `__share_group_state`; a null value deletes its key. */
export interface StateRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly timestamp: number;
}

/** One partition of `__share_group_state`. */
export interface StateLog {
  readonly startOffset: number;
  readonly endOffset: number;
  /**
   * Appends the records as one batch; resolves in call order, once they are durable, with the base
   * offset, or with an ErrorCode and nothing appended.
   */
  append(
    records: readonly StateRecord[],
  ): Promise<{ readonly errorCode: number; readonly baseOffset: number }>;
  /** Replays all records from log start to the current end, in offset order. */
  replay(
    onRecord: (key: Uint8Array, value: Uint8Array | null, offset: number) => void,
  ): Promise<void>;
  /** Deletes what lies below `offset`; resolves with an ErrorCode. */
  deleteBefore(offset: number): Promise<number>;
}

export interface StateTopic {
  /** The log of one partition of `__share_group_state`; creates that topic on first need. */
  open(partition: number): Promise<StateLog>;
  /** Partitions it has, or will have once it is created. */
  readonly partitionCount: number;
  readonly exists: boolean;
  /** Where the state of a key lies; see `stateKey`. */
  partitionFor(key: string): number;
}
