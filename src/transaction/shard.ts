import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { TransactionConfig } from "./config.ts";
import type { StateLog, StateRecord } from "./ports.ts";
import { decodeState, encodeState } from "./records.ts";
import { Transaction } from "./transaction.ts";
import type { TransactionData, TransactionVersion } from "./transaction-types.ts";

/** What all shards of the coordinator share. */
export interface ShardContext {
  readonly config: TransactionConfig;
  readonly clock: Clock;
  readonly onProblem: (error: BrokerError) => void;
  /** The level of the feature transaction.version. */
  readonly transactionVersion: () => TransactionVersion;
  /** Transactional ids and bytes held by all shards, and transactions that are `Ongoing`. */
  readonly usage: { ids: number; bytes: number; ongoing: number };
}

/** One transactional id as the shard keeps it. */
export interface IdEntry {
  readonly id: string;
  readonly transaction: Transaction;
  countedBytes: number;
  countedOngoing: number;
  /** Called, once each, when no change is under way any more. */
  readonly waiting: Set<() => void>;
}

/** After a failed load, how long requests are refused before the next attempt. */
const loadRetryDelayMs = 1_000;
const stateTopic = "__transaction_state";

/** The transactional ids of one partition of `__transaction_state`. */
export class TransactionShard {
  readonly partition: number;
  private readonly context: ShardContext;
  private readonly openLog: () => Promise<StateLog>;
  private status: "unloaded" | "loading" | "ready" | "closed" = "unloaded";
  private retryLoadAtMs: number | null = null;
  private log: StateLog | null = null;
  private readonly entries = new Map<string, IdEntry>();

  constructor(partition: number, context: ShardContext, openLog: () => Promise<StateLog>) {
    this.partition = partition;
    this.context = context;
    this.openLog = openLog;
  }

  get isReady(): boolean {
    return this.status === "ready";
  }

  get isLoading(): boolean {
    return this.status === "loading";
  }

  get isClosed(): boolean {
    return this.status === "closed";
  }

  /** Its ids exist and cannot be read. */
  get hasFailed(): boolean {
    return this.status === "unloaded" && this.retryLoadAtMs !== null;
  }

  /** Goes into markers. */
  get coordinatorEpoch(): number {
    assert(this.log !== null, "only a loaded shard writes markers");
    return this.log.leaderEpoch;
  }

  /** Loads the partition if that has not been done; the ErrorCode to answer with otherwise.
   * `onLoaded` runs once, before anything else can happen to what was loaded. */
  async becomeReady(onLoaded: (entry: IdEntry) => void): Promise<number> {
    if (this.status === "ready") return ErrorCode.NONE;
    if (this.status === "loading") return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    const retryAtMs = this.retryLoadAtMs ?? Number.NEGATIVE_INFINITY;
    const isTooSoon = this.context.clock.monotonicMs() < retryAtMs;
    if (this.status === "closed" || isTooSoon) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    await this.load();
    if (!this.isReady) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    for (const entry of [...this.entries.values()]) onLoaded(entry);
    return ErrorCode.NONE;
  }

  close(): void {
    this.status = "closed";
    for (const entry of this.entries.values()) this.wake(entry);
  }

  all(): IterableIterator<IdEntry> {
    return this.entries.values();
  }

  find(id: string): IdEntry | null {
    return this.entries.get(id) ?? null;
  }

  /** null when the coordinator holds as much as it may. */
  create(id: string, data: TransactionData): IdEntry | null {
    const { usage, config } = this.context;
    const isFull =
      usage.ids >= config.idsMax || usage.bytes + bytesOf(id, data) > config.stateBytesMax;
    return isFull ? null : this.register(id, data);
  }

  /** Has the coordinator room for a change to what the entry holds? */
  hasRoomFor(entry: IdEntry, next: TransactionData): boolean {
    const more = bytesOf(entry.id, next) - entry.countedBytes;
    return more <= 0 || this.context.usage.bytes + more <= this.context.config.stateBytesMax;
  }

  /** Forgets an id nothing was ever written of. */
  dropIfVacant(entry: IdEntry): void {
    const { pending, data } = entry.transaction;
    if (pending === null && data.producerEpoch < 0) this.forget(entry);
  }

