/**
 * CRC-32C (Castagnoli) in software: right, and slow beside the native library's. For tests, tools
 * and chronik's own small batches.
 */

/** What record-batch.ts takes: the checksum of all of `bytes`, unsigned. */
export type Crc32c = (bytes: Uint8Array) => number;

const reversedPolynomial = 0x82f6_3b78;

/** Eight tables: eight bytes are taken at a time (Intel's "slicing-by-8"). */
const sliceBytes = 8;
const tables = new Uint32Array(256 * sliceBytes);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ reversedPolynomial : crc >>> 1;
  tables[byte] = crc;
}
for (let at = 256; at < tables.length; at++) {
  const crc = tables[at - 256] ?? 0;
  tables[at] = (crc >>> 8) ^ (tables[crc & 0xff] ?? 0);
}

export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  let at = 0;
  for (const end = bytes.length - sliceBytes; at <= end; at += sliceBytes) {
    // Inside the bytes and the tables by the loop's bounds: `?? 0` is for the types alone.
    const low =
      crc ^
      ((bytes[at] ?? 0) |
        ((bytes[at + 1] ?? 0) << 8) |
        ((bytes[at + 2] ?? 0) << 16) |
        ((bytes[at + 3] ?? 0) << 24));
    crc =
      (tables[1792 + (low & 0xff)] ?? 0) ^
      (tables[1536 + ((low >>> 8) & 0xff)] ?? 0) ^
      (tables[1280 + ((low >>> 16) & 0xff)] ?? 0) ^
      (tables[1024 + (low >>> 24)] ?? 0) ^
      (tables[768 + (bytes[at + 4] ?? 0)] ?? 0) ^
      (tables[512 + (bytes[at + 5] ?? 0)] ?? 0) ^
      (tables[256 + (bytes[at + 6] ?? 0)] ?? 0) ^
      (tables[bytes[at + 7] ?? 0] ?? 0);
  }
  for (; at < bytes.length; at++)
    crc = (crc >>> 8) ^ (tables[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return (crc ^ -1) >>> 0;
}
