import { coordinatorErrorOf } from "../group/append-error.ts";
import { inBatches } from "../group/in-batches.ts";
import { partitionForGroup } from "../group/partition-hash.ts";
import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { Adder } from "./adding.ts";
import type {
  AddPartitionsAsk,
  DescribedTransaction,
  EndTransactionAsk,
  InitProducerIdAsk,
  PartitionAsk,
  ProducerIdResult,
  TransactionalProducer,
  TransactionFilter,
  TransactionList,
} from "./api-types.ts";
import { Completer } from "./completion.ts";
import type { TransactionConfig } from "./config.ts";
import {
  type Decision,
  decideEnd,
  decideFence,
  decideInit,
  type EndRequest,
  verify,
} from "./decisions.ts";
import { describeEntry, listEntries, undescribed } from "./listing.ts";
import type {
  EndMarker,
  FreshProducerIds,
  MarkerOutcome,
  MarkerWriter,
  StateTopic,
  TransactionNodes,
} from "./ports.ts";
import { type IdEntry, type ShardContext, TransactionShard } from "./shard.ts";
import {
  noPartitions,
  noProducerEpoch,
  noProducerId,
  type TopicPartition,
  type TransactionData,
  type TransactionVersion,
} from "./transaction-types.ts";
import { expiredEntries, isTimedOut, timedOutEntries } from "./upkeep.ts";

export interface TransactionCoordinatorOptions {
  readonly config: TransactionConfig;
  readonly topic: StateTopic;
  readonly nodes: TransactionNodes;
  readonly markers: MarkerWriter;
  readonly producerIds: FreshProducerIds;
  readonly clock: Clock;
  /** The level of the feature transaction.version now. */
  readonly transactionVersion: () => TransactionVersion;
  /** Something an operator should see: what cannot be loaded, written or completed. */
  readonly onProblem: (error: BrokerError) => void;
}

const loadsAtOnceMax = 8;
/** Aborts and expiries under way at once. */
const upkeepAtOnceMax = 64;

/**
 * The transaction coordinator: transactional ids and their transactions, kept in
 * `__transaction_state`. Every answer that reports a change is given after the change is durable. A
 * request that finds its partition loaded is applied before the first await.
 */
export class TransactionCoordinator {
  readonly config: TransactionConfig;
  private readonly options: TransactionCoordinatorOptions;
  private readonly clock: Clock;
  private readonly context: ShardContext;
  private readonly shards: readonly TransactionShard[];
  private readonly completer: Completer;
  private readonly adder: Adder;
  private readonly timers = new Map<"abort" | "expiry", Timer>();
  private isClosed = false;
  private timeouts = 0;

  constructor(options: TransactionCoordinatorOptions) {
    const { config, clock, onProblem, transactionVersion, topic } = options;
    this.options = options;
    this.config = config;
    this.clock = clock;
    this.context = {
      config,
      clock,
      onProblem,
      transactionVersion,
      usage: { ids: 0, bytes: 0, ongoing: 0 },
    };
    this.adder = new Adder(this.context);
    this.completer = new Completer(this.context, options.markers);
    this.shards = Array.from(
      { length: topic.partitionCount },
      (_, partition) =>
        new TransactionShard(partition, this.context, () => topic.stateLog(partition)),
    );
  }

  /** Transactional ids held. */
  get idCount(): number {
    return this.context.usage.ids;
  }

  /** Transactions whose end is not decided. */
  get ongoingCount(): number {
    return this.context.usage.ongoing;
  }

  /** Transactions aborted since the start because they took too long. */
  get timeoutCount(): number {
    return this.timeouts;
  }

  /** Transactions whose end is decided and not complete. */
  get completingCount(): number {
    return this.completer.count;
  }

  /** Loads what is stored and goes on with transactions whose end was decided. */
  async start(): Promise<void> {
    this.schedule("abort", this.config.abortIntervalMs, () => this.abortTimedOut());
    this.schedule("expiry", this.config.expiryIntervalMs, () => this.expireIds());
    if (!this.options.topic.exists()) return;
    await inBatches(this.shards, loadsAtOnceMax, (shard) => this.load(shard));
  }

  /** Answers what waits with COORDINATOR_NOT_AVAILABLE. The next start goes on with the rest. */
  close(): void {
    this.isClosed = true;
    for (const timer of this.timers.values()) timer.cancel();
    this.completer.close();
    for (const shard of this.shards) shard.close();
  }

