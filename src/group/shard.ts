import { assert } from "../lib/assert.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { ClassicDriver } from "./classic-driver.ts";
import { type Entry, isClassic, type ShardContext } from "./entry.ts";
import { ClassicGroup } from "./group.ts";
import type { Group, RecordGroup } from "./group-kinds.ts";
import { GroupOffsets } from "./offsets.ts";
import { OpenTransactions } from "./open-transactions.ts";
import type { OffsetsLog, OffsetsRecord, TransactionalWriter, TransactionMarker } from "./ports.ts";
import { RecordDriver } from "./record-driver.ts";
import { GroupReplay, type ReplayedGroup } from "./replay.ts";
import { TimerTable } from "./timer-table.ts";

/** After a failed load, how long requests are refused before the next attempt. */
const loadRetryDelayMs = 1_000;

/**
 * The groups of one `__consumer_offsets` partition. Steps of a group never overlap: they run in one
 * go, and what must wait for the log goes on in the order of the log.
 */
export class GroupShard {
  readonly partition: number;
  /** Steps of classic groups. */
  readonly classic: ClassicDriver;
  /** Steps of consumer groups (KIP-848) and share groups. */
  readonly records: RecordDriver;
  /** Groups with offsets in open transactions. */
  readonly transactions = new OpenTransactions();
  private readonly context: ShardContext;
  private readonly openLog: () => Promise<OffsetsLog>;
  private status: "unloaded" | "loading" | "ready" | "closed" = "unloaded";
  /** When the last attempt to load failed: before this moment there is no other. */
  private retryLoadAtMs: number | null = null;
  private log: OffsetsLog | null = null;
  private readonly entries = new Map<string, Entry>();
  /** Settled when every write so far has had its effect. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(partition: number, context: ShardContext, openLog: () => Promise<OffsetsLog>) {
    this.partition = partition;
    this.context = context;
    this.openLog = openLog;
    this.classic = new ClassicDriver(this, context);
    this.records = new RecordDriver(this, context, this.classic);
  }

  get isReady(): boolean {
    return this.status === "ready";
  }

  get isLoading(): boolean {
    return this.status === "loading";
  }

  /** Its groups exist and cannot be read. */
  get hasFailed(): boolean {
    return this.status === "unloaded" && this.retryLoadAtMs !== null;
  }

  /** Loads the partition if that has not been done; the ErrorCode to answer with otherwise. */
  async becomeReady(): Promise<number> {
    if (this.status === "ready") return ErrorCode.NONE;
    if (this.status === "loading") return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    const retryAtMs = this.retryLoadAtMs ?? Number.NEGATIVE_INFINITY;
    const isTooSoon = this.context.clock.monotonicMs() < retryAtMs;
    if (this.status === "closed" || isTooSoon) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    await this.load();
    return this.isReady ? ErrorCode.NONE : ErrorCode.COORDINATOR_NOT_AVAILABLE;
  }

  /** Gives all groups up: parked requests are answered with NOT_COORDINATOR. */
  close(): void {
    this.records.close();
    for (const entry of [...this.entries.values()]) {
      if (isClassic(entry)) this.classic.step(entry, { kind: "unload" });
      this.forget(entry);
    }
    this.status = "closed";
  }

  /** Bytes of records that are best not exceeded in one batch. */
  get batchBytesMax(): number {
    const { batchBytesMax } = this.context.config;
    return Math.min(batchBytesMax, this.log?.batchBytesMax ?? batchBytesMax);
  }

  /** Is it the group of its name, not one that was forgotten? */
  isListed(entry: Entry): boolean {
    return this.entries.get(entry.groupId) === entry;
  }

  /** Resolves when all writes so far have had their effect. */
  async drained(): Promise<void> {
    await this.tail;
  }

  all(): IterableIterator<Entry> {
    return this.entries.values();
  }

  find(groupId: string): Entry | null {
    return this.entries.get(groupId) ?? null;
  }

  /** A new, empty group, classic unless another is given; null when there are too many. */
  create(groupId: string, group?: RecordGroup): Entry | null {
    if (this.context.usage.groups >= this.context.config.groupsMax) return null;
    const { config, clock } = this.context;
    const created = group ?? new ClassicGroup(groupId, config, clock.nowMs());
    return this.register(created, new GroupOffsets());
  }

  /** Forgets the group if nothing is known about it. */
  dropIfVacant(entry: Entry): void {
    const isBusy = this.records.isBusy(entry) || entry.isDeleting;
    if (this.isListed(entry) && !isBusy && entry.group.isVacant && entry.offsets.isEmpty)
      this.forget(entry);
  }

