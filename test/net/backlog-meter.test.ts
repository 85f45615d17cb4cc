import { expect, test } from "bun:test";
import { type BacklogHolder, BacklogMeter } from "../../src/net/backlog-meter.ts";

class Peer implements BacklogHolder {
  isShed = false;
  private readonly meter: BacklogMeter;

  constructor(meter: BacklogMeter) {
    this.meter = meter;
  }

  holds(bytes: number): void {
    this.meter.set(this, bytes);
  }

  shed(): void {
    this.isShed = true;
    // As a connection's close does.
    this.meter.set(this, 0);
  }
}

function peers(meter: BacklogMeter, count: number): Peer[] {
  return Array.from({ length: count }, () => new Peer(meter));
}

test("beyond the limit whoever stood still longest goes, and only as many as needed", () => {
  const meter = new BacklogMeter(100);
  const [a, b, c] = peers(meter, 3) as [Peer, Peer, Peer];
  a.holds(40);
  b.holds(40);
  a.holds(30);
  c.holds(50);
  expect([a.isShed, b.isShed, c.isShed]).toEqual([false, true, false]);
  expect(meter.bytesUsed).toBe(80);
  a.holds(0);
  c.holds(100);
  expect(c.isShed).toBe(false);
  expect(meter.bytesUsed).toBe(100);
});

test("a single holder may exceed the limit: its response has to go out", () => {
  const meter = new BacklogMeter(100);
  const [a, b] = peers(meter, 2) as [Peer, Peer];
  a.holds(500);
  expect(a.isShed).toBe(false);
  b.holds(1);
  expect([a.isShed, b.isShed]).toEqual([true, false]);
  expect(meter.bytesUsed).toBe(1);
});
