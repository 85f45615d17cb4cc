import type { Clock, Timer } from "./clock.ts";

/** A computation in small portions: a fraction of a millisecond from one `yield` to the next. */
export type Portions<Result> = Iterator<void, Result, void>;

/** How long group work may keep one turn of the event loop; what is over waits for the next. */
export const turnMsMax = 5;

/**
 * Shares the event loop's turns between group work and everything else. A burst of joins, or an
 * assignment of thousands of partitions, would keep all other requests waiting: beyond its time
 * work waits in line, in order, until the loop has been round.
 */
export class TurnBudget {
  private readonly clock: Clock;
  private readonly msMax: number;
  private readonly waiting = new Set<() => void>();
  private nextTurn: Timer | null = null;
  private usedMs = 0;
  /** When the work that runs now began; −1: none does. */
  private startMs = -1;

  constructor(clock: Clock, msMax = turnMsMax) {
    this.clock = clock;
    this.msMax = msMax;
  }

  /** Work that runs now should come to an end. */
  get isSpent(): boolean {
    const runsMs = this.startMs < 0 ? 0 : this.clock.monotonicMs() - this.startMs;
    return this.usedMs + runsMs >= this.msMax;
  }

  /** Runs the task, at once while there is time left and nobody in line. */
  run(task: () => void): void {
    if (this.waiting.size > 0 || this.isSpent) this.defer(task);
    else this.perform(task);
  }

  /** Runs the task in a later turn. */
  defer(task: () => void): void {
    // Each task its own place, be it the same function twice.
    this.waiting.add(() => task());
    this.awaitTurn();
  }

  private perform(task: () => void): void {
    if (this.startMs >= 0) {
      // Inside other work, whose time includes this.
      task();
      return;
    }
    this.startMs = this.clock.monotonicMs();
    try {
      task();
    } finally {
      this.usedMs += this.clock.monotonicMs() - this.startMs;
      this.startMs = -1;
      // Only once it counts: a timer for every small step would cost more than the step.
      if (this.usedMs >= this.msMax / 2) this.awaitTurn();
    }
  }

  private awaitTurn(): void {
    this.nextTurn ??= this.clock.schedule(0, this.onTurn);
  }

  private readonly onTurn = (): void => {
    this.nextTurn = null;
    this.usedMs = 0;
    if (this.waiting.size > 0) this.awaitTurn();
    for (const task of this.waiting) {
      if (this.isSpent) return;
      this.waiting.delete(task);
      this.perform(task);
    }
  };
}

/**
 * Computations one after the other, in portions: what each of them needs meanwhile is held once.
 * Whoever adds to it sees to it that the line has an end.
 */
export class Lane {
  private readonly turns: TurnBudget;
  private readonly line: (() => boolean)[] = [];
  private isRunning = false;

  constructor(turns: TurnBudget) {
    this.turns = turns;
  }

  /** Computations in line, with the one that runs. */
  get size(): number {
    return this.line.length;
  }

  /** `done` gets the result, at once if the line is empty and the time of this turn suffices. */
  run<Result>(portions: Portions<Result>, done: (result: Result) => void): void {
    this.line.push(() => {
      for (;;) {
        const portion = portions.next();
        if (portion.done === true) {
          done(portion.value);
          return true;
        }
        if (this.turns.isSpent) return false;
      }
    });
    if (this.isRunning) return;
    this.isRunning = true;
    this.turns.run(this.proceed);
  }

  private readonly proceed = (): void => {
    let isOver = true;
    try {
      isOver = this.line[0]?.() ?? true;
    } finally {
      // Whatever one computation throws, those behind it have their turn.
      if (isOver) this.line.shift();
      this.isRunning = this.line.length > 0;
      if (this.isRunning) {
        if (isOver) this.turns.run(this.proceed);
        else this.turns.defer(this.proceed);
      }
    }
  };
}

/** Runs at most `portionsMax` portions; null: there is more to do. */
export function runSome<Result>(
  portions: Portions<Result>,
  portionsMax: number,
): { readonly result: Result } | null {
  for (let count = 0; count < portionsMax; count++) {
    const portion = portions.next();
    if (portion.done === true) return { result: portion.value };
  }
  return null;
}

/** Runs all of it at once. */
export function runAll<Result>(portions: Portions<Result>): Result {
  for (;;) {
    const portion = portions.next();
    if (portion.done === true) return portion.value;
  }
}

/** Portions inside other portions, which may have begun. */
export function* inPortions<Result>(portions: Portions<Result>): Generator<void, Result> {
  for (;;) {
    const portion = portions.next();
    if (portion.done === true) return portion.value;
    yield;
  }
}

/** Tells when a portion is over: after so many small operations. */
export class Pace {
  private left: number;

  constructor() {
    this.left = portionOperations;
  }

  /** True once in a while: time to yield. */
  isDue(operations: number): boolean {
    this.left -= operations;
    if (this.left > 0) return false;
    this.left = portionOperations;
    return true;
  }
}

const portionOperations = 2_000;
