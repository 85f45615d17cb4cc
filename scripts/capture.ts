/**
 * Records what a real client and a real broker say to each other, as test/golden/frames/*.json:
 *
 *     bun scripts/capture.ts --listen 19400 --broker 127.0.0.1:19392 --out FILE -- COMMAND ARGS…
 *
 * A proxy between the two takes the frames down while the command runs; the broker must advertise
 * the proxy's address. Of each API and version the first few exchanges are kept, small ones only.
 */
import { writeFileSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { parseArgs } from "node:util";

/** Frames in hex, without their length; no response to a produce request with acks 0. */
interface Exchange {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly request: string;
  response: string | null;
}

const keptOfEach = 3;
const frameBytesMax = 4096;

const { values: options, positionals: command } = parseArgs({
  options: {
    listen: { type: "string", default: "19400" },
    broker: { type: "string", default: "127.0.0.1:19392" },
    out: { type: "string" },
  },
  allowPositionals: true,
});
const { out } = options;
if (out === undefined || command.length === 0) {
  console.error("usage: capture.ts --out FILE [--listen PORT] [--broker HOST:PORT] -- COMMAND…");
  process.exit(2);
}

const exchanges: Exchange[] = [];
const [brokerHost = "", brokerPort = ""] = options.broker.split(":");

const server = createServer((client) => {
  const broker = createConnection(Number(brokerPort), brokerHost);
  const open = new Map<number, Exchange>();
  pass(client, broker, (frame) => {
    const exchange = {
      apiKey: frame.readInt16BE(0),
      apiVersion: frame.readInt16BE(2),
      request: frame.toString("hex"),
      response: null,
    };
    open.set(frame.readInt32BE(4), exchange);
    exchanges.push(exchange);
  });
  pass(broker, client, (frame) => {
    const exchange = open.get(frame.readInt32BE(0));
    if (exchange !== undefined) exchange.response = frame.toString("hex");
  });
});

/** Hands every byte on, and every whole frame to `onFrame`. */
function pass(from: Socket, to: Socket, onFrame: (frame: Buffer) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  from.on("data", (chunk: Buffer) => {
    to.write(chunk);
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 4) {
      const end = 4 + pending.readInt32BE(0);
      if (pending.length < end) break;
      onFrame(pending.subarray(4, end));
      pending = pending.subarray(end);
    }
  });
  from.on("close", () => to.end());
  from.on("error", () => to.destroy());
}

function kept(): Exchange[] {
  const counts = new Map<string, number>();
  return exchanges
    .filter(({ request, response }) => request.length + (response?.length ?? 0) < 2 * frameBytesMax)
    .filter(({ apiKey, apiVersion }) => {
      const count = (counts.get(`${apiKey} ${apiVersion}`) ?? 0) + 1;
      counts.set(`${apiKey} ${apiVersion}`, count);
      return count <= keptOfEach;
    })
    .sort((a, b) => a.apiKey - b.apiKey || a.apiVersion - b.apiVersion);
}

server.listen(Number(options.listen), "127.0.0.1", async () => {
  const run = Bun.spawn(command, { stdin: "inherit", stdout: "inherit", stderr: "inherit" });
  const code = await run.exited;
  const rows = kept().map((exchange) => JSON.stringify(exchange));
  writeFileSync(out, `[\n${rows.join(",\n")}\n]\n`);
  console.log(`${rows.length} of ${exchanges.length} exchanges in ${out}, command ended ${code}`);
  process.exit(code);
});
