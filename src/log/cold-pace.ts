import type { Clock, Timer } from "../lib/clock.ts";
import { type Deferred, deferred } from "../lib/deferred.ts";

/** Readers of archives that wait for their turn, and how long they did. */
export interface ColdHeld {
  count: number;
  ms: number;
}

/** Readers at a log's end count as here so long after the last one of them got records. */
const tailMsMax = 1_000;
/** What a mebibyte costs the event loop until it was measured, and what is believed of that: where
 * the machine is busy with something else, a write that had to wait says little of its cost. */
const msPerMib = 1;
const msPerMibMin = 0.05;
const msPerMibMax = 1;
/** Weight of one measurement. */
const newShare = 1 / 16;
/** Shorter writes say more of the call than of the bytes. */
const measuredBytesMin = 32 << 10;
const mebibyte = 1 << 20;

/**
 * What readers of archives may take of the event loop while others wait at the end of a log: a
 * share of its time, `percent`. Who reads archives in bulk asks for a turn before each piece, and
 * leaves a pause behind each write; the turns come so far apart that the pieces, by what writing a
 * byte was measured to cost, fill that share. With nobody at the end of a log, or at 100 percent,
 * nobody waits. (Kafka has a quota in bytes for it: KIP-956.)
 */
export class ColdPace {
  readonly held: ColdHeld = { count: 0, ms: 0 };
  private readonly clock: Clock;
  private readonly share: number;
  private readonly waiting: ColdTurn[] = [];
  private timer: Timer | null = null;
  private tailMs = Number.NEGATIVE_INFINITY;
  /** When the share given so far is used up. */
  private freeMs = 0;
  private msPerByte = msPerMib / mebibyte;

  constructor(clock: Clock, percent: number) {
    this.clock = clock;
    this.share = percent / 100;
  }

  /** A reader at the end of a log got records. */
  tailRead(): void {
    this.tailMs = this.clock.monotonicMs();
  }

  /** Of somebody about to read at most so many bytes of archives. */
  turn(bytesMax: number): ColdTurn {
    const nowMs = this.clock.monotonicMs();
    const turn = new ColdTurn(this, bytesMax, nowMs);
    if (!this.isOn(nowMs)) return turn;
    if (this.waiting.length === 0 && this.freeMs <= nowMs) {
      this.give(turn, nowMs);
      return turn;
    }
    turn.wait = deferred();
    this.held.count++;
    this.waiting.push(turn);
    this.arm(nowMs);
    return turn;
  }

  /** A write of archived bytes took `tookMs`; the pause after it, in milliseconds. */
  wrote(bytes: number, tookMs: number): number {
    if (bytes >= measuredBytesMin) {
      const seen = (tookMs / bytes) * mebibyte;
      const believed = Math.min(msPerMibMax, Math.max(msPerMibMin, seen)) / mebibyte;
      this.msPerByte += (believed - this.msPerByte) * newShare;
    }
    if (!this.isOn(this.clock.monotonicMs())) return 0;
    return bytes * this.msPerByte * (1 / this.share - 1);
  }

  /** For turns. */
  ended(turn: ColdTurn, bytes: number): void {
    const at = turn.wait === null ? -1 : this.waiting.indexOf(turn);
    if (at >= 0) {
      this.waiting.splice(at, 1);
      this.held.ms += this.clock.monotonicMs() - turn.sinceMs;
    }
    if (turn.givenMs === 0) return;
    // More than was given for where a first batch is larger than what was asked for.
    this.freeMs -= turn.givenMs - this.costMs(bytes);
    turn.givenMs = 0;
    this.arm(this.clock.monotonicMs());
  }

  private isOn(nowMs: number): boolean {
    return this.share < 1 && nowMs - this.tailMs < tailMsMax;
  }

  private give(turn: ColdTurn, nowMs: number): void {
    turn.givenMs = this.costMs(turn.bytesMax);
    this.freeMs = Math.max(this.freeMs, nowMs) + turn.givenMs;
  }

  private costMs(bytes: number): number {
    return (bytes * this.msPerByte) / this.share;
  }

  private arm(nowMs: number): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.waiting.length === 0) return;
    this.timer = this.clock.schedule(Math.max(1, this.freeMs - nowMs), () => {
      this.timer = null;
      this.goOn();
    });
  }

  private goOn(): void {
    const nowMs = this.clock.monotonicMs();
    const isOn = this.isOn(nowMs);
    for (let turn = this.waiting[0]; turn !== undefined; turn = this.waiting[0]) {
      if (isOn && this.freeMs > nowMs) {
        this.arm(nowMs);
        return;
      }
      this.waiting.shift();
      this.held.ms += nowMs - turn.sinceMs;
      if (isOn) this.give(turn, nowMs);
      turn.wait?.resolve();
    }
  }
}

/** One reader's turn. Whoever took it ends it, once, read or not. */
export class ColdTurn {
  /** Null where it has come at once. */
  wait: Deferred<void> | null = null;
  readonly bytesMax: number;
  readonly sinceMs: number;
  /** Of the pace's time, in advance. */
  givenMs = 0;
  private readonly pace: ColdPace;

  constructor(pace: ColdPace, bytesMax: number, sinceMs: number) {
    this.pace = pace;
    this.bytesMax = bytesMax;
    this.sinceMs = sinceMs;
  }

  /** `bytes` were read: they count instead of what was given for. */
  end(bytes: number): void {
    this.pace.ended(this, bytes);
  }
}
