import type { Config } from "./config.ts";
import { FetchSessions } from "./fetch/fetch-sessions.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import { ClientQuotas } from "./quota/client-quotas.ts";

/** What the broker keeps for single clients. */
export interface ClientRooms {
  readonly fetchSessions: FetchSessions;
  readonly quotas: ClientQuotas;
}

export function openClientRooms(config: Config, clock: Clock, metadata: Metadata): ClientRooms {
  return {
    fetchSessions: openFetchSessions(config),
    quotas: openQuotas(config, clock, metadata),
  };
}

function openFetchSessions({ limits }: Config): FetchSessions {
  const { fetchSessionsMax, fetchSessionBytesMax } = limits;
  return new FetchSessions(
    { sessionsMax: fetchSessionsMax, bytesMax: fetchSessionBytesMax },
    randomId,
  );
}

function openQuotas({ limits, quota }: Config, clock: Clock, metadata: Metadata): ClientQuotas {
  const quotas = new ClientQuotas({
    clock,
    windows: { count: quota.windowNum, lengthMs: quota.windowSizeSeconds * 1000 },
    controllerWindows: {
      count: quota.controllerWindowNum,
      lengthMs: quota.controllerWindowSizeSeconds * 1000,
    },
    entitiesMax: limits.quotaClientsMax,
  });
  quotas.update(metadata.image.clientQuotas);
  metadata.subscribe(({ previous, next }) => {
    if (previous.clientQuotas !== next.clientQuotas) quotas.update(next.clientQuotas);
  });
  return quotas;
}

/** An int32 above 0 that nobody can guess: a session's id is all that names it. */
function randomId(): number {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return random & 0x7fffffff || 1;
}
