import { assert } from "../lib/assert.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { apply, imageOf, snapshotOf } from "./apply.ts";
import type { Command } from "./command.ts";
import {
  type ConfigLayers,
  resolveBrokerNumber,
  resolveBrokerText,
  resolveGroupConfig,
  resolveTopicConfig,
  type StaticConfig,
  type TopicConfig,
} from "./config-catalogue.ts";
import { isEmptyChange, planConfigs } from "./config-plan.ts";
import { unservedFeature } from "./features.ts";
import { type BrokerImage, emptyImage, type MetadataImage, type TopicImage } from "./image.ts";
import { damaged, decodeEntry, encodeCommands, encodeSnapshot } from "./journal-entry.ts";
import type { MetadataJournal } from "./ports.ts";
import type {
  ConfigAlteration,
  CreatePartitionsSpec,
  CreateTopicSpec,
  MetadataLimits,
  MetadataListener,
  Outcome,
  TopicOutcome,
} from "./requests.ts";
import {
  failure,
  isOutcome,
  type PlanContext,
  planPartitions,
  planTopics,
  success,
} from "./topic-plan.ts";

export interface MetadataOptions {
  readonly journal: MetadataJournal;
  /** This broker and the addresses clients are told. */
  readonly broker: BrokerImage;
  /** Name of a new cluster; null: chronik makes one up. */
  readonly clusterId: string | null;
  /** This broker's configs under Kafka's names. */
  readonly staticConfigs: ReadonlyMap<string, StaticConfig>;
  readonly numPartitions: number;
  readonly replicationFactor: number;
  readonly limits: MetadataLimits;
  readonly newUuid: () => string;
  readonly onWarning: (message: string, error: unknown) => void;
}

/** Entries after which the journal is replaced by a snapshot, at least. */
const compactEntriesMin = 1000;
/** Bytes after which it is, at least. */
const compactBytesMin = 8 * 1024 * 1024;
/** A snapshot is worth it when so many times its size was appended. */
const compactFactor = 2;

/**
 * Turns requests into commands, makes them durable, applies them and tells the listeners. One
 * change at a time: what is planned against an image is applied to that very image.
 */
export class Metadata {
  private readonly options: MetadataOptions;
  private readonly listeners: MetadataListener[] = [];
  private current: MetadataImage = emptyImage;
  private tail: Promise<unknown> = Promise.resolve();
  /** Topics whose newest partitions are not usable yet. */
  private readonly opening = new Set<string>();
  private readonly resolved = new Map<string, ResolvedConfig>();
  /** By config name. */
  private readonly numbers = new Map<string, ResolvedNumber>();
  private entriesSinceSnapshot = 0;
  private bytesSinceSnapshot = 0;
  private snapshotBytes = 0;

  private constructor(options: MetadataOptions) {
    this.options = options;
  }

  /**
   * Replays the journal, names a new cluster and registers this broker. Rejects with BrokerError
   * when the journal cannot be read, or is another broker's or cluster's.
   */
  static async open(options: MetadataOptions): Promise<Metadata> {
    const metadata = new Metadata(options);
    await options.journal.replay((entry) => metadata.replayEntry(entry));
    metadata.checkFeatures();
    await metadata.register();
    return metadata;
  }

  get image(): MetadataImage {
    return this.current;
  }

  /** What the values of configs depend on beside the topic. */
  get layers(): ConfigLayers {
    return {
      nodeId: this.options.broker.id,
      staticConfigs: this.options.staticConfigs,
      brokerConfigs: this.current.brokerConfigs,
    };
  }

  /** False from a topic's creation until its partitions can be used. */
  isUsable(topicId: string): boolean {
    return !this.opening.has(topicId);
  }

