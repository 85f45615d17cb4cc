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
