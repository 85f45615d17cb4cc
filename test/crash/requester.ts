import { WireClient } from "../../src/client/wire-client.ts";

/** Opens connections to one broker; rejects while it is down. */
export type Connect = () => Promise<WireClient>;

export function connectTo(port: number, clientId: string): Connect {
  return () => WireClient.open({ host: "127.0.0.1", port, clientId });
}
