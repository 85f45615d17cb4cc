import type { Dispatcher, Peer, Reply } from "../../src/api/router.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { Listener, type ListenerOptions } from "../../src/net/listener.ts";
import { type LogLevel, LogRoot } from "../../src/telemetry/logger.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";

/** A logger whose lines can be read back. */
export function capturedLogger(level: LogLevel = "debug") {
  const lines: string[] = [];
  const root = new LogRoot({
    clock: systemClock,
    levels: { fallback: level, components: new Map() },
    format: "text",
    sink: {
      write(line) {
        lines.push(line);
        return true;
      },
    },
  });
  return { logger: root.logger("net"), lines };
}

export const roomyLimits: ListenerOptions["limits"] = {
  frameBytesMax: 1024 * 1024,
  inFlightBytesMax: 64 * 1024 * 1024,
  inFlightBytesTotalMax: 64 * 1024 * 1024,
  inFlightCountMax: 64,
  idleMsMax: 600_000,
  frameMsMax: 60_000,
  connectionsMax: 10_000,
};

export interface TestServer extends AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;
  readonly lines: string[];
}

/** A listener on a port of its own, in front of `dispatcher`. */
export function serve(
  dispatcher: Dispatcher,
  limits: Partial<ListenerOptions["limits"]> = {},
  changes: Partial<ListenerOptions> = {},
): TestServer {
  const { logger, lines } = capturedLogger();
  const listener = Listener.start({
    name: "PLAINTEXT",
    addresses: [{ host: "127.0.0.1", port: 0, optional: false }],
    dispatcher,
    limits: { ...roomyLimits, ...limits },
    onBacklog: () => undefined,
    clock: systemClock,
    pace: { wrote: () => 0 },
    logger,
    metrics: new Metrics(),
    ...changes,
  });
  return {
    listener,
    lines,
    port: listener.addresses[0]?.port ?? 0,
    [Symbol.asyncDispose]: () => listener.drain(1000),
  };
}

/** A dispatcher made of one function; API 0 may overlap with itself, as Produce does. */
export function dispatcherOf(
  dispatch: (frame: Uint8Array, peer: Peer) => Reply | null | Promise<Reply | null>,
): Dispatcher {
  return { dispatch, mayOverlap: (apiKey) => apiKey === 0 };
}

/** A reply whose frame is the correlation id and `bytes` of padding. */
export function reply(correlationId: number, bytes = 0): Reply {
  return {
    writeTo(writer) {
      const start = writer.beginFrame();
      writer.int32(correlationId);
      writer.raw(new Uint8Array(bytes));
      writer.endFrame(start);
    },
  };
}

/** A request frame: key, version 0, correlation id, padding. */
export function requestFrame(apiKey: number, correlationId: number, padding = 0): Uint8Array {
  const bytes = new Uint8Array(12 + padding);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, 8 + padding);
  view.setInt16(4, apiKey);
  view.setInt32(8, correlationId);
  return bytes;
}

export function correlationIdOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getInt32(4);
}

/** A plain TCP peer that keeps what it got. */
export class RawPeer {
  readonly socket: Bun.Socket<undefined>;
  private chunks: Uint8Array[] = [];
  private waiters: (() => void)[] = [];
  closed = false;
  received = 0;

  private constructor(socket: Bun.Socket<undefined>) {
    this.socket = socket;
  }

  static async connect(port: number): Promise<RawPeer> {
    let peer: RawPeer | null = null;
    const early: Uint8Array[] = [];
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        binaryType: "uint8array",
        data(_socket, chunk) {
          if (peer === null) early.push(chunk);
          else peer.take(chunk);
        },
        close: () => peer?.gone(),
        drain: () => {},
      },
    });
    peer = new RawPeer(socket);
    for (const chunk of early) peer.take(chunk);
    return peer;
  }

  send(...parts: Uint8Array[]): void {
    const bytes = Buffer.concat(parts);
    const taken = this.socket.write(bytes);
    if (taken !== bytes.length) throw new Error(`the socket took ${taken} of ${bytes.length}`);
  }

  /** Correlation ids of the responses so far. */
  get correlationIds(): number[] {
    const bytes = Buffer.concat(this.chunks);
    const ids: number[] = [];
    for (let at = 0; at + 8 <= bytes.length; at += 4 + bytes.readInt32BE(at)) {
      if (at + 4 + bytes.readInt32BE(at) > bytes.length) break;
      ids.push(bytes.readInt32BE(at + 4));
    }
    return ids;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiters.push(resolve));
  }

  untilClosed(): Promise<void> {
    return this.until(() => this.closed);
  }

  private take(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.received += chunk.length;
    this.wake();
  }

  private gone(): void {
    this.closed = true;
    this.wake();
  }

  private wake(): void {
    for (const waiter of this.waiters.splice(0)) waiter();
  }
}

/** Waits for something another part of this process does; a test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve));
}