  /** The resolved configs of a topic; of an unknown one those it would have if created bare. */
  topicConfig(name: string): TopicConfig {
    const configs = this.current.topicsByName.get(name)?.configs ?? noConfigs;
    const { brokerConfigs } = this.current;
    const known = this.resolved.get(name);
    if (known?.configs === configs && known.brokerConfigs === brokerConfigs) return known.config;
    const config = resolveTopicConfig(configs, this.layers);
    if (this.current.topicsByName.has(name)) {
      this.resolved.set(name, { configs, brokerConfigs, config });
    }
    return config;
  }

  /** What a group has of its own or by the broker's dynamic configs; null: nothing. */
  groupConfig(groupId: string): ReadonlyMap<string, string> | null {
    return resolveGroupConfig(this.current.groupConfigs.get(groupId), this.layers);
  }

  /** The value in force of a broker config that is a number and has a default. */
  brokerNumber(name: string): number {
    const { brokerConfigs } = this.current;
    const known = this.numbers.get(name);
    if (known?.brokerConfigs === brokerConfigs) return known.value;
    const value = resolveBrokerNumber(name, this.layers);
    this.numbers.set(name, { brokerConfigs, value });
    return value;
  }

  /** The value in force of a broker config; "" where it has none. */
  brokerText(name: string): string {
    return resolveBrokerText(name, this.layers);
  }

  /** `listener` hears of every change from now on. */
  subscribe(listener: MetadataListener): void {
    this.listeners.push(listener);
  }

  /** Resolves when the topics can be used. With `validateOnly` nothing happens. */
  createTopics(
    specs: readonly CreateTopicSpec[],
    validateOnly: boolean,
    admit: Admission = anything,
  ): Promise<TopicOutcome[]> {
    return this.exclusively(async () => {
      const planned = planTopics(this.current, specs, this.planContext()).map((plan) =>
        isOutcome(plan) || admit(plan.partitions.length) ? plan : overQuota,
      );
      const topics = planned.filter((plan): plan is TopicImage => !isOutcome(plan));
      const commands: Command[] = topics.map((topic) => ({
        type: "topic",
        ...topic,
        configs: [...topic.configs],
      }));
      const outcome = validateOnly
        ? success
        : await this.propose(
            commands,
            topics.map(({ id }) => id),
          );
      return planned.map((plan, index): TopicOutcome => {
        const name = specs[index]?.name ?? "";
        if (isOutcome(plan)) return { name, topic: null, ...plan };
        return { name, topic: outcome.errorCode === 0 ? plan : null, ...outcome };
      });
    });
  }