  /**
   * Writes the prepared change; resolves, when it is durable and in force, or refused and taken
   * back, with the log's ErrorCode. `keepPending`: a refused change stays pending.
   */
  async write(entry: IdEntry, next: TransactionData, keepPending = false): Promise<number> {
    const { clock, transactionVersion } = this.context;
    const record = encodeState(entry.id, next, transactionVersion(), clock.nowMs());
    const errorCode = await this.append([record]);
    if (errorCode === ErrorCode.NONE) {
      entry.transaction.complete(next);
      this.account(entry);
    } else if (!keepPending) {
      entry.transaction.cancel();
    }
    this.wake(entry);
    return errorCode;
  }

  /** Writes tombstones for ids whose end is prepared; those then are forgotten. */
  async bury(entries: readonly IdEntry[]): Promise<number> {
    const { clock, transactionVersion } = this.context;
    const nowMs = clock.nowMs();
    const records = entries.map(({ id }) => encodeState(id, null, transactionVersion(), nowMs));
    const errorCode = await this.append(records);
    for (const entry of entries) {
      if (errorCode === ErrorCode.NONE) this.forget(entry);
      else entry.transaction.cancel();
      this.wake(entry);
    }
    return errorCode;
  }

  private forget(entry: IdEntry): void {
    if (this.entries.get(entry.id) !== entry) return;
    this.entries.delete(entry.id);
    this.context.usage.ids--;
    this.count(entry, 0, 0);
  }

  private account(entry: IdEntry): void {
    if (this.entries.get(entry.id) !== entry) return;
    const { data } = entry.transaction;
    this.count(entry, bytesOf(entry.id, data), data.state === "Ongoing" ? 1 : 0);
  }

  private count(entry: IdEntry, bytes: number, ongoing: number): void {
    const { usage } = this.context;
    usage.bytes += bytes - entry.countedBytes;
    usage.ongoing += ongoing - entry.countedOngoing;
    entry.countedBytes = bytes;
    entry.countedOngoing = ongoing;
  }

  private wake(entry: IdEntry): void {
    const waiting = [...entry.waiting];
    entry.waiting.clear();
    for (const resume of waiting) resume();
  }

  private async append(records: readonly StateRecord[]): Promise<number> {
    assert(this.log !== null, "only a loaded shard writes");
    try {
      return (await this.log.append(records)).errorCode;
    } catch (error) {
      const text = `cannot write to ${stateTopic}-${this.partition}: ${errorText(error)}`;
      this.context.onProblem(
        new BrokerError("CHRONIK_TRANSACTION_WRITE_FAILED", text, { cause: error }),
      );
      return ErrorCode.KAFKA_STORAGE_ERROR;
    }
  }

  private async load(): Promise<void> {
    this.status = "loading";
    const found = new Map<string, TransactionData>();
    try {
      const log = await this.openLog();
      await log.replay((key, value) => {
        const record = decodeState(key, value);
        if (record.kind === "unknown") return;
        if (record.data === null) found.delete(record.id);
        else found.set(record.id, record.data);
      });
      this.log = log;
    } catch (error) {
      this.retryLoadAtMs = this.context.clock.monotonicMs() + loadRetryDelayMs;
      if (!this.isClosed) this.status = "unloaded";
      const text = `cannot load transactions from ${stateTopic}-${this.partition}: `;
      this.context.onProblem(
        new BrokerError("CHRONIK_TRANSACTION_LOAD_FAILED", text + errorText(error), {
          cause: error,
        }),
      );
      return;
    }
    if (this.isClosed) return;
    this.status = "ready";
    this.retryLoadAtMs = null;
    // What is stored is taken over whatever the limits say: it must be completed.
    for (const [id, data] of found) this.register(id, data);
  }

  private register(id: string, data: TransactionData): IdEntry {
    const transaction = new Transaction(data);
    const counted = { countedBytes: 0, countedOngoing: 0 };
    const entry: IdEntry = { id, transaction, ...counted, waiting: new Set() };
    this.entries.set(id, entry);
    this.context.usage.ids++;
    this.account(entry);
    return entry;
  }
}

function bytesOf(id: string, data: TransactionData): number {
  const entryBytes = 400;
  const topicBytes = 160;
  const partitionBytes = 32;
  let bytes = entryBytes + 2 * id.length;
  for (const [topic, partitions] of data.partitions) {
    bytes += topicBytes + 2 * topic.length + partitionBytes * partitions.size;
  }
  return bytes;
}
