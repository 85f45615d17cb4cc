import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { coordinatorErrorOf } from "./append-error.ts";
import type { ClassicDriver, DriverShard } from "./classic-driver.ts";
import { type Entry, isClassic, type ShardContext } from "./entry.ts";
import {
  type ClassicSuccessor,
  type Group,
  isRecordGroup,
  type LaterWork,
  type RecordStep,
  type StepContext,
  type TimerEffect,
} from "./group-kinds.ts";
import type { OffsetsRecord } from "./ports.ts";
import { inBatchesOf, recordsBytes } from "./record-batches.ts";

/** What became of a step: its answer once its records are durable, or why they are not. */
export type StepOutcome<Answer> =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly answer: Answer }
  | { readonly errorCode: number; readonly answer: null };

interface Task {
  /** Runs the step; keeps its answer for `finish`. */
  decide(context: StepContext): RecordStep<unknown>;
  finish(errorCode: number): void;
  /** The step threw. */
  fail(error: unknown): void;
}

interface Queue {
  readonly tasks: Task[];
  isWriting: boolean;
  /** It stands in line for a turn. */
  isDue: boolean;
}

/** A step that was decided and is not durable yet. */
interface Decided {
  readonly task: Task;
  readonly step: RecordStep<unknown>;
  /** That made the step. */
  readonly group: Group;
  /** Takes the group's succession back. */
  readonly unbecome: (() => void) | null;
}

/** What one round of a group decided, on its way to the log. */
interface Round {
  readonly decided: readonly Decided[];
  readonly batches: readonly (readonly OffsetsRecord[])[];
}

/**
 * Runs the steps of record groups. A group has at most one write under way: what is asked meanwhile
 * waits, and is decided and written together when that is durable. So what the log refuses can be
 * taken back, and nothing was decided on what it held. All groups together take no more than their
 * time of each turn of the event loop.
 */
export class RecordDriver {
  private readonly shard: DriverShard;
  private readonly context: ShardContext;
  private readonly classic: ClassicDriver;
  private isClosed = false;
  private readonly queues = new Map<Entry, Queue>();

  constructor(shard: DriverShard, context: ShardContext, classic: ClassicDriver) {
    this.shard = shard;
    this.context = context;
    this.classic = classic;
  }

  /** What waits is answered with NOT_COORDINATOR when the batch under way is done. */
  close(): void {
    this.isClosed = true;
  }

  /** Is there a batch of the group under way? Its deletion has to wait for it. */
  isBusy(entry: Entry): boolean {
    return this.queues.has(entry);
  }

  /** Resolves when no batch of the group is under way. */
  async settled(entry: Entry): Promise<void> {
    while (this.isBusy(entry)) await this.run(entry, () => nothing);
  }

  /**
   * Runs one step, at once if no write of the group is under way and it is its turn. The number of
   * waiting steps is bounded by the connections, which have one group request each under way, and
   * the timers.
   */
  run<Answer>(
    entry: Entry,
    decide: (context: StepContext) => RecordStep<Answer>,
  ): Promise<StepOutcome<Answer>> {
    return new Promise((resolve, reject) => {
      let step: RecordStep<Answer> | null = null;
      this.enqueue(entry, {
        decide(context) {
          step = decide(context);
          return step;
        },
        finish(errorCode) {
          if (errorCode !== ErrorCode.NONE) {
            resolve({ errorCode, answer: null });
            return;
          }
          assert(step !== null, "a step is decided before it ends");
          resolve({ errorCode, answer: step.answer });
        },
        fail: reject,
      });
    });
  }

  onTimer(entry: Entry, timer: string): void {
    void this.run<unknown>(entry, (context) => {
      // It was set anew or cancelled, or the group became a classic one, before its turn came.
      if (!entry.timers.take(timer) || !isRecordGroup(entry.group)) return nothing;
      return entry.group.onTimer(timer, context);
    });
  }

  restartTimers(entry: Entry): void {
    if (!isRecordGroup(entry.group)) return;
    this.applyTimers(entry, entry.group.restartTimers(this.stepContext()));
  }

  private enqueue(entry: Entry, task: Task): void {
    const queue = this.queues.get(entry) ?? { tasks: [], isWriting: false, isDue: false };
    this.queues.set(entry, queue);
    queue.tasks.push(task);
    this.proceed(entry, queue);
  }

  private proceed(entry: Entry, queue: Queue): void {
    if (queue.isWriting || queue.isDue) return;
    queue.isDue = true;
    this.context.turns.run(() => {
      queue.isDue = false;
      this.pump(entry, queue);
    });
  }

  private pump(entry: Entry, queue: Queue): void {
    if (entry.isDeleting || this.isClosed) {
      const isGone = this.isClosed;
      const errorCode = isGone ? ErrorCode.NOT_COORDINATOR : ErrorCode.COORDINATOR_NOT_AVAILABLE;
      for (const task of queue.tasks.splice(0)) task.finish(errorCode);
      this.rest(entry, queue);
      return;
    }
    const { turns } = this.context;
    const decided: Decided[] = [];
    let bytes = 0;
    // What does not fit into one batch, or this turn, waits for the next round.
    while (bytes < this.shard.batchBytesMax && (decided.length === 0 || !turns.isSpent)) {
      const task = queue.tasks.shift();
      if (task === undefined) break;
      const one = this.decide(entry, task);
      if (one === null) continue;
      decided.push(one);
      bytes += recordsBytes(one.step.records);
    }
    this.shard.account(entry);
    const batches = inBatchesOf(
      decided.map(({ step }) => step),
      this.shard.batchBytesMax,
    );
    this.write(entry, queue, { decided, batches }, 0);
    // Behind the write: the result may be there at once, and is a step of its own.
    for (const { step, group } of decided) {
      for (const work of step.later ?? []) this.computeLater(entry, group, work);
    }
  }

