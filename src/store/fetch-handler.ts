/** The parts of the SDK's request that matter to a transport. */
export interface OutgoingRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | string[] | null>> | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface IncomingResponse {
  readonly statusCode: number;
  readonly reason: string;
  readonly headers: Record<string, string>;
  readonly body: ReadableStream<Uint8Array> | Uint8Array;
}

interface HandlerOptions {
  readonly abortSignal?: unknown;
}

/**
 * The SDK's requests by Bun's own `fetch`: bodies are bytes in memory, redirects are answers and
 * not followed, the time limit is the caller's signal. `ca` (PEM) replaces the system's
 * certificate authorities.
 */
export class FetchHandler {
  readonly metadata = { handlerProtocol: "h1" };
  private readonly ca: string | null;

  constructor(ca: string | null) {
    this.ca = ca;
  }

  async handle(
    request: OutgoingRequest,
    { abortSignal }: HandlerOptions = {},
  ): Promise<{ response: IncomingResponse }> {
    const { host: _host, ...headers } = request.headers;
    const response = await fetch(urlOf(request), {
      method: request.method,
      headers,
      redirect: "manual",
      decompress: false,
      ...(request.body instanceof Uint8Array || typeof request.body === "string"
        ? { body: request.body }
        : {}),
      ...(abortSignal instanceof AbortSignal ? { signal: abortSignal } : {}),
      ...(this.ca === null ? {} : { tls: { ca: this.ca } }),
    });
    return {
      response: {
        statusCode: response.status,
        reason: response.statusText,
        headers: Object.fromEntries(response.headers),
        body: isWholeRange(headers, response)
          ? streamOf(await response.bytes())
          : (response.body ?? new Uint8Array()),
      },
    };
  }

  updateHttpClientConfig(): void {
    // Nothing of the SDK's own transport settings applies.
  }

  httpHandlerConfigs(): Record<string, never> {
    return {};
  }

  destroy(): void {
    // `fetch` keeps its connections itself.
  }
}

/** Whether the answer is a range as long as was asked for, so that its size is bounded: it is
 * gathered off the event loop and comes in one piece, at a sixth of what a stream's pieces cost. */
function isWholeRange(headers: Readonly<Record<string, string>>, answer: Response): boolean {
  const asked = /^bytes=(\d+)-(\d+)$/.exec(headers["range"] ?? headers["Range"] ?? "");
  const length = Number(answer.headers.get("content-length") ?? Number.NaN);
  return answer.status === 206 && length <= Number(asked?.[2]) - Number(asked?.[1]) + 1;
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}

function urlOf({ protocol, hostname, port, path, query = {} }: OutgoingRequest): string {
  const fields = Object.entries(query).flatMap(([name, value]) => {
    const field = encodeURIComponent(name);
    if (value === null) return [field];
    const values = Array.isArray(value) ? value : [value];
    return values.map((one) => `${field}=${encodeURIComponent(one)}`);
  });
  const search = fields.length === 0 ? "" : `?${fields.join("&")}`;
  return `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}${search}`;
}
