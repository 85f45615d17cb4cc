import type { Session } from "../api/context.ts";
import type { Dispatcher } from "../api/router.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { RateLimit } from "../lib/rate-limit.ts";
import { Writer } from "../protocol/writer.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Counter, Gauge, Metrics } from "../telemetry/metrics.ts";
import { BacklogMeter } from "./backlog-meter.ts";
import { ByteBudget } from "./byte-budget.ts";
import { Connection, type ConnectionLimits, type ConnectionServices } from "./connection.ts";
import type { WritePace } from "./outgoing.ts";

export interface ListenAddress {
  /** A numeric address or a name. */
  readonly host: string;
  /** 0: the system picks one. */
  readonly port: number;
  /** Left out, with one line, when this machine has no such address (IPv6 switched off). */
  readonly optional: boolean;
}

export interface ListenerOptions {
  /** Kafka's name of the listener, such as "PLAINTEXT". */
  readonly name: string;
  readonly addresses: readonly ListenAddress[];
  readonly dispatcher: Dispatcher;
  readonly limits: ConnectionLimits & {
    readonly connectionsMax: number;
    /** Request bytes of all connections together; and as many response bytes not taken yet. */
    readonly inFlightBytesTotalMax: number;
  };
  /** How long until a connection from `address` is to be closed that came too soon; 0: welcome. */
  readonly connectionThrottleMs?: (address: string) => number;
  /** As of a connection: response bytes that peers did not take yet. */
  readonly onBacklog: (bytes: number) => void;
  readonly clock: Clock;
  readonly pace: WritePace;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface BoundAddress {
  readonly host: string;
  readonly port: number;
}

type Socket = Bun.Socket<Connection | null>;

const sweepMs = 5000;
/** Records from this size on leave from where they lie: a system call costs less than the copy. */
const spliceBytesMin = 64 * 1024;
/** Above, a connection that came too soon is closed at once. */
const throttledMax = 1_000;
const endLinesMax = 20;
const endPeriodMs = 60_000;

/** One named listener: its server sockets, its connections, and their limits. */
export class Listener {
  private readonly options: ListenerOptions;
  private readonly servers: Bun.TCPSocketListener<Connection | null>[] = [];
  private readonly connections = new Set<Connection>();
  private readonly services: ConnectionServices;
  private readonly budget: ByteBudget;
  private readonly endLines: RateLimit;
  private readonly accepted: Counter;
  private readonly refused: Counter;
  private readonly throttled: Counter;
  /** Connections that came too soon and are about to be closed. */
  private waiting = 0;
  private nextId = 1;
  private sweepTimer: Timer | null = null;
  private draining = false;
  private onEmpty: (() => void) | null = null;

  private constructor(options: ListenerOptions) {
    this.options = options;
    this.budget = new ByteBudget(options.limits.inFlightBytesTotalMax);
    this.endLines = new RateLimit(options.clock, endLinesMax, endPeriodMs);
    this.services = {
      dispatcher: options.dispatcher,
      limits: options.limits,
      budget: this.budget,
      backlogs: new BacklogMeter(options.limits.inFlightBytesTotalMax),
      clock: options.clock,
      pace: options.pace,
      writer: new Writer(1024, spliceBytesMin),
      onBacklog: options.onBacklog,
      onEnd: (session, reason, severity) => this.logEnd(session, reason, severity),
    };
    const { metrics, name } = options;
    this.accepted = metrics.counter({
      name: "chronik_connections_accepted_total",
      help: "Client connections accepted",
    });
    this.refused = metrics.counter({
      name: "chronik_connections_refused_total",
      help: "Client connections closed at once because max.connections was reached",
    });
    this.throttled = metrics.counter({
      name: "chronik_connections_throttled_total",
      help: "Client connections closed because their address made too many",
    });
    this.observe(metrics, name);
  }

  /**
   * Listens on every address. Throws BrokerError CHRONIK_PORT_IN_USE or CHRONIK_LISTEN, with
   * nothing left listening.
   */
  static start(options: ListenerOptions): Listener {
    const listener = new Listener(options);
    try {
      for (const address of options.addresses) listener.listen(address);
      if (listener.servers.length === 0) {
        throw new BrokerError("CHRONIK_LISTEN", "none of the addresses to bind exists here");
      }
    } catch (error) {
      listener.stopAccepting();
      throw error;
    }
    listener.scheduleSweep();
    return listener;
  }

  /** Where the listener really listens. */
  get addresses(): BoundAddress[] {
    return this.servers.map((server) => ({ host: server.hostname, port: server.port }));
  }

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Request bytes held by all connections. */
  get bytesInFlight(): number {
    return this.budget.bytesUsed;
  }

  /** New connections are refused from now on; those there are stay. */
  stopAccepting(): void {
    for (const server of this.servers) server.stop(false);
    this.servers.length = 0;
  }

