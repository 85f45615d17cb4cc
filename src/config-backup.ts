import { choice, integer } from "./config-values.ts";

/** Settings of the backup of metadata and offsets in the object store; see `settings`. */
export const backupSettings = {
  "backup.enabled": choice({
    values: ["auto", "true", "false"],
    default: "auto",
    doc: "Whether metadata and offsets are backed up in the object store; auto: where it is remote",
  }),
  "backup.interval": integer({
    default: 60,
    min: 1,
    max: 86_400,
    doc: "Seconds between two backups; a clean stop makes one too",
  }),
  "backup.stopTimeoutMs": integer({
    default: 15_000,
    min: 0,
    max: 3_600_000,
    doc: "Milliseconds that a clean stop waits for its backup",
  }),
} as const;
