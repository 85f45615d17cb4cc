import { expect, test } from "bun:test";
import { Waiters } from "../../src/log/waiters.ts";
import { FakeClock } from "../support/fake-clock.ts";

class Source {
  isOpen = true;
  readonly listeners = new Set<(bytes: number, stableBytes: number) => void>();

  onAdvance(listener: (bytes: number, stableBytes: number) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  advance(bytes: number, stableBytes = bytes): void {
    for (const listener of this.listeners) listener(bytes, stableBytes);
  }
}

function place(waitersMax = 10) {
  const clock = new FakeClock();
  const waiters = new Waiters(clock, waitersMax);
  const abort = new AbortController();
  const sources = [new Source(), new Source()];
  const woken: string[] = [];
  const park = (bytesMin: number, waitMs = 100): boolean => {
    const parked = waiters.park(sources, bytesMin, waitMs, abort.signal);
    void parked?.then((reason) => woken.push(reason));
    return parked !== null;
  };
  return { clock, waiters, abort, sources, woken, park };
}

test("wakes when the sources brought enough bytes, and leaves nothing behind", async () => {
  const { clock, waiters, abort, sources, woken, park } = place();
  park(10);
  sources[0]!.advance(6);
  await Promise.resolve();
  expect(woken).toEqual([]);
  sources[1]!.advance(4);
  await Promise.resolve();
  expect(woken).toEqual(["bytes"]);
  clock.advance(1_000);
  abort.abort();
  sources[0]!.advance(100);
  await Promise.resolve();
  expect(woken).toEqual(["bytes"]);
  expect(waiters.parked).toBe(0);
  expect(sources.map((source) => source.listeners.size)).toEqual([0, 0]);
});

test("a read_committed waiter counts what was decided, not what came", async () => {
  const { waiters, abort, sources } = place();
  const woken: string[] = [];
  const parked = waiters.park(sources, 10, 100, abort.signal, "read_committed");
  void parked?.then((reason) => woken.push(reason));
  sources[0]!.advance(500, 0);
  sources[1]!.advance(9, 9);
  await Promise.resolve();
  expect(woken).toEqual([]);
  sources[0]!.advance(78, 578);
  await Promise.resolve();
  expect(woken).toEqual(["bytes"]);
});

test("wakes at the deadline, by an abort, and when a source is closed", async () => {
  const { clock, waiters, abort, sources, woken, park } = place();
  park(10, 100);
  clock.advance(99);
  await Promise.resolve();
  expect(woken).toEqual([]);
  clock.advance(1);
  park(10);
  sources[1]!.advance(0);
  park(10);
  abort.abort();
  park(10);
  await Promise.resolve();
  expect(woken).toEqual(["deadline", "closed", "aborted", "aborted"]);
  expect(waiters.parked).toBe(0);
});

test("does not wait for a closed source, nor beyond its size", async () => {
  const { waiters, sources, woken, park } = place(1);
  expect(park(1)).toBe(true);
  expect(park(1)).toBe(false);
  expect(waiters.parked).toBe(1);
  sources[0]!.advance(1);
  sources[0]!.isOpen = false;
  park(1);
  await Promise.resolve();
  await Promise.resolve();
  expect(woken.toSorted()).toEqual(["bytes", "closed"]);
});
