import { coordinatorErrorOf } from "../group/append-error.ts";
import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { PartitionAsk } from "./api-types.ts";
import { decideAdd } from "./decisions.ts";
import type { IdEntry, ShardContext, TransactionShard } from "./shard.ts";
import type {
  ProducerIdAndEpoch,
  TopicPartition,
  TransactionVersion,
} from "./transaction-types.ts";

/** Partitions that will join a transaction with one write. */
interface Gathered extends ProducerIdAndEpoch {
  readonly partitions: TopicPartition[];
  readonly added: Promise<number>;
}

/** Takes partitions into transactions; answers are ErrorCodes. */
export class Adder {
  private readonly context: ShardContext;
  private readonly gathering = new Map<IdEntry, Gathered>();

  constructor(context: ShardContext) {
    this.context = context;
  }

  /** All of them, or none. */
  async add(
    shard: TransactionShard,
    entry: IdEntry,
    producer: ProducerIdAndEpoch,
    partitions: readonly TopicPartition[],
    clientVersion: TransactionVersion,
  ): Promise<number> {
    const { transaction } = entry;
    const nowMs = this.context.clock.nowMs();
    const decision = decideAdd(transaction, producer, partitions, clientVersion, nowMs);
    assert(decision.kind !== "needsProducerId", "adding partitions needs no producer id");
    if (decision.kind === "error") return decision.errorCode;
    if (decision.kind === "done") return ErrorCode.NONE;
    if (!shard.hasRoomFor(entry, decision.next)) {
      transaction.cancel();
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    }
    return coordinatorErrorOf(await shard.write(entry, decision.next));
  }

  /**
   * One partition, together with all that the same producer asks for before the write begins;
   * while another change of the id is under way, waits for its end a moment.
   */
  addInTime(shard: TransactionShard, entry: IdEntry, ask: PartitionAsk): Promise<number> {
    const open = this.gathering.get(entry);
    const { producerId, producerEpoch, topic, partition } = ask;
    if (open?.producerId === producerId && open.producerEpoch === producerEpoch) {
      open.partitions.push({ topic, partition });
      return open.added;
    }
    const partitions = [{ topic, partition }];
    const producer = { producerId, producerEpoch };
    const added = this.addGathered(shard, entry, producer, partitions);
    this.gathering.set(entry, { ...producer, partitions, added });
    return added;
  }

  private async addGathered(
    shard: TransactionShard,
    entry: IdEntry,
    producer: ProducerIdAndEpoch,
    partitions: TopicPartition[],
  ): Promise<number> {
    const { clock, config } = this.context;
    const deadlineMs = clock.monotonicMs() + config.concurrentWaitMs;
    // The other partitions of the same request come in this turn.
    await Promise.resolve();
    for (;;) {
      const leftMs = deadlineMs - clock.monotonicMs();
      if (entry.transaction.pending === null || leftMs <= 0) {
        if (this.gathering.get(entry)?.partitions === partitions) this.gathering.delete(entry);
        const errorCode = await this.add(shard, entry, producer, partitions, 2);
        const isEarly = clock.monotonicMs() < deadlineMs;
        if (errorCode !== ErrorCode.CONCURRENT_TRANSACTIONS || !isEarly) return errorCode;
      }
      if (entry.transaction.pending !== null) await this.changeOf(entry, Math.max(0, leftMs));
      const isGone = shard.isClosed || shard.find(entry.id) !== entry;
      if (!isGone) continue;
      if (this.gathering.get(entry)?.partitions === partitions) this.gathering.delete(entry);
      return shard.isClosed
        ? ErrorCode.COORDINATOR_NOT_AVAILABLE
        : ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    }
  }

  private async changeOf(entry: IdEntry, waitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const resume = () => {
        timer.cancel();
        entry.waiting.delete(resume);
        resolve();
      };
      const timer = this.context.clock.schedule(waitMs, resume);
      entry.waiting.add(resume);
    });
  }
}
