import { connect, type Socket } from "node:net";
import type { ApiCodec } from "../../src/protocol/api-codec.ts";
import { encodeRequestHeader } from "../../src/protocol/header.ts";
import { Writer } from "../../src/protocol/writer.ts";

/** A TCP connection that sends any bytes and cuts what comes back into response frames. */
export class RawSocket {
  readonly socket: Socket;
  isClosed = false;
  private held: Buffer = Buffer.alloc(0);
  private readonly frames: Buffer[] = [];
  private wake = Promise.withResolvers<void>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => this.take(Buffer.from(chunk)));
    socket.on("error", () => {
      // A reset is one way for the broker to close.
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.notify();
    });
  }

  static async open(port: number): Promise<RawSocket> {
    const socket = connect(port, "127.0.0.1");
    socket.setNoDelay(true);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("connect", resolve);
    socket.once("error", reject);
    await promise;
    return new RawSocket(socket);
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Each byte in a write of its own. */
  async trickle(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      this.socket.write(Uint8Array.of(byte));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** The next response without its length; null once the broker closed the connection. */
  async frame(): Promise<Buffer | null> {
    for (;;) {
      const frame = this.frames.shift();
      if (frame) return frame;
      if (this.isClosed) return null;
      await this.wake.promise;
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.isClosed) await this.wake.promise;
  }

  /** Frames that came and were not asked for. */
  get framesHeld(): number {
    return this.frames.length;
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    this.held = Buffer.concat([this.held, chunk]);
    while (this.held.length >= 4 && this.held.length >= 4 + this.held.readInt32BE(0)) {
      const end = 4 + this.held.readInt32BE(0);
      this.frames.push(this.held.subarray(4, end));
      this.held = this.held.subarray(end);
    }
    this.notify();
  }

  private notify(): void {
    this.wake.resolve();
    this.wake = Promise.withResolvers<void>();
  }
}

/** A whole request frame, length included, with any bytes for a body. */
export function frameOf(
  apiKey: number,
  apiVersion: number,
  correlationId: number,
  body: Uint8Array,
): Buffer {
  const writer = new Writer();
  encodeRequestHeader(writer, { apiKey, apiVersion, correlationId, clientId: "raw" });
  const header = writer.take();
  return Buffer.concat([int32(header.length + body.length), header, body]);
}

export function bodyOf<Request>(
  codec: ApiCodec<Request, unknown>,
  version: number,
  request: Request,
): Uint8Array {
  const writer = new Writer();
  codec.encodeRequest(writer, request, version);
  return writer.take();
}

export function requestFrame<Request>(
  codec: ApiCodec<Request, unknown>,
  version: number,
  correlationId: number,
  request: Request,
): Buffer {
  return frameOf(codec.key, version, correlationId, bodyOf(codec, version, request));
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
