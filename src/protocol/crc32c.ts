/**
 * CRC-32C (Castagnoli) in software: right, and slow beside the native library's. For tests, tools
 * and chronik's own small batches.
 */

/** What record-batch.ts takes: the checksum of all of `bytes`, unsigned. */
export type Crc32c = (bytes: Uint8Array) => number;

const reversedPolynomial = 0x82f6_3b78;

const table = new Uint32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ reversedPolynomial : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  return (crc ^ -1) >>> 0;
}
