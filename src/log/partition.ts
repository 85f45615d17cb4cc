import { BrokerError } from "../lib/errors.ts";
import { crc32c } from "../protocol/crc32c.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { buildEndTxnMarker } from "../protocol/records.ts";
import type { AbortedRange, AbortedTransaction } from "./aborted-index.ts";
import { type AdvanceListener, Advances } from "./advances.ts";
import { AppendGate, type AppendOptions } from "./append-gate.ts";
import { Appender, type AppendResult, type DurableBatch } from "./appender.ts";
import { type Rejection, rejection } from "./batch-rules.ts";
import { encodeProducers } from "./checkpoint.ts";
import type { PartitionLogConfig } from "./config.ts";
import { HighWatermark } from "./high-watermark.ts";
import type { EpochStart } from "./leader-epochs.ts";
import { LogStart } from "./log-start.ts";
import type { PartitionParts } from "./partition-parts.ts";
import {
  emptyRead,
  PartitionReader,
  type ReadOptions,
  type ReadResult,
} from "./partition-reader.ts";
import type { PartitionState } from "./partition-state.ts";
import { PartitionStore } from "./partition-store.ts";
import { PartitionTransactions } from "./partition-transactions.ts";
import type { CleanReport, Damage, SegmentInfo } from "./ports.ts";
import type { ProducerMarker } from "./producer-entry.ts";
import type { ActiveProducer } from "./producer-state.ts";
import {
  earliestTimestamp,
  latestTimestamp,
  maxTimestamp,
  noOffset,
  type TimestampResult,
} from "./special-offsets.ts";

/** One partition's log: gives offsets, appends, reads, knows epoch and high watermark. */
export class Partition {
  readonly topic: string;
  readonly topicId: string;
  readonly index: number;
  readonly internal: boolean;
  readonly dir: string;
  /** The engine's handle, for archive jobs. */
  readonly walHandle: number;
  readonly start: LogStart;
  config: PartitionLogConfig;
  private readonly parts: PartitionParts;
  private readonly state: PartitionState;
  private readonly mark: HighWatermark;
  private readonly appender: Appender;
  private readonly gate: AppendGate;
  private readonly reader: PartitionReader;
  private readonly store: PartitionStore;
  private readonly transactions: PartitionTransactions;
  private readonly advances: Advances;
  private epoch: number;
  private broken: Damage | null;
  private closing = false;
  private quiet: (() => void) | null = null;

  /** Use `openPartition`. */
  constructor(state: PartitionState, parts: PartitionParts) {
    this.topic = state.topic;
    this.topicId = state.topicId;
    this.index = state.index;
    this.internal = state.internal;
    this.dir = state.dir;
    this.walHandle = state.log;
    this.config = state.config;
    this.parts = parts;
    this.state = state;
    this.epoch = state.leaderEpoch;
    this.broken = state.damage;
    this.mark = new HighWatermark(state.logEnd);
    this.advances = new Advances(state.producers.firstUnstablePosition ?? 0);
    this.store = this.createStore();
    this.start = new LogStart(this.store, state.epochs, this, {
      moved: () => parts.events.logStartMoved(this),
      failed: (error) => parts.events.checkpointFailed(this, error),
    });
    this.appender = this.createAppender();
    this.gate = new AppendGate({
      wal: parts.wal,
      clock: parts.clock,
      limits: parts.limits,
      budget: parts.budget,
      space: parts.space,
      recompressions: parts.recompressions,
      appender: this.appender,
      config: () => this.config,
      leaderEpoch: () => this.epoch,
    });
    this.reader = this.createReader();
    this.transactions = new PartitionTransactions({
      ...{ topicId: this.topicId, partition: this.index },
      producers: state.producers,
      aborted: state.aborted,
      cold: parts.cold,
      view: () => this,
      unreadable: (offset, error) => parts.events.unreadable(this, offset, error),
    });
    if (state.damage !== null) parts.events.damaged(this, state.damage);
    state.aborted.whenDue(() => void this.store.spillAborted());
  }

  get logStartOffset(): number {
    return this.store.logStartOffset;
  }

  get logEndOffset(): number {
    return this.appender.logEndOffset;
  }

  get highWatermark(): number {
    return this.mark.value;
  }

  /** Where read_committed readers stop: everything below is decided, durably. */
  get lastStableOffset(): number {
    return this.transactions.lastStableOffset;
  }

