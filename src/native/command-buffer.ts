import { appendHeaderBytes, commandHeaderBytes, op, readRangeBytes } from "./abi.ts";

const high32 = 0x1_0000_0000;

/** Commands of one tick, encoded back to back as chronik_submit takes them. */
export class CommandBuffer {
  private buffer: Buffer;
  private view: DataView;
  private at = 0;
  private commandCount = 0;
  /** Raw bytes of the one job in here, which stay where they are. */
  lent: Uint8Array | null = null;

  constructor(capacityBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacityBytes);
    this.view = new DataView(this.buffer.buffer, 0, capacityBytes);
  }

  get length(): number {
    return this.at;
  }

  /** With what is lent. */
  get bytesHeld(): number {
    return this.at + (this.lent?.length ?? 0);
  }

  get count(): number {
    return this.commandCount;
  }

  get capacity(): number {
    return this.buffer.length;
  }

  get bytes(): Uint8Array {
    return this.buffer;
  }

  clear(): void {
    this.at = 0;
    this.commandCount = 0;
    this.lent = null;
  }

  append(
    token: number,
    log: number,
    baseOffset: number,
    lastOffset: number,
    recordCount: number,
    leaderEpoch: number,
    bytes: Uint8Array,
  ): void {
    const payload = appendHeaderBytes + bytes.length;
    const at = this.begin(op.append, token, log, payload);
    this.int64(at, baseOffset);
    this.int64(at + 8, lastOffset);
    this.view.setUint32(at + 16, recordCount, true);
    this.view.setInt32(at + 20, leaderEpoch, true);
    this.buffer.set(bytes, at + appendHeaderBytes);
  }

  read(token: number, log: number, from: number, offsetLimit: number, bytesMax: number): void {
    const at = this.begin(op.read, token, log, readRangeBytes);
    this.int64(at, from);
    this.int64(at + 8, offsetLimit);
    this.view.setUint32(at + 16, bytesMax, true);
    this.view.setUint32(at + 20, 0, true);
  }

  job(token: number, log: number, json: Uint8Array, raw: Uint8Array): void {
    const at = this.begin(op.job, token, log, 4 + json.length + raw.length);
    this.view.setUint32(at, json.length, true);
    this.buffer.set(json, at + 4);
    this.buffer.set(raw, at + 4 + json.length);
  }

  /** Writes the header, zeroes the padding and returns where the payload starts. */
  private begin(operation: number, token: number, log: number, payloadBytes: number): number {
    const length = (commandHeaderBytes + payloadBytes + 7) & ~7;
    const at = this.reserve(length);
    const view = this.view;
    view.setUint32(at, length, true);
    view.setUint16(at + 4, operation, true);
    view.setUint16(at + 6, 0, true);
    view.setUint32(at + 8, token, true);
    view.setUint32(at + 12, 0, true);
    view.setUint32(at + 16, log, true);
    view.setUint32(at + 20, payloadBytes, true);
    for (let pad = at + commandHeaderBytes + payloadBytes; pad < at + length; pad++) {
      this.buffer[pad] = 0;
    }
    this.commandCount++;
    return at + commandHeaderBytes;
  }

  private reserve(length: number): number {
    const at = this.at;
    if (at + length > this.buffer.length) this.grow(at + length);
    this.at = at + length;
    return at;
  }

  private grow(needed: number): void {
    let capacity = this.buffer.length;
    while (capacity < needed) capacity *= 2;
    const grown = Buffer.allocUnsafeSlow(capacity);
    grown.set(this.buffer.subarray(0, this.at));
    this.buffer = grown;
    this.view = new DataView(grown.buffer, 0, capacity);
  }

  /** Two's complement in two halves: cheaper than a BigInt; `value` is within ±2^53. */
  private int64(at: number, value: number): void {
    const high = Math.floor(value / high32);
    this.view.setUint32(at, value - high * high32, true);
    this.view.setInt32(at + 4, high, true);
  }
}
