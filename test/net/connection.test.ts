import { describe, expect, test } from "bun:test";
import type { Session } from "../../src/api/context.ts";
import type { Reply } from "../../src/api/router.ts";
import { type Deferred, deferred } from "../../src/lib/deferred.ts";
import { CloseConnection } from "../../src/lib/errors.ts";
import { BacklogMeter } from "../../src/net/backlog-meter.ts";
import { ByteBudget } from "../../src/net/byte-budget.ts";
import { Connection } from "../../src/net/connection.ts";
import { Pieces } from "../../src/protocol/pieces.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { FakeClock } from "../support/fake-clock.ts";
import {
  correlationIdOf,
  dispatcherOf,
  RawPeer,
  reply,
  requestFrame,
  roomyLimits,
  serve,
  until,
} from "../support/network.ts";

/** A dispatcher whose requests are answered when the test says so. */
function heldDispatcher() {
  const started: number[] = [];
  const answers = new Map<number, Deferred<Reply | null>>();
  const dispatcher = dispatcherOf((frame) => {
    const id = correlationIdOf(frame);
    started.push(id);
    const answer = deferred<Reply | null>();
    answers.set(id, answer);
    return answer.promise;
  });
  return {
    dispatcher,
    started,
    answer: (id: number, bytes = 0) => answers.get(id)?.resolve(reply(id, bytes)),
    silence: (id: number) => answers.get(id)?.resolve(null),
    fail: (id: number, error: unknown) => answers.get(id)?.reject(error),
  };
}

describe("an answer that gives way", () => {
  const bytes = 300 * 1024;

  /** Writes of archived bytes, each followed by a pause of 50 ms by the fake clock. */
  function paced(givesWay: boolean) {
    const clock = new FakeClock();
    const writes: number[] = [];
    const pace = {
      wrote(count: number): number {
        writes.push(count);
        return 50;
      },
    };
    const dispatcher = dispatcherOf((frame) => ({
      ...reply(correlationIdOf(frame), bytes),
      givesWay,
    }));
    return { clock, writes, server: serve(dispatcher, {}, { clock, pace }) };
  }

  test("leaves in small turns with pauses, whenever the socket would take more", async () => {
    const { clock, writes, server } = paced(true);
    await using _ = server;
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(3, 1));
    for (let turns = 1; turns <= 2; turns++) {
      await until(() => writes.length === turns);
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect([writes.length, peer.correlationIds]).toEqual([turns, []]);
      clock.advance(50);
    }
    await peer.until(() => peer.correlationIds.length === 1);
    expect(writes).toEqual([128 * 1024, 128 * 1024, bytes + 8 - 256 * 1024]);
  });

  test("others do not", async () => {
    const { clock, writes, server } = paced(false);
    await using _ = server;
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(3, 1));
    await until(() => clock.pendingTimers > 0);
    await peer.until(() => {
      clock.advance(0);
      return peer.correlationIds.length === 1;
    });
    expect(writes).toEqual([]);
  });

  test("waits for its turn when the socket asks for more before", () => {
    const { connection, clock, taken } = connectionOf({ ...reply(1, bytes), givesWay: true });
    connection.onData(requestFrame(3, 1));
    connection.onDrain();
    expect(taken()).toBe(128 * 1024);
    clock.advance(50);
    expect(taken()).toBe(256 * 1024);
    connection.onDrain();
    expect(taken()).toBe(256 * 1024);
    clock.advance(50);
    expect(taken()).toBe(bytes + 8);
  });
});

/** A connection over a socket that takes all; its requests are answered by `answer`, and writes
 * that give way are followed by a pause of 50 ms. */
