import {
  type Batch,
  floorIndex,
  isAcquirable,
  isolate,
  joinRuns,
  newRun,
  type Run,
  sizeOf,
} from "./in-flight.ts";

/** How `maxRecords` is meant (KIP-1206). */
export type AcquireMode = "batch_optimized" | "record_limit";

/** First and last offset of a record batch in the log. */
export interface LogBatch {
  readonly base: number;
  readonly last: number;
}

export interface AcquireRequest {
  readonly memberId: string;
  readonly mode: AcquireMode;
  /** Records that one acquired range should have; ranges end where a batch of the log does. */
  readonly batchSize: number;
  /** batch_optimized: reached by whole batches of the log, so a batch may go beyond it. */
  readonly maxRecords: number;
  /** Where the log was read from. */
  readonly fetchOffset: number;
  /** What was read, in offset order. */
  readonly logBatches: readonly LogBatch[];
}

export interface AcquiredRange {
  readonly first: number;
  readonly last: number;
  readonly deliveryCount: number;
}

export interface AcquireLimits {
  readonly recordLockDurationMs: number;
  readonly deliveryCountMax: number;
  readonly recordLocksMax: number;
}

interface InFlight {
  /** Changed in place. */
  readonly batches: Batch[];
  readonly start: number;
  readonly inFlight: number;
}

/** From half of the allowed deliveries on, but not before the second, fewer go out at once. */
function throttledFrom(deliveryCountMax: number): number {
  return Math.max(2, Math.ceil(deliveryCountMax / 2));
}

/**
 * Acquires records for a member: known ones that are available, then new ones past the end, as
 * many as the request and the limit of locks allow. The rules are those of Apache Kafka 4.3.
 */
export function acquireFrom(
  inFlight: InFlight,
  request: AcquireRequest,
  limits: AcquireLimits,
  nowMs: number,
): { acquired: AcquiredRange[]; start: number } {
  return new Acquisition(inFlight, request, limits, nowMs).run();
}

class Acquisition {
  private readonly batches: Batch[];
  private readonly request: AcquireRequest;
  private readonly limits: AcquireLimits;
  private readonly lockedUntilMs: number;
  private readonly inFlight: number;
  private readonly acquired: AcquiredRange[] = [];
  private start: number;
  private count = 0;
  private countMax: number;
  /** Records at the edge of their delivery limit go out alone. */
  private isFull = false;

  constructor(inFlight: InFlight, request: AcquireRequest, limits: AcquireLimits, nowMs: number) {
    this.batches = inFlight.batches;
    this.start = inFlight.start;
    this.inFlight = inFlight.inFlight;
    this.request = request;
    this.limits = limits;
    this.lockedUntilMs = nowMs + limits.recordLockDurationMs;
    this.countMax = Math.min(request.maxRecords, limits.recordLocksMax - inFlight.inFlight);
  }

  run(): { acquired: AcquiredRange[]; start: number } {
    const { maxRecords, logBatches, fetchOffset } = this.request;
    const [firstRead] = logBatches;
    const lastRead = logBatches.at(-1);
    if (maxRecords <= 0 || firstRead === undefined || lastRead === undefined) return this.result();
    if (lastRead.last < this.start) return this.result();
    const last = this.lastToAcquire(lastRead.last);
    if (last === null) return this.result();
    this.archiveStale(fetchOffset, firstRead.base);
    this.acquireRange(firstRead.base, last);
    return this.result();
  }

  private result(): { acquired: AcquiredRange[]; start: number } {
    return { acquired: this.acquired, start: this.start };
  }

  /** At the limit of locks only what is known already can be acquired; null: nothing can. */
  private lastToAcquire(lastRead: number): number | null {
    if (this.countMax > 0) return lastRead;
    const end = this.start + this.inFlight;
    const { fetchOffset, maxRecords } = this.request;
    if (fetchOffset >= end) return null;
    this.countMax = Math.min(maxRecords, end - fetchOffset);
    return Math.min(lastRead, end - 1);
  }

