import { ErrorCode } from "../protocol/error-code.ts";
import { type ConfigLayers, checkTopicConfigs } from "./config-catalogue.ts";
import type { MetadataImage, PartitionImage, TopicImage } from "./image.ts";
import type { CreatePartitionsSpec, CreateTopicSpec, MetadataLimits, Outcome } from "./requests.ts";
import { canCollide, checkTopicName, collisionKey, isInternalTopic } from "./topic-name.ts";

/** What planning needs to know beside the image. */
export interface PlanContext {
  readonly layers: ConfigLayers;
  readonly limits: MetadataLimits;
  readonly numPartitions: number;
  readonly replicationFactor: number;
  readonly newUuid: () => string;
}

export const success: Outcome = { errorCode: ErrorCode.NONE, errorMessage: null };

export function failure(errorCode: number, errorMessage: string): Outcome {
  return { errorCode, errorMessage };
}

export function isOutcome(value: object): value is Outcome {
  return "errorCode" in value;
}

/**
 * Plans one CreateTopics request (pure): for each name the topic it would make, or Kafka's error.
 * The caller has sorted out names given twice. Topics of one request count together towards the
 * limits.
 */
export function planTopics(
  image: MetadataImage,
  specs: readonly CreateTopicSpec[],
  context: PlanContext,
): (TopicImage | Outcome)[] {
  const keys = new Map<string, string>();
  if (specs.some(({ name }) => canCollide(name))) {
    for (const name of image.topicsByName.keys()) keys.set(collisionKey(name), name);
  }
  let partitionCount = image.partitionCount;
  return specs.map((spec) => {
    const planned = planTopic(image, spec, keys, context);
    if (isOutcome(planned)) return planned;
    partitionCount += planned.partitions.length;
    if (partitionCount <= context.limits.partitionsMax) return planned;
    partitionCount -= planned.partitions.length;
    return tooMany(context.limits);
  });
}

/** Plans new partitions of one topic (pure): those to add, or Kafka's error. */
export function planPartitions(
  image: MetadataImage,
  spec: CreatePartitionsSpec,
  context: PlanContext,
): { topic: TopicImage; added: PartitionImage[] } | Outcome {
  const topic = image.topicsByName.get(spec.name);
  if (topic === undefined) {
    return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, errorMessage: null };
  }
  const current = topic.partitions.length;
  if (spec.count <= current) {
    const text =
      spec.count === current
        ? `Topic already has ${current} partition(s).`
        : `The topic ${spec.name} currently has ${current} partition(s); ${spec.count} would ` +
          `not be an increase.`;
    return failure(ErrorCode.INVALID_PARTITIONS, text);
  }
  const additional = spec.count - current;
  const { assignments } = spec;
  if (assignments !== null && assignments.length !== additional) {
    return failure(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      `${additional} partition(s) are to be added, but ${assignments.length} assignment(s) ` +
        `were given.`,
    );
  }
  const { limits } = context;
  if (spec.count > limits.partitionsPerTopicMax) return tooManyInTopic(limits);
  if (image.partitionCount + additional > limits.partitionsMax) return tooMany(limits);
  const replicationFactor = topic.partitions[0]?.replicas.length ?? 1;
  const lists = assignments ?? place(image, additional, replicationFactor, current);
  if (lists === null) return notEnoughBrokers(image, replicationFactor);
  const reason = checkAssignments(image, lists, replicationFactor);
  if (reason !== null) return failure(ErrorCode.INVALID_REPLICA_ASSIGNMENT, reason);
  return { topic, added: lists.map((replicas, index) => newPartition(current + index, replicas)) };
}

function planTopic(
  image: MetadataImage,
  spec: CreateTopicSpec,
  keys: ReadonlyMap<string, string>,
  context: PlanContext,
): TopicImage | Outcome {
  const named = checkName(image, spec.name, keys);
  if (named !== null) return named;
  const configs = new Map<string, string>();
  for (const [name, value] of spec.configs) {
    if (value === null) {
      return failure(
        ErrorCode.INVALID_CONFIG,
        `Null value not supported for topic config: ${name}`,
      );
    }
    configs.set(name, value);
  }
  const invalid = checkTopicConfigs(configs, context.layers);
  if (invalid !== null) return failure(ErrorCode.INVALID_CONFIG, invalid);
  const placed = placeTopic(image, spec, context);
  if (isOutcome(placed)) return placed;
  if (placed.length > context.limits.partitionsPerTopicMax) return tooManyInTopic(context.limits);
  return {
    name: spec.name,
    id: context.newUuid(),
    internal: isInternalTopic(spec.name),
    partitions: placed.map((replicas, index) => newPartition(index, replicas)),
    configs,
  };
}

