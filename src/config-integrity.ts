import { boolean, bytes, integer, type Setting } from "./config-values.ts";

const MiB = 1024 * 1024;

/** How stored data is looked over in the background; see `settings`. */
export const integritySettings = {
  "scrub.enabled": boolean({
    default: true,
    doc: "Whether archives and WAL files are read in the background to find damage early",
  }),
  "scrub.intervalSecs": integer({
    names: ["scrub.interval"],
    default: 7 * 86_400,
    min: 60,
    doc: "Seconds from the start of one round over everything to the next",
  }),
  "scrub.bytesPerSec": bytes({
    default: 0,
    min: 0,
    max: 1024 * MiB,
    doc: "Bytes a second that a round reads; 0 is 8 MiB from a local store and 2 MiB from a bucket",
  }),
} as const satisfies Record<string, Setting<unknown>>;
