/**
 * Writes Kafka's wire types into one growing buffer, reused from message to message.
 *
 * Values outside their type are bugs of the caller and fail an assertion; nothing wraps silently.
 */
import { AssertionError } from "../lib/assert.ts";
import { writeInt64 } from "./int64.ts";
import type { Pieces } from "./pieces.ts";
import { uuidToBytes, zeroUuid } from "./uuid.ts";

const capacityBytesMin = 64;
/** A writer that once held more gives the memory back when it starts over. */
const capacityBytesKept = 1_048_576;
const shortStringMax = 32_767;
/** Up to here one pass over the characters beats the native encoder. */
const asciiCharsMax = 40;

/** More than this is handed over rather than copied. */
const keptCopyBytesMax = 65_536;

/** Bytes that the message only points to, and where in the buffer they belong. */
interface Splice {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export class Writer {
  private view: DataView;
  private buffer: Buffer;
  private at = 0;
  private readonly spliceBytesMin: number;
  private readonly splices: Splice[] = [];
  private splicedBytes = 0;
  /** Before the frame that was begun last. */
  private splicedBefore = 0;

  /** `capacityBytes` is where the buffer starts; it doubles when it is full. Bytes and records from
   * `spliceBytesMin` on are not copied: then only `pieces` gives what was written. */
  constructor(capacityBytes = 1024, spliceBytesMin = Number.POSITIVE_INFINITY) {
    this.spliceBytesMin = spliceBytesMin;
    this.buffer = Buffer.allocUnsafeSlow(Math.max(capacityBytes, capacityBytesMin));
    this.view = new DataView(this.buffer.buffer, 0, this.buffer.length);
  }

  /** Bytes written since the last `reset` or `take`. */
  get length(): number {
    return this.at + this.splicedBytes;
  }

  /** Forgets what was written; views handed out before become stale. */
  reset(): this {
    this.startOver();
    if (this.buffer.length > capacityBytesKept) this.allocate(capacityBytesKept);
    return this;
  }

  /** What was written, as a view that lives until the next `reset`. */
  bytesWritten(): Uint8Array {
    this.assertWhole(0);
    return this.buffer.subarray(0, this.at);
  }

  /** What was written, handed over for good: the writer starts over with a buffer of its own. */
  take(capacityBytes = 1024): Uint8Array {
    const taken = this.bytesWritten();
    this.allocate(Math.max(capacityBytes, capacityBytesMin));
    this.startOver();
    return taken;
  }

  /** What was written, in order: views that live until the next `reset`, and what was spliced. */
  pieces(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let from = 0;
    for (const { at, bytes } of this.splices) {
      if (at > from) pieces.push(this.buffer.subarray(from, at));
      pieces.push(bytes);
      from = at;
    }
    if (this.at > from) pieces.push(this.buffer.subarray(from, this.at));
    return pieces;
  }

  /** Some of `pieces`, to outlive the next `reset`, which must be the next call. */
  keep(pieces: readonly Uint8Array[]): Uint8Array[] {
    const { buffer } = this.buffer;
    if (this.at > keptCopyBytesMax) {
      this.allocate(capacityBytesMin);
      return [...pieces];
    }
    // Buffer.slice would be a view.
    return pieces.map((piece) => (piece.buffer === buffer ? new Uint8Array(piece) : piece));
  }

  /** Forgets all but the first `length` bytes, which do not end within spliced ones. */
  truncate(length: number): void {
    for (;;) {
      const over = this.length - length;
      const last = this.splices.at(-1);
      const behind = this.at - (last?.at ?? 0);
      if (over <= behind) {
        this.at -= Math.max(0, over);
        return;
      }
      if (last === undefined || over < behind + last.bytes.length) {
        throw new AssertionError(`cannot keep ${length} bytes of what was written`);
      }
      this.at = last.at;
      this.splices.pop();
      this.splicedBytes -= last.bytes.length;
    }
  }

  /** Leaves four bytes for a frame's size; hand the result to `endFrame`. */
  beginFrame(): number {
    this.splicedBefore = this.splicedBytes;
    return this.reserve(4);
  }

