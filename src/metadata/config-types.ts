/** Kafka's config types as DescribeConfigs numbers them. */
export const ConfigType = {
  BOOLEAN: 1,
  STRING: 2,
  INT: 3,
  SHORT: 4,
  LONG: 5,
  DOUBLE: 6,
  LIST: 7,
  CLASS: 8,
  PASSWORD: 9,
} as const;
export type ConfigType = (typeof ConfigType)[keyof typeof ConfigType];

/** Where a value comes from, as DescribeConfigs numbers it; a smaller number wins. */
export const ConfigSource = {
  TOPIC: 1,
  DYNAMIC_BROKER: 2,
  DYNAMIC_DEFAULT_BROKER: 3,
  STATIC_BROKER: 4,
  DEFAULT: 5,
  CLIENT_METRICS: 7,
  GROUP: 8,
} as const;
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource];

/** Null when the text is a value of the config, else what is wrong with it. */
export type ConfigCheck = (value: string) => string | null;

export interface ConfigDefinition {
  readonly name: string;
  readonly type: ConfigType;
  readonly check: ConfigCheck;
  readonly documentation: string;
}

/** A config of a topic. */
export interface TopicConfigDefinition extends ConfigDefinition {
  /** The value when nobody says anything. */
  readonly defaultValue: string;
  /** Broker configs that give the default of all topics, first one first; `scale` turns the
   * broker config's unit into the topic config's. */
  readonly brokerNames: readonly { readonly name: string; readonly scale: number }[];
  /** For Kafka's own tests: described only where it is set, and no default of anything. */
  readonly internal: boolean;
}

/** A config of a broker. */
export interface BrokerConfigDefinition extends ConfigDefinition {
  /** null: unset unless given. */
  readonly defaultValue: string | null;
  /** Whether it may be changed while the broker runs. */
  readonly dynamic: boolean;
  readonly sensitive: boolean;
}

/** Kafka's Long.MAX_VALUE, for "no limit". */
export const longMax = "9223372036854775807";

const integerText = /^[+-]?\d{1,19}$/;

/** A 64-bit integer as a number, saturating at ±Number.MAX_SAFE_INTEGER; null if it is none. */
export function parseLong(text: string): number | null {
  const trimmed = text.trim();
  if (!integerText.test(trimmed)) return null;
  const value = BigInt(trimmed);
  if (value > 2n ** 63n - 1n || value < -(2n ** 63n)) return null;
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  if (value > limit) return Number.MAX_SAFE_INTEGER;
  return value < -limit ? -Number.MAX_SAFE_INTEGER : Number(value);
}

/** The parts of a list config; an empty text is an empty list. */
export function parseList(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

export function integer(min: number, max: number): ConfigCheck {
  return (text) => {
    const value = parseLong(text);
    if (value === null) return "it is not an integer";
    if (value < min) return `it must be at least ${min}`;
    return value > max ? `it must be at most ${max}` : null;
  };
}

const intMax = 2 ** 31 - 1;

export const int = (min: number): ConfigCheck => integer(min, intMax);
export const long = (min: number): ConfigCheck => integer(min, Number.MAX_SAFE_INTEGER);
export const boolean: ConfigCheck = (text) =>
  /^(true|false)$/i.test(text.trim()) ? null : "it must be true or false";
export const anyText: ConfigCheck = () => null;

export function decimal(min: number, max: number): ConfigCheck {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isFinite(value)) return "it is not a number";
    return value >= min && value <= max ? null : `it must lie between ${min} and ${max}`;
  };
}

export function oneOf(...values: string[]): ConfigCheck {
  return (text) => (values.includes(text) ? null : `it must be one of ${values.join(", ")}`);
}

/** A list of some of `values`, each at most once. */
export function listOf(...values: string[]): ConfigCheck {
  return (text) => {
    const parts = parseList(text);
    if (new Set(parts).size !== parts.length) return "it names a value twice";
    const unknown = parts.find((part) => !values.includes(part));
    return unknown === undefined ? null : `"${unknown}" is not one of ${values.join(", ")}`;
  };
}

/** "*", or a list of partition:replica pairs. */
export const throttledReplicas: ConfigCheck = (text) => {
  const parts = parseList(text);
  if (parts.length === 0 || (parts.length === 1 && parts[0] === "*")) return null;
  const whole = parts.every((part) => /^\d+:\d+$/.test(part));
  return whole ? null : "it must be * or a list of partition:replica pairs";
};
