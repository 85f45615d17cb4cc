import { describe, expect, test } from "bun:test";
import { ResponseFrames } from "../../src/client/response-frames.ts";
import { WireClient } from "../../src/client/wire-client.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import { apiServer } from "../support/api-server.ts";
import { dispatcherOf, serve, until } from "../support/network.ts";

describe("wire client", () => {
  test("pipelines requests and gets each its own answer", async () => {
    await using api = await apiServer();
    const names = Array.from({ length: 100 }, (_, index) => `topic-${index}`);
    const answers = await Promise.all(
      names.map((name) => api.client.request(metadataApi, 12, { topics: [{ name }] })),
    );
    expect(answers.map(({ topics }) => topics[0]?.name)).toEqual(names);
    expect(api.client.inFlight).toBe(0);
  });

  test("chooses the newest version both sides know", async () => {
    await using api = await apiServer();
    expect(api.client.versionOf(metadataApi)).toBe(13);
    expect(api.client.versionOf(metadataApi, 9)).toBe(9);
    expect(() => api.client.versionOf(produceApi)).toThrow(/serves no version of Produce/);
  });

  test("a connection that ends rejects what is in flight", async () => {
    await using server = serve(dispatcherOf(() => new Promise<null>(() => {})));
    const options = { host: "127.0.0.1", port: server.port, clientId: "t" };
    const client = await WireClient.open(options);
    const asked = client.request(metadataApi, 1, { topics: [] });
    client.close();
    expect(asked).rejects.toThrow(/was closed/);
    expect(client.request(metadataApi, 1, { topics: [] })).rejects.toThrow(/was closed/);
  });

  test("what the socket does not take at once arrives late and unchanged", async () => {
    const chunks: Uint8Array[] = [];
    let reader: Bun.Socket<undefined> | null = null;
    const server = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open(socket) {
          reader = socket;
        },
        data: (_socket, chunk) => void chunks.push(new Uint8Array(chunk)),
      },
    });
    const options = { host: "127.0.0.1", port: server.port, clientId: "t" };
    const client = await WireClient.open(options);
    await until(() => reader !== null);
    (reader as Bun.Socket<undefined> | null)?.pause();
    const bytes = 200 * 1024;
    const fills = Array.from({ length: 60 }, (_, index) => index);
    for (const fill of fills) {
      client.sendEncoded(produceApi, 3, (writer) => writer.raw(new Uint8Array(bytes).fill(fill)));
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(chunks.length).toBe(0);
    (reader as Bun.Socket<undefined> | null)?.resume();
    await client.flushed();
    const frameBytes = 4 + 11 + bytes;
    const received = (): number => chunks.reduce((sum, { length }) => sum + length, 0);
    await until(() => received() === fills.length * frameBytes);
    const all = Buffer.concat(chunks);
    for (const [index, fill] of fills.entries()) {
      const body = all.subarray((index + 1) * frameBytes - bytes, (index + 1) * frameBytes);
      expect(Buffer.compare(body, Buffer.alloc(bytes, fill))).toBe(0);
    }
    client.close();
    server.stop(true);
  });

  test("a port nobody listens on is a clear error", async () => {
    const options = { host: "127.0.0.1", port: 1, clientId: "t" };
    expect(WireClient.connect(options)).rejects.toThrow("cannot connect to 127.0.0.1:1");
  });

  test("responses cut anywhere come out whole", () => {
    const body = Buffer.from(
      "0000000b0000000101020304050607000000040000000200000005000000039a",
      "hex",
    );
    for (let cut = 0; cut <= body.length; cut++) {
      const frames = new ResponseFrames(100);
      const got: string[] = [];
      for (const part of [body.subarray(0, cut), body.subarray(cut)]) {
        if (part.length > 0) frames.push(part);
        for (let next = frames.next(); next !== null; next = frames.next()) {
          got.push(Buffer.from(next).toString("hex"));
        }
      }
      expect(got).toEqual(["0000000101020304050607", "00000002", "000000039a"]);
    }
    const frames = new ResponseFrames(100);
    frames.push(Buffer.from("7fffffff", "hex"));
    expect(() => frames.next()).toThrow(/cannot have 2147483647 bytes/);
  });
});
