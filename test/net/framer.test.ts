import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Framer } from "../../src/net/framer.ts";

const limits = { bytesMin: 8, bytesMax: 1_000_000 };

function frame(bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(bytes.length + 4);
  new DataView(framed.buffer).setInt32(0, bytes.length);
  framed.set(bytes, 4);
  return framed;
}

function allFrames(framer: Framer): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let next = framer.next(); next !== null; next = framer.next()) frames.push(next);
  return frames;
}

function start(text: string | number[]): Uint8Array {
  return typeof text === "string" ? new TextEncoder().encode(text) : new Uint8Array(text);
}

describe("framer", () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 8, maxLength: 300 }), { maxLength: 12 });

  test("gives the same frames however the stream is cut, drained early or late", () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(400)), fc.array(fc.boolean()), (frames, cuts, drains) => {
        const stream = Buffer.concat(frames.map(frame));
        const framer = new Framer(limits);
        const got: Uint8Array[] = [];
        let at = 0;
        for (let index = 0; at < stream.length; index++) {
          const end = Math.min(stream.length, at + (cuts[index] ?? 7));
          framer.push(new Uint8Array(stream.subarray(at, end)));
          at = end;
          if (drains[index] !== false) got.push(...allFrames(framer));
        }
        got.push(...allFrames(framer));
        expect(got.map((one) => Buffer.from(one).toString("hex"))).toEqual(
          frames.map((one) => Buffer.from(one).toString("hex")),
        );
        expect(framer.bytesHeld).toBe(0);
      }),
    );
  });

  test("a frame within one chunk is a view, not a copy", () => {
    const chunk = Buffer.concat([frame(new Uint8Array(20)), frame(new Uint8Array(9))]);
    const framer = new Framer(limits);
    framer.push(chunk);
    const [first, second] = allFrames(framer);
    expect(first?.buffer).toBe(chunk.buffer);
    expect(second?.byteOffset).toBe(chunk.byteOffset + 28);
  });

  test("frames handed out are not touched by what comes later", () => {
    const framer = new Framer(limits);
    const stream = Buffer.concat([
      frame(new Uint8Array(40).fill(1)),
      frame(new Uint8Array(40).fill(2)),
    ]);
    framer.push(stream.subarray(0, 30));
    allFrames(framer);
    framer.push(stream.subarray(30, 60));
    const [first] = allFrames(framer);
    framer.push(stream.subarray(60));
    allFrames(framer);
    expect(first).toEqual(Buffer.alloc(40, 1));
  });

  test("an announced frame takes memory only as it arrives", () => {
    const framer = new Framer({ bytesMin: 8, bytesMax: 100 * 1024 * 1024 });
    framer.push(start([6, 64, 0, 0]));
    expect(framer.next()).toBeNull();
    for (let sent = 0; sent < 300; sent++) {
      framer.push(new Uint8Array(1024));
      expect(framer.next()).toBeNull();
    }
    expect(framer.bytesHeld).toBe(300 * 1024);
    expect(framer.bytesReserved).toBeLessThanOrEqual(2 * 300 * 1024);
  });

  test("a large frame in many pieces comes out whole", () => {
    const body = new Uint8Array(700_000).map((_, index) => index % 251);
    const stream = frame(body);
    const framer = new Framer(limits);
    const got: Uint8Array[] = [];
    for (let at = 0; at < stream.length; at += 1000) {
      framer.push(stream.slice(at, at + 1000));
      got.push(...allFrames(framer));
    }
    expect(got.length).toBe(1);
    expect(Buffer.compare(got[0] ?? new Uint8Array(), body)).toBe(0);
  });

  const bad: [string, Uint8Array, RegExp][] = [
    ["HTTP", start("GET / HTTP/1.1\r\n"), /look like an HTTP request.*wrong port/],
    ["HTTP/2", start("PRI * HTTP/2.0\r\n"), /HTTP/],
    ["TLS", start([0x16, 3, 1, 2, 0, 1]), /TLS handshake/],
    ["Redis", start("*1\r\n$4\r\nPING"), /Redis/],
    ["SSH", start("SSH-2.0-x"), /SSH/],
    ["negative", start([0xff, 0xff, 0xff, 0xff]), /frame size -1 is negative/],
    ["zero", start([0, 0, 0, 0]), /less than a header/],
    ["short", start([0, 0, 0, 7]), /frame size 7 is less/],
    ["above the limit", start([0, 0x0f, 0x42, 0x41]), /1000001 is above the limit of 1000000/],
  ];
  for (const [name, bytes, message] of bad) {
    test(`refuses ${name}`, () => {
      const framer = new Framer(limits);
      framer.push(bytes);
      expect(() => framer.next()).toThrow(message);
    });
  }

  test("refuses a size that comes byte by byte", () => {
    const framer = new Framer(limits);
    for (const byte of [0x7f, 0xff, 0xff]) {
      framer.push(start([byte]));
      expect(framer.next()).toBeNull();
    }
    framer.push(start([0xff]));
    expect(() => framer.next()).toThrow(/above the limit/);
  });
});
