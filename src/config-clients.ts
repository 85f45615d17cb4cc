import { bytes, integer } from "./config-values.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** Settings about what the broker keeps for single clients: fetch sessions and quotas. */
export const clientSettings = {
  "limits.fetchBytesMax": bytes({
    kafka: ["fetch.max.bytes"],
    default: 55 * MiB,
    min: KiB,
    max: 2 * GiB - 1,
    doc: "Most bytes of one fetch response",
  }),
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
  "limits.clientQuotasMax": integer({
    default: 10_000,
    min: 0,
    max: 1_000_000,
    doc: "Users, client ids and addresses that may have quotas of their own",
  }),
  "limits.quotaClientsMax": integer({
    default: 10_000,
    min: 1,
    max: 1_000_000,
    doc: "Clients counted at a time for each kind of quota; then the longest unseen is forgotten",
  }),
  "quota.windowNum": integer({
    kafka: ["quota.window.num"],
    default: 11,
    min: 1,
    max: 1_000,
    doc: "Windows that a client's rate is taken over, with the running one",
  }),
  "quota.windowSizeSeconds": integer({
    kafka: ["quota.window.size.seconds"],
    default: 1,
    min: 1,
    max: 3_600,
    doc: "Length of such a window in seconds",
  }),
  "quota.controllerWindowNum": integer({
    kafka: ["controller.quota.window.num"],
    default: 11,
    min: 1,
    max: 1_000,
    doc: "Windows whose mutations a client may save up",
  }),
  "quota.controllerWindowSizeSeconds": integer({
    kafka: ["controller.quota.window.size.seconds"],
    default: 1,
    min: 1,
    max: 3_600,
    doc: "Length of such a window in seconds",
  }),
} as const;
