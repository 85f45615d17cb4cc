import {
  type ConfigCheck,
  type ConfigDefinition,
  ConfigType,
  int,
  integer,
  listOf,
  oneOf,
} from "./config-types.ts";
import { shareBoundedConfigs, shareOwnConfigs } from "./share-configs.ts";

const { INT, LIST, STRING } = ConfigType;

/** A config of a group (resource type GROUP, KIP-1043). */
export interface GroupConfigDefinition extends ConfigDefinition {
  readonly defaultValue: string;
  /** The broker config that gives the default of all groups; null: none does. */
  readonly brokerName: string | null;
  /** Broker configs that bound the value; null: none do. */
  readonly bounds: { readonly minName: string; readonly maxName: string } | null;
}

type BrokerDefinition = readonly [
  name: string,
  type: ConfigType,
  defaultValue: string,
  check: ConfigCheck,
  documentation: string,
];

/** The broker configs of groups of the consumer protocol (KIP-848), under Kafka's names. */
export const consumerGroupConfigs: readonly BrokerDefinition[] = [
  [
    "group.consumer.assignment.interval.ms",
    INT,
    "1000",
    int(0),
    "A consumer group gets a new target assignment at most once in this time.",
  ],
  [
    "group.consumer.assignors",
    LIST,
    "uniform,range",
    listOf("uniform", "range"),
    "Server-side assignors members may ask for; the first is the default.",
  ],
  [
    "group.consumer.heartbeat.interval.ms",
    INT,
    "5000",
    int(1),
    "Time between two heartbeats of a consumer group's member.",
  ],
  [
    "group.consumer.max.assignment.interval.ms",
    INT,
    "15000",
    int(0),
    "Longest assignment interval a consumer group may be given.",
  ],
  [
    "group.consumer.max.heartbeat.interval.ms",
    INT,
    "15000",
    int(1),
    "Longest heartbeat interval a consumer group may be given.",
  ],
  [
    "group.consumer.max.session.timeout.ms",
    INT,
    "60000",
    int(1),
    "Longest session timeout a consumer group may be given.",
  ],
  ["group.consumer.max.size", INT, "2147483647", int(1), "Most members of one consumer group."],
  [
    "group.consumer.migration.policy",
    STRING,
    "bidirectional",
    oneOf("bidirectional", "upgrade", "downgrade", "disabled"),
    "Whether groups go from the classic to the consumer protocol, and back, while they run.",
  ],
  [
    "group.consumer.min.assignment.interval.ms",
    INT,
    "0",
    int(0),
    "Shortest assignment interval a consumer group may be given.",
  ],
  [
    "group.consumer.min.heartbeat.interval.ms",
    INT,
    "5000",
    int(1),
    "Shortest heartbeat interval a consumer group may be given.",
  ],
  [
    "group.consumer.min.session.timeout.ms",
    INT,
    "45000",
    int(1),
    "Shortest session timeout a consumer group may be given.",
  ],
  [
    "group.consumer.regex.refresh.interval.ms",
    INT,
    "600000",
    int(10_000),
    "Time after which subscriptions by regular expression are evaluated again.",
  ],
  [
    "group.consumer.session.timeout.ms",
    INT,
    "45000",
    int(1),
    "Time without a heartbeat after which a consumer group's member is out.",
  ],
];

function bounded(
  name: string,
  broker: string,
  min: number,
  defaultValue: string,
  documentation: string,
): GroupConfigDefinition {
  const [family, setting] = [broker.split(".")[1], broker.split(".").slice(2).join(".")];
  return {
    name,
    type: INT,
    defaultValue,
    check: int(min),
    documentation,
    brokerName: broker,
    bounds: {
      minName: `group.${family}.min.${setting}`,
      maxName: `group.${family}.max.${setting}`,
    },
  };
}

const definitions: readonly GroupConfigDefinition[] = [
  bounded(
    "consumer.assignment.interval.ms",
    "group.consumer.assignment.interval.ms",
    0,
    "1000",
    "The group gets a new target assignment at most once in this time.",
  ),
  bounded(
    "consumer.heartbeat.interval.ms",
    "group.consumer.heartbeat.interval.ms",
    1,
    "5000",
    "Time between two heartbeats of a member.",
  ),
  bounded(
    "consumer.session.timeout.ms",
    "group.consumer.session.timeout.ms",
    1,
    "45000",
    "Time without a heartbeat after which a member is out.",
  ),
  ...shareBoundedConfigs.map(([name, broker, [min, max], value, documentation]) => ({
    ...bounded(name, broker, min, String(value), documentation),
    check: integer(min, max),
  })),
  ...shareOwnConfigs.map((own) => ({ ...own, brokerName: null, bounds: null })),
];

/** Every config a group may have of its own, by name. */
export const groupConfigs: ReadonlyMap<string, GroupConfigDefinition> = new Map(
  definitions.map((definition) => [definition.name, definition]),
);
