import { type Deferred, deferred } from "../../lib/deferred.ts";
import { StoreError } from "../../store/object-store.ts";

/** Readers that may wait for a turn; who comes then is refused. */
const waitersMax = 4_096;

/** Bytes on their way from the store, of all readers together: who comes when all are taken waits
 * in order. One reader always has its way, however much it wants. */
export class ReadSlots {
  private readonly bytesMax: number;
  private readonly waiting: { readonly bytes: number; readonly turn: Deferred<void> }[] = [];
  private taken = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.taken;
  }

  /** Whether somebody waits. */
  get isFull(): boolean {
    return this.waiting.length > 0;
  }

  /** Resolves when it is one's turn, to what gives the bytes back. */
  async take(key: string, bytes: number): Promise<() => void> {
    if (this.waiting.length > 0 || !this.fits(bytes)) {
      if (this.waiting.length >= waitersMax) {
        const text = `cannot be read: ${waitersMax} reads wait for the object store already`;
        throw new StoreError("unavailable", key, text);
      }
      const turn = deferred<void>();
      this.waiting.push({ bytes, turn });
      await turn.promise;
    } else {
      this.taken += bytes;
    }
    return () => this.giveBack(bytes);
  }

  private giveBack(bytes: number): void {
    this.taken -= bytes;
    for (let next = this.waiting[0]; next !== undefined; next = this.waiting[0]) {
      if (!this.fits(next.bytes)) return;
      this.waiting.shift();
      this.taken += next.bytes;
      next.turn.resolve();
    }
  }

  private fits(bytes: number): boolean {
    return this.taken === 0 || this.taken + bytes <= this.bytesMax;
  }
}
