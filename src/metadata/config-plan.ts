import { ErrorCode } from "../protocol/error-code.ts";
import { brokerConfigs } from "./broker-configs.ts";
import { checkClientMetricsConfigs } from "./client-metrics-configs.ts";
import type { Command, ConfigChange } from "./command.ts";
import {
  type ConfigLayers,
  checkGroupConfigs,
  checkGroupDefaults,
  checkTopicConfigs,
  isListConfig,
  listConfigDefault,
} from "./config-catalogue.ts";
import { parseList } from "./config-types.ts";
import type { MetadataImage } from "./image.ts";
import type { ConfigAlteration, ConfigOperation, Outcome } from "./requests.ts";
import { checkTopicName } from "./topic-name.ts";
import { failure } from "./topic-plan.ts";

/** Groups that may have configs of their own: they stay in memory, whether the groups exist. */
const groupConfigsMax = 10_000;
const subscriptionsMax = 1000;
/** As in Kafka: APPEND must not grow a value without end. */
const valueBytesMax = 32_767;
const tooLong =
  "The configuration value cannot be added because it exceeds the maximum value size of " +
  `${valueBytesMax} bytes.`;

/** Plans the change of one resource's configs (pure): the command, or Kafka's error. A command
 * that changes nothing is returned too; the caller may drop it (`isEmptyChange`). */
