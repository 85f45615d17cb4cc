import { expect, test } from "bun:test";
import fc from "fast-check";
import { crc32c } from "../../src/protocol/crc32c.ts";

function bitByBit(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return (crc ^ -1) >>> 0;
}

test("the examples of RFC 3720", () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8_ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd_794e);
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe306_9283);
});

test("of every length, at every place of a buffer", () => {
  const cut = fc.tuple(fc.uint8Array({ maxLength: 100 }), fc.nat(20));
  fc.assert(
    fc.property(cut, ([bytes, start]) => {
      expect(crc32c(bytes.subarray(start))).toBe(bitByBit(bytes.subarray(start)));
    }),
  );
});
