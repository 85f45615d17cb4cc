import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { ShareConfig } from "./config.ts";
import type { StateLog, StateRecord } from "./ports.ts";
import {
  decodeRecord,
  encodeSnapshot,
  encodeUpdate,
  type ShareKey,
  type ShareState,
  stateKey,
} from "./records.ts";
import { mergeStateBatches, type StateBatch } from "./state-batches.ts";

export interface StateWrite {
  readonly stateEpoch: number;
  readonly leaderEpoch: number;
  readonly startOffset: number;
  readonly deliveryCompleteCount: number;
  readonly stateBatches: readonly StateBatch[];
}

/** What all shards share. */
export interface StateShardContext {
  readonly config: ShareConfig;
  readonly clock: Clock;
  readonly onProblem: (error: BrokerError) => void;
  /** Share partitions whose state is held by all shards. */
  readonly usage: { states: number };
}

interface Waiting {
  readonly write: StateWrite;
  readonly done: (errorCode: number) => void;
}

interface Entry {
  readonly key: ShareKey;
  state: ShareState;
  /** Writes of an older epoch are refused; ahead of `state` while a new one is being written. */
  epochMin: number;
  /** Update records since the newest snapshot. */
  updates: number;
  /** Where the newest snapshot lies; nothing before it is needed. */
  snapshotOffset: number;
  /** One write is under way; what comes meanwhile goes out together. */
  isWriting: boolean;
  waiting: Waiting[];
}

/** After a failed load, how long requests are refused before the next attempt. */
const loadRetryDelayMs = 1_000;
const recordsPerBatchMax = 500;
/** A snapshot further back than this keeps the log from being cut, and is written anew. */
const coldRecords = 1_000;

/** The share states of one `__share_group_state` partition. */
export class StateShard {
  private readonly partition: number;
  private readonly context: StateShardContext;
  private readonly openLog: () => Promise<StateLog>;
  private readonly entries = new Map<string, Entry>();
  private log: StateLog | null = null;
  private loading: Promise<void> | null = null;
  private retryLoadAtMs = Number.NEGATIVE_INFINITY;

  constructor(partition: number, context: StateShardContext, openLog: () => Promise<StateLog>) {
    this.partition = partition;
    this.context = context;
    this.openLog = openLog;
  }

  /** Loads the partition if that has not been done; the ErrorCode to answer with otherwise. */
  async becomeReady(): Promise<number> {
    if (this.log !== null) return ErrorCode.NONE;
    if (this.loading === null) {
      const isTooSoon = this.context.clock.monotonicMs() < this.retryLoadAtMs;
      if (isTooSoon) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
      this.loading = this.load().finally(() => {
        this.loading = null;
      });
    }
    await this.loading;
    return this.log === null ? ErrorCode.COORDINATOR_NOT_AVAILABLE : ErrorCode.NONE;
  }

  find(key: ShareKey): ShareState | null {
    return this.entries.get(stateKey(key))?.state ?? null;
  }

  keys(): ShareKey[] {
    return [...this.entries.values()].map(({ key }) => key);
  }

  /** Begins states anew; resolves with an ErrorCode once they are durable. */
  async initialize(
    inits: readonly { readonly key: ShareKey; readonly epoch: number; readonly start: number }[],
  ): Promise<number> {
    const nowMs = this.context.clock.nowMs();
    const added = inits.filter(({ key }) => !this.entries.has(stateKey(key))).length;
    if (this.context.usage.states + added > this.context.config.sharePartitionsMax) {
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    }
    // Until they are durable the new ones only count.
    this.context.usage.states += added;
    const fresh = inits.map(({ key, epoch, start }) => {
      const before = this.entries.get(stateKey(key));
      // Whoever read the state that was before is not to write into the new one.
      const stateEpoch =
        before === undefined ? epoch : Math.max(epoch, before.state.stateEpoch + 1);
      if (before !== undefined) before.epochMin = stateEpoch;
      return { key, state: freshState(before?.state ?? null, stateEpoch, start, nowMs) };
    });
    const records = fresh.map(({ key, state }) => encodeSnapshot(key, state, nowMs));
    const errorCode = await this.append(records, (index, offset) => {
      const one = fresh[index];
      assert(one !== undefined, "one record a state");
      this.put(one.key, one.state, offset);
    });
    this.context.usage.states -= added;
    if (errorCode !== ErrorCode.NONE) this.restoreEpochs(fresh);
    return errorCode;
  }

