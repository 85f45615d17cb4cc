import { describe, expect, test } from "bun:test";
import type { Reply } from "../../src/api/router.ts";
import { deferred } from "../../src/lib/deferred.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { FakeClock } from "../support/fake-clock.ts";
import {
  correlationIdOf,
  dispatcherOf,
  RawPeer,
  reply,
  requestFrame,
  serve,
  until,
} from "../support/network.ts";

const echo = dispatcherOf((frame) => reply(correlationIdOf(frame)));

function startError(act: () => unknown): BrokerError {
  try {
    act();
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error("it started");
}

describe("listener", () => {
  test("a port in use is one clear error, and nothing stays open", async () => {
    await using server = serve(echo);
    const error = startError(() =>
      serve(
        echo,
        {},
        {
          addresses: [
            { host: "127.0.0.2", port: 0, optional: false },
            { host: "127.0.0.1", port: server.port, optional: false },
          ],
        },
      ),
    );
    expect(error.code).toBe("CHRONIK_PORT_IN_USE");
    expect(error.message).toContain(`port ${server.port} on 127.0.0.1 is in use`);
    expect(error.message).toContain("--bind");
  });

  test("an address that does not exist is an error, or left out when optional", async () => {
    const missing = { host: "203.0.113.7", port: 0 };
    const error = startError(() =>
      serve(echo, {}, { addresses: [{ ...missing, optional: false }] }),
    );
    expect(error.code).toBe("CHRONIK_LISTEN");
    await using server = serve(
      echo,
      {},
      {
        addresses: [
          { ...missing, optional: true },
          { host: "127.0.0.1", port: 0, optional: false },
        ],
      },
    );
    expect(server.listener.addresses.length).toBe(1);
  });

  test("several addresses are served", async () => {
    const hosts = ["127.0.0.1", "127.0.0.2"];
    const addresses = hosts.map((host) => ({ host, port: 0, optional: false }));
    await using server = serve(echo, {}, { addresses });
    expect(server.listener.addresses.map(({ host }) => host)).toEqual(hosts);
  });

  test("connections above the limit are closed at once; one that leaves makes room", async () => {
    await using server = serve(echo, { connectionsMax: 2 });
    const first = await RawPeer.connect(server.port);
    const second = await RawPeer.connect(server.port);
    const third = await RawPeer.connect(server.port);
    await third.untilClosed();
    expect(server.lines.filter((line) => line.includes("connections_max")).length).toBe(1);
    first.socket.end();
    await first.untilClosed();
    await until(() => server.listener.connectionCount === 1);
    const fourth = await RawPeer.connect(server.port);
    fourth.send(requestFrame(3, 4));
    await fourth.until(() => fourth.correlationIds.length === 1);
    expect(second.closed).toBe(false);
  });

  test("drain answers what runs, starts nothing new, and closes", async () => {
    const started: number[] = [];
    const answer = deferred<Reply | null>();
    const server = serve(
      dispatcherOf((frame) => {
        started.push(correlationIdOf(frame));
        return answer.promise;
      }),
    );
    const peer = await RawPeer.connect(server.port);
    const idle = await RawPeer.connect(server.port);
    peer.send(requestFrame(3, 1));
    await until(() => started.length === 1);
    const drained = server.listener.drain(10_000);
    await idle.untilClosed();
    peer.send(requestFrame(3, 2));
    answer.resolve(reply(1));
    await peer.untilClosed();
    await drained;
    expect(peer.correlationIds).toEqual([1]);
    expect(started).toEqual([1]);
    expect(RawPeer.connect(server.port)).rejects.toThrow();
  });

  test("drain cuts what does not end in time", async () => {
    const clock = new FakeClock();
    const server = serve(
      dispatcherOf(() => new Promise<null>(() => {})),
      {},
      { clock },
    );
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(3, 1));
    await until(() => server.listener.bytesInFlight > 0);
    const drained = server.listener.drain(5000);
    clock.advance(4999);
    expect(peer.closed).toBe(false);
    clock.advance(1);
    await drained;
    await peer.untilClosed();
  });

  test("idle connections and frames that never arrive whole are ended", async () => {
    const clock = new FakeClock();
    await using server = serve(echo, { idleMsMax: 60_000, frameMsMax: 20_000 }, { clock });
    const idle = await RawPeer.connect(server.port);
    const slow = await RawPeer.connect(server.port);
    slow.send(requestFrame(3, 1, 100_000).subarray(0, 50));
    await until(() => server.listener.bytesInFlight > 0);
    clock.advance(25_000);
    await slow.untilClosed();
    expect(server.lines.some((line) => line.includes("did not arrive whole"))).toBe(true);
    expect(idle.closed).toBe(false);
    clock.advance(40_000);
    await idle.untilClosed();
    expect(server.listener.bytesInFlight).toBe(0);
    clock.advance(10_000);
  });

  test("5,000 idle connections are accepted and cost little", async () => {
    await using server = serve(echo);
    const before = process.memoryUsage().rss;
    const peers: RawPeer[] = [];
    for (let batch = 0; batch < 50; batch++) {
      const dials = Array.from({ length: 100 }, () => RawPeer.connect(server.port));
      peers.push(...(await Promise.all(dials)));
    }
    await until(() => server.listener.connectionCount === 5000);
    const grownBytes = process.memoryUsage().rss - before;
    expect(grownBytes).toBeLessThan(150 * 1024 * 1024);
    const last = peers[4999];
    last?.send(requestFrame(3, 9));
    await last?.until(() => last.correlationIds.length === 1);
    for (const peer of peers) peer.socket.terminate();
    await until(() => server.listener.connectionCount === 0);
  }, 60_000);
});
