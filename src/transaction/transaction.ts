import { assert } from "../lib/assert.ts";
import {
  hasPartition,
  isEpochExhausted,
  noPartitions,
  noProducerEpoch,
  noProducerId,
  partitionCountIn,
  partitionsIn,
  producerEpochMax,
  type TopicPartition,
  type TransactionData,
  type TransactionStateName,
  type TransactionVersion,
  withPartitions,
} from "./transaction-types.ts";

const allowedBefore: Readonly<Record<TransactionStateName, readonly TransactionStateName[]>> = {
  Empty: ["Empty", "CompleteCommit", "CompleteAbort"],
  Ongoing: ["Ongoing", "Empty", "CompleteCommit", "CompleteAbort"],
  PrepareCommit: ["Ongoing"],
  PrepareAbort: ["Ongoing", "PrepareEpochFence", "Empty", "CompleteCommit", "CompleteAbort"],
  CompleteCommit: ["PrepareCommit"],
  CompleteAbort: ["PrepareAbort"],
  Dead: ["Empty", "CompleteAbort", "CompleteCommit"],
  PrepareEpochFence: ["Ongoing"],
};

/**
 * The state machine of one transactional id: pure. A change is prepared (`pending` says to which
 * state), written to the log by the caller, and then completed or cancelled. There is at most one
 * pending change; only a pending fence gives way to the abort it stands for.
 */
export class Transaction {
  data: TransactionData;
  /** The state a change under way leads to. */
  pending: TransactionStateName | null = null;
  /** A fence bumped the epoch in memory and could not be written: the next one does not bump. */
  hasFailedEpochFence = false;

  constructor(data: TransactionData) {
    this.data = data;
  }

  get isProducerEpochExhausted(): boolean {
    return isEpochExhausted(this.data.producerEpoch);
  }

  /** Fences the producer of an open transaction; followed at once by `prepareEnd` for its abort. */
  prepareFence(): TransactionData {
    const { producerEpoch } = this.data;
    const stays = this.hasFailedEpochFence || producerEpoch === producerEpochMax;
    const bumped = stays ? producerEpoch : producerEpoch + 1;
    return this.prepare({ state: "PrepareEpochFence", producerEpoch: bumped });
  }

  /**
   * The fence's change is taken back for the abort that follows in the same step. Version 2 bumps
   * the epoch with that abort; before it, `fencedEpoch` counts from now on, written or not.
   */
  dropFence(fencedEpoch: number | null): void {
    assert(this.pending === "PrepareEpochFence", "no fence is pending");
    this.pending = null;
    if (fencedEpoch === null) return;
    this.data = {
      ...this.data,
      producerEpoch: fencedEpoch,
      lastProducerEpoch: noProducerEpoch,
    };
  }

  /**
   * InitProducerId: the next epoch; `expectedEpoch` is what a recovering producer believes to be
   * current. null: the producer is fenced.
   */
  prepareEpochBump(
    timeoutMs: number,
    expectedEpoch: number | null,
    nowMs: number,
  ): TransactionData | null {
    const epochs = this.bumpedEpochs(expectedEpoch);
    if (epochs === null) return null;
    return this.prepare({ state: "Empty", ...epochs, ...fresh(timeoutMs, nowMs) });
  }

  /** InitProducerId after the last epoch: a new producer id, from epoch 0. */
  prepareRotation(
    producerId: number,
    timeoutMs: number,
    recordsLastEpoch: boolean,
    nowMs: number,
  ): TransactionData {
    const lastProducerEpoch = recordsLastEpoch ? this.data.producerEpoch : noProducerEpoch;
    const next = { producerId, producerEpoch: 0, lastProducerEpoch };
    return this.prepare({ state: "Empty", ...next, ...fresh(timeoutMs, nowMs) });
  }

  prepareAdd(
    added: Iterable<TopicPartition>,
    nowMs: number,
    clientVersion: TransactionVersion,
  ): TransactionData {
    const isOpen = this.data.state === "Ongoing";
    return this.prepare({
      state: "Ongoing",
      partitions: withPartitions(this.data.partitions, added),
      startMs: isOpen ? this.data.startMs : nowMs,
      lastUpdateMs: nowMs,
      clientVersion,
    });
  }

  /**
   * EndTxn. Version 2 bumps the epoch here, so that markers end what the old epoch wrote;
   * `nextProducerId` takes over at completion when epochs ran out. `noPartitionAdded`: an abort of
   * nothing, which starts now.
   */
  prepareEnd(
    state: "PrepareCommit" | "PrepareAbort",
    clientVersion: TransactionVersion,
    nextProducerId: number,
    noPartitionAdded: boolean,
    nowMs: number,
  ): TransactionData {
    const { producerEpoch, lastProducerEpoch, startMs } = this.data;
    const bumps = clientVersion >= 2;
    // At the very last epoch an abort goes through without a bump, so that the id recovers.
    const isStuck = producerEpoch === producerEpochMax && state === "PrepareAbort";
    assert(!bumps || isStuck || producerEpoch < producerEpochMax, "no epoch is left to bump to");
    return this.prepare({
      state,
      producerEpoch: bumps && !isStuck ? producerEpoch + 1 : producerEpoch,
      lastProducerEpoch: bumps ? producerEpoch : lastProducerEpoch,
      startMs: noPartitionAdded ? nowMs : startMs,
      nextProducerId,
      lastUpdateMs: nowMs,
      clientVersion,
    });
  }

