import { assert, unreachable } from "../lib/assert.ts";
import { type ClientQuota, quotaKey } from "./client-quotas.ts";
import type { Command, ConfigChange, Snapshot } from "./command.ts";
import {
  type BrokerImage,
  type MetadataImage,
  type PartitionImage,
  type ScramCredential,
  scramKey,
  type TombstoneImage,
  type TopicImage,
} from "./image.ts";

/**
 * Image × commands → image (pure). The commands are one entry of the log: all apply, in order.
 * They were checked before they were written, so one that does not fit is a bug (AssertionError).
 */
export function apply(image: MetadataImage, commands: readonly Command[]): MetadataImage {
  const draft = new Draft(image);
  for (const command of commands) draft.apply(command);
  return draft.finish(image.version + 1);
}

/** The image a snapshot was taken of. */
export function imageOf(snapshot: Snapshot): MetadataImage {
  const topics = snapshot.topics.map((topic) => ({ ...topic, configs: new Map(topic.configs) }));
  return {
    version: snapshot.version,
    clusterId: snapshot.clusterId,
    brokers: new Map(snapshot.brokers.map((broker) => [broker.id, broker])),
    topicsByName: new Map(topics.map((topic) => [topic.name, topic])),
    topicsById: new Map(topics.map((topic) => [topic.id, topic])),
    brokerConfigs: nested(snapshot.brokerConfigs),
    groupConfigs: nested(snapshot.groupConfigs),
    clientMetricsConfigs: nested(snapshot.clientMetricsConfigs ?? []),
    clientQuotas: new Map(
      (snapshot.clientQuotas ?? []).map(({ entity, values }) => [
        quotaKey(entity),
        { entity, values: new Map(values) },
      ]),
    ),
    scramCredentials: new Map(
      (snapshot.scramCredentials ?? []).map((one) => [scramKey(one.mechanism, one.user), one]),
    ),
    tombstones: new Map(snapshot.tombstones.map((tombstone) => [tombstone.id, tombstone])),
    featureLevels: new Map(snapshot.featureLevels ?? []),
    producerIdNext: snapshot.producerIdNext,
    partitionCount: topics.reduce((sum, topic) => sum + topic.partitions.length, 0),
  };
}

export function snapshotOf(image: MetadataImage): Snapshot {
  return {
    version: image.version,
    clusterId: image.clusterId,
    brokers: [...image.brokers.values()],
    topics: [...image.topicsById.values()].map((topic) => ({
      ...topic,
      configs: [...topic.configs],
    })),
    brokerConfigs: pairs(image.brokerConfigs),
    groupConfigs: pairs(image.groupConfigs),
    clientMetricsConfigs: pairs(image.clientMetricsConfigs),
    scramCredentials: [...image.scramCredentials.values()],
    clientQuotas: [...image.clientQuotas.values()].map(({ entity, values }) => ({
      entity,
      values: [...values],
    })),
    tombstones: [...image.tombstones.values()],
    featureLevels: [...image.featureLevels],
    producerIdNext: image.producerIdNext,
  };
}

type Configs = ReadonlyMap<string, ReadonlyMap<string, string>>;

function nested(entries: Snapshot["brokerConfigs"]): Configs {
  return new Map(entries.map(([name, configs]) => [name, new Map(configs)]));
}

function pairs(all: Configs): Snapshot["brokerConfigs"] {
  return [...all].map(([name, configs]) => [name, [...configs]]);
}

/** An image being changed: each map is copied at most once, when it is first written to. */
class Draft {
  private clusterId: string;
  private producerIdNext: number;
  private partitionCount: number;
  private readonly brokers: CopyOnWrite<number, BrokerImage>;
  private readonly topicsByName: CopyOnWrite<string, TopicImage>;
  private readonly topicsById: CopyOnWrite<string, TopicImage>;
  private readonly brokerConfigs: CopyOnWrite<string, ReadonlyMap<string, string>>;
  private readonly groupConfigs: CopyOnWrite<string, ReadonlyMap<string, string>>;
  private readonly clientMetricsConfigs: CopyOnWrite<string, ReadonlyMap<string, string>>;
  private readonly scramCredentials: CopyOnWrite<string, ScramCredential>;
  private readonly clientQuotas: CopyOnWrite<string, ClientQuota>;
  private readonly tombstones: CopyOnWrite<string, TombstoneImage>;
  private readonly featureLevels: CopyOnWrite<string, number>;

  constructor(image: MetadataImage) {
    this.clusterId = image.clusterId;
    this.producerIdNext = image.producerIdNext;
    this.partitionCount = image.partitionCount;
    this.brokers = new CopyOnWrite(image.brokers);
    this.topicsByName = new CopyOnWrite(image.topicsByName);
    this.topicsById = new CopyOnWrite(image.topicsById);
    this.brokerConfigs = new CopyOnWrite(image.brokerConfigs);
    this.groupConfigs = new CopyOnWrite(image.groupConfigs);
    this.clientMetricsConfigs = new CopyOnWrite(image.clientMetricsConfigs);
    this.scramCredentials = new CopyOnWrite(image.scramCredentials);
    this.clientQuotas = new CopyOnWrite(image.clientQuotas);
    this.tombstones = new CopyOnWrite(image.tombstones);
    this.featureLevels = new CopyOnWrite(image.featureLevels);
  }

  finish(version: number): MetadataImage {
    return {
      version,
      clusterId: this.clusterId,
      brokers: this.brokers.current,
      topicsByName: this.topicsByName.current,
      topicsById: this.topicsById.current,
      brokerConfigs: this.brokerConfigs.current,
      groupConfigs: this.groupConfigs.current,
      clientMetricsConfigs: this.clientMetricsConfigs.current,
      scramCredentials: this.scramCredentials.current,
      clientQuotas: this.clientQuotas.current,
      tombstones: this.tombstones.current,
      featureLevels: this.featureLevels.current,
      producerIdNext: this.producerIdNext,
      partitionCount: this.partitionCount,
    };
  }

