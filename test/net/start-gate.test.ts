import { expect, test } from "bun:test";
import { StartGate } from "../../src/net/start-gate.ts";
import {
  correlationIdOf,
  dispatcherOf,
  RawPeer,
  reply,
  requestFrame,
  serve,
  until,
} from "../support/network.ts";

test("who connects while the broker starts is answered when it is ready", async () => {
  const started: number[] = [];
  const gate = new StartGate(
    dispatcherOf((frame) => {
      started.push(correlationIdOf(frame));
      return reply(correlationIdOf(frame));
    }),
  );
  await using server = serve(gate);
  const peer = await RawPeer.connect(server.port);
  peer.send(requestFrame(18, 1), requestFrame(0, 2));
  await until(() => server.listener.bytesInFlight > 0);
  expect(started).toEqual([]);
  gate.open();
  peer.send(requestFrame(3, 3));
  await peer.until(() => peer.correlationIds.length === 3);
  expect(started).toEqual([1, 2, 3]);
  expect(peer.correlationIds).toEqual([1, 2, 3]);
});

test("whoever hangs up while the broker starts is forgotten, with all that was sent", async () => {
  const started: number[] = [];
  const gate = new StartGate(
    dispatcherOf((frame) => {
      started.push(correlationIdOf(frame));
      return reply(correlationIdOf(frame));
    }),
  );
  await using server = serve(gate);
  for (let id = 1; id <= 5; id++) {
    const peer = await RawPeer.connect(server.port);
    peer.send(requestFrame(0, id), requestFrame(0, id), requestFrame(3, id));
    await until(() => server.listener.bytesInFlight > 0);
    peer.socket.end();
    await until(() => server.listener.connectionCount === 0);
    await until(() => server.listener.bytesInFlight === 0);
  }
  const stays = await RawPeer.connect(server.port);
  stays.send(requestFrame(18, 9));
  await until(() => server.listener.bytesInFlight > 0);
  gate.open();
  await stays.until(() => stays.correlationIds.length === 1);
  expect(started).toEqual([9]);
});

test("requests that wait fill the budget and no more; all are answered in the end", async () => {
  const started: number[] = [];
  const gate = new StartGate(
    dispatcherOf((frame) => {
      started.push(correlationIdOf(frame));
      return reply(correlationIdOf(frame));
    }),
  );
  await using server = serve(gate, { inFlightBytesTotalMax: 20_000 });
  const peers = await Promise.all(Array.from({ length: 6 }, () => RawPeer.connect(server.port)));
  for (const [id, peer] of peers.entries()) peer.send(requestFrame(0, id, 8_000));
  await until(() => server.listener.bytesInFlight > 16_000);
  expect(server.listener.bytesInFlight).toBeLessThanOrEqual(20_000);
  expect(started).toEqual([]);
  gate.open();
  await Promise.all(peers.map((peer) => peer.until(() => peer.correlationIds.length === 1)));
  expect(started.toSorted()).toEqual([0, 1, 2, 3, 4, 5]);
  expect(server.listener.bytesInFlight).toBe(0);
});

test("a start that fails closes the connections that wait, without the time to drain", async () => {
  const gate = new StartGate(dispatcherOf(() => reply(0)));
  const server = serve(gate);
  const peer = await RawPeer.connect(server.port);
  peer.send(requestFrame(18, 1));
  await until(() => server.listener.bytesInFlight > 0);
  await server.listener.drain(600_000);
  await peer.until(() => peer.closed);
  expect(peer.correlationIds).toEqual([]);
  expect(server.lines.filter((line) => line.includes("connection closed"))).toEqual([]);
});