  /** The log has nothing between where it was read from and what was found: it was compacted. */
  private archiveStale(from: number, base: number): void {
    if (from >= base) return;
    let index = Math.max(0, floorIndex(this.batches, from));
    for (; index < this.batches.length; index++) {
      const batch = this.batches[index];
      if (batch === undefined || batch.first >= base) return;
      if (batch.isGap) this.splitGap(index, base);
      const current = this.batches[index];
      if (current === undefined) return;
      for (const run of isolate(current, from, base - 1)) {
        if (isAcquirable(run)) run.state = "archived";
      }
      joinRuns(current);
    }
  }

  /** Makes [first, `next`) of the gap at `index` an ordinary batch. */
  private splitGap(index: number, next: number): void {
    const gap = this.batches[index];
    if (gap === undefined) return;
    const first = gap.runs[0]?.first ?? gap.first;
    const last = Math.min(gap.last, next - 1);
    const parts = [known(first, last)];
    if (last < gap.last) parts.push({ ...known(last + 1, gap.last), isGap: true });
    this.batches.splice(index, 1, ...parts);
  }

  private acquireRange(firstRead: number, last: number): void {
    const floor = this.batches[floorIndex(this.batches, firstRead)];
    const isInside = floor !== undefined && floor.last >= firstRead;
    const from = isInside ? floor.first : Math.max(firstRead, this.start);
    let next = from;
    for (let index = this.firstAt(from); index < this.batches.length; index++) {
      const batch = this.batches[index];
      if (batch === undefined || batch.first > last || this.isDone) break;
      next = batch.last + 1;
      if (batch.isGap) index = this.acquireGap(index, firstRead, last);
      else this.acquireKnown(batch, firstRead, last);
    }
    if (!this.isDone && next <= last) this.acquireNew(next, last);
  }

  private get isDone(): boolean {
    return this.isFull || this.count >= this.countMax;
  }

  /** Index of the first batch that ends at or after `offset`. */
  private firstAt(offset: number): number {
    const index = floorIndex(this.batches, offset);
    const floor = this.batches[index];
    return floor !== undefined && floor.last >= offset ? index : index + 1;
  }

  /** Records that may have been delivered before a restart: as new ones, between known ones. */
  private acquireGap(index: number, firstRead: number, last: number): number {
    const gap = this.batches[index];
    if (gap === undefined) return index;
    const first = Math.max(gap.runs[0]?.first ?? gap.first, firstRead);
    if (first > gap.first) {
      this.splitGap(index, first);
      return first > gap.last ? index : this.acquireGap(index + 1, firstRead, last);
    }
    this.batches.splice(index, 1);
    const before = this.batches.length;
    const reached = this.acquireNew(first, Math.min(last, gap.last));
    const added = this.batches.length - before;
    if (reached < gap.last) {
      const rest: Batch = { ...known(reached + 1, gap.last), isGap: true };
      this.batches.splice(index + added, 0, rest);
      return index + added;
    }
    return index + added - 1;
  }

  private acquireKnown(batch: Batch, firstRead: number, last: number): void {
    const first = Math.max(batch.first, firstRead);
    const until = Math.min(batch.last, last);
    const runs = isolate(batch, first, until).filter(isAcquirable);
    const throttle = throttledFrom(this.limits.deliveryCountMax);
    const highest = runs.reduce((most, run) => Math.max(most, run.deliveryCount), 0);
    const isThrottled = runs.length > 0 && highest >= throttle;
    if (isThrottled && this.count > 0) {
      this.isFull = true;
    } else {
      const taken = this.acquireRuns(batch, runs, throttle);
      this.isFull = isThrottled && taken > 0;
    }
    joinRuns(batch);
  }

