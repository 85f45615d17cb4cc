import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { CloseConnection, errorText, ProtocolError } from "../lib/errors.ts";
import { RateLimit } from "../lib/rate-limit.ts";
import type { ApiCodec } from "../protocol/api-codec.ts";
import { ApiKey } from "../protocol/api-key.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  decodeRequestHeader,
  encodeResponseHeader,
  type RequestHeader,
} from "../protocol/header.ts";
import { encodeApiVersionsResponse } from "../protocol/messages/18-api-versions.ts";
import { Reader } from "../protocol/reader.ts";
import type { Writer } from "../protocol/writer.ts";
import type { QuotaClient } from "../quota/client-quotas.ts";
import { type ApiRange, apiVersionsHandler, unsupportedApiVersions } from "./18-api-versions.ts";
import type { ApiHandler, RequestContext, Services, Session } from "./context.ts";

/** A connection as the router sees it. */
export interface Peer {
  readonly session: Session;
  readonly signal: AbortSignal;
}

/** A response that is ready; writing it is left to the connection, when its turn has come. */
export interface Reply {
  /** Appends one whole frame: size, header, body. */
  writeTo(writer: Writer): void;
  /** For so long from now on nothing more is read from the client (KIP-219). */
  readonly muteMs?: number;
  /** Leaves in small steps with pauses where others read new records. */
  readonly givesWay?: boolean;
}

export interface Dispatcher {
  /**
   * Starts one request; `frame` is what followed the size. Null: no response is sent. Throws or
   * rejects with ProtocolError (malformed), CloseConnection (Kafka closes here), or anything else
   * (a bug): the connection ends.
   */
  dispatch(frame: Uint8Array, peer: Peer): Reply | null | Promise<Reply | null>;
  /** Whether such a request may start while others of the same API are not answered yet. */
  mayOverlap(apiKey: number): boolean;
}

/** One request that was handled. */
export interface RequestReport {
  readonly apiKey: number;
  readonly apiName: string;
  readonly durationMs: number;
  /** Answered with an error for the whole request, or ended by one. */
  readonly failed: boolean;
}

export interface RouterOptions {
  readonly clock: Clock;
  readonly onRequest: (report: RequestReport) => void;
  /** One line for a handler that broke: a bug. */
  readonly onBug: (apiName: string, error: unknown) => void;
  /** One line for a request that no handler serves; limited in rate. */
  readonly onRefused: (message: string) => void;
}

/** Who has not said who they are. */
const anonymous = "ANONYMOUS";
const refusedLinesMax = 10;
const refusedPeriodMs = 60_000;

/** The table of handlers: check the version, decode, call, encode. ApiVersions comes from it. */
export class Router implements Dispatcher {
  private readonly services: Services;
  private readonly options: RouterOptions;
  private readonly handlers = new Map<number, ApiHandler<unknown, unknown>>();
  private readonly reader = new Reader();
  private readonly refusals: RateLimit;

  constructor(
    handlers: readonly ApiHandler<unknown, unknown>[],
    services: Services,
    options: RouterOptions,
  ) {
    this.services = services;
    this.options = options;
    this.refusals = new RateLimit(options.clock, refusedLinesMax, refusedPeriodMs);
    this.add(apiVersionsHandler(() => this.ranges()));
    for (const handler of handlers) this.add(handler);
  }

  /** What ApiVersions advertises. */
  ranges(): ApiRange[] {
    return [...this.handlers.values()]
      .filter(({ hidden }) => hidden !== true)
      .map(({ codec, minVersion, maxVersion }) => ({
        apiKey: codec.key,
        // Kafka advertises 0 too and refuses 0 to 2: without it old librdkafka turns off
        // compression and the current record format.
        minVersion: codec.key === ApiKey.PRODUCE ? 0 : minVersion,
        maxVersion,
      }))
      .sort((left, right) => left.apiKey - right.apiKey);
  }

  /** Producers keep several batches in flight; everything else is served one at a time. */
  mayOverlap(apiKey: number): boolean {
    return apiKey === ApiKey.PRODUCE;
  }