  /** Forgets states; resolves with an ErrorCode once that is durable. */
  async remove(keys: readonly ShareKey[]): Promise<number> {
    const gone = keys.filter((key) => this.entries.has(stateKey(key)));
    const nowMs = this.context.clock.nowMs();
    const records = gone.map((key) => encodeSnapshot(key, null, nowMs));
    for (const key of gone) {
      const entry = this.entries.get(stateKey(key));
      // Nothing is to be written behind the deletion.
      if (entry !== undefined) entry.epochMin = Number.POSITIVE_INFINITY;
    }
    const errorCode = await this.append(records, (index) => {
      const key = gone[index];
      if (key !== undefined && this.entries.delete(stateKey(key))) this.context.usage.states--;
    });
    if (errorCode !== ErrorCode.NONE) this.restoreEpochs(gone.map((key) => ({ key })));
    return errorCode;
  }

  /** Resolves with an ErrorCode once the change is durable. */
  write(key: ShareKey, write: StateWrite): Promise<number> {
    const entry = this.entries.get(stateKey(key));
    if (entry === undefined) return Promise.resolve(ErrorCode.INVALID_REQUEST);
    return new Promise((done) => {
      entry.waiting.push({ write, done });
      if (!entry.isWriting) void this.pump(entry);
    });
  }

  /** Cuts off the part of the log that nothing depends on, see Kafka's state topic pruning. */
  async prune(): Promise<void> {
    const { log } = this;
    if (log === null) return;
    const border = log.endOffset - coldRecords;
    const cold = [...this.entries.values()].filter((one) => one.snapshotOffset < border);
    for (const entry of cold) await this.snapshot(entry);
    let needed = log.endOffset;
    for (const { snapshotOffset } of this.entries.values()) {
      needed = Math.min(needed, snapshotOffset);
    }
    if (needed - log.startOffset < coldRecords) return;
    const errorCode = await log.deleteBefore(needed);
    if (errorCode !== ErrorCode.NONE) {
      this.problem("CHRONIK_SHARE_PRUNE_FAILED", "cannot cut", errorCode);
    }
  }

  private async snapshot(entry: Entry): Promise<void> {
    // What is being written is followed by what waits, and neither may be overtaken.
    if (entry.isWriting || entry.waiting.length > 0) return;
    // Begun anew or deleted a moment ago: that record is behind the newest one we know of.
    if (entry.epochMin > entry.state.stateEpoch) return;
    entry.isWriting = true;
    const nowMs = this.context.clock.nowMs();
    const snapshotEpoch = entry.state.snapshotEpoch + 1;
    const state = { ...entry.state, snapshotEpoch, writeTimestampMs: nowMs };
    const record = encodeSnapshot(entry.key, state, nowMs);
    await this.append([record], (_index, offset) => this.settle(entry, state, offset));
    entry.isWriting = false;
    if (entry.waiting.length > 0) void this.pump(entry);
  }

  /** Writes all that waits as one record, and again, until nothing waits. */
  private async pump(entry: Entry): Promise<void> {
    entry.isWriting = true;
    while (entry.waiting.length > 0) {
      const all = entry.waiting;
      entry.waiting = [];
      const fenced = all.filter(({ write }) => write.stateEpoch < entry.epochMin);
      for (const { done } of fenced) done(ErrorCode.FENCED_STATE_EPOCH);
      const writes = all.filter(({ write }) => write.stateEpoch >= entry.epochMin);
      if (writes.length === 0) continue;
      const errorCode = await this.writeTogether(
        entry,
        writes.map(({ write }) => write),
      );
      for (const { done } of writes) done(errorCode);
    }
    entry.isWriting = false;
  }

  private writeTogether(entry: Entry, writes: readonly StateWrite[]): Promise<number> {
    const last = writes.at(-1);
    assert(last !== undefined, "there is something to write");
    const startOffset = writes.reduce((most, one) => Math.max(most, one.startOffset), -1);
    const changes = writes.flatMap(({ stateBatches }) => stateBatches);
    const { leaderEpoch, deliveryCompleteCount } = last;
    const nowMs = this.context.clock.nowMs();
    const marks = { leaderEpoch, deliveryCompleteCount, startOffset };
    const next: ShareState = {
      ...entry.state,
      ...marks,
      stateBatches: mergeStateBatches(entry.state.stateBatches, changes, startOffset),
    };
    if (entry.updates >= this.context.config.updatesPerSnapshot) {
      const snapshotEpoch = entry.state.snapshotEpoch + 1;
      const times = { createTimestampMs: nowMs, writeTimestampMs: nowMs };
      const state = { ...next, ...times, snapshotEpoch };
      const record = encodeSnapshot(entry.key, state, nowMs);
      return this.append([record], (_index, offset) => this.settle(entry, state, offset));
    }
    const stateBatches = mergeStateBatches([], changes, startOffset);
    const { snapshotEpoch } = entry.state;
    const update = { ...marks, snapshotEpoch, stateBatches };
    return this.append([encodeUpdate(entry.key, update, nowMs)], () => {
      // Begun anew meanwhile: the newer snapshot lies behind this record.
      entry.state = next;
      entry.updates++;
    });
  }