  apply(command: Command): void {
    switch (command.type) {
      case "cluster":
        assert(this.clusterId === "", "a cluster is named once");
        this.clusterId = command.clusterId;
        return;
      case "broker":
        this.brokers.set(command.broker.id, command.broker);
        return;
      case "topic":
        this.createTopic(command);
        return;
      case "topic-deleted":
        this.deleteTopic(command.id);
        return;
      case "topic-cleaned":
        this.tombstones.delete(command.id);
        return;
      case "partitions-added":
        this.addPartitions(this.topic(command.id), command.partitions);
        return;
      case "topic-configs": {
        const topic = this.topic(command.id);
        this.putTopic({ ...topic, configs: changed(topic.configs, command.change) });
        return;
      }
      case "broker-configs":
        changeConfigs(this.brokerConfigs, command.broker, command.change);
        return;
      case "group-configs":
        changeConfigs(this.groupConfigs, command.group, command.change);
        return;
      case "client-metrics":
        changeConfigs(this.clientMetricsConfigs, command.name, command.change);
        return;
      case "scram": {
        const { credential } = command;
        this.scramCredentials.set(scramKey(credential.mechanism, credential.user), credential);
        return;
      }
      case "scram-deleted":
        this.scramCredentials.delete(scramKey(command.mechanism, command.user));
        return;
      case "client-quota":
        this.changeQuota(command);
        return;
      case "feature":
        this.featureLevels.set(command.name, command.level);
        return;
      case "leader-epochs":
        this.bumpLeaderEpochs(command.broker);
        return;
      case "producer-ids":
        assert(command.next >= this.producerIdNext, "producer ids are handed out once");
        this.producerIdNext = command.next;
        return;
      default:
        unreachable(command);
    }
  }

  private createTopic(command: Command & { type: "topic" }): void {
    const { name, id, internal, partitions, configs } = command;
    assert(!this.topicsByName.current.has(name), `topic ${name} exists`);
    assert(!this.topicsById.current.has(id), `topic id ${id} exists`);
    assert(!this.tombstones.current.has(id), `topic id ${id} is used up`);
    assert(partitions.length > 0, "a topic has a partition");
    assertInOrder(partitions, 0);
    this.putTopic({ name, id, internal, partitions, configs: new Map(configs) });
    this.partitionCount += partitions.length;
  }

  private deleteTopic(id: string): void {
    const topic = this.topic(id);
    this.topicsById.delete(id);
    this.topicsByName.delete(topic.name);
    this.partitionCount -= topic.partitions.length;
    this.tombstones.set(id, { id, name: topic.name, partitions: topic.partitions.length });
  }

  private addPartitions(topic: TopicImage, added: readonly PartitionImage[]): void {
    assertInOrder(added, topic.partitions.length);
    this.putTopic({ ...topic, partitions: [...topic.partitions, ...added] });
    this.partitionCount += added.length;
  }

  private bumpLeaderEpochs(broker: number): void {
    for (const topic of [...this.topicsById.current.values()]) {
      if (!topic.partitions.some((partition) => partition.leader === broker)) continue;
      const partitions = topic.partitions.map((partition) =>
        partition.leader === broker
          ? { ...partition, leaderEpoch: partition.leaderEpoch + 1 }
          : partition,
      );
      this.putTopic({ ...topic, partitions });
    }
  }

  private changeQuota({ entity, set, remove }: Command & { type: "client-quota" }): void {
    const key = quotaKey(entity);
    const values = new Map(this.clientQuotas.current.get(key)?.values);
    for (const name of remove) values.delete(name);
    for (const [name, value] of set) values.set(name, value);
    if (values.size === 0) this.clientQuotas.delete(key);
    else this.clientQuotas.set(key, { entity, values });
  }

  private topic(id: string): TopicImage {
    const topic = this.topicsById.current.get(id);
    assert(topic !== undefined, `no topic has the id ${id}`);
    return topic;
  }

  private putTopic(topic: TopicImage): void {
    this.topicsById.set(topic.id, topic);
    this.topicsByName.set(topic.name, topic);
  }
}

function assertInOrder(partitions: readonly PartitionImage[], first: number): void {
  for (const [position, partition] of partitions.entries()) {
    assert(partition.index === first + position, "partitions are numbered without a gap");
  }
}

function changeConfigs(
  all: CopyOnWrite<string, ReadonlyMap<string, string>>,
  key: string,
  change: ConfigChange,
): void {
  const configs = changed(all.current.get(key) ?? new Map(), change);
  if (configs.size === 0) all.delete(key);
  else all.set(key, configs);
}

function changed(
  configs: ReadonlyMap<string, string>,
  change: ConfigChange,
): ReadonlyMap<string, string> {
  const next = new Map(configs);
  for (const name of change.remove) next.delete(name);
  for (const [name, value] of change.set) next.set(name, value);
  return next;
}

class CopyOnWrite<K, V> {
  current: ReadonlyMap<K, V>;
  private own: Map<K, V> | null = null;

  constructor(current: ReadonlyMap<K, V>) {
    this.current = current;
  }

  set(key: K, value: V): void {
    this.writable().set(key, value);
  }

  delete(key: K): void {
    if (this.current.has(key)) this.writable().delete(key);
  }

  private writable(): Map<K, V> {
    if (this.own === null) {
      this.own = new Map(this.current);
      this.current = this.own;
    }
    return this.own;
  }
}
