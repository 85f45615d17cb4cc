import { compileRegex } from "../lib/linear-regex.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  ConfigSource,
  ConfigType,
  parseList,
  parseLong,
  type ConfigSource as Source,
} from "./config-types.ts";
import type { Outcome } from "./requests.ts";

const { INT, LIST } = ConfigType;

interface Definition {
  readonly name: string;
  readonly type: ConfigType;
  readonly defaultValue: string;
  readonly documentation: string;
}

/** The configs of a client metrics subscription (KIP-714), in the order Kafka tells them. */
const definitions: readonly Definition[] = [
  {
    name: "interval.ms",
    type: INT,
    defaultValue: "300000",
    documentation: "How often a client that matches is to push its metrics.",
  },
  {
    name: "match",
    type: LIST,
    defaultValue: "",
    documentation: "Which clients it is for: selector=expression, all of which must fit.",
  },
  {
    name: "metrics",
    type: LIST,
    defaultValue: "",
    documentation: "Beginnings of the names of the metrics asked for; * means every metric.",
  },
];

const selectors = [
  "client_instance_id",
  "client_id",
  "client_software_name",
  "client_software_version",
  "client_source_address",
  "client_source_port",
] as const;

/** What of a client an expression is about. */
export type MatchSelector = (typeof selectors)[number];

const intervalMsMin = 100;
const intervalMsMax = 3_600_000;

interface Entry {
  readonly name: string;
  readonly value: string;
  readonly source: Source;
  readonly type: ConfigType;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  readonly documentation: string;
  readonly synonyms: readonly { name: string; value: string; source: Source }[];
}

/** Every config of a subscription that has set `configs`; one that was never made has none. */
export function describeClientMetricsConfigs(configs: ReadonlyMap<string, string>): Entry[] {
  return definitions.map(({ name, type, defaultValue, documentation }) => {
    const own = configs.get(name);
    const source = own === undefined ? ConfigSource.DEFAULT : ConfigSource.CLIENT_METRICS;
    const value = own ?? defaultValue;
    const synonyms = own === undefined ? [] : [{ name, value, source }];
    return {
      name,
      value,
      source,
      type,
      readOnly: false,
      sensitive: false,
      documentation,
      synonyms,
    };
  });
}

/** Null when a subscription may have these configs, else Kafka's error. */
export function checkClientMetricsConfigs(configs: ReadonlyMap<string, string>): Outcome | null {
  for (const name of configs.keys()) {
    if (!definitions.some((one) => one.name === name)) {
      return refused(ErrorCode.INVALID_REQUEST, `Unknown client metrics configuration: ${name}`);
    }
  }
  for (const name of ["match", "metrics"]) {
    const text = configs.get(name) ?? "";
    if (text !== "" && text.split(",").some((part) => part.trim() === "")) {
      return refused(ErrorCode.INVALID_CONFIG, `Configuration '${name}' values must not be empty.`);
    }
  }
  return checkInterval(configs.get("interval.ms")) ?? checkMatch(configs.get("match") ?? "");
}

function checkInterval(text: string | undefined): Outcome | null {
  if (text === undefined) return null;
  const value = parseLong(text);
  if (value === null || value !== (value | 0)) {
    const reason = `Invalid value ${text} for configuration interval.ms: Not a number of type INT`;
    return refused(ErrorCode.INVALID_CONFIG, reason);
  }
  if (value >= intervalMsMin && value <= intervalMsMax) return null;
  const reason =
    `Invalid value ${value} for interval.ms, interval must be between ${intervalMsMin} and ` +
    `${intervalMsMax} (1 hour)`;
  return refused(ErrorCode.INVALID_REQUEST, reason);
}

function checkMatch(text: string): Outcome | null {
  for (const pattern of parseList(text)) {
    const parsed = parseMatch(pattern);
    if (parsed === null || typeof compileRegex(parsed.expression) === "string") {
      return refused(ErrorCode.INVALID_CONFIG, `Illegal client matching pattern: ${pattern}`);
    }
  }
  return null;
}

export interface MatchEntry {
  readonly selector: MatchSelector;
  readonly expression: string;
}

/**
 * One entry of `match`, `selector=expression`; null: it is none. As Java splits it: an expression
 * holds no `=`, and those at the end count for nothing.
 */
export function parseMatch(pattern: string): MatchEntry | null {
  const [name = "", expression, ...more] = pattern.replace(/=+$/, "").split("=");
  const selector = selectors.find((one) => one === name.trim());
  if (selector === undefined || expression === undefined || more.length > 0) return null;
  return { selector, expression: expression.trim() };
}

function refused(errorCode: number, errorMessage: string): Outcome {
  return { errorCode, errorMessage };
}
