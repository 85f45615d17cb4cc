import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText, ProtocolError } from "../lib/errors.ts";
import { RateLimit } from "../lib/rate-limit.ts";
import { Turns } from "../log/turns.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ClientInstance,
  ClientInstances,
  type ClientPeer,
  keepMsOf,
  type PushHead,
} from "./client-instances.ts";
import type { ClientSeries } from "./client-series.ts";
import { decodeMetrics } from "./otlp.ts";
import { Subscriptions } from "./subscriptions.ts";

export interface ClientMetricsOptions {
  readonly clock: Clock;
  /** Clients remembered at a time. */
  readonly instancesMax: number;
  /** Largest payload taken, and the most it may unpack to. */
  readonly bytesMax: number;
  /** Where numbers go; null: nobody wants them, as in a Kafka broker without an exporter. */
  readonly series: ClientSeries | null;
  /** Rejects with BrokerError when the bytes are not the codec's (1 to 4), or unpack to more. */
  readonly decompress: (codec: number, bytes: Uint8Array, bytesMax: number) => Promise<Uint8Array>;
  /** One line about a payload that could not be read; limited in rate. */
  readonly onUnreadable: (message: string, client: string) => void;
}

/** What comes with a request. */
export interface Caller extends ClientPeer {
  /** Aborted when the connection is gone. */
  readonly signal: AbortSignal;
}

export interface Push extends PushHead {
  readonly metrics: Uint8Array;
}

/** Payloads unpacked at a time: each takes up to `bytesMax`. */
const unpackingMax = 4;
const unreadableLinesMax = 5;
const unreadablePeriodMs = 60_000;

/** Client metrics (KIP-714): who is asked for what, and what they push. */
export class ClientMetrics {
  /** Pushes since the start, by the error they were answered with. */
  readonly pushes = new Map<number, number>();
  readonly instances: ClientInstances;
  private readonly options: ClientMetricsOptions;
  private readonly subscriptions = new Subscriptions();
  private readonly turns = new Turns(unpackingMax);
  private readonly lines: RateLimit;
  /** Connections whose end is waited for. */
  private readonly connections = new Set<number>();

  constructor(options: ClientMetricsOptions) {
    this.options = options;
    this.instances = new ClientInstances(options.clock, this.subscriptions, options);
    this.lines = new RateLimit(options.clock, unreadableLinesMax, unreadablePeriodMs);
  }

  /** The subscriptions' configs, by name, as they are from now on. */
  update(configs: ReadonlyMap<string, ReadonlyMap<string, string>>): void {
    this.subscriptions.update(configs);
  }

  ask(clientInstanceId: string, caller: Caller): ReturnType<ClientInstances["ask"]> {
    const outcome = this.instances.ask(clientInstanceId, caller);
    this.watch(caller);
    return outcome;
  }

  /** The error code of the answer. */
  async push(push: Push, caller: Caller): Promise<number> {
    const { errorCode, instance } = this.instances.admit(push, caller);
    this.watch(caller);
    let outcome = errorCode;
    if (errorCode === ErrorCode.NONE && instance !== null) {
      outcome = push.metricsBytes > 0 ? await this.take(push, instance) : ErrorCode.NONE;
      instance.lastError = outcome;
    }
    this.pushes.set(outcome, (this.pushes.get(outcome) ?? 0) + 1);
    return outcome;
  }

  /** Whatever is wrong with a payload is INVALID_RECORD, upon which clients push no more. */
  private async take(push: Push, instance: ClientInstance): Promise<number> {
    const { decompress, bytesMax, series } = this.options;
    const { compressionType, metrics } = push;
    await this.turns.take();
    try {
      const bytes =
        compressionType === 0 ? metrics : await decompress(compressionType, metrics, bytesMax);
      if (series !== null) store(series, instance, bytes);
      return ErrorCode.NONE;
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof BrokerError)) throw error;
      this.report(errorText(error), instance.id);
      return ErrorCode.INVALID_RECORD;
    } finally {
      this.turns.give();
    }
  }

  private report(message: string, client: string): void {
    const held = this.lines.take();
    if (held === null) return;
    this.options.onUnreadable(held > 0 ? `${message} (and ${held} more)` : message, client);
  }

  /** Once for each connection. */
  private watch({ connectionId, signal }: Caller): void {
    if (this.connections.has(connectionId)) return;
    if (signal.aborted) {
      this.instances.disconnected(connectionId);
      return;
    }
    this.connections.add(connectionId);
    const gone = () => {
      this.connections.delete(connectionId);
      this.instances.disconnected(connectionId);
    };
    signal.addEventListener("abort", gone, { once: true });
  }
}

function store(series: ClientSeries, instance: ClientInstance, bytes: Uint8Array): void {
  const { points, unreadMetrics } = decodeMetrics(bytes);
  const { attributes } = instance;
  const client = {
    instanceId: instance.id,
    clientId: attributes.client_id ?? "",
    softwareName: attributes.client_software_name,
    softwareVersion: attributes.client_software_version,
    sourceAddress: attributes.client_source_address,
  };
  series.drop("kind", unreadMetrics);
  series.push(client, points, keepMsOf(instance));
}
