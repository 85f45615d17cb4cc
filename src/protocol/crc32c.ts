/**
 * CRC-32C (Castagnoli) in software, eight bytes at a time: right, and slow beside the native
 * library's. For tests, tools, small files and chronik's own small batches.
 */

/** What record-batch.ts takes: the checksum of all of `bytes`, unsigned. */
export type Crc32c = (bytes: Uint8Array) => number;

const reversedPolynomial = 0x82f6_3b78;
const lanes = 8;

/** Eight tables of 256: what a byte does that is followed by 0 to 7 others. */
const table = new Int32Array(lanes * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ reversedPolynomial : crc >>> 1;
  table[byte] = crc;
}
for (let at = 256; at < table.length; at++) {
  const before = entry(at - 256);
  table[at] = (before >>> 8) ^ entry(before & 0xff);
}

export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  let at = 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const end = bytes.length - lanes; at <= end; at += lanes) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    crc =
      entry(1792 + (low & 0xff)) ^
      entry(1536 + ((low >>> 8) & 0xff)) ^
      entry(1280 + ((low >>> 16) & 0xff)) ^
      entry(1024 + (low >>> 24)) ^
      entry(768 + (high & 0xff)) ^
      entry(512 + ((high >>> 8) & 0xff)) ^
      entry(256 + ((high >>> 16) & 0xff)) ^
      entry(high >>> 24);
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ entry((crc ^ view.getUint8(at)) & 0xff);
  return (crc ^ -1) >>> 0;
}

function entry(at: number): number {
  return table[at] ?? 0;
}
