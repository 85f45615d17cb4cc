import { assert } from "../lib/assert.ts";
import { type Deferred, deferred } from "../lib/deferred.ts";
import { BrokerError, ProtocolError } from "../lib/errors.ts";
import type { ApiCodec, Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { decodeResponseHeader, encodeRequestHeader } from "../protocol/header.ts";
import { apiVersionsApi } from "../protocol/messages/18-api-versions.ts";
import { Reader } from "../protocol/reader.ts";
import { Writer } from "../protocol/writer.ts";
import { ResponseFrames } from "./response-frames.ts";

export interface WireClientOptions {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  /** Longest response taken. */
  readonly frameBytesMax?: number;
}

/** How many bytes may wait for the socket before `send` refuses. */
const waitingBytesMax = 256 * 1024 * 1024;
const frameBytesMaxDefault = 512 * 1024 * 1024;

/** The part of an ApiCodec that says which versions it can speak. */
type ServedApi = Pick<ApiCodec<unknown, unknown>, "key" | "name" | "minVersion" | "maxVersion">;

interface Pending {
  readonly correlationId: number;
  readonly apiKey: number;
  readonly version: number;
  readonly settle: (body: Reader) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The smallest Kafka client: one connection, requests pipelined, responses in order. Versions are
 * chosen by the caller, usually `versionOf` after `connect`.
 */
export class WireClient {
  private readonly options: WireClientOptions;
  private socket: Bun.Socket<undefined> | null = null;
  private readonly writer = new Writer(64 * 1024);
  private readonly reader = new Reader();
  private readonly frames: ResponseFrames;
  private readonly pending: Pending[] = [];
  private readonly ranges = new Map<number, { min: number; max: number }>();
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private flushScheduled = false;
  private correlationId = 0;
  private onFlushed: Deferred<void> | null = null;
  private ended: BrokerError | null = null;

  private constructor(options: WireClientOptions) {
    this.options = options;
    this.frames = new ResponseFrames(options.frameBytesMax ?? frameBytesMaxDefault);
  }

  /** Connects and asks which versions the broker serves. Rejects with BrokerError. */
  static async connect(options: WireClientOptions): Promise<WireClient> {
    const client = await WireClient.open(options);
    try {
      await client.askVersions();
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Connects and sends nothing; `versionOf` then knows nothing. Rejects with BrokerError. */
  static async open(options: WireClientOptions): Promise<WireClient> {
    const client = new WireClient(options);
    await client.dial();
    return client;
  }

  /** Requests not answered yet. */
  get inFlight(): number {
    return this.pending.length;
  }

  /** The newest version both sides know, at most `max`; BrokerError when there is none. */
  versionOf(codec: ServedApi, max = codec.maxVersion): number {
    const range = this.ranges.get(codec.key);
    const version = Math.min(range?.max ?? -1, codec.maxVersion, max);
    if (range === undefined || version < Math.max(range.min, codec.minVersion)) {
      throw new BrokerError(
        "CHRONIK_PEER_VERSION",
        `the broker at ${this.where} serves no version of ${codec.name} that chronik knows`,
      );
    }
    return version;
  }

  /** Sends one request; resolves with its response. Rejects with BrokerError when the connection
   * ends before, with ProtocolError when the response cannot be read. */
  request<Req, Res>(
    codec: ApiCodec<Req, Res>,
    version: number,
    request: Req,
  ): Promise<Decoded<Res>> {
    return this.requestEncoded(codec, version, (writer) => {
      codec.encodeRequest(writer, request, version);
    });
  }

  /** As `request`, with the body written by the caller. */
  requestEncoded<Req, Res>(
    codec: ApiCodec<Req, Res>,
    version: number,
    encodeBody: (writer: Writer) => void,
  ): Promise<Decoded<Res>> {
    const decode = (body: Reader): Decoded<Res> => codec.decodeResponse(body, version);
    return this.exchange(codec.key, version, encodeBody, decode);
  }

  /** Sends a request that has no response: Produce with acks=0. Throws BrokerError when closed. */
  sendEncoded<Req, Res>(
    codec: ApiCodec<Req, Res>,
    version: number,
    encodeBody: (writer: Writer) => void,
  ): void {
    this.encode(codec.key, version, encodeBody);
    this.scheduleFlush();
  }

  /** Resolves when the socket took everything. Rejects when the connection ends before. */
  async flushed(): Promise<void> {
    if (this.flushScheduled) this.flush();
    if (this.ended !== null) throw this.ended;
    if (this.waiting.length === 0) return;
    this.onFlushed ??= deferred<void>();
    await this.onFlushed.promise;
  }

  /** Closes the connection; requests in flight reject. */
  close(): void {
    this.end(new BrokerError("CHRONIK_PEER_CLOSED", `the connection to ${this.where} was closed`));
  }

  private get where(): string {
    return `${this.options.host}:${this.options.port}`;
  }

  private async dial(): Promise<void> {
    const lost = (): void =>
      this.end(
        new BrokerError("CHRONIK_PEER_CLOSED", `the broker at ${this.where} closed the connection`),
      );
    try {
      this.socket = await Bun.connect({
        hostname: this.options.host,
        port: this.options.port,
        socket: {
          binaryType: "uint8array",
          data: (_socket, chunk) => this.onData(chunk),
          drain: () => this.writeWaiting(),
          close: lost,
          error: lost,
        },
      });
    } catch (cause) {
      throw new BrokerError("CHRONIK_PEER_UNREACHABLE", `cannot connect to ${this.where}`, {
        cause,
      });
    }
    this.socket.setNoDelay(true);
  }

  /** Steps down to version 2 where the broker does not know 3 (its answer is then in version 0). */
  private async askVersions(): Promise<void> {
    const ask = { clientSoftwareName: "chronik", clientSoftwareVersion: "0.1.0" };
    const { UNSUPPORTED_VERSION, NONE } = ErrorCode;
    let answer = await this.exchange(
      apiVersionsApi.key,
      3,
      (writer) => apiVersionsApi.encodeRequest(writer, ask, 3),
      (body) => {
        const start = body.position;
        const refused = body.int16() === UNSUPPORTED_VERSION;
        body.position = start;
        return apiVersionsApi.decodeResponse(body, refused ? 0 : 3);
      },
    );
    if (answer.errorCode === UNSUPPORTED_VERSION) {
      const known = answer.apiKeys.find(({ apiKey }) => apiKey === apiVersionsApi.key);
      answer = await this.request(apiVersionsApi, Math.min(known?.maxVersion ?? 0, 2), ask);
    }
    if (answer.errorCode !== NONE) {
      throw new BrokerError(
        "CHRONIK_PEER_VERSION",
        `the broker at ${this.where} refused ApiVersions with error ${answer.errorCode}`,
      );
    }
    for (const { apiKey, minVersion, maxVersion } of answer.apiKeys) {
      this.ranges.set(apiKey, { min: minVersion, max: maxVersion });
    }
  }

  private exchange<Res>(
    apiKey: number,
    version: number,
    encodeBody: (writer: Writer) => void,
    decode: (body: Reader) => Res,
  ): Promise<Res> {
    return new Promise((resolve, reject) => {
      const correlationId = this.encode(apiKey, version, encodeBody);
      const settle = (body: Reader): void => resolve(decode(body));
      this.pending.push({ correlationId, apiKey, version, settle, reject });
      this.scheduleFlush();
    });
  }

  /** Appends one request frame to the writer and returns its correlation id. */
  private encode(apiKey: number, version: number, encodeBody: (writer: Writer) => void): number {
    if (this.ended !== null) throw this.ended;
    if (this.waitingBytes > waitingBytesMax) {
      throw new BrokerError(
        "CHRONIK_PEER_SLOW",
        `the broker at ${this.where} does not read what it is sent`,
      );
    }
    const correlationId = this.correlationId;
    this.correlationId = (correlationId + 1) & 0x7fff_ffff;
    const start = this.writer.beginFrame();
    encodeRequestHeader(this.writer, {
      apiKey,
      apiVersion: version,
      correlationId,
      clientId: this.options.clientId,
    });
    try {
      encodeBody(this.writer);
    } catch (error) {
      this.cutWriter(start);
      throw error;
    }
    this.writer.endFrame(start);
    return correlationId;
  }

  /** Takes back a request that could not be encoded; those before it stay. */
  private cutWriter(length: number): void {
    const kept = new Uint8Array(this.writer.bytesWritten().subarray(0, length));
    this.writer.reset();
    this.writer.raw(kept);
  }

  /** Requests of one turn leave in one write. */
  private scheduleFlush(): void {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    queueMicrotask(() => {
      this.flushScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.ended !== null || this.socket === null) return;
    const bytes = this.writer.bytesWritten();
    if (bytes.length === 0) return;
    const taken = this.waiting.length > 0 ? 0 : Math.max(0, this.socket.write(bytes));
    if (taken < bytes.length) {
      // A copy: the writer is used again at once (Buffer.slice would be a view).
      this.waiting.push(new Uint8Array(bytes.subarray(taken)));
      this.waitingBytes += bytes.length - taken;
    }
    this.writer.reset();
  }

  private writeWaiting(): void {
    while (this.waiting.length > 0 && this.socket !== null) {
      const first = this.waiting[0];
      assert(first !== undefined, "something waits");
      const taken = Math.max(0, this.socket.write(first));
      this.waitingBytes -= taken;
      if (taken < first.length) {
        this.waiting[0] = first.subarray(taken);
        return;
      }
      this.waiting.shift();
    }
    this.onFlushed?.resolve();
    this.onFlushed = null;
  }

  private onData(chunk: Uint8Array): void {
    try {
      this.frames.push(chunk);
      for (let frame = this.frames.next(); frame !== null; frame = this.frames.next()) {
        this.answer(frame);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.end(
        new BrokerError("CHRONIK_PEER_PROTOCOL", `bad bytes from ${this.where}: ${error.message}`, {
          cause: error,
        }),
      );
    }
  }

  private answer(frame: Uint8Array): void {
    const pending = this.pending.shift();
    if (pending === undefined) throw new ProtocolError("a response nobody asked for");
    try {
      const reader = this.reader.reset(frame);
      const correlationId = decodeResponseHeader(reader, pending.apiKey, pending.version);
      if (correlationId !== pending.correlationId) {
        throw new ProtocolError(
          `response ${correlationId} where ${pending.correlationId} was expected`,
        );
      }
      pending.settle(reader);
    } catch (error) {
      pending.reject(error);
      throw error;
    }
  }

  private end(reason: BrokerError): void {
    if (this.ended !== null) return;
    this.ended = reason;
    this.socket?.end();
    this.waiting = [];
    this.onFlushed?.reject(reason);
    for (const { reject } of this.pending.splice(0)) reject(reason);
  }
}
