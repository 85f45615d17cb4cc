import { BrokerError, errorText } from "../src/lib/errors.ts";
import { adminApp } from "./app.ts";
import type { AdminView } from "./view.ts";

export interface AdminServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Serves the admin API on one address. Port 0 picks a free one. */
export function serveAdmin(
  view: AdminView,
  address: { host: string; port: number },
  onError: (error: unknown, path: string) => void,
): AdminServer {
  const app = adminApp(view, onError);
  try {
    const server = Bun.serve({
      hostname: address.host,
      port: address.port,
      // Left out, Bun shares the port: two brokers would answer for each other.
      reusePort: false,
      fetch: app.fetch,
      // An indexer run on demand answers when it has ended.
      idleTimeout: 255,
      development: false,
    });
    return { port: server.port ?? address.port, stop: () => server.stop(true) };
  } catch (error) {
    throw new BrokerError(
      "CHRONIK_PORT_IN_USE",
      `admin API cannot listen on ${address.host}:${address.port}: ${errorText(error)}; ` +
        "stop what uses it or choose another with --admin-bind",
      { cause: error },
    );
  }
}