  /** Every marker is written. */
  prepareComplete(nowMs: number): TransactionData {
    this.hasFailedEpochFence = false;
    const { state, clientVersion, nextProducerId, producerId, producerEpoch } = this.data;
    const rotates = clientVersion >= 2 && nextProducerId !== noProducerId;
    return this.prepare({
      state: state === "PrepareCommit" ? "CompleteCommit" : "CompleteAbort",
      producerId: rotates ? nextProducerId : producerId,
      producerEpoch: rotates ? 0 : producerEpoch,
      nextProducerId: noProducerId,
      partitions: noPartitions,
      lastUpdateMs: nowMs,
    });
  }

  /** The id is forgotten; completed by removing it. */
  prepareDead(): TransactionData {
    return this.prepare({ state: "Dead", partitions: noPartitions });
  }

  /** The prepared change is durable. */
  complete(next: TransactionData): void {
    assert(this.pending === next.state, `pending is ${this.pending}, completed ${next.state}`);
    this.checkCompletion(next);
    this.data = next;
    this.pending = null;
  }

  /** The prepared change was not written. */
  cancel(): void {
    this.pending = null;
  }

  private bumpedEpochs(
    expectedEpoch: number | null,
  ): Pick<TransactionData, "producerEpoch" | "lastProducerEpoch"> | null {
    const { producerEpoch, lastProducerEpoch } = this.data;
    const bumped = producerEpoch + 1;
    const isFirst = producerEpoch === noProducerEpoch;
    if (expectedEpoch === null || isFirst || expectedEpoch === producerEpoch) {
      assert(!this.isProducerEpochExhausted, "an exhausted epoch cannot be bumped");
      const last = expectedEpoch === null ? noProducerEpoch : producerEpoch;
      return { producerEpoch: bumped, lastProducerEpoch: last };
    }
    // A retry of a bump that succeeded: had another producer come since, there were no last epoch.
    if (expectedEpoch === lastProducerEpoch) return { producerEpoch, lastProducerEpoch };
    return null;
  }

  private prepare(change: Partial<TransactionData> & Pick<TransactionData, "state">) {
    assert(this.pending === null, `${change.state} prepared while ${this.pending} is pending`);
    const next: TransactionData = {
      ...this.data,
      prevProducerId: this.data.producerId,
      ...change,
    };
    assert(next.producerId >= 0, "a producer id is needed");
    assert(next.state === "Dead" || next.producerEpoch >= 0, "a producer epoch is needed");
    const from = this.data.state;
    assert(allowedBefore[next.state].includes(from), `${from} does not lead to ${next.state}`);
    this.pending = next.state;
    return next;
  }

  private checkCompletion(next: TransactionData): void {
    const { data } = this;
    const sameTimeout = next.timeoutMs === data.timeoutMs;
    const empty = partitionCountIn(next.partitions) === 0;
    let holds = false;
    switch (next.state) {
      case "Empty": {
        const bumped = next.producerEpoch === data.producerEpoch + 1;
        const rotated = next.producerEpoch === 0 && next.producerId !== data.producerId;
        const same = next.producerEpoch === data.producerEpoch;
        holds = (same || bumped || rotated) && empty && next.startMs === -1;
        break;
      }
      case "Ongoing":
        holds = sameTimeout && isSameProducer(data, next) && containsAll(next, data);
        break;
      case "PrepareCommit":
      case "PrepareAbort": {
        const sameSet = containsAll(next, data) && containsAll(data, next);
        holds = sameTimeout && isEndOf(data, next) && sameSet;
        break;
      }
      case "CompleteCommit":
      case "CompleteAbort":
        holds = sameTimeout && isCompletionOf(data, next) && empty && next.startMs !== -1;
        break;
      default:
    }
    assert(holds, `${data.state} cannot become this ${next.state}`);
  }
}

function fresh(timeoutMs: number, nowMs: number) {
  return { timeoutMs, partitions: noPartitions, startMs: -1, lastUpdateMs: nowMs };
}

function containsAll(outer: TransactionData, inner: TransactionData): boolean {
  for (const { topic, partition } of partitionsIn(inner.partitions)) {
    if (!hasPartition(outer.partitions, topic, partition)) return false;
  }
  return true;
}

function isSameProducer(from: TransactionData, to: TransactionData): boolean {
  return from.producerId === to.producerId && from.producerEpoch === to.producerEpoch;
}

function isEndOf(from: TransactionData, to: TransactionData): boolean {
  if (to.clientVersion < 2) return isSameProducer(from, to);
  return to.lastProducerEpoch === from.producerEpoch && to.producerId === from.producerId;
}

function isCompletionOf(from: TransactionData, to: TransactionData): boolean {
  if (to.clientVersion < 2 || to.producerEpoch !== 0) return isSameProducer(from, to);
  return to.lastProducerEpoch === from.lastProducerEpoch && to.prevProducerId === from.producerId;
}