function checkName(
  image: MetadataImage,
  name: string,
  keys: ReadonlyMap<string, string>,
): Outcome | null {
  if (image.topicsByName.has(name)) {
    return failure(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
  }
  const invalid = checkTopicName(name);
  if (invalid !== null) return failure(ErrorCode.INVALID_TOPIC_EXCEPTION, invalid);
  const other = canCollide(name) ? keys.get(collisionKey(name)) : undefined;
  if (other === undefined) return null;
  return failure(
    ErrorCode.INVALID_TOPIC_EXCEPTION,
    `Topic '${name}' collides with existing topic: ${other}`,
  );
}

/** The brokers of each partition, or Kafka's error. */
function placeTopic(
  image: MetadataImage,
  spec: CreateTopicSpec,
  context: PlanContext,
): (readonly number[])[] | Outcome {
  if (spec.assignments.length > 0) return placeAsAssigned(image, spec);
  if (spec.replicationFactor < -1 || spec.replicationFactor === 0) {
    return failure(
      ErrorCode.INVALID_REPLICATION_FACTOR,
      "Replication factor must be larger than 0, or -1 to use the default value.",
    );
  }
  if (spec.numPartitions < -1 || spec.numPartitions === 0) {
    return failure(
      ErrorCode.INVALID_PARTITIONS,
      "Number of partitions was set to an invalid non-positive value.",
    );
  }
  const count = spec.numPartitions === -1 ? context.numPartitions : spec.numPartitions;
  if (count > context.limits.partitionsPerTopicMax) return tooManyInTopic(context.limits);
  const replicationFactor =
    spec.replicationFactor === -1 ? context.replicationFactor : spec.replicationFactor;
  return (
    place(image, count, replicationFactor, image.partitionCount) ??
    notEnoughBrokers(image, replicationFactor)
  );
}

function placeAsAssigned(
  image: MetadataImage,
  spec: CreateTopicSpec,
): (readonly number[])[] | Outcome {
  if (spec.replicationFactor !== -1 || spec.numPartitions !== -1) {
    const what = spec.replicationFactor === -1 ? "numPartitions" : "replication factor";
    return failure(
      ErrorCode.INVALID_REQUEST,
      `A manual partition assignment was specified, but ${what} was not set to -1.`,
    );
  }
  const lists = new Map<number, readonly number[]>();
  for (const { partitionIndex, brokerIds } of spec.assignments) {
    if (lists.has(partitionIndex)) {
      return failure(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        `Found multiple manual partition assignments for partition ${partitionIndex}`,
      );
    }
    lists.set(partitionIndex, brokerIds);
  }
  const placed: (readonly number[])[] = [];
  for (let index = 0; index < lists.size; index++) {
    const replicas = lists.get(index);
    if (replicas === undefined) {
      return failure(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        "partitions should be a consecutive 0-based integer sequence",
      );
    }
    placed.push(replicas);
  }
  const reason = checkAssignments(image, placed, placed[0]?.length ?? 0);
  return reason === null ? placed : failure(ErrorCode.INVALID_REPLICA_ASSIGNMENT, reason);
}

/** Round robin over the brokers, starting at another one each time; null: too few brokers. */
function place(
  image: MetadataImage,
  count: number,
  replicationFactor: number,
  start: number,
): number[][] | null {
  const brokers = [...image.brokers.keys()].sort((left, right) => left - right);
  if (replicationFactor > brokers.length) return null;
  return Array.from({ length: count }, (_, partition) =>
    Array.from({ length: replicationFactor }, (_unused, replica) => {
      const broker = brokers[(start + partition + replica) % brokers.length];
      return broker ?? 0;
    }),
  );
}

function checkAssignments(
  image: MetadataImage,
  lists: readonly (readonly number[])[],
  replicationFactor: number,
): string | null {
  for (const replicas of lists) {
    const reason = checkReplicas(image, replicas, replicationFactor);
    if (reason !== null) return reason;
  }
  return null;
}

/** What is wrong with brokers chosen by hand for one partition; null: nothing. */
export function checkReplicas(
  image: MetadataImage,
  replicas: readonly number[],
  replicationFactor: number | null,
): string | null {
  const assignment = "The manual partition assignment includes";
  if (replicas.length === 0) return `${assignment} an empty replica list.`;
  const sorted = replicas.toSorted((left, right) => left - right);
  for (const [index, id] of sorted.entries()) {
    if (!image.brokers.has(id)) {
      return `${assignment} broker ${id}, but no such broker is registered.`;
    }
    if (id === sorted[index - 1]) return `${assignment} the broker ${id} more than once.`;
  }
  if (replicationFactor === null || replicas.length === replicationFactor) return null;
  return (
    `${assignment} a partition with ${replicas.length} replica(s), but this is not consistent ` +
    `with previous partitions, which have ${replicationFactor} replica(s).`
  );
}

function newPartition(index: number, replicas: readonly number[]): PartitionImage {
  return { index, leader: replicas[0] ?? -1, leaderEpoch: 0, replicas, isr: replicas };
}

function notEnoughBrokers(image: MetadataImage, replicationFactor: number): Outcome {
  return failure(
    ErrorCode.INVALID_REPLICATION_FACTOR,
    `Unable to replicate the partition ${replicationFactor} time(s): The target replication ` +
      `factor of ${replicationFactor} cannot be reached because only ${image.brokers.size} ` +
      `broker(s) are registered.`,
  );
}

function tooManyInTopic(limits: MetadataLimits): Outcome {
  return failure(
    ErrorCode.POLICY_VIOLATION,
    `A topic may have at most ${limits.partitionsPerTopicMax} partitions ` +
      `(limits.partitions_per_topic_max).`,
  );
}

function tooMany(limits: MetadataLimits): Outcome {
  return failure(
    ErrorCode.POLICY_VIOLATION,
    `This broker may hold at most ${limits.partitionsMax} partitions in all ` +
      `(limits.partitions_max).`,
  );
}
