import { expect, test } from "bun:test";
import type { Reply } from "../../src/api/router.ts";
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

async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Answers at once; the requests named in `mutes` mute their client for so many milliseconds. */
function mutingDispatcher(mutes: Record<number, number>, silent: number[] = []) {
  const started: number[] = [];
  const dispatcher = dispatcherOf((frame) => {
    const id = correlationIdOf(frame);
    started.push(id);
    const answer: Reply = silent.includes(id) ? { writeTo: () => undefined } : reply(id);
    return { writeTo: (writer) => answer.writeTo(writer), muteMs: mutes[id] ?? 0 };
  });
  return { dispatcher, started };
}

test("the answer goes out at once, and nothing more is read until the time is over", async () => {
  const clock = new FakeClock();
  const { dispatcher, started } = mutingDispatcher({ 1: 1_000 });
  await using server = serve(dispatcher, {}, { clock });
  const peer = await RawPeer.connect(server.port);
  // Sent together: what was read already waits too.
  peer.send(requestFrame(0, 1), requestFrame(0, 2));
  await peer.until(() => peer.correlationIds.length === 1);
  peer.send(requestFrame(3, 3));
  await turns();
  clock.advance(999);
  await turns();
  expect(started).toEqual([1]);
  clock.advance(1);
  await peer.until(() => peer.correlationIds.length === 3);
  expect(peer.correlationIds).toEqual([1, 2, 3]);
});

test("others are not held up", async () => {
  const clock = new FakeClock();
  const { dispatcher, started } = mutingDispatcher({ 1: 60_000 });
  await using server = serve(dispatcher, {}, { clock });
  const muted = await RawPeer.connect(server.port);
  muted.send(requestFrame(3, 1));
  await muted.until(() => muted.correlationIds.length === 1);
  muted.send(requestFrame(3, 2));
  const free = await RawPeer.connect(server.port);
  free.send(requestFrame(3, 10));
  await free.until(() => free.correlationIds.length === 1);
  expect(started).toEqual([1, 10]);
});

test("a request without an answer mutes as well; of several the longest counts", async () => {
  const clock = new FakeClock();
  const { dispatcher, started } = mutingDispatcher({ 1: 500 }, [1]);
  await using server = serve(dispatcher, {}, { clock });
  const peer = await RawPeer.connect(server.port);
  peer.send(requestFrame(0, 1), requestFrame(0, 2));
  await until(() => started.length === 1);
  await turns();
  expect(started).toEqual([1]);
  clock.advance(500);
  await peer.until(() => peer.correlationIds.length === 1);
  expect(peer.correlationIds).toEqual([2]);
});

test("requests that overlap are all answered; the latest end of their mutes counts", async () => {
  const clock = new FakeClock();
  const answers: ((reply: Reply) => void)[] = [];
  const started: number[] = [];
  const dispatcher = dispatcherOf((frame) => {
    started.push(correlationIdOf(frame));
    return new Promise((resolve) => answers.push(resolve));
  });
  await using server = serve(dispatcher, {}, { clock });
  const peer = await RawPeer.connect(server.port);
  peer.send(requestFrame(0, 1), requestFrame(0, 2), requestFrame(0, 3));
  await until(() => answers.length === 3);
  answers[0]?.({ ...reply(1), muteMs: 1_000 });
  answers[1]?.({ ...reply(2), muteMs: 200 });
  answers[2]?.({ ...reply(3), muteMs: 0 });
  await peer.until(() => peer.correlationIds.length === 3);
  peer.send(requestFrame(0, 4));
  await turns();
  clock.advance(999);
  await turns();
  expect(started).toEqual([1, 2, 3]);
  clock.advance(1);
  await until(() => started.length === 4);
  answers[3]?.(reply(4));
  await peer.until(() => peer.correlationIds.length === 4);
});

test("a frame that began before a long mute may end after it", async () => {
  const clock = new FakeClock();
  const { dispatcher } = mutingDispatcher({ 1: 300_000 });
  await using server = serve(dispatcher, { frameMsMax: 60_000 }, { clock });
  const peer = await RawPeer.connect(server.port);
  const second = requestFrame(3, 2, 100);
  peer.send(requestFrame(3, 1), second.subarray(0, 50));
  await peer.until(() => peer.correlationIds.length === 1);
  await turns();
  clock.advance(300_000);
  // The sweep looks while the rest is still on its way.
  clock.advance(6_000);
  await turns();
  expect([peer.closed, server.lines.filter((line) => line.includes("frame"))]).toEqual([false, []]);
  peer.send(second.subarray(50));
  await peer.until(() => peer.correlationIds.length === 2);
});

