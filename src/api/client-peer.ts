import type { Caller } from "../client-metrics/client-metrics.ts";
import type { RequestContext } from "./context.ts";

/** Who asks for subscriptions, or pushes; who told no software is "unknown", as in Kafka. */
export function callerOf({ header, session, signal }: RequestContext): Caller {
  return {
    connectionId: session.id,
    signal,
    attributes: {
      client_id: header.clientId,
      client_software_name: session.softwareName || "unknown",
      client_software_version: session.softwareVersion || "unknown",
      client_source_address: session.clientHost.replace(/^\//, ""),
      client_source_port: String(session.clientPort),
    },
  };
}
