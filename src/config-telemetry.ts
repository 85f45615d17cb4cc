import { boolean, bytes, integer } from "./config-values.ts";

const MiB = 1024 * 1024;

/** Settings of client metrics (KIP-714): what clients push about themselves; see `settings`. */
export const telemetrySettings = {
  "telemetry.enabled": boolean({
    default: false,
    doc: "Whether clients are offered to push their metrics, which then stand on /metrics",
  }),
  "telemetry.bytesMax": bytes({
    kafka: ["telemetry.max.bytes"],
    default: MiB,
    min: 1,
    max: 64 * MiB,
    doc: "Largest push taken, as it is sent and as it unpacks",
  }),
  "telemetry.clientsMax": integer({
    default: 16_384,
    min: 1,
    max: 1_000_000,
    doc: "Clients remembered at a time; then the longest unheard of is forgotten",
  }),
  "telemetry.seriesMax": integer({
    default: 10_000,
    min: 0,
    max: 1_000_000,
    doc: "Series of all clients' metrics on /metrics",
  }),
  "telemetry.seriesPerClientMax": integer({
    default: 1_000,
    min: 0,
    max: 1_000_000,
    doc: "Series of one client's metrics on /metrics",
  }),
} as const;
