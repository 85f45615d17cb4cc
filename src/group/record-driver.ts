import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { coordinatorErrorOf } from "./append-error.ts";
import type { ClassicDriver, DriverShard } from "./classic-driver.ts";
import { type Entry, isClassic, type ShardContext } from "./entry.ts";
import {
  type ClassicSuccessor,
  type Group,
  isRecordGroup,
  type RecordStep,
  type StepContext,
  type TimerEffect,
} from "./group-kinds.ts";
import type { OffsetsRecord } from "./ports.ts";

/** What became of a step: its answer once its records are durable, or why they are not. */
export type StepOutcome<Answer> =
  | { readonly errorCode: typeof ErrorCode.NONE; readonly answer: Answer }
  | { readonly errorCode: number; readonly answer: null };

interface Task {
  /** Runs the step; keeps its answer for `finish`. */
  decide(context: StepContext): RecordStep<unknown>;
  finish(errorCode: number): void;
}

interface Queue {
  readonly tasks: Task[];
  isWriting: boolean;
}

/**
 * Runs the steps of record groups. A group has at most one batch under way: what is asked meanwhile
 * waits, and is decided and written together when that batch is durable. So a refused batch can be
 * taken back, and nothing was decided on what it held.
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
   * Runs one step, at once if no batch of the group is under way. The number of waiting steps is
   * bounded by the connections, which have one group request each under way, and the timers.
   */
  run<Answer>(
    entry: Entry,
    decide: (context: StepContext) => RecordStep<Answer>,
  ): Promise<StepOutcome<Answer>> {
    return new Promise((resolve) => {
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
      });
    });
  }

  onTimer(entry: Entry, timer: string): void {
    void this.run<void>(entry, (context) => {
      if (isRecordGroup(entry.group)) return entry.group.onTimer(timer, context);
      // It became a classic group while the timer waited for its turn.
      return { answer: undefined, records: [], timers: [], undo: () => undefined };
    });
  }

  restartTimers(entry: Entry): void {
    if (!isRecordGroup(entry.group)) return;
    this.applyTimers(entry, entry.group.restartTimers(this.stepContext()));
  }

  private enqueue(entry: Entry, task: Task): void {
    const queue = this.queues.get(entry) ?? { tasks: [], isWriting: false };
    this.queues.set(entry, queue);
    queue.tasks.push(task);
    if (!queue.isWriting) this.pump(entry, queue);
  }

  private pump(entry: Entry, queue: Queue): void {
    const tasks = queue.tasks.splice(0);
    if (entry.isDeleting || this.isClosed) {
      const isGone = this.isClosed;
      const errorCode = isGone ? ErrorCode.NOT_COORDINATOR : ErrorCode.COORDINATOR_NOT_AVAILABLE;
      this.finish(entry, queue, tasks, errorCode);
      return;
    }
    const undos: (() => void)[] = [];
    const records: OffsetsRecord[] = [];
    for (const task of tasks) {
      const step = task.decide(this.stepContext());
      undos.push(step.undo);
      for (const record of step.records) records.push(record);
      this.applyTimers(entry, step.timers);
      if (step.becomes !== undefined) undos.push(this.succeed(entry, step.becomes));
    }
    this.shard.account(entry);
    if (records.length === 0) {
      this.finish(entry, queue, tasks, ErrorCode.NONE);
      return;
    }
    queue.isWriting = true;
    void this.shard.write(records, (appendError) => {
      queue.isWriting = false;
      if (appendError !== ErrorCode.NONE) this.undo(entry, undos);
      this.finish(entry, queue, tasks, coordinatorErrorOf(appendError));
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

  private finish(entry: Entry, queue: Queue, tasks: readonly Task[], errorCode: number): void {
    for (const task of tasks) task.finish(errorCode);
    if (queue.tasks.length > 0 && !queue.isWriting) {
      this.pump(entry, queue);
      return;
    }
    if (queue.isWriting) return;
    this.queues.delete(entry);
    this.shard.dropIfVacant(entry);
  }

  private undo(entry: Entry, undos: readonly (() => void)[]): void {
    for (const undo of [...undos].reverse()) undo();
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