  get leaderEpoch(): number {
    return this.epoch;
  }

  /** Bytes in the WAL. */
  get bytes(): number {
    return this.state.segments.bytes;
  }

  get damage(): Damage | null {
    return this.broken;
  }

  /** Only segments whose last offset lies below may be archived (design D4). */
  get archivableEnd(): number {
    return Math.min(this.highWatermark, this.lastStableOffset);
  }

  /** False once closed or dropped: parked requests give up. */
  get isOpen(): boolean {
    return !this.closing;
  }

  /** Appends one v2 batch; resolves when it is durable, or with why not. Never rejects. Bytes of
   * `batch` are not used after this returns. */
  append(batch: Uint8Array, options: AppendOptions): Promise<AppendResult> {
    const why = this.closedFor();
    if (why !== null) return Promise.resolve(this.appender.rejected(why));
    return this.gate.append(batch, options);
  }

  /** Ends a producer's transaction here (KIP-98, KIP-890); resolves when the marker is durable and
   * the transaction decided. TRANSACTION_COORDINATOR_FENCED: a newer coordinator wrote before;
   * INVALID_PRODUCER_EPOCH: the producer went on. Where none is open a marker is written too. */
  appendMarker(marker: ProducerMarker): Promise<AppendResult> {
    const why = this.closedFor();
    if (why !== null) return Promise.resolve(this.appender.rejected(why));
    const result = marker.commit ? "commit" : "abort";
    const fields = { ...marker, result, timestamp: this.parts.clock.nowMs() } as const;
    return this.gate.append(buildEndTxnMarker(fields, crc32c), { origin: "coordinator" }, marker);
  }

  /** Whether this producer, in this very epoch, has a transaction open here. */
  hasOpenTransaction(producerId: number, producerEpoch: number): boolean {
    return this.state.producers.hasOpenTransaction(producerId, producerEpoch);
  }

  activeProducers(): readonly ActiveProducer[] {
    return this.state.producers.active();
  }

  /** Aborted transactions that overlap [from, to), by first offset: what a read_committed reader
   * of these offsets leaves out. Rejects with a BrokerError when an archive cannot be read. */
  abortedTransactions(
    from: number,
    to: number,
  ): readonly AbortedRange[] | Promise<readonly AbortedRange[]> {
    return this.transactions.ranges(from, to);
  }

  /** Whole batches from the one that holds `offset` on; see ReadOptions. */
  read(options: ReadOptions): ReadResult | Promise<ReadResult> {
    if (this.closing) {
      return emptyRead(ErrorCode.NOT_LEADER_OR_FOLLOWER, options.offset);
    }
    if (this.broken !== null && options.offset >= this.highWatermark) {
      // Not OFFSET_OUT_OF_RANGE: a consumer would reset its position for ever.
      return emptyRead(ErrorCode.KAFKA_STORAGE_ERROR, options.offset);
    }
    const read = this.reader.read(options);
    return options.withAborted === true
      ? this.transactions.withAborted(options.offset, read, options.coldPatience)
      : read;
  }

  /** ListOffsets: −1 latest, −2 earliest, −3 the record with the largest timestamp, otherwise the
   * first record with timestamp ≥ it. offset −1: none. */
  async offsetForTimestamp(
    timestamp: number,
    isolation: "read_uncommitted" | "read_committed",
  ): Promise<TimestampResult> {
    const limit = isolation === "read_committed" ? this.lastStableOffset : this.highWatermark;
    const { epochs } = this.state;
    if (timestamp === earliestTimestamp) {
      const offset = this.logStartOffset;
      return { errorCode: 0, offset, timestamp: -1, leaderEpoch: epochs.epochOf(offset) };
    }
    if (this.broken !== null) {
      return { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, ...noOffset };
    }
    if (timestamp === latestTimestamp) {
      return { errorCode: 0, offset: limit, timestamp: -1, leaderEpoch: epochs.latest };
    }
    if (timestamp < maxTimestamp) {
      return { errorCode: ErrorCode.UNSUPPORTED_VERSION, ...noOffset };
    }
    try {
      const target = timestamp === maxTimestamp ? -1 : timestamp;
      const hit = await this.reader.findTime(target, limit);
      return { errorCode: 0, ...(hit ?? noOffset) };
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.parts.events.unreadable(this, this.logStartOffset, error);
      return { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, ...noOffset };
    }
  }