export function planConfigs(
  image: MetadataImage,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Command | Outcome {
  switch (alteration.resource) {
    case "topic":
      return planTopicConfigs(image, alteration, layers);
    case "group":
      return planGroupConfigs(image, alteration, layers);
    case "client-metrics":
      return planClientMetrics(image, alteration, layers);
    default:
      return planBrokerConfigs(image, alteration, layers);
  }
}

export function isEmptyChange(change: ConfigChange): boolean {
  return change.set.length === 0 && change.remove.length === 0;
}

function planTopicConfigs(
  image: MetadataImage,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Command | Outcome {
  if (alteration.name === "") {
    return failure(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.");
  }
  const topic = image.topicsByName.get(alteration.name);
  if (topic === undefined) {
    const misnamed = checkTopicName(alteration.name);
    if (misnamed !== null) return failure(ErrorCode.INVALID_TOPIC_EXCEPTION, misnamed);
    return failure(
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      `The topic '${alteration.name}' does not exist.`,
    );
  }
  const next = operate(topic.configs, alteration, layers);
  if ("errorCode" in next) return next;
  const reason = checkTopicConfigs(next, layers, topic.configs);
  if (reason !== null) return failure(ErrorCode.INVALID_CONFIG, reason);
  return { type: "topic-configs", id: topic.id, change: difference(topic.configs, next) };
}

function planGroupConfigs(
  image: MetadataImage,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Command | Outcome {
  const { name } = alteration;
  if (name === "") {
    return failure(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.");
  }
  const current = image.groupConfigs.get(name) ?? new Map<string, string>();
  const next = operate(current, alteration, layers);
  if ("errorCode" in next) return next;
  const reason = checkGroupConfigs(next, layers);
  if (reason !== null) return failure(ErrorCode.INVALID_CONFIG, reason);
  if (next.size > 0 && current.size === 0 && image.groupConfigs.size >= groupConfigsMax) {
    return failure(ErrorCode.POLICY_VIOLATION, `${groupConfigsMax} groups have configs already.`);
  }
  return { type: "group-configs", group: name, change: difference(current, next) };
}

function planClientMetrics(
  image: MetadataImage,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Command | Outcome {
  const { name } = alteration;
  if (name === "") return failure(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty");
  const current = image.clientMetricsConfigs.get(name) ?? new Map<string, string>();
  const next = operate(current, alteration, layers);
  if ("errorCode" in next) return next;
  const invalid = checkClientMetricsConfigs(next);
  if (invalid !== null) return invalid;
  const isNew = next.size > 0 && current.size === 0;
  if (isNew && image.clientMetricsConfigs.size >= subscriptionsMax) {
    const text = `There are ${subscriptionsMax} client metrics subscriptions already.`;
    return failure(ErrorCode.POLICY_VIOLATION, text);
  }
  return { type: "client-metrics", name, change: difference(current, next) };
}

function planBrokerConfigs(
  image: MetadataImage,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Command | Outcome {
  const { name } = alteration;
  if (name !== "") {
    const text = !/^[+-]?\d{1,10}$/.test(name)
      ? `Node id must be an integer, but it is: ${name}`
      : `Unexpected broker id, expected ${layers.nodeId}, but received ${name}`;
    if (name !== String(layers.nodeId)) return failure(ErrorCode.INVALID_REQUEST, text);
  }
  for (const operation of alteration.operations) {
    const definition = brokerConfigs.get(operation.name);
    if (definition === undefined) {
      return failure(ErrorCode.INVALID_CONFIG, `Unknown broker config name: ${operation.name}`);
    }
    if (!definition.dynamic) {
      return failure(
        ErrorCode.INVALID_REQUEST,
        `Cannot update these configs dynamically: [${operation.name}]`,
      );
    }
  }
  const current = image.brokerConfigs.get(name) ?? new Map<string, string>();
  const next = operate(current, alteration, layers);
  if ("errorCode" in next) return next;
  for (const [key, value] of next) {
    const reason = brokerConfigs.get(key)?.check(value) ?? null;
    if (reason !== null) {
      const text = `Invalid value ${value} for configuration ${key}: ${reason}`;
      return failure(ErrorCode.INVALID_REQUEST, text);
    }
  }
  const reason = checkGroupDefaults(next, layers);
  if (reason !== null) return failure(ErrorCode.INVALID_REQUEST, reason);
  return { type: "broker-configs", broker: name, change: difference(current, next) };
}

/** The configs after the operations, or Kafka's error. */
function operate(
  current: ReadonlyMap<string, string>,
  alteration: ConfigAlteration,
  layers: ConfigLayers,
): Map<string, string> | Outcome {
  const next = new Map(alteration.replacesAll ? [] : current);
  for (const operation of alteration.operations) {
    if (operation.kind === "delete") {
      next.delete(operation.name);
      continue;
    }
    const { value } = operation;
    if (value === null) {
      return failure(ErrorCode.INVALID_REQUEST, `Null value not supported for : ${operation.name}`);
    }
    if (operation.kind === "set") {
      next.set(operation.name, value);
      continue;
    }
    const { resource } = alteration;
    // Kafka knows the lists of a subscription and takes them only whole.
    if (resource === "client-metrics" || !isListConfig(resource, operation.name)) {
      const verb = operation.kind.toUpperCase();
      return failure(
        ErrorCode.INVALID_CONFIG,
        `Can't ${verb} to key ${operation.name} because its type is not LIST.`,
      );
    }
    const before = next.get(operation.name) ?? listConfigDefault(resource, operation.name, layers);
    next.set(operation.name, editList(before, operation, value));
  }
  const long = [...next.values()].some((value) => Buffer.byteLength(value) > valueBytesMax);
  return long ? failure(ErrorCode.INVALID_CONFIG, tooLong) : next;
}

function editList(before: string, operation: ConfigOperation, value: string): string {
  const parts = parseList(before);
  const given = parseList(value);
  const after =
    operation.kind === "append"
      ? [...parts, ...given.filter((part) => !parts.includes(part))]
      : parts.filter((part) => !given.includes(part));
  return after.join(",");
}

function difference(
  current: ReadonlyMap<string, string>,
  next: ReadonlyMap<string, string>,
): ConfigChange {
  return {
    set: [...next].filter(([name, value]) => current.get(name) !== value),
    remove: [...current.keys()].filter((name) => !next.has(name)),
  };
}