  dispatch(frame: Uint8Array, peer: Peer): Reply | null | Promise<Reply | null> {
    const reader = this.reader.reset(frame);
    const apiKey = reader.int16();
    const apiVersion = reader.int16();
    const handler = this.handlers.get(apiKey);
    if (
      handler === undefined ||
      apiVersion < handler.minVersion ||
      apiVersion > handler.maxVersion
    ) {
      return this.refuse(apiKey, apiVersion, reader.int32(), peer.session);
    }
    reader.reset(frame);
    const header = decodeRequestHeader(reader);
    const request = decodeBody(handler.codec, reader, apiVersion);
    peer.session.clientId = header.clientId ?? "";
    return this.call(handler, request, new Request(peer, header, this.services, frame.length));
  }

  private call(
    handler: ApiHandler<unknown, unknown>,
    request: object,
    context: Request,
  ): Reply | null | Promise<Reply | null> {
    const startMs = this.options.clock.monotonicMs();
    let outcome: unknown;
    try {
      outcome = handler.handle(context, request, context.header.apiVersion);
    } catch (error) {
      return this.recover(handler, request, context, startMs, error);
    }
    context.handled();
    if (!(outcome instanceof Promise)) return this.finish(handler, context, startMs, outcome);
    return outcome.then(
      (response: unknown) => this.finish(handler, context, startMs, response),
      (error: unknown) => this.recover(handler, request, context, startMs, error),
    );
  }

  private finish(
    handler: ApiHandler<unknown, unknown>,
    context: Request,
    startMs: number,
    response: unknown,
  ): Reply | null {
    this.report(handler.codec, startMs, errorCodeOf(response) !== ErrorCode.NONE);
    return this.reply(handler, context, response);
  }

  private recover(
    handler: ApiHandler<unknown, unknown>,
    request: object,
    context: Request,
    startMs: number,
    error: unknown,
  ): Reply | null {
    this.report(handler.codec, startMs, true);
    if (error instanceof CloseConnection || error instanceof ProtocolError) throw error;
    this.options.onBug(handler.codec.name, error);
    const { header } = context;
    const response = handler.failure?.(
      request,
      header.apiVersion,
      ErrorCode.UNKNOWN_SERVER_ERROR,
      "The server experienced an unexpected error when processing the request.",
    );
    if (response != null) return this.reply(handler, context, response);
    throw new CloseConnection(`${handler.codec.name} failed: ${errorText(error)}`);
  }

  private reply(
    handler: ApiHandler<unknown, unknown>,
    context: Request,
    response: unknown,
  ): Reply | null {
    const { quotas } = this.services;
    if (quotas.countsRequests && handler.chargesItself !== true) {
      context.throttle(quotas.request(context.client, context.workMs()));
    }
    const { throttleMs } = context;
    if (response === null) return throttleMs > 0 ? new Mute(throttleMs) : null;
    return new EncodedReply(handler.codec, context, response);
  }

  private refuse(apiKey: number, version: number, correlationId: number, session: Session): Reply {
    if (apiKey === ApiKey.API_VERSIONS)
      return unsupportedVersionReply(correlationId, this.ranges());
    const name = this.handlers.get(apiKey)?.codec.name;
    const what = name === undefined ? `unknown API ${apiKey}` : `${name} (API ${apiKey})`;
    const asked = `${what} version ${version}`;
    const message = `${session.clientHost} asked for ${asked}, which is not served`;
    const held = this.refusals.take();
    if (held !== null) this.options.onRefused(held > 0 ? `${message} (and ${held} more)` : message);
    // The router said it, within its limits; the connection need not.
    throw new CloseConnection("");
  }

  private report(codec: ApiCodec<unknown, unknown>, startMs: number, failed: boolean): void {
    this.options.onRequest({
      apiKey: codec.key,
      apiName: codec.name,
      durationMs: this.options.clock.monotonicMs() - startMs,
      failed,
    });
  }

