import type { Session } from "../api/context.ts";
import type { Dispatcher, Reply } from "../api/router.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { CloseConnection, errorText, ProtocolError } from "../lib/errors.ts";
import type { Writer } from "../protocol/writer.ts";
import type { BacklogMeter } from "./backlog-meter.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { FrameShare } from "./frame-share.ts";
import { Framer } from "./framer.ts";
import { Outgoing, type Progress, type WritePace } from "./outgoing.ts";
import { writeReply } from "./write-reply.ts";

/** What a connection needs from Bun's socket. */
export interface ConnectionSocket {
  /** Bytes taken, possibly fewer than given; negative when the socket is gone. */
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Closes after what was written. */
  end(): void;
  /** Closes at once. */
  terminate(): void;
}

export interface ConnectionLimits {
  readonly frameBytesMax: number;
  /** Bytes of requests started and not yet answered, after which no other is started. */
  readonly inFlightBytesMax: number;
  readonly inFlightCountMax: number;
  readonly idleMsMax: number;
  /** How long one frame may take to arrive. */
  readonly frameMsMax: number;
}

/** What all connections of a listener share. */
export interface ConnectionServices {
  readonly dispatcher: Dispatcher;
  readonly limits: ConnectionLimits;
  readonly budget: ByteBudget;
  readonly backlogs: BacklogMeter;
  readonly clock: Clock;
  readonly pace: WritePace;
  /** Scratch for responses; empty between calls. */
  readonly writer: Writer;
  /** Response bytes that began to wait for a slow peer; negative when they are gone. */
  readonly onBacklog: (bytes: number) => void;
  /** One line about a connection that chronik ends; `severity` "error" marks a bug. */
  readonly onEnd: (session: Session, reason: string, severity: "info" | "warn" | "error") => void;
}

/** One request from its start until its response is handed to the socket. */
interface Slot {
  readonly frameBytes: number;
  pending: boolean;
  reply: Reply | null;
  failure: unknown;
}

const requestBytesMin = 8;
/** Frames up to this size take from the shared budget when they are whole, larger ones before they
 * are received: what a peer only promises must not keep others waiting. */
const smallFrameBytesMax = 64 * 1024;
/** Unread bytes a busy connection may hold before its socket is paused. */
const heldBytesMax = 64 * 1024;
/** Responses written together at most, before the socket is asked to take them. */
const writeBytesMax = 1024 * 1024;
/** How long a peer may keep its side open after ours is closed. */
const lingerMsMax = 5000;

/**
 * One client. Requests start in order and responses leave in order. As in Kafka, a request starts
 * when all before it are answered; only what the dispatcher says may overlap (Produce behind
 * Produce) runs side by side, still answered in order. This is the one place that owns the
 * socket's writes: what Bun does not take waits for `drain`, and while it waits nothing more is
 * started, so a slow reader costs one batch of responses and no more.
 */
export class Connection {
  readonly session: Session;
  private readonly socket: ConnectionSocket;
  private readonly services: ConnectionServices;
  private readonly framer: Framer;
  private readonly slots: Slot[] = [];
  private abort: AbortController | null = null;
  private aborted = false;
  /** A frame that arrived but may not start yet. */
  private waiting: Uint8Array | null = null;
  /** Of the budget, for the frame being received or waiting. */
  private readonly share: FrameShare;
  private inFlightBytes = 0;
  /** Response bytes the socket did not take yet. */
  private readonly outgoing: Outgoing;
  /** Memory that waits for a socket that is full. */
  private backlogBytes = 0;
  /** Budget to give back when nothing is outgoing. */
  private outgoingBudget = 0;
  private paused = false;
  /** Runs while nothing is read because of a quota. */
  private mute: Timer | null = null;
  private mutedUntilMs = 0;
  private pumping = false;
  private flushScheduled = false;
  private pendingCount = 0;
  /** API key of the newest request started. */
  private overlapKey = -1;
  /** No request is started any more; the connection ends when all is answered. */
  private ending = false;
  /** A request failed in a way that has no answer: nothing behind it may be answered either. */
  private cut = false;
  private endedMs = -1;
  private closed = false;
  private activeMs: number;
  /** When the frame being received began to arrive; −1 between frames. */
  private frameStartMs = -1;

