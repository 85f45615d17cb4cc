import { bytes, integer } from "./config-values.ts";

const MiB = 1024 * 1024;

/** Settings about what the broker keeps for single clients: fetch sessions and quotas. */
export const clientSettings = {
  "limits.fetchWaitersMax": integer({
    default: 20_000,
    min: 1,
    doc: "Fetch requests that may wait for data at a time; more are answered at once",
  }),
  "limits.fetchSessionsMax": integer({
    kafka: ["max.incremental.fetch.session.cache.slots"],
    default: 1_000,
    min: 0,
    max: 1_000_000,
    doc: "Incremental fetch sessions kept; a client without one sends full requests",
  }),
  "limits.fetchSessionBytesMax": bytes({
    default: 128 * MiB,
    min: MiB,
    doc: "Memory for the partitions of all fetch sessions, about 350 bytes each",
  }),
} as const;
