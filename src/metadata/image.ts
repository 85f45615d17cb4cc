import type { ClientQuota } from "./client-quotas.ts";

/** What the cluster is made of, at one point of the metadata log. Never changed: see apply.ts. */
export interface MetadataImage {
  /** Counts applied entries of the log since the cluster began. */
  readonly version: number;
  /** Empty until the first entry named the cluster. */
  readonly clusterId: string;
  readonly brokers: ReadonlyMap<number, BrokerImage>;
  readonly topicsByName: ReadonlyMap<string, TopicImage>;
  readonly topicsById: ReadonlyMap<string, TopicImage>;
  /** By broker id as text; "" holds the defaults of the whole cluster. */
  readonly brokerConfigs: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly groupConfigs: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Client metrics subscriptions (KIP-714), by name. */
  readonly clientMetricsConfigs: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** By `quotaKey` of the entity. */
  readonly clientQuotas: ReadonlyMap<string, ClientQuota>;
  /** By `scramKey`. */
  readonly scramCredentials: ReadonlyMap<string, ScramCredential>;
  /** Deleted topics whose data was not removed yet, by topic id. */
  readonly tombstones: ReadonlyMap<string, TombstoneImage>;
  /** Levels that were chosen, by feature; the others are at their default (features.ts). */
  readonly featureLevels: ReadonlyMap<string, number>;
  /** First producer id that was not handed out in a block. */
  readonly producerIdNext: number;
  /** Of all topics together. */
  readonly partitionCount: number;
}

export interface BrokerImage {
  readonly id: number;
  readonly rack: string | null;
  readonly endpoints: readonly EndpointImage[];
}

/** An address clients are told, by the listener they came through. */
export interface EndpointImage {
  readonly listener: string;
  readonly host: string;
  readonly port: number;
}

export interface TopicImage {
  readonly name: string;
  /** Uuid in Kafka's base64url form. */
  readonly id: string;
  readonly internal: boolean;
  /** Partition i stands at index i. */
  readonly partitions: readonly PartitionImage[];
  /** Only what was set for this topic. */
  readonly configs: ReadonlyMap<string, string>;
}

export interface PartitionImage {
  readonly index: number;
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

/** What a SCRAM login is checked against (RFC 5802); never a password. Bytes as base64. */
export interface ScramCredential {
  readonly user: string;
  /** 1: SCRAM-SHA-256, 2: SCRAM-SHA-512. */
  readonly mechanism: number;
  readonly iterations: number;
  readonly salt: string;
  readonly storedKey: string;
  readonly serverKey: string;
}

export function scramKey(mechanism: number, user: string): string {
  return `${mechanism} ${user}`;
}

export interface TombstoneImage {
  readonly id: string;
  readonly name: string;
  readonly partitions: number;
}

export const emptyImage: MetadataImage = {
  version: 0,
  clusterId: "",
  brokers: new Map(),
  topicsByName: new Map(),
  topicsById: new Map(),
  brokerConfigs: new Map(),
  groupConfigs: new Map(),
  clientMetricsConfigs: new Map(),
  scramCredentials: new Map(),
  clientQuotas: new Map(),
  tombstones: new Map(),
  featureLevels: new Map(),
  producerIdNext: 0,
  partitionCount: 0,
};
