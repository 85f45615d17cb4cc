import type { Clock } from "../lib/clock.ts";
import type { ConnectionSocket } from "./connection.ts";

/** `turn`: the socket would take more, but others are to have their turn first. */
export type Progress = "all" | "turn" | "full" | "gone";

/** Copied into the kernel in one turn of the event loop at most: about a tenth of a millisecond. A
 * large answer leaves in several turns, so that it holds nobody up who waits for a small one. */
const turnBytesMax = 256 * 1024;
/** Of an answer that gives way. */
const smallTurnBytesMax = 128 * 1024;

/** How answers that give way leave. */
export interface WritePace {
  /** So many bytes took the socket so long; milliseconds until the next may follow. */
  wrote(bytes: number, tookMs: number): number;
}

export interface OutgoingServices {
  readonly clock: Pick<Clock, "monotonicMs" | "schedule" | "soon">;
  readonly pace: WritePace;
}

/** Responses on their way to one socket, in the pieces they lie in. */
export class Outgoing {
  private readonly socket: Pick<ConnectionSocket, "write">;
  private readonly services: OutgoingServices;
  private readonly onTurn: () => void;
  private parts: Uint8Array[] = [];
  private givesWay = false;
  private held = false;

  /** `onTurn` is called when it is time to proceed after a turn was over. */
  constructor(
    socket: Pick<ConnectionSocket, "write">,
    services: OutgoingServices,
    onTurn: () => void,
  ) {
    this.socket = socket;
    this.services = services;
    this.onTurn = onTurn;
  }

  /** The next turn has not come. */
  get isHeld(): boolean {
    return this.held;
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
  begin(
    parts: Uint8Array[],
    keep: (rest: readonly Uint8Array[]) => Uint8Array[],
    givesWay = false,
  ): Progress {
    this.parts = parts;
    this.givesWay = givesWay;
    const progress = this.proceed();
    if (progress !== "all") this.parts = keep(this.parts);
    return progress;
  }

  /** Writes on. */
  proceed(): Progress {
    const { clock, pace } = this.services;
    if (!this.givesWay) {
      const { progress } = this.write(turnBytesMax);
      if (progress === "turn") this.hold(0);
      return progress;
    }
    const startMs = clock.monotonicMs();
    const { progress, bytes } = this.write(smallTurnBytesMax);
    const pauseMs = pace.wrote(bytes, clock.monotonicMs() - startMs);
    // A socket that takes bytes again in the meantime waits, too.
    if (progress === "turn" || (progress === "full" && pauseMs > 0)) this.hold(pauseMs);
    return progress;
  }

  clear(): void {
    this.parts = [];
  }

  private write(bytesMax: number): { progress: Progress; bytes: number } {
    let left = bytesMax;
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
    return { progress, bytes: bytesMax - left };
  }

  private hold(pauseMs: number): void {
    this.held = true;
    const { clock } = this.services;
    if (pauseMs > 0) clock.schedule(pauseMs, this.goOn);
    else clock.soon(this.goOn);
  }

  private readonly goOn = (): void => {
    this.held = false;
    this.onTurn();
  };
}
