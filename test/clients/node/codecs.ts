import { CompressionCodecs, CompressionTypes } from "kafkajs";
import { compressFrame, decompressFrame } from "lz4-napi";
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

export function installCodecs(): void {
  CompressionCodecs[CompressionTypes.Snappy] = () => ({
    compress: (encoder: Encoder) => Promise.resolve(Buffer.from(snappy.compress(encoder.buffer))),
    decompress: (bytes: Buffer) => Promise.resolve(snappyDecode(bytes)),
  });
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    // Frames of independent blocks; Kafka takes no others.
    compress: (encoder: Encoder) => compressFrame(encoder.buffer),
    decompress: (bytes: Buffer) => decompressFrame(bytes),
  });
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: (encoder: Encoder) => Promise.resolve(Bun.zstdCompressSync(encoder.buffer)),
    decompress: (bytes: Buffer) => Promise.resolve(Bun.zstdDecompressSync(bytes)),
  });
}