  /** First offset in the WAL; the log end where it holds none. */
  get localStartOffset(): number {
    return this.state.segments.start ?? this.logEndOffset;
  }

  /** One past the last offset that was ever archived; null: none was. */
  get archivedEndOffset(): number | null {
    return this.store.archivedEnd(this.parts.cold.archivedRange(this.topicId, this.index));
  }

  endOffsetForEpoch(epoch: number): { leaderEpoch: number; endOffset: number } {
    return this.state.epochs.endOffsetFor(epoch, this.logEndOffset);
  }

  /** Moves the log start, durably; −1 means the high watermark. */
  deleteRecordsBefore(offset: number): Promise<{ errorCode: number; logStartOffset: number }> {
    return this.start.deleteBefore(offset);
  }

  get retention() {
    const { delete: deletes, retentionMs, retentionBytes } = this.config;
    return { deletes, retentionMs, retentionBytes };
  }

  get localRetention(): PartitionLogConfig["localRetention"] {
    return this.config.localRetention;
  }

  get copyDisabled(): boolean {
    return this.config.copyDisabled;
  }

  /** From now on this broker writes with `epoch`. */
  becomeLeader(epoch: number): void {
    this.epoch = epoch;
    this.state.epochs.assign(epoch, this.logEndOffset);
  }

  /** Bytes that the high watermark moved over since the opening. */
  get bytesAdvanced(): number {
    return this.advances.bytes;
  }

  /** Bytes that the last stable offset moved over; only its growth says something. */
  get stableBytesAdvanced(): number {
    return this.advances.stableBytes;
  }

  onAdvance(listener: AdvanceListener): () => void {
    return this.advances.listen(listener);
  }

  segments(): readonly SegmentInfo[] {
    return this.state.segments.list();
  }

  searchIndexMode(): PartitionLogConfig["searchIndex"] {
    return this.config.searchIndex;
  }

  seal(): Promise<void> {
    return this.store.seal();
  }

  /** Age of the first record not sealed yet, by the monotonic clock: a jump of the wall clock seals
   * nothing. null where there is none. */
  unsealedAgeMs(): number | null {
    const active = this.state.segments.active;
    if (active === null || this.closing) return null;
    return this.parts.clock.monotonicMs() - active.firstAppendMonotonicMs;
  }

  /** Compaction of an internal topic's log where it is due; see PartitionStore.clean. */
  cleanIfDirty(tombstoneAgeMs: number): Promise<CleanReport | null> {
    if (this.broken !== null || this.closing) return Promise.resolve(null);
    return this.store.clean(tombstoneAgeMs, this.lastStableOffset);
  }

  /** Durable when resolved; `archivedTo` is the end of what the registry covers, durably. */
  checkpoint(archivedTo?: number): Promise<void> {
    return this.store.checkpoint(archivedTo === undefined ? {} : { archivedTo });
  }

  /** Unlinks sealed segments below a durable checkpoint and archivedTo (asserted); bytes freed. */
  releaseSegments(ids: readonly number[]): Promise<number> {
    return this.store.release(ids);
  }

  /** Readers must not get from WAL or memory what compaction takes from archives. */
  leaveToArchives(end: number): Promise<number> {
    this.state.tail.dropBelow(end);
    return this.store.leaveToArchives(end);
  }

  leaderEpochs(): EpochStart[] {
    return this.state.epochs.toArray();
  }

  /** JSON of the durable producer states, for manifests. */
  producerSnapshot(): string {
    const durable = this.appender.durableEnd;
    const producers = encodeProducers(this.state.producers.snapshot(durable));
    return JSON.stringify({ format: 2, producers });
  }

  /** For manifests: aborted transactions with offsets in [from, to) that are not archived yet.
   * Rejects with a BrokerError. */
  async abortedBetween(from: number, to: number): Promise<readonly AbortedTransaction[]> {
    return this.state.aborted.overlapping(from, to);
  }

  /** Transactions that are not decided. */
  get openTransactions(): number {
    return this.state.producers.transactions;
  }

  /** Aborted transactions that are neither archived, deleted nor cleaned away. */
  get rememberedAborts(): number {
    return this.state.aborted.size;
  }

  /** Forgets producer ids unseen for `producer.id.expiration.ms`. */
  expireProducers(): number {
    return this.state.producers.expire(this.appender.durableEnd, this.parts.clock.monotonicMs());
  }

