import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Metadata } from "../metadata/controller.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";

/** A partition of the dead letter queue; or why there is none: for good, or for the moment. */
export type Destination =
  | { readonly kind: "found"; readonly partition: Partition }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

export type FindDestination = (
  topic: string | null,
  sourcePartition: number,
) => Promise<Destination>;

const enabled = "errors.deadletterqueue.group.enable";
const autoCreate = "errors.deadletterqueue.auto.create.topics.enable";
const namePrefix = "errors.deadletterqueue.topic.name.prefix";

/**
 * Dead letters of a group go to the topic it names, by the partition they come from. As Kafka 4.4:
 * that topic must allow it (errors.deadletterqueue.group.enable), its name must have the broker's
 * prefix and may not begin with "__", and it is created where the broker is told to.
 */
export function deadLetterTopics(metadata: Metadata, partitions: Partitions): FindDestination {
  return async (topic, sourcePartition) => {
    const reason = refusal(metadata, topic);
    if (topic === null || reason !== null) return refused(reason ?? "the group names no topic");
    if (!metadata.image.topicsByName.has(topic)) {
      const problem = await createTopic(metadata, topic);
      if (problem !== null) return problem;
    }
    const count = metadata.image.topicsByName.get(topic)?.partitions.length ?? 0;
    const partition = count === 0 ? undefined : partitions.get(topic, sourcePartition % count);
    if (partition !== undefined) return { kind: "found", partition };
    return { kind: "failed", reason: `the partition of ${topic} is not open` };
  };
}

function refusal(metadata: Metadata, topic: string | null): string | null {
  if (topic === null) return "the group has no dead letter queue any more";
  if (topic.startsWith("__")) return `${topic} begins with "__"`;
  const known = metadata.image.topicsByName.get(topic);
  const isEnabled = known?.configs.get(enabled)?.trim().toLowerCase() === "true";
  if (known !== undefined && !isEnabled) return `${topic} does not have ${enabled}=true`;
  const mayCreate = metadata.brokerText(autoCreate).trim().toLowerCase() === "true";
  if (known === undefined && !mayCreate) {
    return `${topic} does not exist and ${autoCreate} is not true`;
  }
  const prefix = metadata.brokerText(namePrefix);
  return topic.startsWith(prefix) ? null : `${topic} does not begin with ${namePrefix}=${prefix}`;
}

async function createTopic(metadata: Metadata, name: string): Promise<Destination | null> {
  const configs = [
    [enabled, "true"],
    ["message.timestamp.type", "CreateTime"],
  ] as const;
  const spec = { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs };
  const [outcome] = await metadata.createTopics([spec], false);
  const errorCode = outcome?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
  if (errorCode === ErrorCode.NONE) return null;
  const why = outcome?.errorMessage ?? errorName(errorCode);
  const reason = `${name} cannot be created: ${why}`;
  // Another group may have created it in between; a disk may be full for a while.
  const isPassing =
    errorCode === ErrorCode.TOPIC_ALREADY_EXISTS ||
    errorCode === ErrorCode.KAFKA_STORAGE_ERROR ||
    errorCode === ErrorCode.UNKNOWN_SERVER_ERROR;
  return isPassing ? { kind: "failed", reason } : refused(reason);
}

function refused(reason: string): Destination {
  return { kind: "refused", reason };
}
