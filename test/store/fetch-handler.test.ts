import { afterEach, expect, test } from "bun:test";
import { FetchHandler } from "../../src/store/fetch-handler.ts";

const servers: Bun.TCPSocketListener[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.stop(true);
});

/** Asks for bytes 10-19 of a server that answers so, whatever it is asked, and stays silent. */
async function answerTo(head: readonly string[], body: string) {
  const text = `HTTP/1.1 206 Partial Content\r\n${head.join("\r\n")}\r\n\r\n${body}`;
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket) {
        socket.write(text);
      },
    },
  });
  servers.push(server);
  const request = {
    ...{ method: "GET", protocol: "http:", hostname: "127.0.0.1", port: server.port, path: "/" },
    headers: { range: "bytes=10-19" },
  };
  const { response } = await new FetchHandler(null).handle(request);
  if (response.body instanceof Uint8Array) throw new Error("the answer has no body");
  return { ...response, body: response.body };
}

test("a range comes in one piece that nothing else lies in", async () => {
  const { body } = await answerTo(["content-length: 10"], "0123456789");
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  expect(pieces.map((piece) => Buffer.from(piece).toString())).toEqual(["0123456789"]);
  expect(pieces[0]?.buffer.byteLength).toBe(10);
});

for (const [what, head] of [
  ["longer than was asked for", ["content-length: 1073741824"]],
  ["without a length", ["transfer-encoding: chunked"]],
] as const) {
  test(`an answer ${what} is not waited for`, async () => {
    const { body, statusCode } = await answerTo(head, "5\r\n01234\r\n");
    expect(statusCode).toBe(206);
    const reader = body.getReader();
    const { value, done } = await reader.read();
    expect([done, (value?.length ?? 0) > 0]).toEqual([false, true]);
    await reader.cancel();
  });
}
