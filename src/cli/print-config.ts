import type { LoadedConfig } from "../config.ts";
import { keyOf, paths, type SettingPath, settings, variableOf } from "../config-settings.ts";
import { formatAddress, isAddress, type Setting } from "../config-values.ts";

/** The configuration in effect as a TOML file, each value with its meaning and its origin. */
export function printConfig({ config, origins, warnings }: LoadedConfig): string {
  const blocks = paths.map((path) => {
    const origin = origins.get(path);
    const value = valueAt(config, path);
    const setting: Setting<unknown> = settings[path];
    const hidden = setting.secret === true && value !== null;
    const line = hidden
      ? `# ${keyOf(path)} is given and not shown`
      : value === null
        ? `# ${keyOf(path)} =`
        : `${keyOf(path)} = ${toToml(value)}`;
    const from = origin === undefined || origin.source === "default" ? "default" : origin.name;
    return `# ${settings[path].doc}\n# ${variableOf(path)}; value from: ${from}\n${line}\n`;
  });
  return [...warnings.map((warning) => `# warning: ${warning}\n`), ...blocks].join("\n");
}

function valueAt(config: object, path: SettingPath): unknown {
  return path.split(".").reduce<unknown>((value, name) => {
    return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  }, config);
}

function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(", ")}]`;
  if (isAddress(value)) return JSON.stringify(formatAddress(value));
  return JSON.stringify(value);
}
