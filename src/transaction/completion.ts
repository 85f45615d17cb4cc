import { inBatches } from "../group/in-batches.ts";
import type { Timer } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import type { EndMarker, MarkerWriter } from "./ports.ts";
import type { IdEntry, ShardContext, TransactionShard } from "./shard.ts";
import { partitionsIn, type TopicPartition } from "./transaction-types.ts";

/** Markers of one transaction written at once. */
const markersAtOnceMax = 64;
/** Attempts before an operator hears of it, and between two such messages. */
const attemptsBeforeProblem = 6;
const attemptsBetweenProblems = 60;

/**
 * Ends transactions whose end is decided: a marker into every partition, then the completion. Each
 * is tried until it succeeds (with a growing delay), or the broker stops; then the next start goes
 * on, since what is stored still says Prepare.
 */
export class Completer {
  private readonly context: ShardContext;
  private readonly markers: MarkerWriter;
  private readonly sleeping = new Map<() => void, Timer>();
  private isClosed = false;
  private running = 0;

  constructor(context: ShardContext, markers: MarkerWriter) {
    this.context = context;
    this.markers = markers;
  }

  /** Transactions between their decision and their completion. */
  get count(): number {
    return this.running;
  }

  close(): void {
    this.isClosed = true;
    for (const [resume, timer] of [...this.sleeping]) {
      timer.cancel();
      resume();
    }
    this.sleeping.clear();
  }

  /** The entry's state is PrepareCommit or PrepareAbort and nothing is pending. */
  start(shard: TransactionShard, entry: IdEntry): void {
    this.running++;
    void this.run(shard, entry).finally(() => {
      this.running--;
    });
  }

  private async run(shard: TransactionShard, entry: IdEntry): Promise<void> {
    const { data } = entry.transaction;
    const next = entry.transaction.prepareComplete(this.context.clock.nowMs());
    const marker: EndMarker = {
      producerId: data.producerId,
      producerEpoch: data.producerEpoch,
      coordinatorEpoch: shard.coordinatorEpoch,
      commit: data.state === "PrepareCommit",
      transactionVersion: data.clientVersion,
    };
    let left: readonly TopicPartition[] = [...partitionsIn(data.partitions)];
    for (let attempt = 1; left.length > 0; attempt++) {
      left = await this.writeMarkers(entry, left, marker, attempt);
      if (left.length > 0 && !(await this.delay(attempt))) return;
    }
    for (let attempt = 1; ; attempt++) {
      if (this.isClosed) return;
      const errorCode = await shard.write(entry, next, true);
      if (errorCode === ErrorCode.NONE) return;
      this.report(attempt, entry, `its completion cannot be written: ${errorName(errorCode)}`);
      if (!(await this.delay(attempt))) return;
    }
  }

  /** Resolves with the partitions to try again. */
  private async writeMarkers(
    entry: IdEntry,
    partitions: readonly TopicPartition[],
    marker: EndMarker,
    attempt: number,
  ): Promise<readonly TopicPartition[]> {
    const left: TopicPartition[] = [];
    let firstError = "";
    await inBatches(partitions, markersAtOnceMax, async (one) => {
      if (this.isClosed) {
        left.push(one);
        return;
      }
      const outcome = await this.markers.write(one.topic, one.partition, marker);
      if (outcome.kind !== "failed") return;
      const text = `${one.topic}-${one.partition}: ${errorName(outcome.errorCode)}`;
      if (outcome.errorCode === ErrorCode.INVALID_PRODUCER_EPOCH) {
        // A later epoch of this producer wrote there: nothing of this transaction is open.
        this.problem(entry, `the marker for ${text}; it is left out`);
        return;
      }
      firstError ||= text;
      left.push(one);
    });
    if (left.length > 0 && !this.isClosed) {
      this.report(attempt, entry, `${left.length} markers cannot be written, as for ${firstError}`);
    }
    return left;
  }

  private report(attempt: number, entry: IdEntry, text: string): void {
    if (attempt % attemptsBetweenProblems === attemptsBeforeProblem) this.problem(entry, text);
  }

  private problem(entry: IdEntry, text: string): void {
    this.context.onProblem(
      new BrokerError(
        "CHRONIK_TRANSACTION_COMPLETION",
        `the transaction of ${JSON.stringify(entry.id)} is not complete: ${text}`,
      ),
    );
  }

  /** False when the broker stops. */
  private async delay(attempt: number): Promise<boolean> {
    if (this.isClosed) return false;
    const { retryDelayMsMin, retryDelayMsMax } = this.context.config;
    const delayMs = Math.min(retryDelayMsMax, retryDelayMsMin * 2 ** Math.min(attempt - 1, 20));
    await new Promise<void>((resolve) => {
      const timer = this.context.clock.schedule(delayMs, () => {
        this.sleeping.delete(resolve);
        resolve();
      });
      this.sleeping.set(resolve, timer);
    });
    return !this.isClosed;
  }
}
