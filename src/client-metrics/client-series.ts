import type { Clock } from "../lib/clock.ts";
import type { Attribute, MetricPoint } from "./otlp.ts";
import { clientPrefix, labelText, metricName } from "./prometheus-names.ts";

/** What a client is known by, beside its own words. */
export interface PushingClient {
  readonly instanceId: string;
  readonly clientId: string;
  readonly softwareName: string;
  readonly softwareVersion: string;
  readonly sourceAddress: string;
}

export interface SeriesLimits {
  readonly seriesMax: number;
  readonly seriesPerClientMax: number;
}

/** Why a number was not kept. */
export type DropReason = "series" | "client-series" | "labels" | "name" | "value" | "kind";

interface Series {
  readonly client: Client;
  readonly family: string;
  readonly labels: string;
  value: number;
  expiresMs: number;
  /** Ends with the first push that does not tell it: what is so now, not what was added up. */
  isMomentary: boolean;
  /** Of its client's pushes, the last that told it. */
  push: number;
}

interface Client {
  readonly id: string;
  readonly series: Set<Series>;
  /** Pushes so far. */
  pushes: number;
}

interface Family {
  readonly kind: "counter" | "gauge";
  readonly help: string;
  readonly series: Map<string, Series>;
}

interface Place {
  readonly name: string;
  readonly kind: Family["kind"];
  readonly help: string;
  readonly labels: string;
}

const info = `${clientPrefix}info`;
/** Of all labels of a series; what has more is dropped, not cut: cut labels may be equal. */
const labelCharsMax = 1_024;
/** Of one thing a client says of itself: it is cut, for the instance id tells clients apart. */
const identityCharsMax = 200;
/** Full tables look for series to forget no more often than this. */
const sweepPauseMs = 1_000;

/**
 * The numbers that clients pushed, as Prometheus series. Every name begins with `chronik_client_`
 * and every series carries `client_instance_id`, so a client can change no number but its own.
 * Sums that tell their growth are added up. A gauge ends with the first push that does not tell it
 * (its labels may have changed); whatever is not pushed again is forgotten some time later.
 */
export class ClientSeries {
  /** Numbers not kept since the start, by reason. */
  readonly dropped = new Map<DropReason, number>();
  private readonly clock: Clock;
  private readonly limits: SeriesLimits;
  private readonly families = new Map<string, Family>();
  private readonly clients = new Map<string, Client>();
  private total = 0;
  private nextSweepMs = 0;

  constructor(clock: Clock, limits: SeriesLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  get size(): number {
    return this.total;
  }

  /** Clients that have series. */
  get clientCount(): number {
    return this.clients.size;
  }

  /** Takes one push; its numbers are kept for `keepMs` unless they are pushed again. */
  push(client: PushingClient, points: readonly MetricPoint[], keepMs: number): void {
    if (points.length === 0) return;
    const expiresMs = this.clock.monotonicMs() + keepMs;
    this.makeRoom();
    const self: Attribute[] = [
      ["client_instance_id", client.instanceId],
      ["client_id", cut(client.clientId)],
    ];
    const about = labelText(self, [
      ["client_software_name", cut(client.softwareName)],
      ["client_software_version", cut(client.softwareVersion)],
      ["client_source_address", cut(client.sourceAddress)],
    ]);
    const sender = this.clients.get(client.instanceId) ?? newClient(client.instanceId);
    sender.pushes++;
    const help = "A client that pushes its metrics";
    this.set({ name: info, kind: "gauge", labels: about, help }, sender, 1, expiresMs);
    // More than a client may have is not even looked at: it would only cost the others time.
    const taken = points.slice(0, this.limits.seriesPerClientMax);
    this.drop("client-series", points.length - taken.length);
    for (const point of taken) this.take(sender, self, point, expiresMs);
    for (const series of sender.series) {
      if (series.isMomentary && series.push < sender.pushes) this.remove(series);
    }
  }

  drop(reason: DropReason, count = 1): void {
    if (count > 0) this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + count);
  }

