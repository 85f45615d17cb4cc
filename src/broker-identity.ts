import type { Config, LoadedConfig } from "./config.ts";
import { paths, type SettingPath, settings } from "./config-settings.ts";
import { formatAddress, isAddress, type Setting } from "./config-values.ts";
import type { StaticConfig } from "./metadata/config-catalogue.ts";
import type { BrokerImage } from "./metadata/image.ts";

export const listenerName = "PLAINTEXT";

/** This broker and the address its clients are told. */
export function brokerImage(config: Config, kafkaPort: number): BrokerImage {
  const { host, port } = config.advertised;
  return {
    id: config.node.id,
    rack: null,
    endpoints: [{ listener: listenerName, host, port: port ?? kafkaPort }],
  };
}

/** The configuration in effect under Kafka's names, as DescribeConfigs shows it. */
export function staticConfigs({ config, origins }: LoadedConfig): Map<string, StaticConfig> {
  const found = new Map<string, StaticConfig>();
  for (const path of paths) {
    const setting: Setting<unknown> = settings[path];
    const value = valueAt(config, path);
    const explicit = origins.get(path)?.source !== "default";
    for (const { name, scale = 1 } of setting.kafka ?? []) {
      const text = kafkaText(value, scale);
      if (text !== null) found.set(name, { value: text, explicit });
    }
  }
  found.set("advertised.listeners", {
    value: `${listenerName}://${config.advertised.host}:${config.advertised.port ?? 0}`,
    explicit: config.advertisedAddr !== null,
  });
  return found;
}

function valueAt(config: Config, path: SettingPath): unknown {
  let value: unknown = config;
  for (const part of path.split(".")) value = (value as Record<string, unknown>)[part];
  return value;
}

/** A value as Kafka writes it; null where Kafka's unit cannot say it. */
function kafkaText(value: unknown, scale: number): string | null {
  if (value === null) return null;
  if (typeof value === "number") {
    if (value === Number.MAX_SAFE_INTEGER) return "9223372036854775807";
    if (value < 0) return String(value);
    return value % scale === 0 ? String(value / scale) : null;
  }
  if (Array.isArray(value)) {
    return value.map((one) => `${listenerName}://${addressText(one)}`).join(",");
  }
  return isAddress(value) ? addressText(value) : String(value);
}

function addressText(value: unknown): string {
  return isAddress(value) ? formatAddress(value) : String(value);
}