  private decide(entry: Entry, task: Task): Decided | null {
    let step: RecordStep<unknown>;
    try {
      step = task.decide(this.stepContext());
    } catch (error) {
      task.fail(error);
      return null;
    }
    this.applyTimers(entry, step.timers);
    const { group } = entry;
    const { becomes } = step;
    const unbecome = becomes === undefined ? null : this.succeed(entry, becomes);
    return { task, step, group, unbecome };
  }

  /** The result is a step of its own, unless the group is another by then. */
  private computeLater(entry: Entry, group: Group, { lane, portions }: LaterWork): void {
    this.context[lane].run(portions, (decide) => {
      if (this.isClosed || !this.shard.isListed(entry)) return;
      void this.run<unknown>(entry, (context) => {
        return entry.group === group ? decide(context) : nothing;
      });
    });
  }

  /** Writes the batches one after the other: none comes to the log before the one ahead of it. */
  private write(entry: Entry, queue: Queue, round: Round, index: number): void {
    const batch = round.batches[index];
    if (batch === undefined) {
      this.finish(entry, queue, round, ErrorCode.NONE);
      return;
    }
    queue.isWriting = true;
    void this.shard.write(batch, (appendError) => {
      queue.isWriting = false;
      if (appendError !== ErrorCode.NONE) {
        this.undo(entry, round, index);
        this.finish(entry, queue, round, coordinatorErrorOf(appendError), index);
      } else if (index + 1 >= round.batches.length) {
        this.finish(entry, queue, round, ErrorCode.NONE);
      } else {
        queue.isWriting = true;
        this.context.turns.run(() => this.write(entry, queue, round, index + 1));
      }
    });
  }

  /** Puts a classic group in the place of a record group; returns how to take that back. */
  private succeed(entry: Entry, { group, rebalances }: ClassicSuccessor): () => void {
    const before: Group = entry.group;
    entry.timers.cancelAll();
    entry.group = group;
    if (isClassic(entry)) this.classic.step(entry, { kind: "loaded", rebalances });
    return () => {
      if (isClassic(entry)) this.classic.step(entry, { kind: "unload" });
      entry.timers.cancelAll();
      entry.group = before;
    };
  }

  /** Steps whose records all are among the first `batchCount` batches have happened. */
  private finish(
    entry: Entry,
    queue: Queue,
    { decided, batches }: Round,
    errorCode: number,
    batchCount = batches.length,
  ): void {
    let left = durableRecords(batches, batchCount);
    const isRefused = batchCount < batches.length;
    for (const { task, step } of decided) {
      const isDurable = !isRefused || (left > 0 && step.records.length <= left);
      left -= step.records.length;
      task.finish(isDurable ? ErrorCode.NONE : errorCode);
    }
    this.rest(entry, queue);
  }

  /** What was asked meanwhile comes next; else the group is at rest. */
  private rest(entry: Entry, queue: Queue): void {
    if (queue.tasks.length > 0) {
      this.proceed(entry, queue);
    } else if (!queue.isWriting && !queue.isDue) {
      this.queues.delete(entry);
      this.shard.dropIfVacant(entry);
    }
  }

  /** Takes back, the newest first, what is not in the first `batchCount` batches. */
  private undo(entry: Entry, { decided, batches }: Round, batchCount: number): void {
    const durable = durableRecords(batches, batchCount);
    let start = decided.reduce((sum, { step }) => sum + step.records.length, 0);
    for (const { step, unbecome } of decided.toReversed()) {
      start -= step.records.length;
      const kept = Math.max(0, Math.min(durable - start, step.records.length));
      if (kept > 0 && kept === step.records.length) break;
      unbecome?.();
      step.undo(kept);
    }
    this.shard.account(entry);
    // After the end nothing may run any more, whatever was taken back.
    if (this.isClosed) entry.timers.cancelAll();
    else this.restartTimers(entry);
  }

  private applyTimers(entry: Entry, timers: readonly TimerEffect[]): void {
    for (const effect of timers) {
      if (effect.kind === "cancelTimer") entry.timers.cancel(effect.timer);
      else if (effect.kind === "setTimer" || !entry.timers.has(effect.timer)) {
        entry.timers.set(effect.timer, effect.delayMs);
      }
    }
  }

  private stepContext(): StepContext {
    const { clock, config, topics } = this.context;
    const groupConfig = (groupId: string) => topics.groupConfig(groupId);
    return { nowMs: clock.nowMs(), config, topics, groupConfig };
  }
}

const nothing: RecordStep<null> = { answer: null, records: [], timers: [], undo: () => undefined };

function durableRecords(batches: Round["batches"], batchCount: number): number {
  return batches.slice(0, batchCount).reduce((sum, batch) => sum + batch.length, 0);
}
