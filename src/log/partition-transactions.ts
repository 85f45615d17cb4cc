import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type AbortedRange, abortedRanges } from "./aborted-index.ts";
import type { AbortedLog, FoundAborted } from "./aborted-log.ts";
import { emptyRead, type ReadResult } from "./partition-reader.ts";
import type { ColdReader } from "./ports.ts";
import type { ProducerState } from "./producer-state.ts";

/** What this needs to know of its partition at the moment it is asked. */
export interface TransactionsView {
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** Its archives go after this is false. */
  readonly isOpen: boolean;
}

export interface TransactionsParts {
  readonly topicId: string;
  readonly partition: number;
  readonly producers: ProducerState;
  readonly aborted: AbortedLog;
  readonly cold: ColdReader;
  readonly view: () => TransactionsView;
  /** A range that should be readable is not. */
  readonly unreadable: (offset: number, error: BrokerError) => void;
}

/** What read_committed readers may see of a partition: how far, and what of it was aborted. */
export class PartitionTransactions {
  private readonly parts: TransactionsParts;

  constructor(parts: TransactionsParts) {
    this.parts = parts;
  }

  /** First offset of the oldest transaction that is open or whose marker is not durable, never
   * below the log start; without one the high watermark. */
  get lastStableOffset(): number {
    const unstable = this.parts.producers.firstUnstableOffset;
    const { highWatermark, logStartOffset } = this.parts.view();
    if (unstable === null || unstable >= highWatermark) return highWatermark;
    return Math.max(unstable, logStartOffset);
  }

  /** The high watermark moved, over `bytes` since the opening: the markers below it decide. Returns
   * the bytes in front of the last stable offset: below 0 where it lies before the opening. */
  settle(bytes: number): number {
    const { producers, aborted, view } = this.parts;
    aborted.add(producers.settle(view().highWatermark));
    return Math.min(bytes, producers.firstUnstablePosition ?? bytes);
  }

  /** Aborted transactions with offsets in [from, to), by first offset; also from the archives where
   * these begin earlier. Rejects with a BrokerError where they cannot be read. `held` tells those
   * of the log as they were when the offsets were read: what leaves it meanwhile is archived,
   * deleted or cleaned. */
  ranges(
    from: number,
    to: number,
    held: Pick<AbortedLog, "overlapping"> = this.parts.aborted,
  ): readonly AbortedRange[] | Promise<readonly AbortedRange[]> {
    const { topicId, partition, cold } = this.parts;
    if (from >= to) return [];
    const archived = cold.archivedRange(topicId, partition);
    if (archived === null || from >= archived.end) return rangesOf(held.overlapping(from, to));
    // Archives name all that overlaps them.
    const heldFrom = from >= archived.start ? archived.end : from;
    const found = [
      cold.abortedTransactions(topicId, partition, from, to),
      heldFrom < to ? held.overlapping(heldFrom, to) : [],
    ];
    return Promise.all(found).then((all) => abortedRanges(all.flat()));
  }

  /** What was read from `offset` on, and which transactions of it were aborted; nothing where the
   * archives do not say so within `patience` (see ReadOptions). */
  withAborted(
    offset: number,
    reading: ReadResult | Promise<ReadResult>,
    patience?: () => Promise<void>,
  ): ReadResult | Promise<ReadResult> {
    const held = this.parts.aborted.pin();
    const told =
      reading instanceof Promise
        ? reading.then((read) => this.told(offset, read, held))
        : this.told(offset, reading, held);
    if (!(told instanceof Promise)) {
      held.release();
      return told;
    }
    const telling = told.finally(() => held.release());
    if (patience === undefined) return telling;
    // The batches have a patience of their own: this one begins behind them.
    return Promise.resolve(reading).then(
      () => orNothing(telling, offset, patience()),
      () => telling,
    );
  }

  private told(
    offset: number,
    read: ReadResult,
    held: Pick<AbortedLog, "overlapping">,
  ): ReadResult | Promise<ReadResult> {
    const { isOpen, logStartOffset } = this.parts.view();
    // What was deleted meanwhile is named by nobody any more: neither here nor in the archives.
    if (!isOpen) return emptyRead(ErrorCode.NOT_LEADER_OR_FOLLOWER, offset);
    if (offset < logStartOffset) return emptyRead(ErrorCode.OFFSET_OUT_OF_RANGE, offset);
    const ranges = this.ranges(offset, read.nextOffset, held);
    if (!(ranges instanceof Promise)) return { ...read, aborted: ranges };
    return ranges.then(
      (aborted) => ({ ...read, aborted }),
      (error: unknown) => {
        if (!(error instanceof BrokerError)) throw error;
        this.parts.unreadable(offset, error);
        return emptyRead(ErrorCode.KAFKA_STORAGE_ERROR, offset);
      },
    );
  }
}

function orNothing(
  telling: Promise<ReadResult>,
  offset: number,
  patience: Promise<void>,
): Promise<ReadResult> {
  const nothing = () => ({ ...emptyRead(ErrorCode.NONE, offset), aborted: [] });
  return Promise.race([telling, patience.then(nothing)]);
}

function rangesOf(found: FoundAborted): readonly AbortedRange[] | Promise<readonly AbortedRange[]> {
  return found instanceof Promise ? found.then(abortedRanges) : abortedRanges(found);
}