  /** Lines of the text format 0.0.4, families whole. */
  lines(): string[] {
    this.sweep();
    const lines: string[] = [];
    for (const [name, { kind, help, series }] of this.families) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
      for (const { labels, value } of series.values()) {
        lines.push(`${name}{${labels}} ${numberText(value)}`);
      }
    }
    return lines;
  }

  private take(
    client: Client,
    self: readonly Attribute[],
    point: MetricPoint,
    expiresMs: number,
  ): void {
    const placed = place(self, point);
    if (typeof placed === "string") {
      this.drop(placed);
      return;
    }
    if (!isDelta(point)) {
      this.set(placed, client, point.value, expiresMs);
      return;
    }
    const series = this.at(placed, client, expiresMs);
    if (series !== undefined) series.value += point.value;
  }

  private set(placed: Place, client: Client, value: number, expiresMs: number): void {
    const series = this.at(placed, client, expiresMs);
    if (series === undefined) return;
    series.value = value;
    series.isMomentary = placed.kind === "gauge";
  }

  /** The series, made with 0 when new; undefined when there are too many. */
  private at(placed: Place, client: Client, expiresMs: number): Series | undefined {
    const { name, kind, help, labels } = placed;
    const family = this.families.get(name) ?? { kind, help, series: new Map<string, Series>() };
    const known = family.series.get(labels);
    if (known !== undefined) {
      known.expiresMs = Math.max(known.expiresMs, expiresMs);
      known.push = client.pushes;
      return known;
    }
    const { seriesMax, seriesPerClientMax } = this.limits;
    if (this.total >= seriesMax || client.series.size >= seriesPerClientMax) {
      this.drop(this.total >= seriesMax ? "series" : "client-series");
      return undefined;
    }
    const push = client.pushes;
    const own = { client, family: name, labels };
    const made: Series = { ...own, value: 0, expiresMs, isMomentary: false, push };
    family.series.set(labels, made);
    this.families.set(name, family);
    client.series.add(made);
    this.clients.set(client.id, client);
    this.total++;
    return made;
  }

  private remove(series: Series): void {
    const { client, family, labels } = series;
    const siblings = this.families.get(family)?.series;
    siblings?.delete(labels);
    if (siblings?.size === 0) this.families.delete(family);
    client.series.delete(series);
    if (client.series.size === 0) this.clients.delete(client.id);
    this.total--;
  }

  private makeRoom(): void {
    const nowMs = this.clock.monotonicMs();
    if (this.total < this.limits.seriesMax || nowMs < this.nextSweepMs) return;
    this.nextSweepMs = nowMs + sweepPauseMs;
    this.sweep();
  }

  /** Forgets what was not pushed again in time. */
  private sweep(): void {
    const nowMs = this.clock.monotonicMs();
    for (const { series } of this.clients.values()) {
      for (const one of series) if (one.expiresMs <= nowMs) this.remove(one);
    }
  }
}

function newClient(id: string): Client {
  return { id, series: new Set(), pushes: 0 };
}

/** The series a number belongs to, or why to none. */
function place(self: readonly Attribute[], point: MetricPoint): DropReason | Place {
  const kind = point.kind.startsWith("counter") ? "counter" : "gauge";
  const addsUp = kind === "counter" || isDelta(point);
  if (addsUp && !Number.isFinite(point.value)) return "value";
  if (kind === "counter" && point.value < 0) return "value";
  const name = metricName(point.name, kind === "counter");
  if (name === null || name === info) return "name";
  const labels = labelText(self, point.attributes, point.resource);
  if (labels.length > labelCharsMax) return "labels";
  return { name, kind, labels, help: `Pushed by clients as ${escapeHelp(point.name)}` };
}

function isDelta({ kind }: MetricPoint): boolean {
  return kind === "counter-delta" || kind === "gauge-delta";
}

function cut(text: string): string {
  if (text.length <= identityCharsMax) return text;
  return text.slice(0, identityCharsMax).toWellFormed();
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
