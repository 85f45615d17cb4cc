/** Which limit holds for a user and a client id: the most specific one that is set. (pure) */
import type { ClientQuota } from "../metadata/client-quotas.ts";

/** A limit, and who shares it. */
export interface Limit {
  readonly perSecond: number;
  /** The same for all who are counted together. */
  readonly shared: string;
}

/** Of one key, such as `producer_byte_rate`. */
export class QuotaLimits {
  private readonly values = new Map<string, number>();

  constructor(key: string, quotas: Iterable<ClientQuota>) {
    for (const { entity, values } of quotas) {
      const value = values.get(key);
      if (value === undefined) continue;
      const names = new Map(entity);
      this.values.set(place(names.get("user"), names.get("client-id")), value);
    }
  }

  get isEmpty(): boolean {
    return this.values.size === 0;
  }

  /** As Kafka: a user's quota of a client id, then the user's own, then the same of the default
   * user, then the client id's. Of two who meet a default, each has it for itself. */
  find(user: string, clientId: string): Limit | null {
    const ofUser = place(user, undefined);
    const both = place(user, clientId);
    const named = clientId !== "";
    return (
      (named ? (this.at(both, both) ?? this.at(place(user, null), both)) : null) ??
      this.at(ofUser, ofUser) ??
      (named ? (this.at(place(null, clientId), both) ?? this.at(place(null, null), both)) : null) ??
      this.at(place(null, undefined), ofUser) ??
      (named ? this.findClient(clientId) : null)
    );
  }

  private findClient(clientId: string): Limit | null {
    const shared = place(undefined, clientId);
    return this.at(shared, shared) ?? this.at(place(undefined, null), shared);
  }

  private at(key: string, shared: string): Limit | null {
    const perSecond = this.values.get(key);
    return perSecond === undefined ? null : { perSecond, shared };
  }
}

/** undefined: not named; null: the default. Two different pairs never meet. */
function place(user: string | null | undefined, clientId: string | null | undefined): string {
  return `${part(user)}${part(clientId)}`;
}

function part(name: string | null | undefined): string {
  if (name === undefined) return "-";
  return name === null ? "*" : `${name.length}:${name}`;
}