  /** Writes the size of everything since `beginFrame` into the four bytes it left. */
  endFrame(start: number): void {
    this.patchInt32(start, this.at - start - 4 + this.splicedBytes - this.splicedBefore);
  }

  /** Makes room for `length` bytes, steps over them and returns where they start. */
  reserve(length: number): number {
    const start = this.at;
    const end = start + length;
    if (end > this.buffer.length) this.grow(end);
    this.at = end;
    return start;
  }

  /** Overwrites four bytes written or reserved before. */
  patchInt32(position: number, value: number): void {
    if (position + 4 > this.at) throw new AssertionError("patch beyond what was written");
    this.view.setInt32(position, int32(value));
  }

  bool(value: boolean): void {
    const at = this.reserve(1);
    this.view.setUint8(at, value ? 1 : 0);
  }

  int8(value: number): void {
    if ((value << 24) >> 24 !== value) throw outOfRange("int8", value);
    const at = this.reserve(1);
    this.view.setInt8(at, value);
  }

  int16(value: number): void {
    if ((value << 16) >> 16 !== value) throw outOfRange("int16", value);
    const at = this.reserve(2);
    this.view.setInt16(at, value);
  }

  uint16(value: number): void {
    if ((value & 0xffff) !== value) throw outOfRange("uint16", value);
    const at = this.reserve(2);
    this.view.setUint16(at, value);
  }

  int32(value: number): void {
    if ((value | 0) !== value) throw outOfRange("int32", value);
    const at = this.reserve(4);
    this.view.setInt32(at, value);
  }

  uint32(value: number): void {
    if (value >>> 0 !== value) throw outOfRange("uint32", value);
    const at = this.reserve(4);
    this.view.setUint32(at, value);
  }

  /** Saturates, see int64.ts. */
  int64(value: number): void {
    const at = this.reserve(8);
    writeInt64(this.view, at, value);
  }

  bigInt64(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw outOfRange("int64", value);
    const at = this.reserve(8);
    this.view.setBigInt64(at, value);
  }

  float64(value: number): void {
    const at = this.reserve(8);
    this.view.setFloat64(at, value);
  }

  uuid(value: string): void {
    const at = this.reserve(16);
    if (value === zeroUuid) this.buffer.fill(0, at, at + 16);
    else this.buffer.set(uuidToBytes(value), at);
  }

