import type { Clock } from "../lib/clock.ts";
import { type Deferred, deferred } from "../lib/deferred.ts";
import { StoreError, type StoreErrorKind } from "./object-store.ts";

/** What one failed attempt means. */
export interface Failure {
  readonly kind: StoreErrorKind;
  /** What the store said, without secrets. */
  readonly text: string;
  /** What an operator may do about it; empty where waiting is all. */
  readonly hint: string;
  /** Whether another attempt may end otherwise. */
  readonly passing: boolean;
}

export interface AttemptOptions {
  readonly clock: Clock;
  /** [0, 1), for the jitter. */
  readonly random: () => number;
  /** Attempts under way at a time. */
  readonly concurrencyMax: number;
  /** Milliseconds for one attempt, to which a second is added for each MiB moved. */
  readonly attemptMs: number;
  /** Milliseconds for one operation with all its attempts and waits. */
  readonly budgetMs: number;
  readonly retries: RetryBudget;
  readonly classify: (error: unknown) => Failure;
}

/** One operation, for messages and for its time limit. */
export interface Operation {
  readonly key: string;
  /** "cannot be VERB": "put to s3://bucket". */
  readonly verb: string;
  /** Bytes that one attempt moves. */
  readonly bytes: number;
}

/** What all who ask a store know of it while the broker stops. */
export interface Ending {
  isStoreAway: boolean;
}

const attemptsMax = 8;
const backOffMs = 100;
const backOffMsMax = 5_000;
const bytesPerMs = (1 << 20) / 1000;
/** Operations that may wait for a slot; callers are bounded themselves, by far fewer. */
const waitersMax = 4_096;

/**
 * Retries that all operations share: where a store fails for everybody, only so many retries are
 * added to its load. One comes back a second, and one for ten successes.
 */
export class RetryBudget {
  private readonly clock: Clock;
  private readonly tokensMax: number;
  private tokens: number;
  private filledMs: number;

  constructor(clock: Clock, tokensMax = 100) {
    this.clock = clock;
    this.tokensMax = tokensMax;
    this.tokens = tokensMax;
    this.filledMs = clock.monotonicMs();
  }

  take(): boolean {
    const nowMs = this.clock.monotonicMs();
    this.add((nowMs - this.filledMs) / 1000);
    this.filledMs = nowMs;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }

  succeeded(): void {
    this.add(0.1);
  }

  private add(tokens: number): void {
    this.tokens = Math.min(this.tokensMax, this.tokens + tokens);
  }
}

/**
 * Runs operations against a remote store: so many at a time, each attempt and each operation
 * within its time, failures that may pass repeated with back-off and full jitter.
 */
export class Attempts {
  private readonly options: AttemptOptions;
  private readonly waiting: Deferred<void>[] = [];
  private running = 0;
  private ending: Ending | null = null;

  constructor(options: AttemptOptions) {
    this.options = options;
  }

  /** For the end of the process: from now on nothing is repeated, and when one attempt had no
   * answer in its time no other begins. */
  stop(ending: Ending = { isStoreAway: false }): void {
    this.ending = ending;
  }

  /** Rejects with a StoreError that says how often and how long it was tried. */
  async run<T>(operation: Operation, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, budgetMs, retries, classify } = this.options;
    const startMs = clock.monotonicMs();
    for (let count = 1; ; count++) {
      try {
        const result = await this.once(operation, startMs + budgetMs, attempt);
        retries.succeeded();
        return result;
      } catch (error) {
        const failure = classify(error);
        const delayMs = this.delayMs(count);
        const passedMs = clock.monotonicMs() - startMs;
        const again =
          failure.passing &&
          count < attemptsMax &&
          passedMs + delayMs < budgetMs &&
          this.ending === null &&
          retries.take();
        if (!again) throw this.failed(operation, failure, count, passedMs, error);
        await this.pause(delayMs);
      }
    }
  }

  private async once<T>(
    { bytes }: Operation,
    deadlineMs: number,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, attemptMs } = this.options;
    await this.takeSlot(deadlineMs - clock.monotonicMs());
    try {
      if (this.ending?.isStoreAway === true) {
        throw new AttemptTimeout("the broker stops, and the store has not answered others");
      }
      const leftMs = deadlineMs - clock.monotonicMs();
      const limitMs = Math.min(leftMs, attemptMs + bytes / bytesPerMs);
      const controller = new AbortController();
      return await this.within(limitMs, attempt(controller.signal), (late) => {
        if (this.ending !== null) this.ending.isStoreAway = true;
        controller.abort(late);
      });
    } finally {
      this.freeSlot();
    }
  }

  private async takeSlot(limitMs: number): Promise<void> {
    if (this.running < this.options.concurrencyMax) {
      this.running++;
      return;
    }
    if (this.waiting.length >= waitersMax) throw new AttemptTimeout("too many requests wait");
    const turn = deferred<void>();
    this.waiting.push(turn);
    try {
      await this.within(limitMs, turn.promise, () => undefined);
    } catch (error) {
      const at = this.waiting.indexOf(turn);
      if (at >= 0) this.waiting.splice(at, 1);
      // The slot was handed over in the same turn as time ran out.
      else this.freeSlot();
      throw error;
    }
  }

  /** What `work` gives, if it does so in time. */
  private async within<T>(
    limitMs: number,
    work: Promise<T>,
    onLate: (late: AttemptTimeout) => void,
  ): Promise<T> {
    const late = deferred<never>();
    const timer = this.options.clock.schedule(limitMs, () => {
      const error = new AttemptTimeout(`no answer within ${Math.round(limitMs)} ms`);
      onLate(error);
      late.reject(error);
    });
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Hands the slot to who waited longest. */
  private freeSlot(): void {
    const next = this.waiting.shift();
    if (next === undefined) this.running--;
    else next.resolve();
  }

  private delayMs(count: number): number {
    return this.options.random() * Math.min(backOffMsMax, backOffMs * 2 ** count);
  }

  private pause(delayMs: number): Promise<void> {
    const { promise, resolve } = deferred<void>();
    this.options.clock.schedule(delayMs, () => resolve());
    return promise;
  }

  private failed(
    { key, verb }: Operation,
    { kind, text, hint }: Failure,
    count: number,
    passedMs: number,
    cause: unknown,
  ): StoreError {
    const tried = count === 1 ? "" : ` (${count} attempts in ${(passedMs / 1000).toFixed(1)} s)`;
    const advice = hint === "" ? "" : `; ${hint}`;
    return new StoreError(kind, key, `cannot be ${verb}: ${text}${tried}${advice}`, { cause });
  }
}

/** An attempt that was given up. */
export class AttemptTimeout extends Error {
  override readonly name = "AttemptTimeout";
}
