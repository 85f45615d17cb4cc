import type { Clock, Timer } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Logger } from "../telemetry/logger.ts";
import { ReapPlan, retryMs } from "./reap-plan.ts";
import type { RetiredObject, SegmentRegistry } from "./registry/segment-registry.ts";

export interface ReaperDeps {
  readonly registry: SegmentRegistry;
  readonly store: Pick<ObjectStore, "delete">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Resolves when every object retired by now may be deleted for good: where the registry is
   * backed up, its backup knows that too. */
  readonly gate: () => Promise<void>;
  /** Named kill points of the test build; does nothing in the shipped one. */
  readonly faultPoint: (name: string) => Promise<void>;
}

/** Deletions asked of the store at a time. */
const deletionsMax = 8;

/** The only one who deletes archives: walks what the registry retired, waits for readers, deletes,
 * and tells the registry. What fails is tried again, after ever longer pauses. */
export class Reaper {
  private readonly deps: ReaperDeps;
  private readonly plan = new ReapPlan();
  private readonly waiters = new Map<string, { done: Promise<boolean>; end: () => void }>();
  private readonly stopped: Promise<void>;
  private endWaits: () => void = () => undefined;
  private timer: Timer | null = null;
  private current: Promise<void> | null = null;
  private failures = 0;
  private isStarted = false;
  private isStopping = false;
  /** Objects and bytes deleted since the start. */
  readonly deleted = { count: 0, bytes: 0 };

  constructor(deps: ReaperDeps) {
    this.deps = deps;
    this.stopped = new Promise((resolve) => {
      this.endWaits = resolve;
    });
    deps.registry.subscribe(() => this.changed());
  }

  /** Goes on with what an earlier life left, and with what is retired from now on. */
  start(): void {
    this.isStarted = true;
    this.wake();
  }

  /** A deletion that was begun is done with; the others go on at the next start. */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.timer?.cancel();
    this.timer = null;
    this.endWaits();
    await this.current;
    for (const { end } of this.waiters.values()) end();
    this.waiters.clear();
  }

  /** Resolves with true when no object of a retired topic is left, with false at a stop. */
  topicReaped(topicId: string): Promise<boolean> {
    if (this.isStopping) return Promise.resolve(false);
    if (this.deps.registry.retiredCount(topicId) === 0) return Promise.resolve(true);
    const known = this.waiters.get(topicId);
    if (known) return known.done;
    let end: () => void = () => undefined;
    const done = new Promise<boolean>((resolve) => {
      end = () => resolve(this.deps.registry.retiredCount(topicId) === 0);
    });
    this.waiters.set(topicId, { done, end });
    this.wake();
    return done;
  }

  private changed(): void {
    for (const [topicId, { end }] of this.waiters) {
      if (this.deps.registry.retiredCount(topicId) > 0) continue;
      end();
      this.waiters.delete(topicId);
    }
    this.wake();
  }

  private wake(): void {
    if (!this.isStarted || this.isStopping || this.current || this.timer) return;
    if (this.deps.registry.retiredTotal === 0) return;
    this.current = this.pass().then((waitMs) => {
      this.current = null;
      if (waitMs !== null) this.sleep(waitMs);
      // What was retired behind the pass's end.
      else this.wake();
    });
  }

  private sleep(ms: number): void {
    if (this.isStopping) return;
    this.timer = this.deps.clock.schedule(ms, () => {
      this.timer = null;
      this.wake();
    });
  }

  /** One walk over the objects retired by now; resolves with the pause before the next, null for
   * none. */
  private async pass(): Promise<number | null> {
    const { registry, clock, logger, gate } = this.deps;
    let failed = 0;
    // One gate for all of them: it may take a minute. What is retired meanwhile has the next one.
    const objects = [...registry.retiredObjects()][Symbol.iterator]();
    try {
      await Promise.race([gate(), this.stopped]);
      for (;;) {
        if (this.isStopping) break;
        const due = this.plan.take(objects, this.isPinned, clock.monotonicMs());
        if (due.length === 0) break;
        const left = await this.reap(due);
        failed += left;
        // Not one went: the store is away, and asking it for the others is of no use.
        if (left === due.length) break;
      }
    } catch (error) {
      failed++;
      // The gate may well end with the broker.
      if (this.isStopping) return null;
      logger.warn("deleting retired objects stopped; it goes on later", {
        error: errorText(error),
      });
    }
    this.failures = failed === 0 ? 0 : this.failures + 1;
    if (failed > 0) return retryMs(this.failures);
    return this.plan.isWaiting ? this.plan.pollMs : null;
  }

  /** Deletes a batch; returns how many objects are still there. */
  private async reap(due: readonly RetiredObject[]): Promise<number> {
    const { registry, faultPoint, logger } = this.deps;
    await faultPoint("reap");
    const { gone, problem } = await this.deleteAll(due);
    await faultPoint("reaped");
    if (gone.length > 0) {
      await registry.objectsDeleted(gone.map((object) => object.key));
      for (const { key } of gone) this.plan.deleted(key);
      const bytes = gone.reduce((sum, object) => sum + object.bytes, 0);
      this.deleted.count += gone.length;
      this.deleted.bytes += bytes;
      logger.info("deleted retired objects", { objects: gone.length, bytes });
    }
    const left = due.length - gone.length;
    if (left > 0) {
      const error = errorText(problem);
      logger.warn("retired objects could not be deleted; it is tried again", {
        objects: left,
        error,
      });
    }
    return left;
  }

  private readonly isPinned = (object: RetiredObject) => this.deps.registry.isPinned(object);

  private async deleteAll(
    due: readonly RetiredObject[],
  ): Promise<{ gone: RetiredObject[]; problem: unknown }> {
    const queue = [...due];
    const gone: RetiredObject[] = [];
    let problem: unknown = null;
    const work = async () => {
      for (let object = queue.shift(); object && !this.isStopping; object = queue.shift()) {
        try {
          await this.deps.store.delete(object.key);
          gone.push(object);
        } catch (error) {
          problem = error;
        }
      }
    };
    await Promise.all(Array.from({ length: deletionsMax }, work));
    return { gone, problem: problem ?? "the broker stops" };
  }
}