  constructor(socket: ConnectionSocket, session: Session, services: ConnectionServices) {
    this.socket = socket;
    this.session = session;
    this.services = services;
    this.outgoing = new Outgoing(socket, services, () => this.onDrain());
    this.activeMs = services.clock.monotonicMs();
    this.share = new FrameShare(services.budget, () => this.pump());
    this.framer = new Framer({
      bytesMin: requestBytesMin,
      bytesMax: services.limits.frameBytesMax,
    });
  }

  /** Aborted when the connection is gone or draining. Made when first asked for. */
  get signal(): AbortSignal {
    this.abort ??= new AbortController();
    if (this.aborted && !this.abort.signal.aborted) this.abort.abort();
    return this.abort.signal;
  }

  /** Requests started and not yet handed to the socket. */
  get inFlight(): number {
    return this.slots.length;
  }

  /** The socket read `chunk`, which now belongs to the connection. */
  onData(chunk: Uint8Array): void {
    if (this.closed || this.ending) return;
    this.activeMs = this.services.clock.monotonicMs();
    this.framer.push(chunk);
    this.pump();
  }

  /** The socket takes bytes again. */
  onDrain(): void {
    if (this.closed || this.outgoing.isHeld) return;
    if (!this.outgoing.isEmpty) {
      const progress = this.outgoing.proceed();
      if (progress === "gone") return;
      this.activeMs = this.services.clock.monotonicMs();
      if (!this.settleOutgoing(progress)) return;
      this.giveBack(this.outgoingBudget);
      this.outgoingBudget = 0;
      if (this.cut) this.endSocket();
    }
    this.flush();
    this.pump();
  }

  /** The socket is gone. As in Kafka, requests that arrived whole are still carried out: a client
   * may say something last and hang up. Nothing is answered. */
  onClose(): void {
    if (this.closed) return;
    this.closed = true;
    this.endMute();
    this.dropOutgoing();
    this.giveBack(this.outgoingBudget);
    this.outgoingBudget = 0;
    this.forgetSettled();
    this.abortSignal();
    this.pump();
  }

  /** Starts no further request, answers what runs, then closes. */
  drain(): void {
    this.ending = true;
    this.endMute();
    this.abortSignal();
    this.flush();
  }

  /** The peer does not read, and all such peers together hold too much. */
  shed(): void {
    if (this.closed) return;
    this.end("did not read its responses while too many bytes waited for slow readers", "warn");
    this.outgoing.clear();
    this.cut = true;
    this.forgetSettled();
    this.socket.terminate();
  }

  /** Ends the connection now, whatever is in flight. */
  terminate(): void {
    if (!this.closed) this.socket.terminate();
  }

  /** Called now and then: ends what is idle or stuck. */
  sweep(nowMs: number): void {
    if (this.closed) return;
    const { limits } = this.services;
    if (this.endedMs >= 0) {
      if (nowMs - this.endedMs > lingerMsMax) this.socket.terminate();
      return;
    }
    const receiving = this.frameStartMs >= 0 && !this.share.isInLine;
    if (receiving && !this.paused && nowMs - this.frameStartMs > limits.frameMsMax) {
      this.end(`a frame did not arrive whole within ${limits.frameMsMax} ms`, "warn");
      this.socket.terminate();
    } else if (!this.outgoing.isEmpty && nowMs - this.activeMs > limits.idleMsMax) {
      this.end(`took no response bytes for ${limits.idleMsMax} ms`, "warn");
      this.socket.terminate();
    } else if (this.slots.length === 0 && nowMs - this.activeMs > limits.idleMsMax) {
      this.end(`idle for more than ${limits.idleMsMax} ms`, "info");
      this.endSocket();
    }
  }

