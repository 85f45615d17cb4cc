/** What lies between a share partition's start and end: runs of offsets that are alike. */

/** Archiving: never delivered again, and to be copied to the dead letter queue (KIP-1191). */
export type RecordState = "available" | "acquired" | "acknowledged" | "archiving" | "archived";

/** A change that is being written; until then its records can be neither acquired nor changed. */
export interface Transition {
  /** Who held the records, and holds them again if the write fails. */
  readonly memberId: string;
}

/** Neighbouring offsets in the same state. */
export interface Run {
  first: number;
  last: number;
  state: RecordState;
  deliveryCount: number;
  /** Holder of the acquisition lock; "" when nobody holds it. */
  memberId: string;
  /** Monotonic milliseconds when the lock ends; 0 without a lock. */
  lockedUntilMs: number;
  transition: Transition | null;
  /** Archiving because a member rejected it, not because it was delivered too often. */
  isRejected: boolean;
}

/**
 * Offsets that were first acquired together. Its records are delivered again together, and fewer
 * at a time as their delivery count nears the limit.
 */
export interface Batch {
  readonly first: number;
  readonly last: number;
  /**
   * Whether nothing is known of its records: they were acquired before a restart and never
   * settled. What the log holds of them decides.
   */
  readonly isGap: boolean;
  /** In offset order, without overlap or hole; those below the share partition's start are gone. */
  runs: Run[];
}

export function sizeOf(range: { readonly first: number; readonly last: number }): number {
  return range.last - range.first + 1;
}

export function isTerminal(state: RecordState): boolean {
  return state === "acknowledged" || state === "archived";
}

export function isAcquirable(run: Run): boolean {
  return run.state === "available" && run.transition === null;
}

export function newRun(first: number, last: number, state: RecordState, deliveryCount = 0): Run {
  const lock = { memberId: "", lockedUntilMs: 0 };
  return { first, last, state, deliveryCount, ...lock, transition: null, isRejected: false };
}

/** Cuts runs so that none crosses the borders of [first, last]; the runs inside, in order. */
export function isolate(batch: Batch, first: number, last: number): Run[] {
  const cut: Run[] = [];
  for (const run of batch.runs) {
    let rest = run;
    if (rest.first < first && rest.last >= first) {
      cut.push({ ...rest, last: first - 1 });
      rest = { ...rest, first };
    }
    if (rest.first <= last && rest.last > last) {
      cut.push({ ...rest, last });
      rest = { ...rest, first: last + 1 };
    }
    cut.push(rest);
  }
  batch.runs = cut;
  return cut.filter((run) => run.first >= first && run.last <= last);
}

/** Joins neighbours that are alike. */
export function joinRuns(batch: Batch): void {
  const joined: Run[] = [];
  for (const run of batch.runs) {
    const before = joined.at(-1);
    if (before !== undefined && areAlike(before, run)) before.last = run.last;
    else joined.push(run);
  }
  batch.runs = joined;
}

function areAlike(left: Run, right: Run): boolean {
  return (
    left.last + 1 === right.first &&
    left.state === right.state &&
    left.deliveryCount === right.deliveryCount &&
    left.memberId === right.memberId &&
    left.lockedUntilMs === right.lockedUntilMs &&
    left.transition === right.transition &&
    left.isRejected === right.isRejected
  );
}

/** Index of the last batch that begins at or before `offset`; −1: none. */
export function floorIndex(batches: readonly Batch[], offset: number): number {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const batch = batches[middle];
    if (batch !== undefined && batch.first <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
