/** At most so many at a time; who comes later waits, in order. (pure) */
export class Turns {
  private free: number;
  private readonly queue: (() => void)[] = [];

  constructor(atATime: number) {
    this.free = atATime;
  }

  /** Resolves when it is the caller's turn; each is given back once. */
  take(): Promise<void> {
    if (this.free > 0) {
      this.free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.queue.push(resolve);
    });
  }

  give(): void {
    const next = this.queue.shift();
    if (next === undefined) this.free++;
    else next();
  }
}
