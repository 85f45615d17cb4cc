import type { ByteBudget } from "./byte-budget.ts";

/**
 * What one connection has of the shared budget for the frame it receives, or received and may not
 * start yet. While it is muted the frame needs no room to be worked on: what has arrived is parked,
 * so that clients over their quotas keep nobody else waiting.
 */
export class FrameShare {
  private readonly budget: ByteBudget;
  private readonly onRoom: () => void;
  private reserved = 0;
  private parked = 0;
  private standsInLine = false;

  /** `onRoom`: bytes came back, `reserve` may be tried again. */
  constructor(budget: ByteBudget, onRoom: () => void) {
    this.budget = budget;
    this.onRoom = onRoom;
  }

  get isReserved(): boolean {
    return this.reserved > 0;
  }

  get isInLine(): boolean {
    return this.standsInLine;
  }

  /** Takes from the shared budget, or stands in line for it. */
  reserve(bytes: number): boolean {
    if (this.budget.tryTake(bytes)) {
      this.reserved = bytes;
      this.unpark();
      return true;
    }
    this.standsInLine = true;
    this.budget.wait(this.wake);
    return false;
  }

  /** The request begins: its bytes are given back when it is answered. */
  handOver(): void {
    this.reserved = 0;
  }

  /** Gives the reservation back for the time of a mute; `held` bytes of the frame are there. */
  park(held: number): void {
    if (this.reserved === 0 || !this.budget.park(held)) return;
    this.parked = held;
    this.budget.release(this.reserved);
    this.reserved = 0;
  }

  /** The frame is dropped. */
  drop(): void {
    if (this.reserved > 0) this.budget.release(this.reserved);
    this.reserved = 0;
    this.unpark();
  }

  private unpark(): void {
    this.budget.unpark(this.parked);
    this.parked = 0;
  }

  private readonly wake = (): void => {
    this.standsInLine = false;
    this.onRoom();
  };
}