  partitionFor(transactionalId: string): number {
    return partitionForGroup(transactionalId, this.options.topic.partitionCount);
  }

  /** Where the id's coordinator is; makes sure that its partition exists. */
  async findCoordinator(transactionalId: string, listener: string) {
    const nowhere = { nodeId: -1, host: "", port: -1 };
    if (transactionalId.length > this.config.idCharsMax) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    const shard = this.shardOf(transactionalId);
    const errorCode = shard.isReady || shard.isLoading ? 0 : await this.load(shard);
    const node = this.options.nodes.coordinatorOf(shard.partition, listener);
    if (errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE || node === null) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    return { errorCode: ErrorCode.NONE, ...node };
  }

  /** InitProducerId with a transactional id. */
  async initProducerId(request: InitProducerIdAsk): Promise<ProducerIdResult> {
    const { transactionalId, timeoutMs } = request;
    const isBadId = transactionalId === "" || transactionalId.length > this.config.idCharsMax;
    if (isBadId) return noProducer(ErrorCode.INVALID_REQUEST);
    if (timeoutMs <= 0 || timeoutMs > this.config.timeoutMsMax) {
      return noProducer(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    }
    const shard = this.shardOf(transactionalId);
    const loadError = shard.isReady ? ErrorCode.NONE : await this.load(shard);
    if (loadError !== ErrorCode.NONE) return noProducer(loadError);
    let freshId: number | null = null;
    for (;;) {
      let entry = shard.find(transactionalId);
      let decision: Decision = { kind: "needsProducerId" };
      if (entry === null && freshId !== null) {
        entry = shard.create(transactionalId, this.newId(freshId, timeoutMs));
        if (entry === null) return noProducer(ErrorCode.COORDINATOR_NOT_AVAILABLE);
        freshId = null;
      }
      if (entry !== null) {
        decision = decideInit(entry.transaction, request, freshId, this.clock.nowMs());
        if (decision.kind !== "needsProducerId") {
          return await this.finishInit(shard, entry, decision, freshId);
        }
      }
      freshId = await this.freshProducerId();
      if (freshId === null) return noProducer(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
      if (shard.isClosed) return noProducer(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    }
  }

  /** Adds partitions to the producer's transaction, which it may open; resolves with an ErrorCode
   * for all of them together. */
  async addPartitions(request: AddPartitionsAsk): Promise<number> {
    const { partitions, clientVersion } = request;
    const shard = this.shardOf(request.transactionalId);
    const loadError = this.refusal(request.transactionalId, shard) ?? (await this.load(shard));
    if (loadError !== ErrorCode.NONE) return loadError;
    const entry = shard.find(request.transactionalId);
    if (entry === null) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    return await this.adder.add(shard, entry, request, partitions, clientVersion);
  }

  /** AddPartitionsToTxn's verify-only form: one ErrorCode a partition, in their order. */
  async verifyPartitions(
    request: TransactionalProducer,
    partitions: readonly TopicPartition[],
  ): Promise<number[]> {
    const shard = this.shardOf(request.transactionalId);
    const loadError = this.refusal(request.transactionalId, shard) ?? (await this.load(shard));
    const entry = shard.find(request.transactionalId);
    return partitions.map(({ topic, partition }) => {
      if (loadError !== ErrorCode.NONE) return loadError;
      if (entry === null) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
      return verify(entry.transaction.data, request, topic, partition);
    });
  }

  /**
   * May the producer write to the partition? At once where it may; otherwise the partition joins
   * the transaction first (`addIfMissing`), which waits a moment for the end of the one before. An
   * ErrorCode, as AddPartitionsToTxn would give it.
   */
  verifyOrAdd(request: PartitionAsk): number | Promise<number> {
    const shard = this.shardOf(request.transactionalId);
    const refused = this.refusal(request.transactionalId, shard);
    if (refused === null) return this.load(shard).then((e) => e || this.verifyOrAdd(request));
    if (refused !== ErrorCode.NONE) return refused;
    const entry = shard.find(request.transactionalId);
    if (entry === null) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    const { topic, partition } = request;
    const verified = verify(entry.transaction.data, request, topic, partition);
    if (verified === ErrorCode.NONE || !request.addIfMissing) return verified;
    return this.adder.addInTime(shard, entry, request);
  }

  /** The last look before an append gets its offset: an ErrorCode if the producer's transaction is
   * not open there any more. */
  appendError(request: TransactionalProducer & TopicPartition): number {
    const shard = this.shardOf(request.transactionalId);
    const data = shard.isReady ? shard.find(request.transactionalId)?.transaction.data : undefined;
    if (data === undefined) return ErrorCode.NOT_ENOUGH_REPLICAS;
    const errorCode = verify(data, request, request.topic, request.partition);
    if (errorCode === ErrorCode.NONE) return errorCode;
    const isFenced = errorCode === ErrorCode.PRODUCER_FENCED;
    return isFenced ? ErrorCode.INVALID_PRODUCER_EPOCH : ErrorCode.INVALID_TXN_STATE;
  }

  /** EndTxn; answered when the decision is durable. With version 2 it brings the next epoch. */
  async endTransaction(request: EndTransactionAsk): Promise<ProducerIdResult> {
    const shard = this.shardOf(request.transactionalId);
    const loadError = this.refusal(request.transactionalId, shard) ?? (await this.load(shard));
    if (loadError !== ErrorCode.NONE) return noProducer(loadError);
    let freshId: number | null = null;
    for (;;) {
      const entry = shard.find(request.transactionalId);
      if (entry === null) return noProducer(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
      const end = { ...request, isFromClient: true };
      const result = this.end(shard, entry, end, freshId);
      if (result !== "needsProducerId") {
        const ended = await result;
        const tells = ended.errorCode === ErrorCode.NONE && request.clientVersion >= 2;
        return tells ? ended : noProducer(ended.errorCode);
      }
      freshId = await this.freshProducerId();
      if (freshId === null) return noProducer(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
      if (shard.isClosed) return noProducer(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    }
  }

  /** WriteTxnMarkers: ends a producer's transaction in one partition, whoever asked for it. */
  writeMarker(topic: string, partition: number, marker: EndMarker): Promise<MarkerOutcome> {
    return this.options.markers.write(topic, partition, marker);
  }

  async describe(transactionalId: string): Promise<DescribedTransaction> {
    const shard = this.shardOf(transactionalId);
    const loadError = this.refusal(transactionalId, shard) ?? (await this.load(shard));
    if (loadError !== ErrorCode.NONE) return undescribed(transactionalId, loadError);
    return describeEntry(transactionalId, shard.find(transactionalId));
  }

  /** All ids that the filter lets through. */
  list(filter: TransactionFilter): TransactionList {
    return listEntries(this.shards, filter, this.isClosed, this.clock.nowMs());
  }

  private shardOf(transactionalId: string): TransactionShard {
    const shard = this.shards[this.partitionFor(transactionalId)];
    assert(shard !== undefined, "every transactional id has a partition");
    return shard;
  }

  /** null: the shard has to be loaded first. */
  private refusal(transactionalId: string, shard: TransactionShard): number | null {
    const isBadId = transactionalId === "" || transactionalId.length > this.config.idCharsMax;
    if (isBadId) return ErrorCode.INVALID_REQUEST;
    return shard.isReady ? ErrorCode.NONE : null;
  }

  private load(shard: TransactionShard): Promise<number> {
    return shard.becomeReady((entry) => this.completeIfDecided(shard, entry));
  }

  private completeIfDecided(shard: TransactionShard, entry: IdEntry): void {
    const { state } = entry.transaction.data;
    if (state === "PrepareCommit" || state === "PrepareAbort") this.completer.start(shard, entry);
  }

  private newId(producerId: number, timeoutMs: number): TransactionData {
    return {
      state: "Empty",
      producerId,
      prevProducerId: noProducerId,
      nextProducerId: noProducerId,
      producerEpoch: noProducerEpoch,
      lastProducerEpoch: noProducerEpoch,
      timeoutMs,
      partitions: noPartitions,
      startMs: -1,
      lastUpdateMs: this.clock.nowMs(),
      clientVersion: 0,
    };
  }

  private async freshProducerId(): Promise<number | null> {
    try {
      return (await this.options.producerIds.next()).producerId;
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.options.onProblem(error);
      return null;
    }
  }

  private async finishInit(
    shard: TransactionShard,
    entry: IdEntry,
    decision: Exclude<Decision, { kind: "needsProducerId" }>,
    freshId: number | null,
  ): Promise<ProducerIdResult> {
    if (decision.kind === "error") return noProducer(decision.errorCode);
    if (decision.kind === "done") return { errorCode: ErrorCode.NONE, ...decision };
    const { next } = decision;
    if (next.state === "PrepareEpochFence") {
      const aborted = await this.abortFenced(shard, entry, next, freshId);
      // Fenced and aborted: the producer comes back for its own epoch when that is complete.
      return noProducer(aborted === ErrorCode.NONE ? ErrorCode.CONCURRENT_TRANSACTIONS : aborted);
    }
    const errorCode = coordinatorErrorOf(await shard.write(entry, next));
    shard.dropIfVacant(entry);
    if (errorCode !== ErrorCode.NONE) return noProducer(errorCode);
    return { errorCode, producerId: next.producerId, producerEpoch: next.producerEpoch };
  }

  /** The abort of a transaction whose producer was fenced in this step. */
  private async abortFenced(
    shard: TransactionShard,
    entry: IdEntry,
    fence: TransactionData,
    freshId: number | null,
  ): Promise<number> {
    const { producerId, producerEpoch } = fence;
    const clientVersion = this.options.transactionVersion();
    const abort = { producerId, producerEpoch, commit: false, isFromClient: false, clientVersion };
    const result = this.end(shard, entry, abort, freshId);
    assert(result !== "needsProducerId", "a fence brings the producer id its abort needs");
    return (await result).errorCode;
  }

  /** Decides the end and, when that is durable, starts its completion. */
  private end(
    shard: TransactionShard,
    entry: IdEntry,
    request: EndRequest,
    freshId: number | null,
  ): Promise<ProducerIdResult> | "needsProducerId" {
    const { transaction } = entry;
    const decision = decideEnd(transaction, request, freshId, this.clock.nowMs());
    switch (decision.kind) {
      case "needsProducerId":
        return "needsProducerId";
      case "error":
        return Promise.resolve(noProducer(decision.errorCode));
      case "done": {
        const { producerId, producerEpoch } = decision;
        return Promise.resolve({ errorCode: ErrorCode.NONE, producerId, producerEpoch });
      }
      case "append":
        return this.writeEnd(shard, entry, decision.next, decision.failedFence);
    }
  }

  private async writeEnd(
    shard: TransactionShard,
    entry: IdEntry,
    next: TransactionData,
    failedFence: boolean,
  ): Promise<ProducerIdResult> {
    const { transaction } = entry;
    const errorCode = coordinatorErrorOf(await shard.write(entry, next));
    if (errorCode !== ErrorCode.NONE) {
      if (failedFence) transaction.hasFailedEpochFence = true;
      return noProducer(errorCode);
    }
    const rotates = next.clientVersion >= 2 && next.nextProducerId !== noProducerId;
    this.completer.start(shard, entry);
    return {
      errorCode,
      producerId: rotates ? next.nextProducerId : next.producerId,
      producerEpoch: rotates ? 0 : next.producerEpoch,
    };
  }

  private schedule(name: "abort" | "expiry", delayMs: number, task: () => Promise<void>): void {
    const timer = this.clock.schedule(delayMs, () => {
      void task().then(() => {
        if (!this.isClosed) this.schedule(name, delayMs, task);
      });
    });
    this.timers.set(name, timer);
  }

  private async abortTimedOut(): Promise<void> {
    // Nobody may ask for an id whose partition could not be read; its transactions still end.
    for (const shard of this.shards) if (shard.hasFailed) await this.load(shard);
    for (const shard of this.shards) {
      const entries = timedOutEntries(shard, this.clock.nowMs());
      await inBatches(entries, upkeepAtOnceMax, (entry) => this.abortOne(shard, entry));
    }
  }

  private async abortOne(shard: TransactionShard, entry: IdEntry): Promise<void> {
    const needsId = entry.transaction.isProducerEpochExhausted;
    const freshId = needsId ? await this.freshProducerId() : null;
    // Once more: the transaction that ran out of time may have ended, and another begun.
    if (!isTimedOut(entry, this.clock.nowMs())) return;
    const decision = decideFence(entry.transaction, freshId);
    if (decision.kind !== "append") return;
    const errorCode = await this.abortFenced(shard, entry, decision.next, freshId);
    if (errorCode === ErrorCode.NONE) this.timeouts++;
  }

  private async expireIds(): Promise<void> {
    for (const shard of this.shards) {
      const { idExpirationMs } = this.config;
      for (const entries of expiredEntries(shard, this.clock.nowMs() - idExpirationMs)) {
        for (const { transaction } of entries) transaction.prepareDead();
        await shard.bury(entries);
      }
    }
  }
}

function noProducer(errorCode: number): ProducerIdResult {
  return { errorCode, producerId: noProducerId, producerEpoch: noProducerEpoch };
}
