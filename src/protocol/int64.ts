/**
 * Kafka's int64 as a JavaScript number. It saturates: beyond ±(2^53 − 1) a read gives
 * ±Number.MAX_SAFE_INTEGER, and writing those two writes Long.MAX_VALUE and Long.MIN_VALUE.
 * Offsets, timestamps and producer ids never get there; Long.MAX_VALUE as a sentinel survives.
 * Where Kafka uses all 64 bits (a hash), the generated field is a bigint instead.
 */
import { AssertionError } from "../lib/assert.ts";

const maxSafe = Number.MAX_SAFE_INTEGER;
const high32 = 0x1_0000_0000;
/** A high word from here on means 2^53 or more. */
const highUnsafe = 0x20_0000;

export function readInt64(view: DataView, at: number): number {
  const high = view.getInt32(at);
  if (high >= highUnsafe) return maxSafe;
  return Math.max(high * high32 + view.getUint32(at + 4), -maxSafe);
}

export function writeInt64(view: DataView, at: number, value: number): void {
  if (value >= maxSafe) {
    view.setUint32(at, 0x7fff_ffff);
    view.setUint32(at + 4, 0xffff_ffff);
  } else if (value <= -maxSafe) {
    view.setUint32(at, 0x8000_0000);
    view.setUint32(at + 4, 0);
  } else {
    if (!Number.isInteger(value)) throw new AssertionError(`int64 cannot hold ${value}`);
    view.setInt32(at, Math.floor(value / high32));
    view.setUint32(at + 4, value >>> 0);
  }
}
