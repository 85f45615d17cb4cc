import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Advertised, checkTogether, deriveAdvertised } from "./config-checks.ts";
import { type Entries, FileFormatError, parseConfigFile, plainListeners } from "./config-file.ts";
import {
  lookupName,
  lookupVariable,
  type NameUse,
  nearestName,
  nearestVariable,
} from "./config-names.ts";
import { paths, type SettingPath, settings, type Values, variableOf } from "./config-settings.ts";
import { type RawValue, type Setting, toBoolean, toInteger } from "./config-values.ts";
import { BrokerError, errorText } from "./lib/errors.ts";

/** Everything the broker is told, frozen. Relative folders are resolved. */
export interface Config extends Values {
  /** The address that clients are told; port null means the port actually bound. */
  readonly advertised: Advertised;
}

/** Where a value came from, and under which name. */
export interface Origin {
  readonly source: "default" | "file" | "environment" | "flag";
  readonly name: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly origins: ReadonlyMap<SettingPath, Origin>;
  /** One line each, for the log. */
  readonly warnings: readonly string[];
}

export interface ConfigInput {
  /** `--config`; where missing, `CHRONIK_CONFIG` is used. */
  readonly file?: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly flags: ReadonlyMap<SettingPath, RawValue>;
  /** `-X name=value`, in order. */
  readonly overrides: readonly (readonly [name: string, value: string])[];
  /** The command as typed, for messages that show a corrected one. */
  readonly commandLine: readonly string[];
  readonly folder: string;
  readonly hostname: string;
}

interface Given {
  readonly raw: RawValue;
  readonly use: NameUse;
  readonly origin: Origin;
}

/**
 * Defaults, then the file, then the environment, then flags: the later wins. Throws a BrokerError
 * CHRONIK_CONFIG that names the setting, where it was given, and what would be right.
 */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const warnings: string[] = [];
  const layers = [
    readFileLayer(
      input.file ?? (input.environment["CHRONIK_CONFIG"] || undefined),
      input,
      warnings,
    ),
    readEnvironment(input.environment, warnings),
    [...readFlags(input.flags), ...readOverrides(input.overrides, warnings)],
  ];
  const values = new Map<SettingPath, unknown>();
  const origins = new Map<SettingPath, Origin>();
  for (const path of paths) {
    values.set(path, settings[path].default);
    origins.set(path, { source: "default", name: "" });
  }
  for (const layer of layers) {
    for (const { raw, use, origin } of settle(layer)) {
      values.set(use.path, check(raw, use, origin));
      origins.set(use.path, origin);
    }
  }
  const nested = nest(values);
  const config: Config = deepFreeze({
    ...resolveFolders(nested, input.folder),
    ...derived(nested),
  });
  checkTogether(config, input);
  return { config, origins, warnings };
}

function derived(values: Values): { advertised: Advertised } {
  return { advertised: deriveAdvertised(values) };
}

function readFileLayer(file: string | undefined, input: ConfigInput, warnings: string[]): Given[] {
  if (file === undefined) return [];
  const path = resolve(input.folder, file);
  let entries: Entries;
  try {
    entries = parseConfigFile(path, readFileSync(path, "utf8"));
    return entries.flatMap(([name, raw]) => {
      const use = lookupOrFail(name, path, warnings);
      if (use === undefined) return [];
      return [
        {
          raw: readKafkaForm(name, raw, entries),
          use,
          origin: { source: "file" as const, name: `${name} in ${path}` },
        },
      ];
    });
  } catch (cause) {
    if (cause instanceof BrokerError) throw cause;
    const reason = cause instanceof FileFormatError ? cause.message : errorText(cause);
    throw invalid(`the configuration file ${path} cannot be used: ${reason}`, cause);
  }
}

/** Values that Kafka writes in a form of its own. */
function readKafkaForm(name: string, raw: RawValue, entries: Entries): RawValue {
  if (name === "listeners") return plainListeners(entries, raw);
  if (name === "advertised.listeners") return plainListeners(entries, raw)[0] ?? "";
  if (name === "log.dirs" && String(raw).includes(",")) {
    throw new FileFormatError("log.dirs names several folders and chronik uses one");
  }
  return raw;
}