  private pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    try {
      while (this.startNext()) {
        // One request after the other until something has to be waited for.
      }
    } catch (error) {
      this.refuse(error);
    }
    this.pumping = false;
    if (this.closed) this.finish();
    this.flush();
    this.updatePause();
  }

  /** Once nothing that arrived is left to do. */
  private finish(): void {
    if (this.pendingCount > 0 || this.share.isInLine) return;
    this.ending = true;
    this.waiting = null;
    this.share.drop();
  }

  /** False when there is nothing to start, or something must happen first. */
  private startNext(): boolean {
    if (this.ending || !this.outgoing.isEmpty) return false;
    if (this.share.isInLine || this.mute !== null) return false;
    if (this.waiting === null) {
      const frame = this.receive();
      if (frame === null) return false;
      this.waiting = frame;
    }
    if (!this.share.isReserved && !this.share.reserve(this.waiting.length)) return false;
    const apiKey = ((this.waiting[0] ?? 0) << 8) | (this.waiting[1] ?? 0);
    if (!this.mayStart(apiKey)) return false;
    const frame = this.waiting;
    this.waiting = null;
    this.share.handOver();
    this.start(frame, apiKey);
    return true;
  }

  private receive(): Uint8Array | null {
    const size = this.framer.peekFrameBytes();
    if (size < 0) return this.framer.next();
    const isPromised = size <= smallFrameBytesMax || this.share.isReserved;
    if (!isPromised && !this.share.reserve(size)) return null;
    if (this.frameStartMs < 0) this.frameStartMs = this.activeMs;
    const frame = this.framer.next();
    if (frame !== null) this.frameStartMs = -1;
    return frame;
  }

  private mayStart(apiKey: number): boolean {
    const { dispatcher, limits } = this.services;
    const full =
      this.slots.length >= limits.inFlightCountMax || this.inFlightBytes >= limits.inFlightBytesMax;
    if (this.pendingCount === 0) {
      if (full) this.flush();
      return this.outgoing.isEmpty && !this.ending;
    }
    return !full && this.overlapKey === apiKey && dispatcher.mayOverlap(apiKey);
  }

  private start(frame: Uint8Array, apiKey: number): void {
    const slot: Slot = { frameBytes: frame.length, pending: true, reply: null, failure: null };
    this.slots.push(slot);
    this.pendingCount += 1;
    this.overlapKey = apiKey;
    this.inFlightBytes += slot.frameBytes;
    let outcome: Reply | null | Promise<Reply | null>;
    try {
      outcome = this.services.dispatcher.dispatch(frame, this);
    } catch (error) {
      this.settle(slot, null, error ?? new Error("thrown without a reason"));
      return;
    }
    if (outcome === null || !(outcome instanceof Promise)) {
      this.settle(slot, outcome, null);
      return;
    }
    outcome.then(
      (reply) => this.settle(slot, reply, null),
      (error: unknown) => this.settle(slot, null, error ?? new Error("rejected without a reason")),
    );
  }

  private settle(slot: Slot, reply: Reply | null, failure: unknown): void {
    slot.pending = false;
    slot.reply = reply;
    slot.failure = failure;
    this.pendingCount -= 1;
    if (this.closed || this.cut) {
      this.forgetSettled();
      if (this.closed) this.pump();
      return;
    }
    this.muteFor(reply?.muteMs ?? 0);
    if (slot !== this.slots[0] || this.flushScheduled || this.pumping) return;
    // Responses that become ready in the same turn leave in one write.
    this.flushScheduled = true;
    queueMicrotask(this.flushLater);
  }

  private readonly flushLater = (): void => {
    this.flushScheduled = false;
    this.flush();
    this.pump();
  };

  /** Encodes the responses at the head of the line and hands them to the socket. */
  private flush(): void {
    if (this.closed || this.cut || !this.outgoing.isEmpty) return;
    const { writer } = this.services;
    let budget = 0;
    let failure: unknown = null;
    let whole = 0;
    let givesWay = false;
    for (;;) {
      const slot = this.slots[0];
      if (slot === undefined || slot.pending) break;
      this.slots.shift();
      this.inFlightBytes -= slot.frameBytes;
      budget += slot.frameBytes;
      failure = slot.failure;
      if (failure === null) failure = writeReply(slot.reply, writer);
      if (failure !== null) break;
      whole = writer.length;
      givesWay ||= slot.reply?.givesWay === true;
      if (whole < writeBytesMax) continue;
      if (!this.send(whole, budget, givesWay)) return;
      budget = 0;
      whole = 0;
      givesWay = false;
    }
    const sent = this.send(whole, budget, givesWay);
    if (failure !== null) {
      this.cut = true;
      this.forgetSettled();
      this.refuse(failure);
    } else if (sent && this.ending && this.slots.length === 0) {
      this.endSocket();
    }
  }

  /** False when not everything went at once. The writer is empty afterwards. */
  private send(length: number, budget: number, givesWay: boolean): boolean {
    const { writer } = this.services;
    writer.truncate(length);
    const keep = (rest: readonly Uint8Array[]) => writer.keep(rest);
    const progress = length === 0 ? "all" : this.outgoing.begin(writer.pieces(), keep, givesWay);
    writer.reset();
    if (progress === "gone") this.outgoing.clear();
    if (progress === "all" || progress === "gone") {
      this.giveBack(budget);
      return progress === "all";
    }
    this.outgoingBudget += budget;
    return this.settleOutgoing(progress);
  }

  /** What follows a write; true when nothing is outgoing any more. */
  private settleOutgoing(progress: Progress): boolean {
    // What only waits for its turn waits for no peer.
    if (progress === "full" || this.backlogBytes > 0) this.countBacklog();
    return progress === "all";
  }

  /** Ends the connection because of `failure`; what was answered before still goes out. */
  private refuse(failure: unknown): void {
    if (this.closed) return;
    const silent = failure instanceof CloseConnection;
    const bug = !(silent || failure instanceof ProtocolError);
    this.end(
      bug && failure instanceof Error ? (failure.stack ?? failure.message) : errorText(failure),
      bug ? "error" : silent ? "info" : "warn",
    );
    // A malformed frame may come behind requests that still run: those are answered first.
    if (this.outgoing.isEmpty && (this.cut || this.slots.length === 0)) this.endSocket();
  }

  /** Says goodbye; `sweep` cuts the line of a peer that does not hang up in turn. */
  private endSocket(): void {
    if (this.closed || this.endedMs >= 0) return;
    this.endedMs = this.services.clock.monotonicMs();
    if (this.paused) {
      this.paused = false;
      this.socket.resume();
    }
    this.socket.end();
  }

  private end(reason: string, severity: "info" | "warn" | "error"): void {
    // A reason that is empty was told by whoever gave it.
    if (!this.ending && reason !== "") this.services.onEnd(this.session, reason, severity);
    this.ending = true;
    this.abortSignal();
  }

  private abortSignal(): void {
    this.aborted = true;
    this.abort?.abort();
  }

  /** Drops what nobody will be told, and gives its bytes back. */
  private forgetSettled(): void {
    for (let index = this.slots.length - 1; index >= 0; index--) {
      const slot = this.slots[index];
      if (slot === undefined || slot.pending) continue;
      this.slots.splice(index, 1);
      this.inFlightBytes -= slot.frameBytes;
      this.giveBack(slot.frameBytes);
    }
  }

  private dropOutgoing(): void {
    this.outgoing.clear();
    if (this.backlogBytes > 0) this.countBacklog();
  }

  private countBacklog(): void {
    const held = this.outgoing.bytesHeld;
    this.services.onBacklog(held - this.backlogBytes);
    this.backlogBytes = held;
    this.services.backlogs.set(this, held);
  }

  private giveBack(bytes: number): void {
    if (bytes > 0) this.services.budget.release(bytes);
  }

  /** Leaves the client unread: it is over a quota, and its answer said so. */
  private muteFor(muteMs: number): void {
    const untilMs = this.services.clock.monotonicMs() + muteMs;
    if (muteMs <= 0 || this.ending || untilMs <= this.mutedUntilMs) return;
    this.mutedUntilMs = untilMs;
    this.share.park(this.waiting?.length ?? this.framer.bytesHeld);
    this.mute?.cancel();
    this.mute = this.services.clock.schedule(muteMs, () => {
      this.mute = null;
      // The time of a frame that the mute cut in two begins anew.
      this.activeMs = untilMs;
      if (this.frameStartMs >= 0) this.frameStartMs = untilMs;
      this.pump();
    });
    this.updatePause();
  }

  private endMute(): void {
    this.mute?.cancel();
    this.mute = null;
  }

  private updatePause(): void {
    if (this.closed || this.endedMs >= 0) return;
    const full = this.framer.bytesHeld > heldBytesMax && this.blocked();
    const wanted = !this.ending && (full || this.mute !== null);
    if (wanted === this.paused) return;
    this.paused = wanted;
    this.socket[wanted ? "pause" : "resume"]();
  }

  /** True while the next request cannot start whatever arrives. */
  private blocked(): boolean {
    return !this.outgoing.isEmpty || this.share.isInLine || this.waiting !== null;
  }
}
