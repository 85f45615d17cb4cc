import { describe, expect, test } from "bun:test";
import { Outgoing } from "../../src/net/outgoing.ts";
import { FakeClock } from "../support/fake-clock.ts";

const turnBytes = 256 * 1024;

/** A socket that takes so many bytes, and what it took. */
function socketOf(room: number) {
  const taken: Uint8Array[] = [];
  const socket = {
    room,
    write(bytes: Uint8Array): number {
      if (this.room < 0) return -1;
      const count = Math.min(this.room, bytes.length);
      this.room -= count;
      taken.push(new Uint8Array(bytes.subarray(0, count)));
      return count;
    },
  };
  return { socket, taken: () => Buffer.concat(taken) };
}

type Socket = ReturnType<typeof socketOf>["socket"];

/** Proceeds by hand, not by the clock. */
function outgoingOf(socket: Socket): Outgoing {
  const services = { clock: new FakeClock(), pace: { wrote: () => 0 } };
  return new Outgoing(socket, services, () => undefined);
}

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);
const asItIs = (rest: readonly Uint8Array[]) => [...rest];

describe("what leaves a connection", () => {
  test("small answers leave at once", () => {
    const { socket, taken } = socketOf(1_000);
    const outgoing = outgoingOf(socket);
    expect(outgoing.begin([filled(10, 1), filled(0, 2), filled(20, 3)], asItIs)).toBe("all");
    expect(outgoing.isEmpty).toBe(true);
    expect(outgoing.bytesHeld).toBe(0);
    expect(taken().equals(Buffer.concat([filled(10, 1), filled(20, 3)]))).toBe(true);
  });

  test("a large one lets others have their turn, and nothing is lost or doubled", () => {
    const { socket, taken } = socketOf(10 * turnBytes);
    const outgoing = outgoingOf(socket);
    const parts = [filled(100, 1), filled(turnBytes, 2), filled(turnBytes, 3), filled(50, 4)];
    expect(outgoing.begin([...parts], asItIs)).toBe("turn");
    expect(taken().length).toBe(turnBytes);
    expect(outgoing.proceed()).toBe("turn");
    expect(taken().length).toBe(2 * turnBytes);
    expect(outgoing.proceed()).toBe("all");
    expect(taken().equals(Buffer.concat(parts))).toBe(true);
  });

  test("a full socket is told, and what stays goes out later", () => {
    const { socket, taken } = socketOf(1_500);
    const outgoing = outgoingOf(socket);
    const parts = [filled(1_000, 1), filled(1_000, 2), filled(1_000, 3)];
    let kept = 0;
    const keep = (rest: readonly Uint8Array[]) => {
      kept = rest.length;
      return rest.map((part) => new Uint8Array(part));
    };
    expect(outgoing.begin([...parts], keep)).toBe("full");
    expect(kept).toBe(2);
    expect(outgoing.bytesHeld).toBe(1_500);
    expect(outgoing.proceed()).toBe("full");
    socket.room = 2_000;
    expect(outgoing.proceed()).toBe("all");
    expect(outgoing.bytesHeld).toBe(0);
    expect(taken().equals(Buffer.concat(parts))).toBe(true);
  });

  test("two views of one buffer hold it once, and all of it", () => {
    const { socket } = socketOf(0);
    const outgoing = outgoingOf(socket);
    const buffer = filled(10_000, 1);
    expect(outgoing.begin([buffer.subarray(0, 10), buffer.subarray(20, 30)], asItIs)).toBe("full");
    expect(outgoing.bytesHeld).toBe(10_000);
    outgoing.clear();
    expect([outgoing.isEmpty, outgoing.bytesHeld]).toEqual([true, 0]);
  });

  test("a socket that is gone takes nothing", () => {
    const { socket } = socketOf(-1);
    expect(outgoingOf(socket).begin([filled(10, 1)], asItIs)).toBe("gone");
  });
});

describe("an answer that gives way", () => {
  const smallTurnBytes = 128 * 1024;

  /** Proceeds by the clock; each write takes 2 ms, each pause 30. */
  function pacedOf(socket: Socket) {
    const clock = new FakeClock();
    let writingMs = 0;
    const slowClock = {
      monotonicMs: () => clock.monotonicMs() + writingMs,
      schedule: (delayMs: number, task: () => void) => clock.schedule(delayMs, task),
      soon: (task: () => void) => clock.soon(task),
    };
    const writes: [bytes: number, tookMs: number][] = [];
    const slow = {
      write(bytes: Uint8Array): number {
        writingMs += 2;
        return socket.write(bytes);
      },
    };
    const pace = {
      wrote(bytes: number, tookMs: number): number {
        writes.push([bytes, tookMs]);
        return bytes > 0 ? 30 : 0;
      },
    };
    const progress: string[] = [];
    const onTurn = () => progress.push(outgoing.proceed());
    const outgoing: Outgoing = new Outgoing(slow, { clock: slowClock, pace }, onTurn);
    return { outgoing, clock, writes, progress };
  }

  test("leaves in small turns, each a pause behind the one before", () => {
    const { socket, taken } = socketOf(10 * turnBytes);
    const { outgoing, clock, writes, progress } = pacedOf(socket);
    const part = filled(2 * smallTurnBytes + 10, 1);
    expect(outgoing.begin([part], asItIs, true)).toBe("turn");
    expect([outgoing.isHeld, taken().length]).toEqual([true, smallTurnBytes]);
    clock.advance(29);
    expect(progress).toEqual([]);
    clock.advance(1);
    expect([progress, outgoing.isHeld]).toEqual([["turn"], true]);
    clock.advance(29);
    expect(taken().length).toBe(2 * smallTurnBytes);
    clock.advance(1);
    expect([progress, outgoing.isHeld]).toEqual([["turn", "all"], false]);
    expect(writes).toEqual([
      [smallTurnBytes, 2],
      [smallTurnBytes, 2],
      [10, 2],
    ]);
    expect(taken().equals(Buffer.from(part))).toBe(true);
  });

  test("waits behind what a full socket took, and not behind nothing", () => {
    const { socket } = socketOf(1_000);
    const { outgoing, clock, progress } = pacedOf(socket);
    expect(outgoing.begin([filled(3_000, 1)], asItIs, true)).toBe("full");
    expect(outgoing.isHeld).toBe(true);
    clock.advance(30);
    expect([progress, outgoing.isHeld]).toEqual([["full"], false]);
  });

  test("the next answer does not, unless it says so", () => {
    const { socket } = socketOf(10 * turnBytes);
    const { outgoing, writes } = pacedOf(socket);
    expect(outgoing.begin([filled(10, 1)], asItIs, true)).toBe("all");
    expect(outgoing.begin([filled(smallTurnBytes + 1, 1)], asItIs)).toBe("all");
    expect(writes.length).toBe(1);
  });
});
