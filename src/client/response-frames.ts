import { ProtocolError } from "../lib/errors.ts";

const sizeBytes = 4;
/** A response starts with its correlation id. */
const frameBytesMin = 4;
const growBytesMin = 64 * 1024;

/** Cuts responses out of what a broker sends. Frames are views that nobody writes to again. */
export class ResponseFrames {
  private readonly frameBytesMax: number;
  /** Received and not yet handed out: [start, end) of `buffer`. */
  private buffer: Uint8Array = new Uint8Array(0);
  private start = 0;
  private end = 0;

  constructor(frameBytesMax: number) {
    this.frameBytesMax = frameBytesMax;
  }

  push(chunk: Uint8Array): void {
    if (this.start === this.end) {
      // Nothing left over: the chunk itself serves, without a copy.
      this.buffer = chunk;
      this.start = 0;
      this.end = chunk.length;
      return;
    }
    const held = this.end - this.start;
    const grown = Buffer.allocUnsafeSlow(Math.max(held + chunk.length, growBytesMin));
    grown.set(this.buffer.subarray(this.start, this.end));
    grown.set(chunk, held);
    this.buffer = grown;
    this.start = 0;
    this.end = held + chunk.length;
  }

  /** The next whole response, null until more came. Throws ProtocolError. */
  next(): Uint8Array | null {
    const held = this.end - this.start;
    if (held < sizeBytes) return null;
    const view = new DataView(this.buffer.buffer, this.buffer.byteOffset + this.start, sizeBytes);
    const size = view.getInt32(0);
    if (size < frameBytesMin || size > this.frameBytesMax) {
      throw new ProtocolError(`a response cannot have ${size} bytes`);
    }
    if (held < sizeBytes + size) return null;
    const at = this.start + sizeBytes;
    this.start = at + size;
    return this.buffer.subarray(at, at + size);
  }
}