  private add(handler: ApiHandler<unknown, unknown>): void {
    const { codec, minVersion, maxVersion } = handler;
    assert(!this.handlers.has(codec.key), `API ${codec.key} has two handlers`);
    assert(minVersion <= maxVersion, `${codec.name} serves a version`);
    assert(
      minVersion >= codec.minVersion && maxVersion <= codec.maxVersion,
      `${codec.name} serves no version its codec cannot parse`,
    );
    this.handlers.set(codec.key, handler);
  }
}

class Request implements RequestContext {
  readonly header: RequestHeader;
  readonly services: Services;
  readonly requestBytes: number;
  throttleMs = 0;
  givesWay = false;
  private readonly peer: Peer;
  private readonly startMs: number;
  /** −1 until the handler returned, an answer or a promise of one. */
  private handlerMs = -1;

  constructor(peer: Peer, header: RequestHeader, services: Services, requestBytes: number) {
    this.peer = peer;
    this.header = header;
    this.services = services;
    this.requestBytes = requestBytes;
    this.startMs = services.clock.monotonicMs();
  }

  get client(): QuotaClient {
    return { user: anonymous, clientId: this.header.clientId ?? "" };
  }

  /** What follows the first await is not counted: others run meanwhile. */
  handled(): void {
    this.handlerMs = this.services.clock.monotonicMs() - this.startMs;
  }

  workMs(): number {
    if (this.handlerMs >= 0) return this.handlerMs;
    return this.services.clock.monotonicMs() - this.startMs;
  }

  throttle(throttleMs: number): void {
    this.throttleMs = Math.max(this.throttleMs, throttleMs);
  }

  giveWay(): void {
    this.givesWay = true;
  }

  get session(): Session {
    return this.peer.session;
  }

  get signal(): AbortSignal {
    return this.peer.signal;
  }
}

class EncodedReply implements Reply {
  readonly muteMs: number;
  readonly givesWay: boolean;
  private readonly codec: ApiCodec<unknown, unknown>;
  private readonly header: RequestHeader;
  private readonly response: unknown;

  constructor(
    codec: ApiCodec<unknown, unknown>,
    { header, throttleMs, givesWay }: Request,
    response: unknown,
  ) {
    this.codec = codec;
    this.header = header;
    this.muteMs = throttleMs;
    this.givesWay = givesWay;
    // Messages without that field ignore it.
    this.response =
      throttleMs > 0 ? { ...toObject(response), throttleTimeMs: throttleMs } : response;
  }

  writeTo(writer: Writer): void {
    const { apiVersion, correlationId } = this.header;
    const start = writer.beginFrame();
    encodeResponseHeader(writer, this.codec.key, apiVersion, correlationId);
    this.codec.encodeResponse(writer, this.response, apiVersion);
    writer.endFrame(start);
  }
}

/** No answer (acks=0), but the client is to be left unread. */
class Mute implements Reply {
  readonly muteMs: number;

  constructor(muteMs: number) {
    this.muteMs = muteMs;
  }

  writeTo(): void {}
}

function toObject(response: unknown): object {
  return typeof response === "object" && response !== null ? response : {};
}

/** In version 0, which every client can read, so that it can step down. */
function unsupportedVersionReply(correlationId: number, ranges: readonly ApiRange[]): Reply {
  return {
    writeTo(writer) {
      const start = writer.beginFrame();
      writer.int32(correlationId);
      encodeApiVersionsResponse(writer, unsupportedApiVersions(ranges), 0);
      writer.endFrame(start);
    },
  };
}

/** Bytes after the body are ignored, as Kafka does: librdkafka's request for the metadata of all
 * topics, in flexible versions, ends with three it reserved and did not need. */
function decodeBody(codec: ApiCodec<unknown, unknown>, reader: Reader, version: number): object {
  try {
    return codec.decodeRequest(reader, version);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(`malformed ${codec.name} v${version}: ${error.message}`);
  }
}

function errorCodeOf(response: unknown): number {
  if (typeof response !== "object" || response === null) return ErrorCode.NONE;
  const { errorCode } = response as { errorCode?: unknown };
  return typeof errorCode === "number" ? errorCode : ErrorCode.NONE;
}
