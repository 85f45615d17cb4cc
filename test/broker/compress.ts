import { gzipSync, zstdCompressSync } from "node:zlib";
import * as xxh32 from "lz4js/xxh32.js";
import * as snappy from "snappyjs";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { batchHeaderBytes, sealBatch } from "../../src/protocol/record-batch.ts";

/** Payloads of codec ids 0–4 as clients write them: snappy in raw form, lz4 as a frame. */
export const codecs: readonly ((payload: Uint8Array) => Uint8Array)[] = [
  (payload) => payload,
  (payload) => gzipSync(payload),
  (payload) => snappy.compress(Buffer.from(payload)),
  (payload) => lz4Frame([lz4Stored(payload)], 0x40),
  (payload) => zstdCompressSync(payload),
];

/** The batch with another payload under another codec, its length and checksum right. */
export function withPayload(plain: Uint8Array, codec: number, payload: Uint8Array): Uint8Array {
  const batch = Buffer.concat([plain.subarray(0, batchHeaderBytes), payload]);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt16BE(codec, 21);
  sealBatch(batch, 0, crc32c);
  return batch;
}

export function compressed(plain: Uint8Array, codec: number): Uint8Array {
  const compress = codecs[codec];
  if (!compress) throw new Error(`no codec ${codec}`);
  return withPayload(plain, codec, compress(plain.subarray(batchHeaderBytes)));
}

/** Small payloads that unpack to about `bytes` of zeros. */
export function bombs(bytes: number): { codec: number; payload: Uint8Array }[] {
  const zeros = Buffer.alloc(bytes);
  const blockBytes = 4 << 20;
  const blocks = Array.from({ length: Math.ceil(bytes / blockBytes) }, () => lz4Zeros(blockBytes));
  return [
    { codec: 1, payload: gzipSync(zeros) },
    // Snappy shrinks 20-fold at best, so its bomb is a length that lies.
    { codec: 2, payload: Buffer.concat([varint(bytes), Buffer.from([0, 0, 0xfe, 1, 0])]) },
    { codec: 2, payload: Buffer.concat([varint(0xffff_ffff), Buffer.from([0, 0, 0xfe, 1, 0])]) },
    { codec: 3, payload: lz4Frame(blocks, 0x70) },
    { codec: 4, payload: zstdCompressSync(zeros) },
  ];
}

/** Version 1 with independent blocks; `blockSize` is the descriptor's second byte. */
function lz4Frame(blocks: readonly Uint8Array[], blockSize: number): Uint8Array {
  const descriptor = Buffer.from([0x60, blockSize]);
  const check = (xxh32.hash(0, descriptor, 0, descriptor.length) >>> 8) & 0xff;
  const magic = Buffer.from([0x04, 0x22, 0x4d, 0x18]);
  return Buffer.concat([magic, descriptor, Buffer.from([check]), ...blocks, Buffer.alloc(4)]);
}

/** One block that is not compressed, at most 64 KiB. */
function lz4Stored(payload: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32LE((payload.length | 0x8000_0000) >>> 0);
  return Buffer.concat([length, payload]);
}

/** One block of `bytes` zeros: a literal, a match as long as can be, five literals at the end. */
function lz4Zeros(bytes: number): Uint8Array {
  let left = bytes - 6 - 4 - 15;
  const lengths: number[] = [];
  for (; left >= 255; left -= 255) lengths.push(255);
  lengths.push(left);
  const block = Buffer.from([0x1f, 0, 1, 0, ...lengths, 0x50, 0, 0, 0, 0, 0]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(block.length);
  return Buffer.concat([length, block]);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let left = value;
  for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  bytes.push(left);
  return Buffer.from(bytes);
}