test("a stop does not wait for a mute", async () => {
  const clock = new FakeClock();
  const { dispatcher } = mutingDispatcher({ 1: 1e9 });
  const server = serve(dispatcher, {}, { clock });
  const peer = await RawPeer.connect(server.port);
  peer.send(requestFrame(3, 1));
  await peer.until(() => peer.correlationIds.length === 1);
  await server.listener.drain(1_000);
  await peer.untilClosed();
});

test("a connection that came too soon is closed, but not at once", async () => {
  const clock = new FakeClock();
  const { dispatcher, started } = mutingDispatcher({});
  const asked: string[] = [];
  const connectionThrottleMs = (address: string) => {
    asked.push(address);
    return asked.length === 1 ? 0 : 700;
  };
  await using server = serve(dispatcher, {}, { clock, connectionThrottleMs });
  const welcome = await RawPeer.connect(server.port);
  const early = await RawPeer.connect(server.port);
  early.send(requestFrame(3, 2));
  await until(() => asked.length === 2);
  welcome.send(requestFrame(3, 1));
  await welcome.until(() => welcome.correlationIds.length === 1);
  clock.advance(699);
  await turns();
  expect(early.closed).toBe(false);
  clock.advance(1);
  await early.untilClosed();
  expect([asked, started]).toEqual([["127.0.0.1", "127.0.0.1"], [1]]);
  expect(server.listener.connectionCount).toBe(1);
});

const MiB = 1024 * 1024;

/** A server with room for one frame of 2 MiB at a time; request 1 is answered when told. */
function tightServer() {
  const clock = new FakeClock();
  const { promise, resolve: answer } = Promise.withResolvers<Reply>();
  const dispatcher = dispatcherOf((frame) => {
    const id = correlationIdOf(frame);
    return id === 1 ? promise : reply(id);
  });
  const limits = { frameBytesMax: 3 * MiB, inFlightBytesTotalMax: 4 * MiB };
  return { clock, answer, server: serve(dispatcher, limits, { clock }) };
}

test("a frame cut in two by a mute keeps no room from others, and goes on after it", async () => {
  const { clock, answer, server } = tightServer();
  await using _ = server;
  const large = requestFrame(0, 2, 2 * MiB);
  const muted = await RawPeer.connect(server.port);
  muted.send(requestFrame(0, 1), large.subarray(0, MiB / 2));
  await until(() => server.listener.bytesInFlight > 2 * MiB);
  answer({ ...reply(1), muteMs: 60_000 });
  await muted.until(() => muted.correlationIds.length === 1);
  const held = server.listener.bytesInFlight;
  expect(held).toBeGreaterThan(0);
  expect(held).toBeLessThanOrEqual(MiB / 2);
  const free = await RawPeer.connect(server.port);
  for (const id of [10, 11]) {
    free.send(requestFrame(3, id, 2 * MiB));
    await free.until(() => free.correlationIds.includes(id));
  }
  expect(server.listener.bytesInFlight).toBe(held);
  clock.advance(60_000);
  muted.send(large.subarray(MiB / 2));
  await muted.until(() => muted.correlationIds.length === 2);
  await until(() => server.listener.bytesInFlight === 0);
});

test("a whole frame that waits for the end of a mute keeps no room from others", async () => {
  const { clock, answer, server } = tightServer();
  await using _ = server;
  const muted = await RawPeer.connect(server.port);
  // Of another kind: it must not overlap with the first.
  muted.send(requestFrame(0, 1), requestFrame(3, 2, 2 * MiB));
  await until(() => server.listener.bytesInFlight > 2 * MiB);
  await turns();
  answer({ ...reply(1), muteMs: 60_000 });
  await muted.until(() => muted.correlationIds.length === 1);
  const free = await RawPeer.connect(server.port);
  free.send(requestFrame(3, 10, 2 * MiB));
  await free.until(() => free.correlationIds.length === 1);
  expect(muted.correlationIds).toEqual([1]);
  clock.advance(60_000);
  await muted.until(() => muted.correlationIds.length === 2);
  await until(() => server.listener.bytesInFlight === 0);
});

test("what a muted client has sent is forgotten with its connection", async () => {
  const { answer, server } = tightServer();
  await using _ = server;
  const muted = await RawPeer.connect(server.port);
  muted.send(requestFrame(0, 1), requestFrame(0, 2, 2 * MiB).subarray(0, MiB / 2));
  await until(() => server.listener.bytesInFlight > 2 * MiB);
  answer({ ...reply(1), muteMs: 60_000 });
  await muted.until(() => muted.correlationIds.length === 1);
  expect(server.listener.bytesInFlight).toBeGreaterThan(0);
  await server.listener.drain(1_000);
  expect(server.listener.bytesInFlight).toBe(0);
});
