import { ProtocolError } from "../lib/errors.ts";

/** Frames up to this size get their whole buffer at once; larger ones grow with what arrives. */
const assemblyBytesFirst = 64 * 1024;
const sizeBytes = 4;

export interface FrameLimits {
  /** Shortest frame that can be valid: 8 for requests (their header), 4 for responses. */
  readonly bytesMin: number;
  /** Longest frame taken, Kafka's `socket.request.max.bytes`. */
  readonly bytesMax: number;
}

/**
 * Bytes in, whole frames out (pure: no socket, no clock). A frame is what follows its four-byte
 * size. A frame that lies within one chunk comes out as a view of that chunk; one that spans
 * chunks is copied into a buffer of its own. Either way the framer never touches the bytes again,
 * so whoever gets the frame may keep views into it. Keeping a small view keeps its whole chunk
 * (what one socket read returned) or frame in memory.
 *
 * What is held is what has arrived: a frame that was announced but not sent takes at most 64 KiB
 * or twice the bytes that came, whichever is more.
 */
export class Framer {
  private readonly limits: FrameLimits;
  private readonly chunks: Uint8Array[] = [];
  /** Read position in the first chunk. */
  private position = 0;
  private available = 0;
  /** Size of the frame being received; −1 while its size has not arrived. */
  private frameBytes = -1;
  private assembly: Uint8Array | null = null;
  private assembled = 0;

  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  /** Takes one chunk; it must not be written to afterwards. */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.available += chunk.length;
  }

  /** Bytes held that no frame was made of yet. */
  get bytesHeld(): number {
    return this.available + this.assembled;
  }

  /** Memory set aside for a frame that spans chunks, filled or not. */
  get bytesReserved(): number {
    return this.assembly?.length ?? 0;
  }

  /**
   * Size of the frame that comes next (without its prefix), −1 while unknown.
   * Throws ProtocolError when the size is impossible; the stream cannot be read any further then.
   */
  peekFrameBytes(): number {
    if (this.frameBytes >= 0) return this.frameBytes;
    if (this.available < sizeBytes) return -1;
    const size = this.takeInt32();
    if (size < this.limits.bytesMin || size > this.limits.bytesMax) {
      throw new ProtocolError(describeBadSize(size, this.limits));
    }
    this.frameBytes = size;
    return size;
  }

  /** The next whole frame, or null until more bytes came. Throws as `peekFrameBytes`. */
  next(): Uint8Array | null {
    const size = this.peekFrameBytes();
    if (size < 0) {
      this.compact();
      return null;
    }
    const head = this.chunks[0];
    if (this.assembly === null && head !== undefined && head.length - this.position >= size) {
      const frame = head.subarray(this.position, this.position + size);
      this.consume(size);
      this.frameBytes = -1;
      return frame;
    }
    return this.assemble(size);
  }

  private assemble(size: number): Uint8Array | null {
    const wanted = Math.min(this.available, size - this.assembled);
    const buffer = this.room(size, this.assembled + wanted);
    let left = wanted;
    while (left > 0) {
      const head = this.chunks[0];
      if (head === undefined) break;
      const length = Math.min(left, head.length - this.position);
      buffer.set(head.subarray(this.position, this.position + length), this.assembled);
      this.assembled += length;
      left -= length;
      this.consume(length);
    }
    if (this.assembled < size) return null;
    this.assembly = null;
    this.assembled = 0;
    this.frameBytes = -1;
    return buffer.length === size ? buffer : buffer.subarray(0, size);
  }

  /** A buffer of at least `needed` bytes that holds what is assembled so far. */
  private room(size: number, needed: number): Uint8Array {
    const current = this.assembly;
    if (current !== null && current.length >= needed) return current;
    const roomBytes = Math.min(size, Math.max(assemblyBytesFirst, needed, this.assembled * 2));
    const grown = Buffer.allocUnsafeSlow(roomBytes);
    if (current !== null) grown.set(current.subarray(0, this.assembled));
    this.assembly = grown;
    return grown;
  }

  /** Up to three bytes of a size prefix stay: not as a view that pins a large chunk. */
  private compact(): void {
    const head = this.chunks[0];
    if (head === undefined || (this.chunks.length === 1 && head.length <= sizeBytes)) return;
    const rest = new Uint8Array(this.available);
    for (let index = 0; index < rest.length; index++) rest[index] = this.takeByte();
    this.push(rest);
  }

  private takeInt32(): number {
    let value = 0;
    for (let index = 0; index < sizeBytes; index++) value = (value << 8) | this.takeByte();
    return value;
  }

  private takeByte(): number {
    const byte = this.chunks[0]?.[this.position] ?? 0;
    this.consume(1);
    return byte;
  }

  private consume(length: number): void {
    this.position += length;
    this.available -= length;
    const head = this.chunks[0];
    if (head !== undefined && this.position >= head.length) {
      this.chunks.shift();
      this.position = 0;
    }
  }
}

/** Why a size prefix was refused, naming the protocol whose first bytes it looks like. */
function describeBadSize(size: number, limits: FrameLimits): string {
  const foreign = foreignProtocol(size);
  if (foreign !== null) {
    return `the first bytes look like ${foreign}, not like a Kafka frame: wrong port?`;
  }
  if (size < 0) return `frame size ${size} is negative`;
  if (size < limits.bytesMin) return `frame size ${size} is less than a header's`;
  return `frame size ${size} is above the limit of ${limits.bytesMax} bytes`;
}

const httpStarts = ["GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI "];
const redisStarts = ["PING", "AUTH", "INFO", "HELL", "QUIT"];

function foreignProtocol(size: number): string | null {
  const start = String.fromCharCode(
    (size >>> 24) & 0xff,
    (size >>> 16) & 0xff,
    (size >>> 8) & 0xff,
    size & 0xff,
  );
  if (httpStarts.includes(start)) return "an HTTP request";
  if (size >>> 16 === 0x1603) return "a TLS handshake (this listener speaks plaintext)";
  if (/^\*\d{1,2}\r/.test(start) || redisStarts.includes(start)) return "a Redis command";
  if (start.startsWith("SSH-")) return "an SSH client";
  return null;
}
