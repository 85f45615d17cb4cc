import { CompressionCodecs, CompressionTypes } from "kafkajs";
import * as lz4 from "lz4js";
import * as xxh32 from "lz4js/xxh32.js";
import * as snappy from "snappyjs";

/** kafkajs brings gzip only and takes the others as plug-ins; these are the plug-ins. */

interface Encoder {
  readonly buffer: Buffer;
}

const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const xerialHeaderBytes = 16;

/** Plain snappy, or the framed form that the Java client writes. */
function snappyDecode(bytes: Buffer): Buffer {
  if (!bytes.subarray(0, xerialMagic.length).equals(xerialMagic)) return snappy.uncompress(bytes);
  const parts: Buffer[] = [];
  for (let at = xerialHeaderBytes; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    parts.push(snappy.uncompress(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return Buffer.concat(parts);
}

const lz4Magic = 0x184d2204;
const lz4BlockBytesMax = 64 * 1024;
/** Version 1, independent blocks (Kafka takes no others); blocks of at most 64 KiB. */
const lz4Descriptor = Buffer.from([0x60, 0x40]);

function lz4Encode(bytes: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt32LE(lz4Magic);
  lz4Descriptor.copy(head, 4);
  head[6] = (xxh32.hash(0, lz4Descriptor, 0, lz4Descriptor.length) >>> 8) & 0xff;
  const parts: Buffer[] = [head];
  for (let at = 0; at < bytes.length; at += lz4BlockBytesMax) {
    const block = Buffer.from(bytes.subarray(at, at + lz4BlockBytesMax));
    const packed = Buffer.alloc(lz4.compressBound(block.length));
    const size = lz4.compressBlock(block, packed, 0, block.length, new Array(1 << 16).fill(0));
    const isPacked = size > 0 && size < block.length;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(isPacked ? size : (block.length | 0x80000000) >>> 0);
    parts.push(length, isPacked ? packed.subarray(0, size) : block);
  }
  parts.push(Buffer.alloc(4));
  return Buffer.concat(parts);
}

export function installCodecs(): void {
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: (encoder: Encoder) => Promise.resolve(Buffer.from(snappy.compress(encoder.buffer))),
    decompress: (bytes: Buffer) => Promise.resolve(snappyDecode(bytes)),
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: (encoder: Encoder) => Promise.resolve(lz4Encode(encoder.buffer)),
    decompress: (bytes: Buffer) => Promise.resolve(Buffer.from(lz4.decompress(bytes))),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: (encoder: Encoder) => Promise.resolve(Bun.zstdCompressSync(encoder.buffer)),
    decompress: (bytes: Buffer) => Promise.resolve(Bun.zstdDecompressSync(bytes)),
  });
}
