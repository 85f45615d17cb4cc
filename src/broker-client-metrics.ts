import { ClientMetrics } from "./client-metrics/client-metrics.ts";
import { ClientSeries } from "./client-metrics/client-series.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import { errorName } from "./protocol/error-code.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface ClientMetricsParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly metadata: Metadata;
  readonly decompress: (codec: number, bytes: Uint8Array, bytesMax: number) => Promise<Uint8Array>;
}

/** Client metrics, under the subscriptions that the metadata hold. */
export function openClientMetrics(parts: ClientMetricsParts): ClientMetrics {
  const { clock, logger, metrics, metadata, decompress } = parts;
  const { enabled, bytesMax, clientsMax, seriesMax, seriesPerClientMax } = parts.config.telemetry;
  const series = enabled ? new ClientSeries(clock, { seriesMax, seriesPerClientMax }) : null;
  const log = logger.child("telemetry");
  const room = new ClientMetrics({
    clock,
    instancesMax: clientsMax,
    bytesMax,
    series,
    decompress,
    onUnreadable: (error, client) =>
      log.warn("metrics that a client pushed cannot be read", { client, error }),
  });
  room.update(metadata.image.clientMetricsConfigs);
  metadata.subscribe(({ previous, next }) => {
    if (previous.clientMetricsConfigs === next.clientMetricsConfigs) return;
    room.update(next.clientMetricsConfigs);
  });
  if (series !== null) expose(metrics, room, series);
  return room;
}

function expose(metrics: Metrics, room: ClientMetrics, series: ClientSeries): void {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help });
  const instances = gauge("chronik_telemetry_instances", "Clients that asked what to push");
  const clients = gauge("chronik_telemetry_clients", "Clients whose metrics stand here");
  const count = gauge("chronik_telemetry_series", "Series of clients' metrics");
  const pushes = metrics.gauge({
    name: "chronik_telemetry_pushes",
    help: "Pushes since start, by the error of their answer",
    labels: ["error"],
  });
  const dropped = metrics.gauge({
    name: "chronik_telemetry_dropped",
    help: "Numbers in accepted pushes that were not kept since start, by reason",
    labels: ["reason"],
  });
  metrics.onText(() => series.lines());
  metrics.onCollect(() => {
    instances.set(room.instances.count());
    clients.set(series.clientCount);
    count.set(series.size);
    for (const [errorCode, number] of room.pushes) pushes.set(number, [errorName(errorCode)]);
    for (const [reason, number] of series.dropped) dropped.set(number, [reason]);
  });
}