  /** Deletes topics by id. Resolves when nobody can use them any more; their data goes later. */
  deleteTopics(ids: readonly string[], admit: Admission = anything): Promise<Outcome[]> {
    return this.exclusively(async () => {
      const known = ids.filter((id) => this.current.topicsById.has(id));
      const going = known.filter((id) =>
        admit(this.current.topicsById.get(id)?.partitions.length ?? 0),
      );
      const outcome = await this.propose(going.map((id) => ({ type: "topic-deleted", id })));
      return ids.map((id) => {
        if (going.includes(id)) return outcome;
        if (known.includes(id)) return overQuota;
        return failure(ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.");
      });
    });
  }

  /** Resolves when the new partitions can be used. */
  createPartitions(
    specs: readonly CreatePartitionsSpec[],
    validateOnly: boolean,
    admit: Admission = anything,
  ): Promise<Outcome[]> {
    return this.exclusively(async () => {
      const planned = specs.map((spec) => planPartitions(this.current, spec, this.planContext()));
      let added = this.current.partitionCount;
      const commands: Command[] = [];
      const outcomes = planned.map((plan): Outcome => {
        if (isOutcome(plan)) return plan;
        added += plan.added.length;
        if (added > this.options.limits.partitionsMax) {
          return failure(
            ErrorCode.POLICY_VIOLATION,
            "The broker's limit of partitions is reached.",
          );
        }
        if (!admit(plan.added.length)) return overQuota;
        commands.push({ type: "partitions-added", id: plan.topic.id, partitions: plan.added });
        return success;
      });
      if (validateOnly) return outcomes;
      const outcome = await this.propose(
        commands,
        commands.map((command) => ("id" in command ? command.id : "")),
      );
      return outcomes.map((planOutcome) => (planOutcome.errorCode === 0 ? outcome : planOutcome));
    });
  }

  /** Changes configs of topics and brokers; each resource on its own, all or nothing. */
  alterConfigs(
    alterations: readonly ConfigAlteration[],
    validateOnly: boolean,
  ): Promise<Outcome[]> {
    return this.exclusively(async () => {
      const { layers } = this;
      const planned = alterations.map((alteration) => {
        return planConfigs(this.current, alteration, layers);
      });
      const commands = planned.filter(
        (plan): plan is Command =>
          !isOutcome(plan) && !("change" in plan && isEmptyChange(plan.change)),
      );
      const outcome = validateOnly ? success : await this.propose(commands);
      return planned.map((plan) => (isOutcome(plan) ? plan : outcome));
    });
  }

  /**
   * Plans against the newest image, one change at a time, and makes what was planned durable.
   * `outcome` says how that went; with an error nothing happened.
   */
  change<T>(
    plan: (image: MetadataImage) => { readonly commands: readonly Command[]; readonly result: T },
  ): Promise<{ readonly result: T; readonly outcome: Outcome }> {
    return this.exclusively(async () => {
      const { commands, result } = plan(this.current);
      return { result, outcome: await this.propose(commands) };
    });
  }

  /** Gives every partition this broker leads the next leader epoch: after an unclean stop, so that
   * clients notice a tail that is gone. Rejects with BrokerError when it cannot be recorded. */
  bumpLeaderEpochs(): Promise<void> {
    return this.exclusively(async () => {
      if (this.current.partitionCount === 0) return;
      await this.commit([{ type: "leader-epochs", broker: this.options.broker.id }]);
    });
  }

  /** First id of a block of `count`. Rejects with BrokerError when it cannot be recorded. */
  allocateProducerIds(count: number): Promise<number> {
    assert(count > 0, "a block of producer ids is not empty");
    return this.exclusively(async () => {
      const first = this.current.producerIdNext;
      await this.commit([{ type: "producer-ids", next: first + count }]);
      return first;
    });
  }

  /** The data of a deleted topic is gone: its id needs no keeping. Rejects with BrokerError. */
  topicDeletionFinished(topicId: string): Promise<void> {
    return this.exclusively(async () => {
      if (!this.current.tombstones.has(topicId)) return;
      await this.commit([{ type: "topic-cleaned", id: topicId }]);
    });
  }

  /** Resolves when every change asked for so far is done with. */
  async settled(): Promise<void> {
    await this.tail;
  }

  private planContext(): PlanContext {
    const { limits, numPartitions, replicationFactor, newUuid } = this.options;
    return { layers: this.layers, limits, numPartitions, replicationFactor, newUuid };
  }

  /** Runs one task after the other; a task that fails does not stop the next. */
  private exclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.tail.then(task);
    this.tail = result.catch(() => undefined);
    return result;
  }

  /** Commits, with failures as an outcome. `topicIds` are not usable until listeners are done. */
  private async propose(
    commands: readonly Command[],
    topicIds: readonly string[] = [],
  ): Promise<Outcome> {
    if (commands.length === 0) return success;
    try {
      await this.commit(commands, topicIds);
      return success;
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.options.onWarning("a metadata change failed", error);
      return failure(ErrorCode.KAFKA_STORAGE_ERROR, errorText(error));
    }
  }

  private async commit(
    commands: readonly Command[],
    topicIds: readonly string[] = [],
  ): Promise<void> {
    const entry = encodeCommands(commands);
    await this.options.journal.append(entry);
    this.count(entry.length);
    const previous = this.current;
    const next = apply(previous, commands);
    for (const id of topicIds) this.opening.add(id);
    this.current = next;
    this.forgetConfigs(commands, previous);
    for (const listener of this.listeners) await listener({ previous, next, commands });
    for (const id of topicIds) this.opening.delete(id);
    await this.compactIfDue();
  }