  /** The more often a batch was delivered, the fewer of its records go out at once, down to one:
   * a record that breaks its consumer must not take others along. */
  private acquireRuns(batch: Batch, runs: readonly Run[], throttle: number): number {
    const { deliveryCountMax } = this.limits;
    const isolates = deliveryCountMax > 2;
    const ranges: AcquiredRange[] = [];
    let taken = 0;
    let takenMax =
      this.request.mode === "record_limit" ? this.countMax - this.count : Number.POSITIVE_INFINITY;
    let isThrottled = false;
    for (const run of runs) {
      const isLastTry = isolates && run.deliveryCount === deliveryCountMax - 1;
      if (isLastTry && taken > 0) break;
      if (run.deliveryCount >= throttle && !isThrottled) {
        const share = Math.floor(sizeOf(batch) / 2 ** (run.deliveryCount - throttle + 1));
        takenMax = Math.min(takenMax, Math.max(1, share));
        isThrottled = true;
      }
      const room = isLastTry ? 1 : takenMax - taken;
      if (room <= 0) break;
      const { first, last: runLast, deliveryCount } = run;
      const last = Math.min(runLast, first + room - 1);
      ranges.push({ first, last, deliveryCount: deliveryCount + 1 });
      for (const part of isolate(batch, first, last)) this.lock(part);
      taken += last - first + 1;
      if (isLastTry || last < runLast) break;
    }
    this.add(ranges);
    this.count += taken;
    return taken;
  }

  private lock(run: Run): void {
    run.state = "acquired";
    run.deliveryCount++;
    run.memberId = this.request.memberId;
    run.lockedUntilMs = this.lockedUntilMs;
  }

  private add(ranges: readonly AcquiredRange[]): void {
    for (const [index, range] of ranges.entries()) {
      const before = index === 0 ? undefined : this.acquired.at(-1);
      const isNext = before !== undefined && before.last + 1 === range.first;
      if (isNext && before.deliveryCount === range.deliveryCount) {
        this.acquired[this.acquired.length - 1] = { ...before, last: range.last };
      } else {
        this.acquired.push(range);
      }
    }
  }

  /** Acquires records that are not in flight; the last offset that is now. */
  private acquireNew(from: number, until: number): number {
    const first = Math.max(from, this.start);
    const left = this.countMax - this.count;
    const at = this.firstAt(first);
    // What is known already is nobody's to take anew.
    const border = Math.min(until, (this.batches[at]?.first ?? Number.POSITIVE_INFINITY) - 1);
    let last = border;
    if (left < last - first + 1) {
      last = Math.min(border, this.endOfLogBatch(first + left - 1));
    }
    if (last < first) return first - 1;
    if (this.batches.length === 0) this.start = first;
    const isLimited = this.request.mode === "record_limit";
    const lockedLast = isLimited ? Math.min(last, first + left - 1) : last;
    const added = isLimited ? [known(first, last)] : this.split(first, last);
    for (const batch of added) {
      const upTo = Math.min(batch.last, lockedLast);
      for (const run of isolate(batch, batch.first, upTo)) this.lock(run);
      this.acquired.push({ first: batch.first, last: upTo, deliveryCount: 1 });
    }
    this.batches.splice(at, 0, ...added);
    this.count += lockedLast - first + 1;
    return last;
  }

  private endOfLogBatch(offset: number): number {
    const holder = this.request.logBatches.findLast(({ base }) => base <= offset);
    return holder !== undefined && offset <= holder.last ? holder.last : offset;
  }

  /** Ranges of about `batchSize` records that end where batches of the log do. */
  private split(first: number, last: number): Batch[] {
    const { batchSize, logBatches } = this.request;
    const parts: Batch[] = [];
    let from = first;
    if (last - first + 1 > batchSize) {
      for (const { base } of logBatches) {
        if (base > last) break;
        if (base - from < Math.max(1, batchSize)) continue;
        parts.push(known(from, base - 1));
        from = base;
      }
    }
    parts.push(known(from, last));
    return parts;
  }
}

function known(first: number, last: number): Batch {
  return { first, last, isGap: false, runs: [newRun(first, last, "available")] };
}