  forget(entry: Entry): void {
    entry.timers.cancelAll();
    this.transactions.forget(entry);
    if (!this.isListed(entry)) return;
    this.entries.delete(entry.groupId);
    this.context.usage.groups--;
    this.context.usage.bytes -= entry.countedBytes;
    entry.countedBytes = 0;
  }

  /**
   * Writes one batch. `done` runs with the outcome when it is durable (or refused), after the
   * `done` of every earlier write. Resolves with the append's ErrorCode.
   */
  write(
    records: readonly OffsetsRecord[],
    done: (errorCode: number) => void,
    writer?: TransactionalWriter,
  ): Promise<number> {
    return this.inOrder(this.append(records, writer), done);
  }

  /** Ends a producer's transaction: its offsets count, or are gone, once the marker is durable. */
  writeMarker(marker: TransactionMarker): Promise<number> {
    const { producerId, commit } = marker;
    return this.inOrder(this.append([], undefined, marker), (errorCode) => {
      if (errorCode !== ErrorCode.NONE) return;
      for (const entry of this.transactions.ended(producerId)) {
        entry.offsets.endTransaction(producerId, commit);
        this.account(entry);
        this.dropIfVacant(entry);
      }
    });
  }

  /** Brings the shared byte count up to date after a change to the entry. */
  account(entry: Entry): void {
    if (!this.isListed(entry)) return;
    const bytes = entry.group.sizeBytes + entry.offsets.sizeBytes;
    this.context.usage.bytes += bytes - entry.countedBytes;
    entry.countedBytes = bytes;
  }

  private inOrder(appended: Promise<number>, done: (errorCode: number) => void): Promise<number> {
    const written = this.tail.then(async () => {
      const errorCode = await appended;
      done(errorCode);
      return errorCode;
    });
    this.tail = written;
    return written;
  }

  private async append(
    records: readonly OffsetsRecord[],
    writer?: TransactionalWriter,
    marker?: TransactionMarker,
  ): Promise<number> {
    const { log } = this;
    assert(log !== null, "only a loaded shard writes");
    try {
      const appended =
        marker === undefined ? log.append(records, writer) : log.appendMarker(marker);
      return (await appended).errorCode;
    } catch (error) {
      this.context.onProblem(
        new BrokerError(
          "CHRONIK_GROUP_WRITE_FAILED",
          `cannot write to __consumer_offsets-${this.partition}: ${errorText(error)}`,
          { cause: error },
        ),
      );
      return ErrorCode.KAFKA_STORAGE_ERROR;
    }
  }

  private async load(): Promise<void> {
    this.status = "loading";
    const replay = new GroupReplay();
    try {
      this.log = await this.openLog();
      await this.log.replay(replay);
    } catch (error) {
      this.retryLoadAtMs = this.context.clock.monotonicMs() + loadRetryDelayMs;
      this.setLoaded("unloaded");
      this.context.onProblem(
        new BrokerError(
          "CHRONIK_GROUP_LOAD_FAILED",
          `cannot load groups from __consumer_offsets-${this.partition}: ${errorText(error)}`,
          { cause: error },
        ),
      );
      return;
    }
    if (!this.setLoaded("ready")) return;
    this.retryLoadAtMs = null;
    for (const found of replay.groups()) this.restore(found);
  }

  /** False when the shard was closed while it loaded. */
  private setLoaded(status: "ready" | "unloaded"): boolean {
    if (this.status === "closed") return false;
    this.status = status;
    return true;
  }

  private restore({ groupId, snapshot, group, offsets }: ReplayedGroup): void {
    const { config, clock } = this.context;
    if (group !== null) {
      this.records.restartTimers(this.register(group, offsets));
      return;
    }
    const nowMs = clock.nowMs();
    const classic =
      snapshot === null
        ? new ClassicGroup(groupId, config, nowMs)
        : ClassicGroup.restore(groupId, config, snapshot, nowMs);
    const entry = this.register(classic, offsets);
    if (isClassic(entry)) this.classic.step(entry, { kind: "loaded" });
  }

  private register(group: Group, offsets: GroupOffsets): Entry {
    const { groupId } = group;
    const timers = new TimerTable(this.context.clock, (timer) => {
      if (!isClassic(entry)) this.records.onTimer(entry, timer);
      else if (timers.take(timer)) this.classic.step(entry, { kind: "timer", timer });
      this.dropIfVacant(entry);
    });
    const entry: Entry = { groupId, group, offsets, timers, isDeleting: false, countedBytes: 0 };
    this.entries.set(groupId, entry);
    this.context.usage.groups++;
    for (const producerId of offsets.transactionalProducers()) {
      this.transactions.opened(producerId, entry);
    }
    this.account(entry);
    return entry;
  }
}
