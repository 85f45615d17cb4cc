import type { QuotaEntity } from "./client-quotas.ts";
import type { BrokerImage, PartitionImage, ScramCredential, TombstoneImage } from "./image.ts";

/** Set these, remove those; a config in both is set. */
export interface ConfigChange {
  readonly set: readonly (readonly [string, string])[];
  readonly remove: readonly string[];
}

/**
 * What may happen to the metadata. An entry of the metadata log holds one or more commands, which
 * apply together or not at all. The stored form is in FORMAT.md; a field may be added, none may
 * change its meaning.
 */
export type Command =
  | { readonly type: "cluster"; readonly clusterId: string }
  | { readonly type: "broker"; readonly broker: BrokerImage }
  | {
      readonly type: "topic";
      readonly name: string;
      readonly id: string;
      readonly internal: boolean;
      readonly partitions: readonly PartitionImage[];
      readonly configs: readonly (readonly [string, string])[];
    }
  | { readonly type: "topic-deleted"; readonly id: string }
  /** The data of a deleted topic is gone too. */
  | { readonly type: "topic-cleaned"; readonly id: string }
  | {
      readonly type: "partitions-added";
      readonly id: string;
      readonly partitions: readonly PartitionImage[];
    }
  | { readonly type: "topic-configs"; readonly id: string; readonly change: ConfigChange }
  /** `broker` is an id as text, or "" for the defaults of the whole cluster. */
  | { readonly type: "broker-configs"; readonly broker: string; readonly change: ConfigChange }
  | { readonly type: "group-configs"; readonly group: string; readonly change: ConfigChange }
  /** The level of a feature from now on. */
  | { readonly type: "feature"; readonly name: string; readonly level: number }
  | { readonly type: "client-metrics"; readonly name: string; readonly change: ConfigChange }
  | { readonly type: "scram"; readonly credential: ScramCredential }
  | { readonly type: "scram-deleted"; readonly user: string; readonly mechanism: number }
  /** Quotas of an entity, in bytes, percent, or counts a second (see client-quotas.ts). */
  | {
      readonly type: "client-quota";
      readonly entity: QuotaEntity;
      readonly set: readonly (readonly [string, number])[];
      readonly remove: readonly string[];
    }
  /** Every partition led by this broker gets the next leader epoch. */
  | { readonly type: "leader-epochs"; readonly broker: number }
  /** Producer ids below `next` are handed out. */
  | { readonly type: "producer-ids"; readonly next: number };

/** The whole image as one entry, which replaces everything before it. */
export interface Snapshot {
  readonly version: number;
  readonly clusterId: string;
  readonly brokers: readonly BrokerImage[];
  readonly topics: readonly {
    readonly name: string;
    readonly id: string;
    readonly internal: boolean;
    readonly partitions: readonly PartitionImage[];
    readonly configs: readonly (readonly [string, string])[];
  }[];
  readonly brokerConfigs: readonly (readonly [string, readonly (readonly [string, string])[]])[];
  readonly groupConfigs: readonly (readonly [string, readonly (readonly [string, string])[]])[];
  readonly tombstones: readonly TombstoneImage[];
  /** Missing in older snapshots: then nothing was set. */
  readonly featureLevels?: readonly (readonly [string, number])[];
  readonly clientMetricsConfigs?: readonly (readonly [
    string,
    readonly (readonly [string, string])[],
  ])[];
  readonly scramCredentials?: readonly ScramCredential[];
  readonly clientQuotas?: readonly {
    readonly entity: QuotaEntity;
    readonly values: readonly (readonly [string, number])[];
  }[];
  readonly producerIdNext: number;
}