function readEnvironment(environment: ConfigInput["environment"], warnings: string[]): Given[] {
  const given: Given[] = [];
  for (const [name, raw] of Object.entries(environment)) {
    if (name === "CHRONIK_CONFIG" || !raw) continue;
    const use = lookupVariable(name);
    if (use !== undefined) {
      given.push({ raw, use, origin: { source: "environment", name } });
    } else if (name.startsWith("CHRONIK_") && !/_SERVICE_(HOST|PORT)|_PORT(_|$)/.test(name)) {
      // Orchestrators set variables of that form for a service named chronik; others are mistakes.
      warnings.push(
        `the environment variable ${name} means nothing; did you mean ${nearestVariable(name)}?`,
      );
    }
  }
  return given;
}

function readFlags(flags: ConfigInput["flags"]): Given[] {
  return [...flags].map(([path, raw]) => ({
    raw,
    use: { path, scale: 1, rank: 0, kafka: false, negated: false },
    origin: { source: "flag", name: settings[path].flag?.split(" ")[0] ?? path },
  }));
}

function readOverrides(overrides: ConfigInput["overrides"], warnings: string[]): Given[] {
  return overrides.flatMap(([name, raw]) => {
    const use = lookupOrFail(name, "-X", warnings);
    if (use === undefined) return [];
    if (isSecret(use.path)) {
      const variable = variableOf(use.path);
      throw invalid(`-X ${name} would show a secret to everybody: use a file or ${variable}`);
    }
    return [{ raw, use, origin: { source: "flag" as const, name: `-X ${name}` } }];
  });
}

/** Undefined, with a warning, for a name of Kafka's that chronik has no use for. */
function lookupOrFail(name: string, where: string, warnings: string[]): NameUse | undefined {
  const use = lookupName(name);
  if (use === "ignored") {
    warnings.push(`${name} in ${where} is a setting of Kafka that chronik does not use`);
    return undefined;
  }
  if (use === undefined) {
    throw invalid(`${name} in ${where} is not a setting; did you mean ${nearestName(name)}?`);
  }
  return use;
}

/** One value for each setting of a layer: Kafka's names have an order, anything else is a clash. */
function settle(layer: readonly Given[]): Given[] {
  const chosen = new Map<SettingPath, Given>();
  for (const given of layer) {
    const earlier = chosen.get(given.use.path);
    if (earlier !== undefined && !(earlier.use.kafka && given.use.kafka)) {
      throw invalid(
        `${earlier.origin.name} and ${given.origin.name} set the same: give one of them`,
      );
    }
    if (earlier === undefined || given.use.rank < earlier.use.rank) {
      chosen.set(given.use.path, given);
    }
  }
  return [...chosen.values()];
}

function check(raw: RawValue, use: NameUse, origin: Origin): unknown {
  const setting: Setting<unknown> = settings[use.path];
  const value = setting.parse(convert(raw, use) ?? "");
  if (value !== undefined) return value;
  const shown = isSecret(use.path) ? "not acceptable" : JSON.stringify(String(raw));
  throw invalid(`${origin.name} is ${shown} and must be ${setting.accepts}`);
}

function isSecret(path: SettingPath): boolean {
  const setting: Setting<unknown> = settings[path];
  return setting.secret === true;
}

function convert(raw: RawValue, { scale, negated }: NameUse): RawValue | undefined {
  if (negated) {
    const value = toBoolean(raw);
    return value === undefined ? undefined : !value;
  }
  if (scale === 1) return raw;
  const count = toInteger(raw);
  if (count === undefined) return undefined;
  // Kafka's -1 means without end in every unit.
  return count < 0 ? count : Math.min(count * scale, Number.MAX_SAFE_INTEGER);
}

/** `a.b` and `c` become `{a: {b}, c}`. */
function nest(values: ReadonlyMap<SettingPath, unknown>): Values {
  const nested: Record<string, unknown> = {};
  for (const [path, value] of values) {
    const [section = "", name] = path.split(".");
    if (name === undefined) nested[section] = value;
    else nested[section] = { ...(nested[section] as object | undefined), [name]: value };
  }
  // The table's keys and the type come from the same object.
  return nested as unknown as Values;
}

function resolveFolders(values: Values, folder: string): Values {
  const dataDir = resolve(folder, values.dataDir);
  const given = values.indexer.indexBasePath.replaceAll("{data_dir}", dataDir);
  return {
    ...values,
    dataDir,
    indexer: { ...values.indexer, indexBasePath: resolve(folder, given) },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

function invalid(message: string, cause?: unknown): BrokerError {
  return new BrokerError("CHRONIK_CONFIG", message, cause === undefined ? undefined : { cause });
}
