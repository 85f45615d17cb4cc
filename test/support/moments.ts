import { systemClock } from "../../src/lib/clock.ts";
import type { Random } from "./random.ts";

/** What `within` gives when time was up first. */
export const pending = Symbol("pending");

/** What the promise gives, or `pending` when it gave nothing in `waitMs`. */
export async function within<T>(waitMs: number, promise: Promise<T>): Promise<T | typeof pending> {
  const late = Promise.withResolvers<typeof pending>();
  const timer = systemClock.schedule(waitMs, () => late.resolve(pending));
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.cancel();
  }
}

/**
 * A moment nothing announces, for a kill that may come at any time. The seed that chose it does not
 * bring the same moment again, only the same wait.
 */
export async function unannouncedMoment(
  random: Random,
  fromMs: number,
  toMs: number,
): Promise<void> {
  await within(random.between(fromMs, toMs), Promise.withResolvers<never>().promise);
}

/** The wait between two looks at a condition, see `until`. */
export async function pollPause(everyMs: number): Promise<void> {
  await within(everyMs, Promise.withResolvers<never>().promise);
}
