import { parseLong } from "./config-types.ts";

/** A limit over all tiers and the one of the local log that must fit into it. */
const limits = [
  ["retention.bytes", "local.retention.bytes"],
  ["retention.ms", "local.retention.ms"],
] as const;
const followsRetention = -2;
const noLimit = -1;

/**
 * Kafka's rules for topics with `remote.storage.enable=true` (LogConfig of 4.3.1): null where they
 * hold, else what is wrong. `text` gives the values in force, each valid by itself. Its rule that
 * such a topic is not compacted is not chronik's: archives are compacted too.
 */
export function checkTiering(text: (name: string) => string, wasEnabled: string): string | null {
  if (!isTrue(text("remote.storage.enable"))) {
    return isTrue(wasEnabled) ? turnedOff(text) : null;
  }
  const copyDisabled = isTrue(text("remote.log.copy.disable"));
  for (const [name, localName] of limits) {
    const limit = parseLong(text(name)) ?? noLimit;
    const local = parseLong(text(localName)) ?? followsRetention;
    if (local === followsRetention) continue;
    const invalid = `Invalid value ${local} for configuration ${localName}: Value must not be`;
    if (limit > noLimit && local === noLimit) {
      return `${invalid} -1 as ${name} value is set as ${limit}.`;
    }
    if (limit > noLimit && local > limit) {
      return `${invalid} more than ${name} property value: ${limit}`;
    }
    if (copyDisabled && local !== limit) {
      return (
        `With remote.log.copy.disable=true, ${localName} must be ${name} or -2, ` +
        "because nothing is copied to the remote storage any more."
      );
    }
  }
  return null;
}

/** What was archived stays archived: turning tiers off cannot mean what it means in Kafka. */
function turnedOff(text: (name: string) => string): string {
  if (isTrue(text("remote.log.delete.on.disable"))) {
    return (
      "chronik deletes no archives for remote.log.delete.on.disable=true. To delete what is " +
      "archived, use DeleteRecords; to archive no more, set remote.log.copy.disable=true."
    );
  }
  return (
    "It is invalid to disable remote storage: what was copied stays in use. To keep it and copy " +
    "no more, set remote.storage.enable=true,remote.log.copy.disable=true."
  );
}

function isTrue(text: string): boolean {
  return text.trim().toLowerCase() === "true";
}
