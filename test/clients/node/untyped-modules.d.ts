declare module "lz4js/xxh32.js" {
  export function hash(seed: number, source: Uint8Array, index: number, length: number): number;
}

declare module "snappyjs" {
  export function compress(source: Buffer): Buffer;
  export function uncompress(source: Buffer): Buffer;
}
