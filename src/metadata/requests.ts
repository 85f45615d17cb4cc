import type { Command } from "./command.ts";
import type { MetadataImage, TopicImage } from "./image.ts";

/** Limits on what may be created (design D15). */
export interface MetadataLimits {
  readonly partitionsPerTopicMax: number;
  /** Of all topics of this broker together. */
  readonly partitionsMax: number;
}

export interface CreateTopicSpec {
  readonly name: string;
  /** −1: `num.partitions`, or given by `assignments`. */
  readonly numPartitions: number;
  /** −1: `default.replication.factor`, or given by `assignments`. */
  readonly replicationFactor: number;
  /** Which brokers hold which partition; empty: chronik decides. */
  readonly assignments: readonly {
    readonly partitionIndex: number;
    readonly brokerIds: readonly number[];
  }[];
  /** A null value is the caller's mistake, answered as such. */
  readonly configs: readonly (readonly [string, string | null])[];
}

export interface CreatePartitionsSpec {
  readonly name: string;
  /** How many partitions the topic has afterwards. */
  readonly count: number;
  /** Brokers of each new partition; null: chronik decides. */
  readonly assignments: readonly (readonly number[])[] | null;
}

export interface ConfigAlteration {
  readonly resource: "topic" | "broker" | "group" | "client-metrics";
  /** A topic, a group, a broker id, or "" for the whole cluster's broker configs. */
  readonly name: string;
  readonly operations: readonly ConfigOperation[];
  /** What is set and not named is removed (AlterConfigs, the old API). */
  readonly replacesAll: boolean;
}

export interface ConfigOperation {
  readonly name: string;
  readonly kind: "set" | "delete" | "append" | "subtract";
  readonly value: string | null;
}

/** An outcome in Kafka's words: 0 and null when it went well. */
export interface Outcome {
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

export interface TopicOutcome extends Outcome {
  readonly name: string;
  /** The topic as created (or as it would be); null after an error. */
  readonly topic: TopicImage | null;
}

/** What listeners are told after an entry was made durable and applied. */
export interface MetadataChange {
  readonly previous: MetadataImage;
  readonly next: MetadataImage;
  readonly commands: readonly Command[];
}

/** May return a promise: whoever asked for the change is answered when it resolved. */
export type MetadataListener = (change: MetadataChange) => void | Promise<void>;