  private settle(entry: Entry, state: ShareState, snapshotOffset: number): void {
    entry.state = state;
    entry.updates = 0;
    entry.snapshotOffset = snapshotOffset;
  }

  private put(key: ShareKey, state: ShareState, offset: number): void {
    const before = this.entries.get(stateKey(key));
    if (before !== undefined) {
      before.epochMin = state.stateEpoch;
      this.settle(before, state, offset);
      return;
    }
    this.context.usage.states++;
    const counts = { epochMin: state.stateEpoch, updates: 0, snapshotOffset: offset };
    const entry: Entry = { key, state, ...counts, isWriting: false, waiting: [] };
    this.entries.set(stateKey(key), entry);
  }

  private restoreEpochs(refused: readonly { readonly key: ShareKey }[]): void {
    for (const { key } of refused) {
      const entry = this.entries.get(stateKey(key));
      if (entry !== undefined) entry.epochMin = entry.state.stateEpoch;
    }
  }

  /** `applied` runs for each record, in order, once its batch is durable. */
  private async append(
    records: readonly StateRecord[],
    applied: (index: number, offset: number) => void,
  ): Promise<number> {
    const { log } = this;
    assert(log !== null, "only a loaded shard writes");
    for (let from = 0; from < records.length; from += recordsPerBatchMax) {
      const batch = records.slice(from, from + recordsPerBatchMax);
      const { errorCode, baseOffset } = await log.append(batch);
      if (errorCode !== ErrorCode.NONE) {
        this.problem("CHRONIK_SHARE_WRITE_FAILED", "cannot write to", errorCode);
        return ErrorCode.COORDINATOR_NOT_AVAILABLE;
      }
      for (const index of batch.keys()) applied(from + index, baseOffset + index);
    }
    return ErrorCode.NONE;
  }

  private async load(): Promise<void> {
    try {
      const log = await this.openLog();
      this.entries.clear();
      await log.replay((key, value, offset) => this.replayed(key, value, offset));
      this.log = log;
      this.context.usage.states += this.entries.size;
    } catch (error) {
      this.retryLoadAtMs = this.context.clock.monotonicMs() + loadRetryDelayMs;
      this.context.onProblem(
        new BrokerError(
          "CHRONIK_SHARE_LOAD_FAILED",
          `cannot load share groups from __share_group_state-${this.partition}: ` +
            errorText(error),
          { cause: error },
        ),
      );
    }
  }

  private replayed(keyBytes: Uint8Array, value: Uint8Array | null, offset: number): void {
    const record = decodeRecord(keyBytes, value);
    if (record.kind === "other") return;
    const name = stateKey(record.key);
    const entry = this.entries.get(name);
    if (record.kind === "update") {
      // Without a snapshot before it, it belongs to a state whose deletion follows.
      if (entry === undefined) return;
      const { snapshotEpoch: _epoch, stateBatches, ...marks } = record.update;
      const startOffset = marks.startOffset === -1 ? entry.state.startOffset : marks.startOffset;
      const merged = mergeStateBatches(entry.state.stateBatches, stateBatches, startOffset);
      entry.state = { ...entry.state, ...marks, startOffset, stateBatches: merged };
      entry.updates++;
      return;
    }
    const { key, state } = record;
    this.entries.delete(name);
    if (state === null) return;
    const counts = { epochMin: state.stateEpoch, updates: 0, snapshotOffset: offset };
    this.entries.set(name, { key, state, ...counts, isWriting: false, waiting: [] });
  }

  private problem(code: `CHRONIK_${string}`, what: string, errorCode: number): void {
    const text = `${what} __share_group_state-${this.partition}: error ${errorCode}`;
    this.context.onProblem(new BrokerError(code, text));
  }
}

function freshState(
  before: ShareState | null,
  stateEpoch: number,
  startOffset: number,
  nowMs: number,
): ShareState {
  return {
    snapshotEpoch: before === null ? 0 : before.snapshotEpoch + 1,
    stateEpoch,
    leaderEpoch: -1,
    startOffset,
    deliveryCompleteCount: startOffset === -1 ? -1 : 0,
    createTimestampMs: nowMs,
    writeTimestampMs: nowMs,
    stateBatches: [],
  };
}
