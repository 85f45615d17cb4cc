import { expect, test } from "bun:test";
import fc from "fast-check";
import { crc32c } from "../../src/protocol/crc32c.ts";

/** The polynomial, bit by bit. */
function bitwise(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

test("the checksum of RFC 3720's examples", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe306_9283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a91_36aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8_ab43);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test("any bytes, at any place of their buffer", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(9), (bytes, shift) => {
      const moved = new Uint8Array(shift + bytes.length + 3).fill(0x5a);
      moved.set(bytes, shift);
      expect(crc32c(moved.subarray(shift, shift + bytes.length))).toBe(bitwise(bytes));
    }),
    { numRuns: 500 },
  );
});
