import type { Attribute } from "./otlp.ts";

/** Every name a client may write under begins so; none of the broker's own does. */
export const clientPrefix = "chronik_client_";

const kafkaPrefix = "org.apache.kafka.";
const nameCharsMax = 200;

/**
 * `org.apache.kafka.consumer.fetch.manager.fetch.rate` → `chronik_client_consumer_fetch_manager_
 * fetch_rate`; null for what has no name left. Counters end in `_total` and gauges never do, so
 * that no client can give a metric another kind than the others'.
 */
export function metricName(name: string, isCounter: boolean): string | null {
  const bare = name.startsWith(kafkaPrefix) ? name.slice(kafkaPrefix.length) : name;
  if (bare.length > nameCharsMax) return null;
  const plain = bare
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^_|_$/g, "");
  if (plain === "") return null;
  const isTotal = plain === "total" || plain.endsWith("_total");
  if (isCounter) return `${clientPrefix}${isTotal ? plain : `${plain}_total`}`;
  return `${clientPrefix}${isTotal ? `${plain}_value` : plain}`;
}

/**
 * Labels of one series, each name once, by name: the broker's own win over the number's, and these
 * over those of what reports it.
 */
export function labelText(...sources: readonly (readonly Attribute[])[]): string {
  const labels = new Map<string, string>();
  for (const source of sources) {
    for (const [name, value] of source) {
      const label = labelName(name);
      if (label !== "" && !labels.has(label)) labels.set(label, value);
    }
  }
  let text = "";
  for (const name of [...labels.keys()].sort()) {
    text += `${text === "" ? "" : ","}${name}="${escapeLabel(labels.get(name) ?? "")}"`;
  }
  return text;
}

/** Names that begin with two underscores are Prometheus's own. */
function labelName(name: string): string {
  if (/^[A-Za-z][A-Za-z0-9_]*$/.test(name)) return name;
  const plain = name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^_+/, "");
  return /^\d/.test(plain) ? `_${plain}` : plain;
}

function escapeLabel(value: string): string {
  if (!/["\\\n]/.test(value)) return value;
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
