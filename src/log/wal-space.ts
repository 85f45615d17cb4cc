/** How full the WAL of user topics is, and what that means for who appends. (pure) */
import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type Rejection, rejection } from "./batch-rules.ts";

/** open: nothing is held back. slowed: the cap is near, producers are throttled. full: an append
 * found no room. */
export type WalSpaceState = "open" | "slowed" | "full";

export interface WalSpaceOptions {
  /** `wal.max_bytes`; 0: no cap. */
  readonly bytesMax: number;
  /** Bytes of batches that may wait for room, in all; what comes beyond is refused at once. */
  readonly heldBytesMax: number;
}

export interface WalSpaceListener {
  changed(state: WalSpaceState): void;
  /** More than half of the cap is used, or much was added since this was last said. */
  pressed(): void;
}

const pressedShare = 0.5;
/** Beyond it archives are made without an index, so that the upload alone bounds the WAL. */
const strainedShare = 0.75;
const slowedShare = 0.9;
/** A state is left well below where it began, so that it does not flicker. */
const openShare = 0.75;
/** While pressed: growth, in shares of the cap, after which that is said again. */
const pressedStep = 1 / 16;
/** Told to who appends to a full WAL, and the most that others are told near it. */
const throttleMsMax = 1_000;
const holdMsMax = 10_000;

/**
 * The cap of the WAL (`wal.max_bytes`): bytes of all segments of user topics, the active ones
 * included, and of what is on its way into them. Near it producers are throttled; what does not
 * fit waits for room for a while and is then refused with NOT_ENOUGH_REPLICAS: of the errors that
 * every producer repeats it alone says that nothing was written and sends nobody to look for
 * another leader (KAFKA_STORAGE_ERROR does, REQUEST_TIMED_OUT leaves open what was written).
 * Markers of transactions and internal topics pass: archiving waits for the ends of transactions.
 */
export class WalSpace {
  readonly bytesMax: number;
  private readonly heldBytesMax: number;
  private stored = 0;
  private underWay = 0;
  private held = 0;
  private current: WalSpaceState = "open";
  private pressedAt = 0;
  private refusals = 0;
  private throttled = 0;
  private listener: WalSpaceListener | null = null;
  private readonly waiting: (() => void)[] = [];

  constructor({ bytesMax, heldBytesMax }: WalSpaceOptions) {
    this.bytesMax = bytesMax;
    this.heldBytesMax = heldBytesMax;
  }

  listen(listener: WalSpaceListener): void {
    this.listener = listener;
    this.look();
  }

  get isCapped(): boolean {
    return this.bytesMax > 0;
  }

  /** In segments of user topics. */
  get bytes(): number {
    return this.stored;
  }

  get state(): WalSpaceState {
    return this.current;
  }

  /** Of batches that wait for room. */
  get bytesHeld(): number {
    return this.held;
  }

  /** Batches refused for want of room, since the start. */
  get refusedCount(): number {
    return this.refusals;
  }

  /** Milliseconds that producers were told to wait, since the start. */
  get throttledMs(): number {
    return this.throttled;
  }

  get isPressed(): boolean {
    return this.isCapped && this.stored > this.bytesMax * pressedShare;
  }

  get isStrained(): boolean {
    return this.isCapped && this.stored > this.bytesMax * strainedShare;
  }

  /** A segment list of a user topic grew or, below 0, shrank. */
  added(bytes: number): void {
    this.stored += bytes;
    assert(this.stored >= 0, "no more WAL is released than was written");
    this.look();
    if (bytes < 0) this.wakeAll();
  }

  /** Books an append; false: no room now. Something always fits an empty WAL. */
  tryTake(bytes: number): boolean {
    if (!this.isCapped) return true;
    const used = this.stored + this.underWay;
    if (used > 0 && used + bytes > this.bytesMax) {
      this.become("full");
      return false;
    }
    this.underWay += bytes;
    return true;
  }

  /** The append is in its segment, or failed. */
  giveBack(bytes: number): void {
    if (!this.isCapped) return;
    this.underWay -= bytes;
    assert(this.underWay >= 0, "no more is given back than was taken");
  }

  /** The append failed: what was booked for it is room for who waits. */
  giveUp(bytes: number): void {
    this.giveBack(bytes);
    if (bytes > 0) this.wakeAll();
  }

  /** Books a batch that waits for room; false when too much waits already. */
  tryHold(bytes: number): boolean {
    if (this.held > 0 && this.held + bytes > this.heldBytesMax) return false;
    this.held += bytes;
    return true;
  }

  unhold(bytes: number): void {
    this.held -= bytes;
    assert(this.held >= 0, "no more stops waiting than waited");
  }

  /** `wake` is called once, when segments were released or an append failed. */
  wait(wake: () => void): void {
    this.waiting.push(wake);
  }

  /** How long a batch may wait whose client waits `timeoutMs` for its answer: the refusal, which
   * says that nothing was written, must come before the client gives up and cannot know. */
  holdMs(timeoutMs: number): number {
    return Math.max(0, Math.min(holdMsMax, timeoutMs / 2));
  }

  /** How long a producer is to be left unread after its answer; counted. */
  throttleMs(): number {
    if (!this.isCapped) return 0;
    const from = this.bytesMax * slowedShare;
    const share = (this.stored + this.underWay - from) / (this.bytesMax - from);
    if (this.current !== "full" && share <= 0) return 0;
    const isFull = this.current === "full" && share > 0;
    const throttleMs = isFull ? throttleMsMax : Math.round(throttleMsMax * clamp(share));
    this.throttled += throttleMs;
    return throttleMs;
  }

  /** What a batch is told for which no room was made in time. */
  refusal(): Rejection {
    this.refusals++;
    const text =
      `the WAL is full: wal.max_bytes (${this.bytesMax}) is reached and archiving made no room ` +
      "in time; nothing was written, the producer may try again (the broker's log says what " +
      "keeps the object store from taking archives; a larger wal.max_bytes helps at once)";
    return rejection(ErrorCode.NOT_ENOUGH_REPLICAS, text);
  }

  private look(): void {
    if (!this.isCapped) return;
    const share = this.stored / this.bytesMax;
    if (share < openShare) this.become("open");
    else if (share < slowedShare && this.current === "full") this.become("slowed");
    else if (share >= slowedShare && this.current === "open") this.become("slowed");
    if (!this.isPressed) this.pressedAt = 0;
    else if (this.stored >= this.pressedAt + this.bytesMax * pressedStep) {
      this.pressedAt = this.stored;
      this.listener?.pressed();
    } else this.pressedAt = Math.min(this.pressedAt, this.stored);
  }

  private become(state: WalSpaceState): void {
    if (state === this.current) return;
    this.current = state;
    this.listener?.changed(state);
  }

  private wakeAll(): void {
    if (this.waiting.length === 0) return;
    for (const wake of this.waiting.splice(0)) wake();
  }
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}