  /** Clean stop: waits for what is in flight, checkpoints, closes the log. */
  async close(): Promise<void> {
    if (this.closing) return;
    await this.stop();
    // A partition that nothing was appended to has nothing new to say.
    const isBehind = this.store.isBehind(this.appender.durableEnd);
    if (this.broken === null && isBehind) await this.store.checkpoint();
    await this.store.close();
    await this.parts.wal.closeLog(this.walHandle);
  }

  /** Closes the log of a partition whose files are about to go. */
  async abandon(): Promise<void> {
    if (this.closing) return;
    await this.stop();
    await this.store.close();
    await this.parts.wal.closeLog(this.walHandle);
    this.state.segments.forget();
  }

  private closedFor(): Rejection | null {
    if (this.closing) return rejection(ErrorCode.NOT_LEADER_OR_FOLLOWER, "the partition is closed");
    if (this.broken === null) return null;
    return rejection(ErrorCode.KAFKA_STORAGE_ERROR, this.broken.reason);
  }

  private async stop(): Promise<void> {
    this.closing = true;
    this.gate.close(rejection(ErrorCode.NOT_LEADER_OR_FOLLOWER, "the partition is closed"));
    if (this.appender.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.quiet = resolve;
      });
    }
    this.state.tail.clear();
    this.advances.close();
  }

  private durable(batch: DurableBatch, segmentId: number, position: number): void {
    const { clock } = this.parts;
    const [nowMs, monotonicMs] = [clock.nowMs(), clock.monotonicMs()];
    const { segments } = this.state;
    const rotated = segments.appended(segmentId, position, batch, nowMs, monotonicMs);
    if (rotated) void this.afterRotation();
    if (this.mark.localDurable(batch.last + 1)) this.advanced(batch.bytes);
    this.wakeStop();
  }

  private advanced(bytes: number): void {
    const passed = this.advances.bytes + bytes;
    const stable = this.transactions.settle(passed);
    this.advances.advance(bytes, stable - this.advances.stableBytes);
  }

  private async afterRotation(): Promise<void> {
    try {
      await this.store.rotated();
    } catch (error) {
      this.parts.events.checkpointFailed(this, error);
    }
  }

  private wakeStop(): void {
    if (this.quiet === null || this.appender.inFlight > 0) return;
    this.quiet();
    this.quiet = null;
  }

  private stopFor(damage: Damage): void {
    if (this.broken !== null) return;
    this.broken = damage;
    this.parts.events.damaged(this, damage);
  }

  private createAppender(): Appender {
    const { wal, clock, budget, space, events } = this.parts;
    const { log, tail, producers, epochs, logEnd } = this.state;
    return new Appender(
      {
        wal,
        log,
        clock,
        budget,
        space: this.internal ? null : space,
        tail,
        producers,
        epochs,
        events: {
          logStartOffset: () => this.logStartOffset,
          durable: (batch, segmentId, position) => this.durable(batch, segmentId, position),
          rolledBack: (error) => {
            events.rolledBack(this, error);
            this.wakeStop();
          },
          broken: (reason) => {
            this.stopFor({ file: this.dir, position: 0, reason });
            this.wakeStop();
          },
        },
      },
      logEnd,
    );
  }

  private createReader(): PartitionReader {
    const { wal, cold, clock, reads, coldPace } = this.parts;
    return new PartitionReader({
      ...{ topicId: this.topicId, partition: this.index, log: this.walHandle },
      ...{ wal, cold, clock, reads, coldPace },
      tail: this.state.tail,
      view: () => ({
        logStartOffset: this.logStartOffset,
        logEndOffset: this.logEndOffset,
        walStart: this.state.segments.start,
      }),
      unreadable: (offset, error) => this.parts.events.unreadable(this, offset, error),
    });
  }

  private createStore(): PartitionStore {
    const { wal, files, limits, events } = this.parts;
    const { topicId, index, dir, log, segments, epochs, producers } = this.state;
    const { aborted, logStart, stored } = this.state;
    return new PartitionStore(
      {
        topicId,
        partition: index,
        dir,
        log,
        wal,
        files,
        segments,
        aborted,
        abortedSealMin: 4 * limits.abortedSpillMin,
        failed: (error) => events.checkpointFailed(this, error),
        state: () => {
          const logEnd = this.appender.durableEnd;
          return { logEnd, epochs: epochs.toArray(), producers: producers.snapshot(logEnd) };
        },
      },
      logStart,
      stored,
    );
  }
}
