/**
 * Reads protocol buffers from peers (https://protobuf.dev/programming-guides/encoding/): nothing is
 * copied but strings, every length is checked against the bytes that remain, and all messages of
 * one payload draw on one allowance. Malformed bytes throw ProtocolError.
 */
import { ProtocolError } from "../lib/errors.ts";

/** How fields are laid out. */
export const WireType = { VARINT: 0, FIXED64: 1, LENGTH: 2, FIXED32: 5 } as const;

/** What `FieldReader.next` gives for field `number` of `type`. */
export function tagOf(number: number, type: number): number {
  return number * 8 + type;
}

const varintBytesMax = 10;

/** One payload: its bytes, and how many messages may still be opened in it. */
interface Payload {
  readonly bytes: Buffer;
  readonly view: DataView;
  messagesLeft: number;
}

/** The fields of one message, in the order they stand. */
export class FieldReader {
  private readonly payload: Payload;
  private readonly limit: number;
  private position: number;
  private tag = 0;

  private constructor(payload: Payload, start: number, limit: number) {
    if (payload.messagesLeft === 0) throw new ProtocolError("too many protobuf messages");
    payload.messagesLeft--;
    this.payload = payload;
    this.position = start;
    this.limit = limit;
  }

  /** The message that all of `bytes` are; at most `messagesMax` messages are opened in it. */
  static open(bytes: Uint8Array, messagesMax: number): FieldReader {
    const { buffer, byteOffset, byteLength } = bytes;
    const payload = {
      bytes: Buffer.from(buffer, byteOffset, byteLength),
      view: new DataView(buffer, byteOffset, byteLength),
      messagesLeft: messagesMax,
    };
    return new FieldReader(payload, 0, byteLength);
  }

  /** The tag of the next field, to be read or skipped before the next call; 0 at the end. */
  next(): number {
    if (this.position === this.limit) return 0;
    const tag = this.uint();
    // Below 2^32; a field's number is at least 1.
    if (tag < 8 || tag > 0xffff_ffff) throw new ProtocolError("not a protobuf tag");
    this.tag = tag;
    return tag;
  }

  skip(): void {
    switch (this.tag % 8) {
      case WireType.VARINT:
        this.uint();
        return;
      case WireType.FIXED64:
        this.take(8);
        return;
      case WireType.LENGTH:
        this.take(this.length());
        return;
      case WireType.FIXED32:
        this.take(4);
        return;
      default:
        throw new ProtocolError(`protobuf wire type ${this.tag % 8} is not read`);
    }
  }

  message(): FieldReader {
    const length = this.length();
    const start = this.take(length);
    return new FieldReader(this.payload, start, start + length);
  }

  /** What is not UTF-8 reads as U+FFFD. */
  string(): string {
    const length = this.length();
    const start = this.take(length);
    return this.payload.bytes.toString("utf8", start, start + length);
  }

  double(): number {
    return this.payload.view.getFloat64(this.take(8), true);
  }

  /** sfixed64; exact up to 2^53. */
  fixedInt64(): number {
    return Number(this.payload.view.getBigInt64(this.take(8), true));
  }

  /** bool, enum or uint32; exact up to 2^53, which is enough to compare with small numbers. */
  uint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < varintBytesMax; count++) {
      const byte = this.payload.view.getUint8(this.take(1));
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw new ProtocolError("protobuf varint is longer than ten bytes");
  }

  /** All 64 bits, signed. */
  int64(): bigint {
    const start = this.position;
    this.uint();
    let value = 0n;
    for (let at = this.position - 1; at >= start; at--) {
      value = (value << 7n) | BigInt(this.payload.view.getUint8(at) & 0x7f);
    }
    return BigInt.asIntN(64, value);
  }

  private length(): number {
    const length = this.uint();
    if (length > this.limit - this.position) {
      throw new ProtocolError("protobuf field runs past its message");
    }
    return length;
  }

  /** Where the next `count` bytes start. */
  private take(count: number): number {
    const start = this.position;
    if (count > this.limit - start) throw new ProtocolError("protobuf message ends within a field");
    this.position = start + count;
    return start;
  }
}