  /**
   * Stops accepting, answers what runs, then closes every connection; what is left after
   * `deadlineMs` is cut. Resolves when no connection is left.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.draining = true;
    this.stopAccepting();
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    for (const connection of [...this.connections]) connection.drain();
    const cut = this.options.clock.schedule(deadlineMs, () => {
      for (const connection of [...this.connections]) connection.terminate();
    });
    if (this.connections.size > 0) await empty;
    cut.cancel();
    this.sweepTimer?.cancel();
    this.sweepTimer = null;
  }

  private listen(address: ListenAddress): void {
    try {
      this.servers.push(
        Bun.listen<Connection | null>({
          hostname: address.host,
          port: address.port,
          data: null,
          socket: {
            binaryType: "uint8array",
            open: (socket) => this.open(socket),
            data: (socket, chunk) => socket.data?.onData(chunk),
            drain: (socket) => socket.data?.onDrain(),
            close: (socket) => this.closed(socket),
            error: (socket) => this.closed(socket),
          },
        }),
      );
    } catch (error) {
      if (address.optional && codeOf(error) === "EADDRNOTAVAIL") {
        const { host, port } = address;
        this.options.logger.info("address does not exist here, not listening on it", {
          host,
          port,
        });
        return;
      }
      throw listenError(address, error);
    }
  }

  private open(socket: Socket): void {
    if (this.connections.size >= this.options.limits.connectionsMax || this.draining) {
      this.refused.inc();
      const held = this.draining ? null : this.endLines.take();
      if (held !== null) {
        this.options.logger.warn("connection refused: limits.connections_max is reached", {
          client: socket.remoteAddress,
          connections: this.connections.size,
        });
      }
      socket.terminate();
      return;
    }
    if (this.throttle(socket)) return;
    socket.setNoDelay(true);
    this.accepted.inc();
    const session: Session = {
      id: this.nextId++,
      listener: this.options.name,
      clientHost: `/${socket.remoteAddress}`,
      clientPort: socket.remotePort,
      clientId: "",
      softwareName: "",
      softwareVersion: "",
    };
    const connection = new Connection(socket, session, this.services);
    socket.data = connection;
    this.connections.add(connection);
  }

  /** Closing at once would only bring the client back at once. True when it came too soon. */
  private throttle(socket: Socket): boolean {
    const { clock, connectionThrottleMs } = this.options;
    const waitMs = connectionThrottleMs?.(socket.remoteAddress) ?? 0;
    if (waitMs <= 0) return false;
    this.throttled.inc();
    if (this.waiting >= throttledMax) {
      socket.terminate();
      return true;
    }
    this.waiting += 1;
    socket.pause();
    clock.schedule(waitMs, () => {
      this.waiting -= 1;
      socket.terminate();
    });
    return true;
  }

  private closed(socket: Socket): void {
    const connection = socket.data;
    if (connection === null) return;
    socket.data = null;
    connection.onClose();
    this.connections.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  private scheduleSweep(): void {
    this.sweepTimer = this.options.clock.schedule(sweepMs, () => {
      const nowMs = this.options.clock.monotonicMs();
      for (const connection of [...this.connections]) connection.sweep(nowMs);
      this.scheduleSweep();
    });
  }

  private logEnd(session: Session, reason: string, severity: "info" | "warn" | "error"): void {
    const held = severity === "error" ? 0 : this.endLines.take();
    if (held === null) return;
    this.options.logger[severity](`connection closed: ${reason}`, {
      client: session.clientHost,
      clientId: session.clientId || undefined,
      listener: session.listener,
      linesHeldBack: held > 0 ? held : undefined,
    });
  }

  private observe(metrics: Metrics, name: string): void {
    const labels = ["listener"];
    const connections: Gauge = metrics.gauge({
      name: "chronik_connections",
      help: "Client connections open",
      labels,
    });
    const bytes: Gauge = metrics.gauge({
      name: "chronik_requests_in_flight_bytes",
      help: "Bytes of requests that are not answered yet",
      labels,
    });
    metrics.onCollect(() => {
      connections.set(this.connectionCount, [name]);
      bytes.set(this.bytesInFlight, [name]);
    });
  }
}

function codeOf(error: unknown): string {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : "";
  return typeof code === "string" ? code : "";
}

function listenError(address: ListenAddress, cause: unknown): BrokerError {
  const { host, port } = address;
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  switch (codeOf(cause)) {
    case "EADDRINUSE":
      return new BrokerError(
        "CHRONIK_PORT_IN_USE",
        `port ${port} on ${host} is in use: stop the process that holds it (ss -ltnp), or ` +
          `choose another with --bind HOST:PORT`,
        { cause },
      );
    case "EADDRNOTAVAIL":
      return new BrokerError(
        "CHRONIK_LISTEN",
        `this machine has no address ${host}: name one of its own with --bind HOST:PORT`,
        { cause },
      );
    case "EACCES":
      return new BrokerError(
        "CHRONIK_LISTEN",
        `not allowed to listen on ${where}: choose a port above 1023 with --bind HOST:PORT`,
        { cause },
      );
    default:
      return new BrokerError("CHRONIK_LISTEN", `cannot listen on ${where}: ${errorText(cause)}`, {
        cause,
      });
  }
}
