/** What the transaction coordinator needs from other rooms; broker.ts plugs in what satisfies
 * it. */
import type { TransactionVersion } from "./transaction-types.ts";

/** One record of `__transaction_state`; a null value deletes its key. */
export interface StateRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly timestamp: number;
}

/** One partition of `__transaction_state`. */
export interface StateLog {
  /** Goes into markers, so that those of an older coordinator are refused. */
  readonly leaderEpoch: number;
  /** Appends one batch; resolves in call order with an ErrorCode, once it is durable. */
  append(records: readonly StateRecord[]): Promise<{ readonly errorCode: number }>;
  /** Replays all records from log start to the current end, in offset order. */
  replay(onRecord: (key: Uint8Array, value: Uint8Array | null) => void): Promise<void>;
}

export interface StateTopic {
  /** Partitions `__transaction_state` has, or will have once it is created. */
  readonly partitionCount: number;
  exists(): boolean;
  /** The log of one partition; creates the topic on first need. */
  stateLog(partition: number): Promise<StateLog>;
}

/** Where a client of a listener reaches the leader of a partition of `__transaction_state`. */
export interface TransactionNodes {
  /** null while that partition has no leader, or the listener no address to give out. */
  coordinatorOf(
    partition: number,
    listener: string,
  ): { readonly nodeId: number; readonly host: string; readonly port: number } | null;
}

/** A marker: ends what this producer wrote to a partition. */
export interface EndMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  readonly commit: boolean;
  readonly transactionVersion: TransactionVersion;
}

/** What became of a marker: durable; no such topic or partition any more; or an ErrorCode. */
export type MarkerOutcome =
  | { readonly kind: "written" }
  | { readonly kind: "gone" }
  | { readonly kind: "failed"; readonly errorCode: number };

export interface MarkerWriter {
  /** Resolves when the marker is durable, or has failed. Never rejects for an I/O failure. */
  write(topic: string, partition: number, marker: EndMarker): Promise<MarkerOutcome>;
}

/** Gives out producer ids that nobody else ever gets; may reject with a BrokerError. */
export interface FreshProducerIds {
  next(): Promise<{ readonly producerId: number }>;
}