  unsignedVarint(value: number): void {
    if (value >>> 0 !== value) throw outOfRange("unsigned varint", value);
    let rest = value;
    while (rest >= 0x80) {
      const at = this.reserve(1);
      this.view.setUint8(at, (rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    const at = this.reserve(1);
    this.view.setUint8(at, rest);
  }

  /** Zig-zag, as in records. */
  varint(value: number): void {
    const whole = int32(value);
    this.unsignedVarint(((whole << 1) ^ (whole >> 31)) >>> 0);
  }

  /** Zig-zag of any safe integer. */
  varlong(value: number): void {
    if (!Number.isSafeInteger(value)) throw outOfRange("varlong", value);
    if (value >= -0x4000_0000 && value < 0x4000_0000) {
      this.varint(value);
      return;
    }
    let rest = value < 0 ? (BigInt(-value) << 1n) - 1n : BigInt(value) << 1n;
    for (; rest >= 0x80n; rest >>= 7n) {
      const at = this.reserve(1);
      this.view.setUint8(at, Number(rest & 0x7fn) | 0x80);
    }
    const at = this.reserve(1);
    this.view.setUint8(at, Number(rest));
  }

  string(value: string): void {
    if (this.ascii(value, false)) return;
    const length = Buffer.byteLength(value);
    if (length > shortStringMax) throw outOfRange("string length", length);
    this.int16(length);
    this.text(value, length);
  }

  nullableString(value: string | null): void {
    if (value === null) this.int16(-1);
    else this.string(value);
  }

  compactString(value: string): void {
    if (this.ascii(value, true)) return;
    const length = Buffer.byteLength(value);
    this.unsignedVarint(length + 1);
    this.text(value, length);
  }

  compactNullableString(value: string | null): void {
    if (value === null) this.unsignedVarint(0);
    else this.compactString(value);
  }

  bytes(value: Uint8Array | Pieces): void {
    this.int32(value.length);
    this.body(value);
  }

  nullableBytes(value: Uint8Array | Pieces | null): void {
    if (value === null) this.int32(-1);
    else this.bytes(value);
  }

  compactBytes(value: Uint8Array | Pieces): void {
    this.unsignedVarint(value.length + 1);
    this.body(value);
  }

  compactNullableBytes(value: Uint8Array | Pieces | null): void {
    if (value === null) this.unsignedVarint(0);
    else this.compactBytes(value);
  }

  /** −1 is null. */
  arrayLength(count: number): void {
    this.int32(count);
  }

  /** −1 is null. */
  compactArrayLength(count: number): void {
    this.unsignedVarint(count + 1);
  }

  /** Presence byte of a nullable struct. */
  present(value: boolean): void {
    this.int8(value ? 1 : -1);
  }

  /** The same inside a tagged field. */
  presentTagged(value: boolean): void {
    this.unsignedVarint(value ? 1 : 0);
  }

  /** Starts a tagged field; hand the result to `endTag`. Tags go out in ascending order. */
  beginTag(tag: number): number {
    this.unsignedVarint(tag);
    return this.at;
  }

  /** Puts the size in front of what was written since `beginTag`. */
  endTag(start: number): void {
    this.insertUnsignedVarint(start, this.at - start);
  }

  /** Puts its length, zig-zag, in front of what was written since `start`; for records. */
  insertVarint(start: number): void {
    this.insertUnsignedVarint(start, (this.at - start) * 2);
  }

  /** Bytes as they are, without a length. */
  raw(value: Uint8Array): void {
    const at = this.reserve(value.length);
    this.buffer.set(value, at);
  }

  private body(value: Uint8Array | Pieces): void {
    if (value instanceof Uint8Array) this.part(value);
    else for (const part of value.parts) this.part(part);
  }

  private part(bytes: Uint8Array): void {
    if (bytes.length < this.spliceBytesMin) {
      this.raw(bytes);
      return;
    }
    this.splices.push({ at: this.at, bytes });
    this.splicedBytes += bytes.length;
  }

  private startOver(): void {
    this.at = 0;
    this.splices.length = 0;
    this.splicedBytes = 0;
    this.splicedBefore = 0;
  }

  private assertWhole(start: number): void {
    const last = this.splices.at(-1);
    if (last === undefined || last.at < start) return;
    throw new AssertionError("what was spliced is no part of the buffer");
  }

  private insertUnsignedVarint(start: number, value: number): void {
    this.assertWhole(start);
    const end = this.at;
    this.unsignedVarint(value);
    const prefix = this.at - end;
    this.buffer.copyWithin(start + prefix, start, end);
    this.at = start;
    this.unsignedVarint(value);
    this.at = end + prefix;
  }

  private text(value: string, length: number): void {
    const at = this.reserve(length);
    this.buffer.write(value, at, length, "utf8");
  }

  /** Length and characters of a short ASCII string; false, with nothing written, for any other. */
  private ascii(value: string, compact: boolean): boolean {
    const length = value.length;
    if (length > asciiCharsMax) return false;
    const start = this.reserve(length + (compact ? 1 : 2));
    if (compact) this.view.setUint8(start, length + 1);
    else this.view.setInt16(start, length);
    const at = this.at - length;
    for (let index = 0; index < length; index++) {
      const code = value.charCodeAt(index);
      if (code >= 0x80) {
        this.at = start;
        return false;
      }
      this.view.setUint8(at + index, code);
    }
    return true;
  }

  private grow(needed: number): void {
    const old = this.buffer;
    this.allocate(Math.max(needed, old.length * 2));
    old.copy(this.buffer, 0, 0, this.at);
  }

  private allocate(capacityBytes: number): void {
    this.buffer = Buffer.allocUnsafeSlow(capacityBytes);
    this.view = new DataView(this.buffer.buffer, 0, capacityBytes);
  }
}

function int32(value: number): number {
  if ((value | 0) !== value) throw outOfRange("int32", value);
  return value;
}

function outOfRange(type: string, value: number | bigint): AssertionError {
  return new AssertionError(`${type} cannot hold ${value}`);
}
