import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";

/** What a proxy does to one request. */
export type FaultKind =
  /** Answers so, and passes nothing on; without a body where the code is empty. */
  | { readonly status: number; readonly code: string }
  /** Closes the connection before anything is passed on. */
  | "refuse"
  /** Passes nothing on and stays silent. */
  | "stall"
  /** Passes the request on, sends headers and half of the body, and resets the connection. */
  | "reset-body"
  /** The same, and then silence. */
  | "stall-body"
  /** A body that is one byte short, and a length that agrees with it. */
  | "short"
  /** One bit of the body is another. */
  | "flip"
  /** The answer says that it is of another range. */
  | "other-range"
  /** One bit of the request's body is another. */
  | "flip-request"
  /** The request is carried out; its answer never comes. */
  | "lose-answer"
  /** A listing as it was when the script began: without what was put, with what was deleted. */
  | "stale-list";

export interface Fault {
  readonly kind: FaultKind;
  /** "PUT", …; any when not given. */
  readonly method?: string;
  /** What path and query must match. */
  readonly path?: RegExp;
  /** Requests that fit and are let through before; none when not given. */
  readonly after?: number;
  /** How many requests it befalls; all when not given. */
  readonly times?: number;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly fault: FaultKind | null;
}

/** A proxy in front of an HTTP server that does to requests what its script says. */
export class FaultProxy implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  private script: { fault: Fault; skip: number; left: number }[] = [];
  private readonly server: Server;
  private readonly target: URL;

  private constructor(target: string) {
    this.target = new URL(target);
    this.server = createServer((request, response) => void this.serve(request, response));
  }

  static async start(target: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    const { promise, resolve } = Promise.withResolvers<void>();
    proxy.server.listen(0, "127.0.0.1", resolve);
    await promise;
    return proxy;
  }

  get endpoint(): string {
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Replaces the script; for each request the first fault that fits and is not used up counts. */
  will(...faults: readonly Fault[]): void {
    this.script = faults.map((fault) => ({
      fault,
      skip: fault.after ?? 0,
      left: fault.times ?? Number.POSITIVE_INFINITY,
    }));
    this.seen.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.server.close(() => resolve());
    this.server.closeAllConnections();
    await promise;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url: path = "" } = request;
    const kind = this.take(method, path);
    this.seen.push({ method, path, headers: request.headers, fault: kind });
    const body = await bytesOf(request);
    if (kind === "refuse") return void request.socket.destroy();
    if (kind === "stall") return;
    if (typeof kind === "object" && kind !== null) {
      const inner = `<Code>${kind.code}</Code><Message>scripted</Message>`;
      const xml = `<?xml version="1.0"?><Error>${inner}</Error>`;
      response.writeHead(kind.status, { "content-type": "application/xml" });
      return void response.end(method === "HEAD" || kind.code === "" ? undefined : xml);
    }
    const answer = await this.pass(request, kind === "flip-request" ? flip(body) : body).catch(
      () => null,
    );
    if (answer === null) return void request.socket.destroy();
    const bytes = await bytesOf(answer);
    if (kind === "lose-answer") return void request.socket.destroy();
    const half = bytes.subarray(0, bytes.length >> 1);
    const changed = kind === "stale-list" ? this.stale(bytes, path) : change(bytes, kind);
    const headers = { ...answer.headers };
    if (headers["content-length"] !== undefined && method !== "HEAD") {
      headers["content-length"] = String(changed.length);
    }
    if (kind === "other-range") headers["content-range"] = "bytes 0-9/1000000";
    response.writeHead(answer.statusCode ?? 500, headers);
    if (kind === "stall-body") return void response.write(half);
    if (kind !== "reset-body") return void response.end(changed);
    response.write(half, () => request.socket.destroy());
  }

  private take(method: string, path: string): FaultKind | null {
    const found = this.script.find(
      ({ fault, left }) =>
        left > 0 &&
        (fault.method === undefined || fault.method === method) &&
        (fault.path === undefined || fault.path.test(path)),
    );
    if (found === undefined) return null;
    if (found.skip > 0) {
      found.skip--;
      return null;
    }
    found.left--;
    return found.fault.kind;
  }

  /** Keys are by the paths of the requests seen: `/bucket/key`. */
  private stale(listing: Buffer, path: string): Buffer {
    const prefix = new URL(path, "http://any").searchParams.get("prefix") ?? "";
    const after = new URL(path, "http://any").searchParams.get("start-after") ?? "";
    const changed = new Map<string, "put" | "deleted">();
    for (const { method, path: asked } of this.seen) {
      const { pathname, searchParams } = new URL(asked, "http://any");
      const [, key = ""] = /^\/[^/]+\/(.+)$/.exec(decodeURIComponent(pathname)) ?? [];
      const isPut = method === "PUT" || (method === "POST" && searchParams.has("uploadId"));
      if (isPut && !searchParams.has("partNumber") && !changed.has(key)) changed.set(key, "put");
      if (method === "DELETE" && !searchParams.has("uploadId") && !changed.has(key)) {
        changed.set(key, "deleted");
      }
    }
    const text = listing.toString();
    const contents = new Map<string, string>();
    for (const [content = "", key = ""] of text.matchAll(
      /<Contents>.*?<Key>(.*?)<\/Key>.*?<\/Contents>/gs,
    )) {
      if (changed.get(key) !== "put") contents.set(key, content);
    }
    for (const [key, what] of changed) {
      if (what !== "deleted" || !key.startsWith(prefix) || key <= after) continue;
      const modified = "<LastModified>2020-01-01T00:00:00.000Z</LastModified>";
      contents.set(key, `<Contents><Key>${key}</Key>${modified}<Size>1000</Size></Contents>`);
    }
    const sorted = [...contents.keys()].sort().map((key) => contents.get(key));
    const rest = text.replaceAll(/<Contents>.*?<\/Contents>/gs, "");
    return Buffer.from(rest.replace("</ListBucketResult>", `${sorted.join("")}$&`));
  }

  /** Headers stay as they came: they are signed. */
  private pass({ method, url, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const { hostname, port } = this.target;
    const passed = forward({ hostname, port, method, path: url, headers, agent: false }, resolve);
    passed.on("error", reject);
    passed.end(body);
    return promise;
  }
}

function change(bytes: Buffer, kind: FaultKind | null): Buffer {
  if (kind === "short") return bytes.subarray(0, Math.max(0, bytes.length - 1));
  return kind === "flip" ? flip(bytes) : bytes;
}

function flip(bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes;
  const flipped = Buffer.from(bytes);
  const at = bytes.length >> 1;
  flipped[at] = (flipped[at] ?? 0) ^ 1;
  return flipped;
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
