import type { ConnectionSocket } from "./connection.ts";

/** `turn`: the socket would take more, but others are to have their turn first. */
export type Progress = "all" | "turn" | "full" | "gone";

/** Copied into the kernel in one turn of the event loop at most: about a tenth of a millisecond. A
 * large answer leaves in several turns, so that it holds nobody up who waits for a small one. */
const turnBytesMax = 256 * 1024;

/** Responses on their way to one socket, in the pieces they lie in. */
export class Outgoing {
  private readonly socket: Pick<ConnectionSocket, "write">;
  private parts: Uint8Array[] = [];

  constructor(socket: Pick<ConnectionSocket, "write">) {
    this.socket = socket;
  }

  get isEmpty(): boolean {
    return this.parts.length === 0;
  }

  /** Memory that what waits keeps: the whole of every buffer it is a part of, bytes. */
  get bytesHeld(): number {
    const buffers = new Set<ArrayBufferLike>();
    let bytes = 0;
    for (const { buffer } of this.parts) {
      if (buffers.has(buffer)) continue;
      buffers.add(buffer);
      bytes += buffer.byteLength;
    }
    return bytes;
  }

  /** Writes `parts` as far as they go in this turn. What stays is `keep` of it. */
  begin(parts: Uint8Array[], keep: (rest: readonly Uint8Array[]) => Uint8Array[]): Progress {
    this.parts = parts;
    const progress = this.proceed();
    if (progress !== "all") this.parts = keep(this.parts);
    return progress;
  }

  /** Writes on. */
  proceed(): Progress {
    let left = turnBytesMax;
    let done = 0;
    let progress: Progress = "all";
    for (let part = this.parts[0]; part !== undefined; part = this.parts[done]) {
      if (left === 0) {
        progress = "turn";
        break;
      }
      const wanted = part.length > left ? part.subarray(0, left) : part;
      const taken = this.socket.write(wanted);
      if (taken < 0) {
        progress = "gone";
        break;
      }
      left -= taken;
      if (taken === part.length) {
        done++;
        continue;
      }
      this.parts[done] = part.subarray(taken);
      if (taken < wanted.length) {
        progress = "full";
        break;
      }
    }
    this.parts.splice(0, done);
    return progress;
  }

  clear(): void {
    this.parts = [];
  }
}
