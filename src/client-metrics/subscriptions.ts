import { compileRegex, type LinearRegex } from "../lib/linear-regex.ts";
import { type MatchSelector, parseMatch } from "../metadata/client-metrics-configs.ts";
import { parseList } from "../metadata/config-types.ts";

/** What subscriptions choose clients by; null: the client did not tell. */
export type ClientAttributes = Readonly<Record<Exclude<MatchSelector, "client_id">, string>> & {
  readonly client_id: string | null;
};

/** What a client is asked for: beginnings of names, in order, and how often. */
export interface Wanted {
  readonly metrics: readonly string[];
  readonly intervalMs: number;
}

type Configs = ReadonlyMap<string, string>;

interface Subscription {
  readonly configs: Configs;
  readonly metrics: readonly string[];
  readonly intervalMs: number;
  /** Null: what is refused nowadays stands in it, and nobody matches. */
  readonly match: ReadonlyMap<MatchSelector, LinearRegex> | null;
}

const intervalMsDefault = 300_000;
const everything = "*";

/** The client metrics subscriptions (KIP-714) in effect, ready to be matched. */
export class Subscriptions {
  /** Grows with every change: clients are matched anew when theirs is older. */
  version = 0;
  private byName: ReadonlyMap<string, Subscription> = new Map();

  /** Takes over the configs of all subscriptions; expressions are compiled where they are new. */
  update(configs: ReadonlyMap<string, Configs>): void {
    const next = new Map<string, Subscription>();
    for (const [name, own] of configs) {
      if (own.size === 0) continue;
      const known = this.byName.get(name);
      next.set(name, known?.configs === own ? known : parse(own));
    }
    this.byName = next;
    this.version++;
  }

  /** Of the subscriptions that match, all metrics and the shortest interval. */
  wantedOf(client: ClientAttributes): Wanted {
    const metrics = new Set<string>();
    let intervalMs = intervalMsDefault;
    for (const subscription of this.byName.values()) {
      if (!matches(subscription, client)) continue;
      for (const metric of subscription.metrics) metrics.add(metric);
      intervalMs = Math.min(intervalMs, subscription.intervalMs);
    }
    if (metrics.has(everything)) return { metrics: [everything], intervalMs };
    // Kafka's order is that of a hash table; the subscription's id only needs one that stays.
    return { metrics: [...metrics].sort(), intervalMs };
  }
}

function parse(configs: Configs): Subscription {
  const interval = configs.get("interval.ms");
  return {
    configs,
    metrics: parseList(configs.get("metrics") ?? ""),
    intervalMs: interval === undefined ? intervalMsDefault : Number(interval),
    match: compile(parseList(configs.get("match") ?? "")),
  };
}

/** Of two expressions for one attribute the last counts. */
function compile(patterns: readonly string[]): Subscription["match"] {
  const match = new Map<MatchSelector, LinearRegex>();
  for (const pattern of patterns) {
    const parsed = parseMatch(pattern);
    const regex = parsed === null ? "" : compileRegex(parsed.expression);
    if (parsed === null || typeof regex === "string") return null;
    match.set(parsed.selector, regex);
  }
  return match;
}

function matches({ match }: Subscription, client: ClientAttributes): boolean {
  if (match === null) return false;
  for (const [selector, regex] of match) {
    const value = client[selector];
    // What would take too long counts as no match.
    if (value === null || (regex.matching([value]) ?? []).length === 0) return false;
  }
  return true;
}
