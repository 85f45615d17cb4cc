/**
 * Reads Kafka's wire types from one buffer. Nothing is copied: `bytes` are views into the input.
 *
 * Every length and count is checked against the bytes that remain before anything is allocated;
 * whatever does not fit throws `ProtocolError`. Bytes left over after a body are the caller's
 * business: see `remaining`.
 */
import { ProtocolError } from "../lib/errors.ts";
import { readInt64 } from "./int64.ts";
import { zeroUuid } from "./uuid.ts";

const maxSafe = Number.MAX_SAFE_INTEGER;

const empty = new Uint8Array(0);

export class Reader {
  /** Next byte to read, from the start of the input. */
  position = 0;
  private limit = 0;
  private view: DataView = new DataView(empty.buffer);
  private buffer: Buffer = Buffer.from(empty.buffer);

  constructor(input: Uint8Array = empty) {
    this.reset(input);
  }

  /** Starts over on `input`; one reader serves many frames. */
  reset(input: Uint8Array): this {
    this.view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    this.buffer =
      input instanceof Buffer
        ? input
        : Buffer.from(input.buffer, input.byteOffset, input.byteLength);
    this.position = 0;
    this.limit = input.byteLength;
    return this;
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.limit - this.position;
  }

  bool(): boolean {
    return this.view.getUint8(this.take(1)) !== 0;
  }

  int8(): number {
    return this.view.getInt8(this.take(1));
  }

  int16(): number {
    return this.view.getInt16(this.take(2));
  }

  uint16(): number {
    return this.view.getUint16(this.take(2));
  }

  int32(): number {
    return this.view.getInt32(this.take(4));
  }

  uint32(): number {
    return this.view.getUint32(this.take(4));
  }

  /** Saturates, see int64.ts. */
  int64(): number {
    return readInt64(this.view, this.take(8));
  }

  /** All 64 bits, for the few fields that use them. */
  bigInt64(): bigint {
    return this.view.getBigInt64(this.take(8));
  }

  float64(): number {
    return this.view.getFloat64(this.take(8));
  }

  uuid(): string {
    const at = this.take(16);
    const view = this.view;
    if (view.getInt32(at) === 0 && view.getInt32(at + 4) === 0) {
      if (view.getInt32(at + 8) === 0 && view.getInt32(at + 12) === 0) return zeroUuid;
    }
    return this.buffer.toString("base64url", at, at + 16);
  }

  /** At most five bytes; the value is unsigned. */
  unsignedVarint(): number {
    let byte = this.view.getUint8(this.take(1));
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      byte = this.view.getUint8(this.take(1));
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    byte = this.view.getUint8(this.take(1));
    if (byte > 0x0f) throw new ProtocolError("varint is longer than 32 bits");
    return (value | (byte << 28)) >>> 0;
  }

  /** Zig-zag, as in records. */
  varint(): number {
    const raw = this.unsignedVarint();
    return (raw >>> 1) ^ -(raw & 1);
  }

  /** Zig-zag, at most ten bytes; saturates like `int64`. */
  varlong(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 7; count++) {
      const byte = this.view.getUint8(this.take(1));
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 0x80;
    }
    return this.longVarlong(value);
  }

  string(): string {
    return this.text(this.int16());
  }

  nullableString(): string | null {
    const length = this.int16();
    return length === -1 ? null : this.text(length);
  }

  compactString(): string {
    return this.text(this.unsignedVarint() - 1);
  }

  compactNullableString(): string | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.text(length - 1);
  }

  bytes(): Uint8Array {
    return this.raw(this.int32());
  }

  nullableBytes(): Uint8Array | null {
    const length = this.int32();
    return length === -1 ? null : this.raw(length);
  }

  compactBytes(): Uint8Array {
    return this.raw(this.unsignedVarint() - 1);
  }

  compactNullableBytes(): Uint8Array | null {
    const length = this.unsignedVarint();
    return length === 0 ? null : this.raw(length - 1);
  }

  /** Element count of an array whose elements take at least `bytesMin` bytes each. */
  arrayLength(bytesMin: number): number {
    return this.count(this.int32(), bytesMin);
  }

  /** As `arrayLength`; −1 is null. */
  nullableArrayLength(bytesMin: number): number {
    const count = this.int32();
    return count === -1 ? -1 : this.count(count, bytesMin);
  }

  compactArrayLength(bytesMin: number): number {
    return this.count(this.unsignedVarint() - 1, bytesMin);
  }

  /** As `compactArrayLength`; −1 is null. */
  compactNullableArrayLength(bytesMin: number): number {
    const count = this.unsignedVarint();
    return count === 0 ? -1 : this.count(count - 1, bytesMin);
  }

  /** Presence byte of a nullable struct. */
  present(): boolean {
    return this.int8() >= 0;
  }

  /** The same inside a tagged field, where it is 0 or 1. */
  presentTagged(): boolean {
    return this.unsignedVarint() > 0;
  }

  /** Number of tagged fields that follow; each takes two bytes or more. */
  tagCount(): number {
    return this.count(this.unsignedVarint(), 2);
  }

  /** Passes over a whole section of tagged fields. */
  skipTags(): void {
    for (let count = this.tagCount(); count > 0; count--) {
      this.unsignedVarint();
      this.raw(this.unsignedVarint());
    }
  }

  /** Reads a tagged field's size and narrows the reader to it; hand the result to `leaveTag`. */
  enterTag(): number {
    const size = this.unsignedVarint();
    const outer = this.limit;
    if (size > this.remaining) throw this.tooLong(size);
    this.limit = this.position + size;
    return outer;
  }

  /** Ends what `enterTag` began; a field that did not fill its size is malformed. */
  leaveTag(outer: number): void {
    if (this.position !== this.limit) {
      throw new ProtocolError(`tagged field has ${this.remaining} bytes too many`);
    }
    this.limit = outer;
  }

  /** Passes over the field `enterTag` began. */
  skipTag(outer: number): void {
    this.position = this.limit;
    this.limit = outer;
  }

  /** The next `length` bytes as a view into the input. */
  raw(length: number): Uint8Array {
    if (length < 0 || length > this.remaining) throw this.tooLong(length);
    const at = this.take(length);
    return new Uint8Array(this.view.buffer, this.view.byteOffset + at, length);
  }

  /** The next `length` bytes as UTF-8; malformed sequences become U+FFFD. */
  text(length: number): string {
    if (length < 0 || length > this.remaining) throw this.tooLong(length);
    const at = this.take(length);
    return this.buffer.toString("utf8", at, at + length);
  }

  private take(length: number): number {
    const at = this.position;
    if (at + length > this.limit) throw this.tooLong(length);
    this.position = at + length;
    return at;
  }

  private count(count: number, bytesMin: number): number {
    if (count < 0 || count * bytesMin > this.remaining) {
      throw new ProtocolError(`count ${count} does not fit ${this.remaining} remaining bytes`);
    }
    return count;
  }

  private longVarlong(low: number): number {
    let value = BigInt(low);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      const byte = this.view.getUint8(this.take(1));
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (shift === 63n && byte > 1) break;
      const signed = (value >> 1n) ^ -(value & 1n);
      if (signed > BigInt(maxSafe)) return maxSafe;
      return signed < BigInt(-maxSafe) ? -maxSafe : Number(signed);
    }
    throw new ProtocolError("varint is longer than 64 bits");
  }

  private tooLong(length: number): ProtocolError {
    return new ProtocolError(`length ${length} does not fit ${this.remaining} remaining bytes`);
  }
}
