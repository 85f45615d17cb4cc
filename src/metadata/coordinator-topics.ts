import type { CreateTopicSpec } from "./requests.ts";

/** A topic in which a coordinator keeps its state, as it is when it is created. */
export interface CoordinatorTopicForm {
  readonly name: string;
  readonly partitionCount: number;
  readonly segmentBytes: number;
  /** delete: nothing ages out, its coordinator cuts off what nothing depends on. */
  readonly cleanup: "compact" | "delete";
}

/** The settings that shape these topics. */
export interface CoordinatorTopicSettings {
  readonly group: { readonly offsetsTopicNumPartitions: number };
  readonly transaction: {
    readonly stateLogNumPartitions: number;
    readonly stateLogSegmentBytes: number;
  };
  readonly shareGroup: { readonly stateTopicNumPartitions: number };
}

export const offsetsTopic = "__consumer_offsets";
export const transactionStateTopic = "__transaction_state";
export const shareStateTopic = "__share_group_state";

const segmentBytes = 100 << 20;
const keepsAll: readonly [string, string] = ["retention.ms", "-1"];

export function offsetsTopicForm(partitionCount: number): CoordinatorTopicForm {
  return { name: offsetsTopic, partitionCount, segmentBytes, cleanup: "compact" };
}

export function transactionTopicForm(
  settings: CoordinatorTopicSettings["transaction"],
): CoordinatorTopicForm {
  return {
    name: transactionStateTopic,
    partitionCount: settings.stateLogNumPartitions,
    segmentBytes: settings.stateLogSegmentBytes,
    cleanup: "compact",
  };
}

export function shareTopicForm(partitionCount: number): CoordinatorTopicForm {
  return { name: shareStateTopic, partitionCount, segmentBytes, cleanup: "delete" };
}

/** What a coordinator asks for when it needs the topic. */
export function coordinatorTopicSpec(form: CoordinatorTopicForm): CreateTopicSpec {
  return {
    name: form.name,
    numPartitions: form.partitionCount,
    replicationFactor: 1,
    assignments: [],
    configs: [
      ["cleanup.policy", form.cleanup],
      ["compression.type", "producer"],
      ["segment.bytes", String(form.segmentBytes)],
      ...(form.cleanup === "delete" ? [keepsAll] : []),
    ],
  };
}

/**
 * What creating the topic for a client comes to: its coordinator's own request, with the client's
 * replication factor. Null where the client wants a topic that the coordinator would not make:
 * another number of partitions (−1: any), brokers chosen by hand, other configs.
 */
export function clientsCoordinatorTopic(
  wanted: CreateTopicSpec,
  settings: CoordinatorTopicSettings,
): CreateTopicSpec | null {
  const form = formOf(wanted.name, settings);
  if (form === null) return null;
  const spec = coordinatorTopicSpec(form);
  const configs = new Map(spec.configs);
  const isSame =
    (wanted.numPartitions === -1 || wanted.numPartitions === form.partitionCount) &&
    wanted.assignments.length === 0 &&
    wanted.configs.every(([name, value]) => value !== null && configs.get(name) === value);
  return isSame ? { ...spec, replicationFactor: wanted.replicationFactor } : null;
}

function formOf(name: string, settings: CoordinatorTopicSettings): CoordinatorTopicForm | null {
  switch (name) {
    case offsetsTopic:
      return offsetsTopicForm(settings.group.offsetsTopicNumPartitions);
    case transactionStateTopic:
      return transactionTopicForm(settings.transaction);
    case shareStateTopic:
      return shareTopicForm(settings.shareGroup.stateTopicNumPartitions);
    default:
      return null;
  }
}
