declare module "lz4js" {
  export function compressBound(length: number): number;
  /** Bytes written to `target`, 0 when the block does not shrink. */
  export function compressBlock(
    source: Uint8Array,
    target: Uint8Array,
    sourceIndex: number,
    sourceLength: number,
    hashTable: number[],
  ): number;
  export function decompress(source: Uint8Array): Uint8Array;
}

declare module "lz4js/xxh32.js" {
  export function hash(seed: number, source: Uint8Array, index: number, length: number): number;
}

declare module "snappyjs" {
  export function compress(source: Buffer): Buffer;
  export function uncompress(source: Buffer): Buffer;
}
