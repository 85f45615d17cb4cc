import type { RetiredObject } from "./registry/segment-registry.ts";

/** How long a retired object waits for its readers. */
const pinGraceMs = 60_000;
const batchMax = 64;
const retryMsMin = 1_000;
const retryMsMax = 60_000;

/** Which retired objects may be deleted now. Knows no clock and no store. */
export class ReapPlan {
  /** How soon readers are asked after again. */
  readonly pollMs = 500;
  /** When an object that had readers was first seen here, by key; only as many as are read. */
  private readonly readSince = new Map<string, number>();

  /** Whether objects seen last are still kept for their readers. */
  get isWaiting(): boolean {
    return this.readSince.size > 0;
  }

  /** The next objects that nobody reads, or that have been waited for long enough. */
  take(
    objects: Iterator<RetiredObject>,
    isPinned: (object: RetiredObject) => boolean,
    nowMs: number,
  ): RetiredObject[] {
    const due: RetiredObject[] = [];
    while (due.length < batchMax) {
      const next = objects.next();
      if (next.done === true) break;
      const object = next.value;
      if (this.isDue(object, isPinned, nowMs)) due.push(object);
    }
    return due;
  }

  deleted(key: string): void {
    this.readSince.delete(key);
  }

  private isDue(
    object: RetiredObject,
    isPinned: (object: RetiredObject) => boolean,
    nowMs: number,
  ): boolean {
    if (!isPinned(object)) {
      this.readSince.delete(object.key);
      return true;
    }
    const since = this.readSince.get(object.key);
    if (since === undefined) this.readSince.set(object.key, nowMs);
    return since !== undefined && nowMs - since >= pinGraceMs;
  }
}

/** Pause before the next try after so many failed ones in a row. */
export function retryMs(failures: number): number {
  return Math.min(retryMsMax, retryMsMin * 2 ** (Math.max(1, failures) - 1));
}