  private forgetConfigs(commands: readonly Command[], previous: MetadataImage): void {
    for (const command of commands) {
      if (command.type !== "topic-deleted") continue;
      const topic = previous.topicsById.get(command.id);
      if (topic !== undefined) this.resolved.delete(topic.name);
    }
  }

  private replayEntry(bytes: Uint8Array): void {
    const entry = decodeEntry(bytes);
    try {
      if (entry.snapshot !== null) {
        this.current = imageOf(entry.snapshot);
        this.snapshotTaken(bytes.length);
      } else {
        this.current = apply(this.current, entry.commands);
        this.count(bytes.length);
      }
    } catch (error) {
      throw damaged(errorText(error), error);
    }
  }

  private checkFeatures(): void {
    const unserved = unservedFeature(this.current);
    if (unserved === null) return;
    throw new BrokerError(
      "CHRONIK_METADATA_VERSION",
      `the data directory has ${unserved.name} at ${unserved.level}, which this chronik does ` +
        "not serve: start the version that set it",
    );
  }

  private async register(): Promise<void> {
    const { broker, clusterId, newUuid } = this.options;
    const { current } = this;
    const commands: Command[] = [];
    if (current.clusterId === "") {
      commands.push({ type: "cluster", clusterId: clusterId ?? newUuid() });
    } else if (clusterId !== null && clusterId !== current.clusterId) {
      throw new BrokerError(
        "CHRONIK_CLUSTER_ID_MISMATCH",
        `the data directory belongs to cluster ${current.clusterId}, the configuration says ` +
          `${clusterId}: remove cluster.id or choose another data directory`,
      );
    }
    const other = [...current.brokers.keys()].find((id) => id !== broker.id);
    if (other !== undefined) {
      throw new BrokerError(
        "CHRONIK_NODE_ID_MISMATCH",
        `the data directory belongs to broker ${other}, the configuration says ${broker.id}: ` +
          `set node.id back to ${other}`,
      );
    }
    const known = current.brokers.get(broker.id);
    if (JSON.stringify(known) !== JSON.stringify(broker)) commands.push({ type: "broker", broker });
    if (commands.length > 0) await this.commit(commands);
  }

  private count(bytes: number): void {
    this.entriesSinceSnapshot += 1;
    this.bytesSinceSnapshot += bytes;
  }

  private snapshotTaken(bytes: number): void {
    this.snapshotBytes = bytes;
    this.entriesSinceSnapshot = 0;
    this.bytesSinceSnapshot = 0;
  }

  private async compactIfDue(): Promise<void> {
    const due =
      (this.entriesSinceSnapshot >= compactEntriesMin ||
        this.bytesSinceSnapshot >= compactBytesMin) &&
      this.bytesSinceSnapshot >= compactFactor * this.snapshotBytes;
    if (!due) return;
    const snapshot = encodeSnapshot(snapshotOf(this.current));
    try {
      await this.options.journal.compact(snapshot);
      this.snapshotTaken(snapshot.length);
    } catch (error) {
      // The journal stays as it is, only longer; the next change tries again.
      this.options.onWarning("the metadata journal could not be compacted", error);
    }
  }
}

/** Whether so many partitions may be created or deleted (KIP-599). */
type Admission = (partitions: number) => boolean;

const anything: Admission = () => true;
const overQuota: Outcome = {
  errorCode: ErrorCode.THROTTLING_QUOTA_EXCEEDED,
  errorMessage: null,
};

interface ResolvedConfig {
  readonly configs: ReadonlyMap<string, string>;
  readonly brokerConfigs: MetadataImage["brokerConfigs"];
  readonly config: TopicConfig;
}

interface ResolvedNumber {
  readonly brokerConfigs: MetadataImage["brokerConfigs"];
  readonly value: number;
}

const noConfigs: ReadonlyMap<string, string> = new Map();