function connectionOf(answer: Reply) {
  const clock = new FakeClock();
  let count = 0;
  const socket = {
    write(bytes: Uint8Array): number {
      count += bytes.length;
      return bytes.length;
    },
    pause: () => undefined,
    resume: () => undefined,
    end: () => undefined,
    terminate: () => undefined,
  };
  const connection = new Connection(socket, {} as Session, {
    dispatcher: dispatcherOf(() => answer),
    limits: roomyLimits,
    budget: new ByteBudget(1 << 20),
    backlogs: new BacklogMeter(1 << 20),
    clock,
    pace: { wrote: () => 50 },
    writer: new Writer(),
    onBacklog: () => undefined,
    onEnd: () => undefined,
  });
  return { connection, clock, taken: () => count };
}

describe("connection", () => {
  test("overlapping requests start in order and are answered in order", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(0, 1), requestFrame(0, 2), requestFrame(0, 3));
    await until(() => held.started.length === 3);
    expect(held.started).toEqual([1, 2, 3]);
    held.answer(3);
    held.answer(2);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(peer.correlationIds).toEqual([]);
    held.answer(1);
    await peer.until(() => peer.correlationIds.length === 3);
    expect(peer.correlationIds).toEqual([1, 2, 3]);
  });

  test("a fast request waits behind a slow one of another API", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(1, 1), requestFrame(3, 2), requestFrame(3, 3));
    await until(() => held.started.length === 1);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(held.started).toEqual([1]);
    held.answer(1);
    await until(() => held.started.length === 2);
    held.answer(2);
    await until(() => held.started.length === 3);
    held.answer(3);
    await peer.until(() => peer.correlationIds.length === 3);
    expect(peer.correlationIds).toEqual([1, 2, 3]);
  });

  test("what arrived whole is carried out though its sender hung up", async () => {
    const held = heldDispatcher();
    const seen: AbortSignal[] = [];
    const { dispatch } = held.dispatcher;
    held.dispatcher.dispatch = (frame, peer) => {
      seen.push(peer.signal);
      return dispatch.call(held.dispatcher, frame, peer);
    };
    await using server = serve(held.dispatcher);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(1, 1), requestFrame(3, 2), requestFrame(3, 3));
    await until(() => held.started.length === 1);
    peer.socket.end();
    await until(() => seen[0]?.aborted === true);
    held.answer(1);
    await until(() => held.started.length === 2);
    held.answer(2);
    await until(() => held.started.length === 3);
    held.answer(3);
    expect(held.started).toEqual([1, 2, 3]);
    expect(peer.correlationIds).toEqual([]);
  });

  test("a request without response (acks=0) leaves no trace between its neighbours", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(0, 1), requestFrame(0, 2), requestFrame(0, 3));
    await until(() => held.started.length === 3);
    held.silence(2);
    held.answer(3);
    held.answer(1);
    await peer.until(() => peer.correlationIds.length === 2);
    expect(peer.correlationIds).toEqual([1, 3]);
  });

  test("requests sent one byte at a time are served", async () => {
    await using server = serve(dispatcherOf((frame) => reply(correlationIdOf(frame))));
    const peer = await RawPeer.connect(server.port);
    for (const byte of Buffer.concat([requestFrame(3, 7), requestFrame(3, 8, 5)])) {
      peer.send(new Uint8Array([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await peer.until(() => peer.correlationIds.length === 2);
    expect(peer.correlationIds).toEqual([7, 8]);
  });

  test("responses that are ready together leave in one write", async () => {
    await using server = serve(dispatcherOf((frame) => reply(correlationIdOf(frame))));
    let chunks = 0;
    const peer = await RawPeer.connect(server.port);
    const before = peer.received;
    const requests = Array.from({ length: 50 }, (_, id) => requestFrame(3, id));
    peer.send(...requests);
    await peer.until(() => {
      chunks += peer.received > before ? 1 : 0;
      return peer.correlationIds.length === 50;
    });
    expect(peer.correlationIds).toEqual(requests.map((_, id) => id));
    expect(chunks).toBeLessThanOrEqual(4);
  });

  test("a failed request ends the connection behind the answers before it", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(0, 1), requestFrame(0, 2), requestFrame(0, 3));
    await until(() => held.started.length === 3);
    held.answer(3);
    held.fail(2, new CloseConnection("acks=0 failed"));
    held.answer(1);
    await peer.untilClosed();
    expect(peer.correlationIds).toEqual([1]);
    expect(server.lines.filter((line) => line.includes("acks=0 failed")).length).toBe(1);
    await until(() => server.listener.bytesInFlight === 0);
  });

  test("a handler that breaks is one error line and a closed connection", async () => {
    await using server = serve(
      dispatcherOf(() => {
        throw new TypeError("a planted bug");
      }),
    );
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(3, 1));
    await peer.untilClosed();
    expect(server.lines.filter((line) => /ERROR.*planted bug/.test(line)).length).toBe(1);
  });

  const hostile: [string, Uint8Array, RegExp][] = [
    ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), /HTTP request/],
    ["a negative size", new Uint8Array([255, 255, 255, 0, 1, 2]), /negative/],
    ["an absurd size", new Uint8Array([0x7f, 255, 255, 255]), /above the limit/],
  ];
  for (const [name, bytes, message] of hostile) {
    test(`${name} closes that connection with one line and harms no other`, async () => {
      await using server = serve(dispatcherOf((frame) => reply(correlationIdOf(frame))));
      const other = await RawPeer.connect(server.port);
      const peer = await RawPeer.connect(server.port);
      peer.send(bytes);
      await peer.untilClosed();
      expect(server.lines.filter((line) => message.test(line)).length).toBe(1);
      other.send(requestFrame(3, 1));
      await other.until(() => other.correlationIds.length === 1);
    });
  }

  test("a client that never reads stops being served; memory stays bounded", async () => {
    let served = 0;
    await using server = serve(
      dispatcherOf((frame) => {
        served += 1;
        return reply(correlationIdOf(frame), 256 * 1024);
      }),
    );
    const peer = await RawPeer.connect(server.port);
    peer.socket.pause();
    const requests = Array.from({ length: 500 }, (_, id) => requestFrame(3, id));
    peer.send(...requests);
    let last = -1;
    while (last !== served) {
      last = served;
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    // 500 responses are 128 MB; what was served fits the socket buffers and one batch.
    expect(served).toBeLessThan(150);
    expect(server.listener.bytesInFlight).toBeLessThan(1024 * 1024);
    peer.socket.resume();
    const total = 500 * (8 + 256 * 1024);
    await peer.until(() => peer.received === total || peer.closed);
    expect(peer.correlationIds.length).toBe(500);
  }, 30_000);

  test.each(["copied", "as it lies"])("what a slow reader gets late is right: %s", async (how) => {
    // Small enough for the shared scratch, large enough that the socket takes only a part.
    const bytes = 900 * 1024;
    const filled = (id: number): Reply => ({
      writeTo(writer) {
        const start = writer.beginFrame();
        writer.int32(id);
        const body = new Uint8Array(bytes).fill(id);
        if (how === "copied") {
          writer.int32(bytes);
          writer.raw(body);
        } else {
          const [first, second] = [body.subarray(0, 100_000), body.subarray(100_000)];
          writer.bytes(new Pieces([first, second.subarray(0, 9), second.subarray(9)]));
        }
        writer.endFrame(start);
      },
    });
    await using server = serve(dispatcherOf((frame) => filled(correlationIdOf(frame))));
    const slow = await RawPeer.connect(server.port);
    const quick = await RawPeer.connect(server.port);
    slow.socket.pause();
    for (let id = 1; id <= 20; id++) {
      slow.send(requestFrame(3, id));
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    for (let id = 100; id < 110; id++) {
      quick.send(requestFrame(3, id));
      const expected = (id - 99) * (12 + bytes);
      await quick.until(() => quick.received === expected);
    }
    slow.socket.resume();
    await slow.until(() => slow.received === 20 * (12 + bytes));
    const got = slow.bytes;
    for (let index = 0; index < 20; index++) {
      const start = index * (12 + bytes) + 12;
      const body = got.subarray(start, start + bytes);
      expect(Buffer.compare(body, Buffer.alloc(bytes, index + 1))).toBe(0);
    }
  });

  test("what waits for slow readers is told, and told when it is gone", async () => {
    let waiting = 0;
    let highest = 0;
    const onBacklog = (bytes: number): void => {
      waiting += bytes;
      highest = Math.max(highest, waiting);
    };
    // What is left of a response holds its whole buffer, which is up to twice as large.
    const big = 8 << 20;
    const answers = dispatcherOf((frame) => reply(correlationIdOf(frame), big));
    await using server = serve(answers, {}, { onBacklog });
    const slow = await RawPeer.connect(server.port);
    const gone = await RawPeer.connect(server.port);
    for (const peer of [slow, gone]) {
      peer.socket.pause();
      peer.send(requestFrame(3, 1));
    }
    await until(() => waiting > 2 * big);
    gone.socket.terminate();
    await until(() => waiting > 0 && waiting <= highest / 2);
    slow.socket.resume();
    await slow.until(() => slow.received === big + 8);
    await until(() => waiting === 0);
  });

  test("in-flight limits by count and by bytes hold back further requests", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher, { inFlightCountMax: 4 });
    const peer = await RawPeer.connect(server.port);
    peer.send(...Array.from({ length: 10 }, (_, id) => requestFrame(0, id)));
    await until(() => held.started.length === 4);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(held.started.length).toBe(4);
    for (let id = 0; id < 10; id++) {
      await until(() => held.started.length > id);
      held.answer(id);
    }
    await peer.until(() => peer.correlationIds.length === 10);
  });

  test("the budget of all connections makes a frame wait until bytes come back", async () => {
    const held = heldDispatcher();
    await using server = serve(held.dispatcher, { inFlightBytesTotalMax: 2000 });
    const first = await RawPeer.connect(server.port);
    const second = await RawPeer.connect(server.port);
    first.send(requestFrame(0, 1, 1500));
    await until(() => held.started.length === 1);
    second.send(requestFrame(0, 2, 1500));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(held.started).toEqual([1]);
    held.answer(1);
    await until(() => held.started.length === 2);
    held.answer(2);
    await second.until(() => second.correlationIds.length === 1);
    await until(() => server.listener.bytesInFlight === 0);
  });

  test("frames that were promised and not sent do not keep small requests waiting", async () => {
    const MiB = 1 << 20;
    const limits = { frameBytesMax: 4 * MiB, inFlightBytesTotalMax: 8 * MiB };
    const held = heldDispatcher();
    await using server = serve(held.dispatcher, limits);
    for (let at = 0; at < 5; at++) {
      const promising = await RawPeer.connect(server.port);
      promising.send(requestFrame(0, at, 3 * MiB).subarray(0, 1000));
      const small = await RawPeer.connect(server.port);
      small.send(requestFrame(0, at, 60_000).subarray(0, 1000));
    }
    await until(() => server.listener.bytesInFlight > 2 * MiB);
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(0, 99));
    await until(() => held.started.length === 1);
    expect(held.started).toEqual([99]);
    held.answer(99);
    await peer.until(() => peer.correlationIds.length === 1);
  });

  test("the signal is aborted when the client goes away, and its bytes come back", async () => {
    const signals: AbortSignal[] = [];
    const held = heldDispatcher();
    await using server = serve(
      dispatcherOf((frame, peer) => {
        signals.push(peer.signal);
        return held.dispatcher.dispatch(frame, peer);
      }),
    );
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(1, 1));
    await until(() => held.started.length === 1);
    expect(signals[0]?.aborted).toBe(false);
    peer.socket.terminate();
    await until(() => signals[0]?.aborted === true);
    expect(server.listener.connectionCount).toBe(0);
    held.answer(1);
    await until(() => server.listener.bytesInFlight === 0);
  });
});
