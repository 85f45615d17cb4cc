import { assert } from "../lib/assert.ts";
import { brokerConfigs } from "./broker-configs.ts";
import {
  ConfigSource,
  type ConfigType,
  parseList,
  parseLong,
  type ConfigSource as Source,
  type TopicConfigDefinition,
} from "./config-types.ts";
import { groupConfigs } from "./group-configs.ts";
import { checkTiering } from "./tiering-check.ts";
import { internalSegmentBytes, topicConfigs } from "./topic-configs.ts";

/** A config of the running broker, under Kafka's name. */
export interface StaticConfig {
  readonly value: string;
  /** Whether somebody set it; otherwise it is chronik's own default. */
  readonly explicit: boolean;
}

/** Everything that decides a value beside the topic itself. */
export interface ConfigLayers {
  readonly nodeId: number;
  readonly staticConfigs: ReadonlyMap<string, StaticConfig>;
  /** By broker id as text; "" holds the cluster's defaults. */
  readonly brokerConfigs: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export interface ConfigValue {
  readonly name: string;
  readonly value: string | null;
  readonly source: Source;
}

/** One config as DescribeConfigs shows it. */
export interface ConfigEntry extends ConfigValue {
  readonly type: ConfigType;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  readonly documentation: string;
  /** The values that compete, the winner first. */
  readonly synonyms: readonly ConfigValue[];
}

/** The configs of one topic, resolved topic → broker → cluster → default. Times in ms. "No limit"
 * is Number.MAX_SAFE_INTEGER where Kafka says Long.MAX_VALUE, and −1 where Kafka says −1. */
export interface TopicConfig {
  readonly compact: boolean;
  readonly deletes: boolean;
  readonly compressionType: string;
  readonly compressionGzipLevel: number;
  readonly compressionLz4Level: number;
  readonly compressionZstdLevel: number;
  readonly deleteRetentionMs: number;
  readonly fileDeleteDelayMs: number;
  readonly localRetentionBytes: number;
  readonly localRetentionMs: number;
  /** Whether the topic itself says one of the two, other than −2. */
  readonly setsLocalRetention: boolean;
  readonly remoteCopyDisabled: boolean;
  readonly compactionLagMsMax: number;
  readonly compactionLagMsMin: number;
  readonly messageBytesMax: number;
  readonly logAppendTime: boolean;
  readonly timestampAfterMsMax: number;
  readonly timestampBeforeMsMax: number;
  readonly cleanableDirtyRatioMin: number;
  readonly insyncReplicasMin: number;
  readonly retentionBytes: number;
  readonly retentionMs: number;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly segmentJitterMs: number;
  readonly uncleanLeaderElection: boolean;
  readonly searchIndex: "full" | "text" | "keys" | "none";
}

type Configs = ReadonlyMap<string, string>;

const noConfigs: Configs = new Map();

export function resolveTopicConfig(configs: Configs, layers: ConfigLayers): TopicConfig {
  const text = (name: string): string => topicValue(definitionOf(name), configs, layers).value;
  const number = (name: string): number => {
    const value = parseLong(text(name));
    assert(value !== null, `config ${name} was checked when it was set`);
    return value;
  };
  const flag = (name: string): boolean => text(name).trim().toLowerCase() === "true";
  const cleanup = parseList(text("cleanup.policy"));
  const searchIndex = text("search.index");
  return {
    compact: cleanup.includes("compact"),
    deletes: cleanup.includes("delete"),
    compressionType: text("compression.type"),
    compressionGzipLevel: number("compression.gzip.level"),
    compressionLz4Level: number("compression.lz4.level"),
    compressionZstdLevel: number("compression.zstd.level"),
    deleteRetentionMs: number("delete.retention.ms"),
    fileDeleteDelayMs: number("file.delete.delay.ms"),
    localRetentionBytes: number("local.retention.bytes"),
    localRetentionMs: number("local.retention.ms"),
    setsLocalRetention: ["local.retention.bytes", "local.retention.ms"].some(
      (name) => configs.has(name) && number(name) !== -2,
    ),
    remoteCopyDisabled: flag("remote.log.copy.disable"),
    compactionLagMsMax: number("max.compaction.lag.ms"),
    compactionLagMsMin: number("min.compaction.lag.ms"),
    messageBytesMax: number("max.message.bytes"),
    logAppendTime: text("message.timestamp.type") === "LogAppendTime",
    timestampAfterMsMax: number("message.timestamp.after.max.ms"),
    timestampBeforeMsMax: number("message.timestamp.before.max.ms"),
    cleanableDirtyRatioMin: Number(text("min.cleanable.dirty.ratio")),
    insyncReplicasMin: number("min.insync.replicas"),
    retentionBytes: number("retention.bytes"),
    retentionMs: number("retention.ms"),
    segmentBytes: number(
      configs.has(internalSegmentBytes) ? internalSegmentBytes : "segment.bytes",
    ),
    segmentMs: number("segment.ms"),
    segmentJitterMs: number("segment.jitter.ms"),
    uncleanLeaderElection: flag("unclean.leader.election.enable"),
    searchIndex:
      searchIndex === "text" || searchIndex === "keys" || searchIndex === "none"
        ? searchIndex
        : "full",
  };
}

/** Every config of a topic that has set `configs`, by name; an internal one only if set. */
export function describeTopicConfigs(configs: Configs, layers: ConfigLayers): ConfigEntry[] {
  const shown = [...topicConfigs.values()].filter(
    (each) => !each.internal || configs.has(each.name),
  );
  return shown.map((definition) => {
    const { value, source } = topicValue(definition, configs, layers);
    const own = configs.get(definition.name);
    const synonyms: ConfigValue[] = [];
    if (own !== undefined) {
      synonyms.push({ name: definition.name, value: own, source: ConfigSource.TOPIC });
    }
    for (const [position, { name }] of definition.brokerNames.entries()) {
      const all = brokerValues(name, layers);
      synonyms.push(...(position === 0 ? all : all.filter(isGiven)));
    }
    synonyms.sort((left, right) => left.source - right.source);
    return {
      name: definition.name,
      value,
      source,
      type: definition.type,
      readOnly: false,
      sensitive: false,
      documentation: definition.documentation,
      synonyms,
    };
  });
}

/** Every config of this broker, by name. */
export function describeBrokerConfigs(layers: ConfigLayers): ConfigEntry[] {
  return [...brokerConfigs.values()].map((definition) => {
    const values = brokerValues(definition.name, layers);
    return brokerEntry(definition.name, values);
  });
}

/** Every config of a group that has set `configs`, by name. */
export function describeGroupConfigs(configs: Configs, layers: ConfigLayers): ConfigEntry[] {
  return [...groupConfigs.values()].map(({ name, type, documentation, ...definition }) => {
    const own = configs.get(name);
    const { brokerName, defaultValue } = definition;
    const synonyms =
      brokerName === null
        ? [{ name, value: defaultValue, source: ConfigSource.DEFAULT }]
        : brokerValues(brokerName, layers);
    if (own !== undefined) synonyms.unshift({ name, value: own, source: ConfigSource.GROUP });
    const [winner] = synonyms;
    return {
      name,
      value: winner?.value ?? defaultValue,
      source: winner?.source ?? ConfigSource.DEFAULT,
      type,
      readOnly: false,
      sensitive: false,
      documentation,
      synonyms,
    };
  });
}

/** The value in force of a broker config that is a number and has a default. */
export function resolveBrokerNumber(name: string, layers: ConfigLayers): number {
  const value = parseLong(brokerValues(name, layers)[0]?.value ?? "");
  assert(value !== null, `config ${name} was checked when it was set`);
  return value;
}

/** The value in force of a broker config; "" where it has none. */
export function resolveBrokerText(name: string, layers: ConfigLayers): string {
  return brokerValues(name, layers)[0]?.value ?? "";
}

/**
 * What a group goes by beside the broker's settings at start: its own configs and, where it has
 * none, the broker configs that were changed while the broker runs. Null: nothing.
 */
export function resolveGroupConfig(own: Configs | undefined, layers: ConfigLayers): Configs | null {
  let resolved: Map<string, string> | null = null;
  for (const { name, brokerName } of groupConfigs.values()) {
    if (brokerName === null || own?.has(name) || !brokerConfigs.get(brokerName)?.dynamic) continue;
    const value = dynamicValue(brokerName, layers);
    if (value === undefined) continue;
    resolved ??= new Map(own);
    resolved.set(name, value);
  }
  return resolved ?? own ?? null;
}

/** Null when a broker may have these defaults of groups, else the reason why not. */
export function checkGroupDefaults(configs: Configs, layers: ConfigLayers): string | null {
  for (const { brokerName, bounds } of groupConfigs.values()) {
    const text = brokerName === null ? undefined : configs.get(brokerName);
    const value = parseLong(text ?? "");
    if (value === null || bounds === null) continue;
    const [min, max] = [bounds.minName, bounds.maxName].map((name) =>
      parseLong(brokerValues(name, layers)[0]?.value ?? ""),
    );
    if (min != null && value < min) {
      return `${brokerName} must be greater than or equal to ${bounds.minName}`;
    }
    if (max != null && value > max) {
      return `${brokerName} must be less than or equal to ${bounds.maxName}`;
    }
  }
  return null;
}

/** Null when a group may have these configs, else the reason why not. */
export function checkGroupConfigs(configs: Configs, layers: ConfigLayers): string | null {
  const effective = (name: string): number => {
    const definition = groupConfigs.get(name);
    assert(definition !== undefined, `group config ${name} is in the catalogue`);
    const { brokerName } = definition;
    const given = brokerName === null ? null : brokerValues(brokerName, layers)[0]?.value;
    const own = configs.get(name) ?? given;
    return parseLong(own ?? definition.defaultValue) ?? 0;
  };
  for (const [name, value] of configs) {
    const definition = groupConfigs.get(name);
    if (definition === undefined) return `Unknown group config name: ${name}`;
    const reason = definition.check(value);
    if (reason !== null) return `Invalid value ${value} for configuration ${name}: ${reason}`;
    const bound = (brokerName: string): number =>
      parseLong(brokerValues(brokerName, layers)[0]?.value ?? "") ?? 0;
    if (definition.bounds === null) continue;
    const { minName, maxName } = definition.bounds;
    if (effective(name) < bound(minName)) {
      return `${name} must be greater than or equal to ${minName}`;
    }
    if (effective(name) > bound(maxName)) {
      return `${name} must be less than or equal to ${maxName}`;
    }
  }
  for (const family of ["consumer", "share"]) {
    const session = `${family}.session.timeout.ms`;
    const heartbeat = `${family}.heartbeat.interval.ms`;
    if (effective(session) <= effective(heartbeat)) {
      return `${session} must be greater than ${heartbeat}`;
    }
  }
  return null;
}

/** What was set for the whole cluster at run time. */
export function describeClusterConfigs(layers: ConfigLayers): ConfigEntry[] {
  const configs = layers.brokerConfigs.get("") ?? noConfigs;
  return [...configs].sort(byName).map(([name, value]) => {
    return brokerEntry(name, [{ name, value, source: ConfigSource.DYNAMIC_DEFAULT_BROKER }]);
  });
}

/** Null when a topic that had the configs `previous` may have these, else the reason why not. */
export function checkTopicConfigs(
  configs: Configs,
  layers: ConfigLayers,
  previous: Configs = noConfigs,
): string | null {
  for (const [name, value] of configs) {
    const definition = topicConfigs.get(name);
    if (definition === undefined) return `Unknown topic config name: ${name}`;
    const reason = definition.check(value);
    if (reason !== null) return `Invalid value ${value} for configuration ${name}: ${reason}`;
  }
  const lagMin = parseLong(
    topicValue(definitionOf("min.compaction.lag.ms"), configs, layers).value,
  );
  const lagMax = parseLong(
    topicValue(definitionOf("max.compaction.lag.ms"), configs, layers).value,
  );
  if (lagMin !== null && lagMax !== null && lagMin > lagMax) {
    return `min.compaction.lag.ms (${lagMin}) is above max.compaction.lag.ms (${lagMax})`;
  }
  const text = (name: string): string => topicValue(definitionOf(name), configs, layers).value;
  return checkTiering(text, previous.get("remote.storage.enable") ?? "false");
}

/** Whether APPEND and SUBTRACT make sense: the config is a list. */
export function isListConfig(kind: "topic" | "broker" | "group", name: string): boolean {
  if (kind === "group") return false;
  const definition = kind === "topic" ? topicConfigs.get(name) : brokerConfigs.get(name);
  return definition?.type === 7;
}

/** What a list config holds while nobody set it: where APPEND and SUBTRACT start from. */
export function listConfigDefault(
  kind: "topic" | "broker" | "group",
  name: string,
  layers: ConfigLayers,
): string {
  if (kind === "topic") return topicValue(definitionOf(name), noConfigs, layers).value;
  return brokerValues(name, layers)[0]?.value ?? "";
}

function definitionOf(name: string): TopicConfigDefinition {
  const definition = topicConfigs.get(name);
  assert(definition !== undefined, `topic config ${name} is in the catalogue`);
  return definition;
}

function isGiven(value: ConfigValue): boolean {
  return value.source !== ConfigSource.DEFAULT;
}

function topicValue(
  definition: TopicConfigDefinition,
  configs: Configs,
  layers: ConfigLayers,
): { value: string; source: Source } {
  const own = configs.get(definition.name);
  if (own !== undefined) return { value: own, source: ConfigSource.TOPIC };
  for (const { name, scale } of definition.brokerNames) {
    const given = brokerValues(name, layers).find(isGiven);
    if (given?.value != null) {
      return { value: scaled(given.value, scale), source: given.source };
    }
  }
  const first = definition.brokerNames[0];
  const running = first && layers.staticConfigs.get(first.name);
  return { value: running?.value ?? definition.defaultValue, source: ConfigSource.DEFAULT };
}

function scaled(value: string, scale: number): string {
  const number = parseLong(value);
  return scale === 1 || number === null || number < 0 ? value : String(number * scale);
}

/** What was set for a broker config while the broker runs. */
function dynamicValue(name: string, layers: ConfigLayers): string | undefined {
  const own = layers.brokerConfigs.get(String(layers.nodeId))?.get(name);
  return own ?? layers.brokerConfigs.get("")?.get(name);
}

/** The values a broker config has on the several levels, the winner first. */
function brokerValues(name: string, layers: ConfigLayers): ConfigValue[] {
  const values: ConfigValue[] = [];
  const add = (value: string | null | undefined, source: Source): void => {
    if (value != null) values.push({ name, value, source });
  };
  const running = layers.staticConfigs.get(name);
  add(layers.brokerConfigs.get(String(layers.nodeId))?.get(name), ConfigSource.DYNAMIC_BROKER);
  add(layers.brokerConfigs.get("")?.get(name), ConfigSource.DYNAMIC_DEFAULT_BROKER);
  if (running?.explicit) add(running.value, ConfigSource.STATIC_BROKER);
  const own = running?.explicit === false ? running.value : undefined;
  add(own ?? brokerConfigs.get(name)?.defaultValue, ConfigSource.DEFAULT);
  return values;
}

function brokerEntry(name: string, values: readonly ConfigValue[]): ConfigEntry {
  const definition = brokerConfigs.get(name);
  assert(definition !== undefined, `broker config ${name} is in the catalogue`);
  const { sensitive } = definition;
  const shown = sensitive ? values.map((value) => ({ ...value, value: null })) : values;
  return {
    name,
    value: shown[0]?.value ?? null,
    source: shown[0]?.source ?? ConfigSource.DEFAULT,
    type: definition.type,
    readOnly: !definition.dynamic,
    sensitive,
    documentation: definition.documentation,
    synonyms: shown,
  };
}

function byName(left: readonly [string, string], right: readonly [string, string]): number {
  return left[0] < right[0] ? -1 : 1;
}
