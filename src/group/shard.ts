import { assert } from "../lib/assert.ts";
import type { Clock } from "../lib/clock.ts";
import { BrokerError, errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { GroupConfig } from "./config.ts";
import { ClassicGroup } from "./group.ts";
import type { GroupEffect, GroupEvent, GroupSnapshot, RequestToken } from "./group-types.ts";
import { GroupOffsets } from "./offsets.ts";
import type { OffsetsLog, OffsetsRecord } from "./ports.ts";
import { decodeRecord, encodeGroup } from "./records.ts";
import { TimerTable } from "./timer-table.ts";

/** What all shards of a coordinator share. */
export interface ShardContext {
  readonly config: GroupConfig;
  readonly clock: Clock;
  readonly onProblem: (error: BrokerError) => void;
  /** Groups and bytes held by all shards. */
  readonly usage: { groups: number; bytes: number };
}

/** One group as the shard keeps it. */
export interface Entry {
  readonly groupId: string;
  readonly group: ClassicGroup;
  readonly offsets: GroupOffsets;
  readonly timers: TimerTable;
  /** Its deletion is being written: whoever asks is to come back. */
  isDeleting: boolean;
  countedBytes: number;
}

type Answer = Extract<GroupEffect, { readonly request: RequestToken }>;
type AnswerKind = Answer["kind"];

/** After a failed load, how long requests are refused before the next attempt. */
const loadRetryDelayMs = 1_000;

/**
 * The groups of one `__consumer_offsets` partition. Steps of a group never overlap: they run in one
 * go, and what must wait for the log goes on in the order of the log.
 */
export class GroupShard {
  readonly partition: number;
  private readonly context: ShardContext;
  private readonly openLog: () => Promise<OffsetsLog>;
  private status: "unloaded" | "loading" | "ready" | "closed" = "unloaded";
  /** When the last attempt to load failed: before this moment there is no other. */
  private retryLoadAtMs: number | null = null;
  private log: OffsetsLog | null = null;
  private readonly entries = new Map<string, Entry>();
  private readonly waiting = new Map<RequestToken, (answer: Answer) => void>();
  private nextToken: RequestToken = 1;
  /** Settled when every write so far has had its effect. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(partition: number, context: ShardContext, openLog: () => Promise<OffsetsLog>) {
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
    for (const entry of [...this.entries.values()]) {
      this.step(entry, { kind: "unload" });
      this.forget(entry);
    }
    this.status = "closed";
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

  /** A new, empty group; null when the coordinator holds as many as it may. */
  create(groupId: string): Entry | null {
    if (this.context.usage.groups >= this.context.config.groupsMax) return null;
    const { config, clock } = this.context;
    return this.register(new ClassicGroup(groupId, config, clock.nowMs()), new GroupOffsets());
  }

  /** Forgets the group if nothing is known about it. */
  dropIfVacant(entry: Entry): void {
    const isListed = this.entries.get(entry.groupId) === entry;
    if (isListed && entry.group.isVacant && entry.offsets.isEmpty) this.forget(entry);
  }

  forget(entry: Entry): void {
    entry.timers.cancelAll();
    if (this.entries.get(entry.groupId) !== entry) return;
    this.entries.delete(entry.groupId);
    this.context.usage.groups--;
    this.context.usage.bytes -= entry.countedBytes;
    entry.countedBytes = 0;
  }

  /** Gives the group an event with a request in it; resolves with the group's answer. */
  ask<Kind extends AnswerKind>(
    entry: Entry,
    kind: Kind,
    event: (request: RequestToken) => GroupEvent,
  ): Promise<Extract<Answer, { readonly kind: Kind }>> {
    return new Promise((resolve) => {
      const token = this.nextToken++;
      this.waiting.set(token, (answer) => {
        assert(isKind(answer, kind), `asked for ${kind}, got ${answer.kind}`);
        resolve(answer);
      });
      this.step(entry, event(token));
    });
  }

  /** May the member commit now? Answered at once, and keeps its session alive. */
  checkCommit(
    entry: Entry,
    member: { memberId: string; groupInstanceId: string | null; generationId: number },
  ): number {
    const token = this.nextToken++;
    let errorCode: number | null = null;
    this.waiting.set(token, (answer) => {
      if (answer.kind === "respondCommit") errorCode = answer.errorCode;
    });
    this.step(entry, { kind: "commit", request: token, ...member });
    assert(errorCode !== null, "a commit check is answered at once");
    return errorCode;
  }

  /**
   * Writes one batch. `done` runs with the outcome when it is durable (or refused), after the
   * `done` of every earlier write. Resolves with the append's ErrorCode.
   */
  write(records: readonly OffsetsRecord[], done: (errorCode: number) => void): Promise<number> {
    const appended = this.append(records);
    const written = this.tail.then(async () => {
      const errorCode = await appended;
      done(errorCode);
      return errorCode;
    });
    this.tail = written;
    return written;
  }

  /** Brings the shared byte count up to date after a change to the entry. */
  account(entry: Entry): void {
    if (this.entries.get(entry.groupId) !== entry) return;
    const bytes = entry.group.state.sizeBytes + entry.offsets.sizeBytes;
    this.context.usage.bytes += bytes - entry.countedBytes;
    entry.countedBytes = bytes;
  }

  private step(entry: Entry, event: GroupEvent): void {
    const writes: Promise<number>[] = [];
    for (const effect of entry.group.step(event, this.context.clock.nowMs())) {
      switch (effect.kind) {
        case "setTimer":
          entry.timers.set(effect.timer, effect.delayMs);
          break;
        case "cancelTimer":
          entry.timers.cancel(effect.timer);
          break;
        case "persist":
          writes.push(this.persist(entry, effect.token, effect.snapshot));
          break;
        case "respondLeave":
          this.answerAfter(writes, effect);
          break;
        default:
          this.answer(effect);
      }
    }
    this.account(entry);
  }

  private persist(entry: Entry, token: number, snapshot: GroupSnapshot): Promise<number> {
    const record = encodeGroup(entry.groupId, snapshot, this.context.clock.nowMs());
    return this.write([record], (errorCode) => {
      this.step(entry, { kind: "persisted", token, errorCode });
      this.dropIfVacant(entry);
    });
  }

  private answerAfter(
    writes: readonly Promise<number>[],
    effect: Extract<Answer, { kind: "respondLeave" }>,
  ): void {
    if (writes.length === 0) {
      this.answer(effect);
      return;
    }
    // The member is out either way; a lost write means it may come back at the next start.
    void Promise.all(writes).then(() => this.answer(effect));
  }

  private answer(answer: Answer): void {
    const resolve = this.waiting.get(answer.request);
    assert(resolve !== undefined, `request ${answer.request} was answered before`);
    this.waiting.delete(answer.request);
    resolve(answer);
  }

  private async append(records: readonly OffsetsRecord[]): Promise<number> {
    assert(this.log !== null, "only a loaded shard writes");
    try {
      const { errorCode } = await this.log.append(records);
      return errorCode;
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
    const found = new Map<string, { snapshot: GroupSnapshot | null; offsets: GroupOffsets }>();
    try {
      this.log = await this.openLog();
      await this.log.replay((key, value) => replayRecord(found, key, value));
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
    for (const [groupId, { snapshot, offsets }] of found) {
      if (snapshot === null && offsets.isEmpty) continue;
      this.restore(groupId, snapshot, offsets);
    }
  }

  /** False when the shard was closed while it loaded. */
  private setLoaded(status: "ready" | "unloaded"): boolean {
    if (this.status === "closed") return false;
    this.status = status;
    return true;
  }

  private restore(groupId: string, snapshot: GroupSnapshot | null, offsets: GroupOffsets): void {
    const { config, clock } = this.context;
    const nowMs = clock.nowMs();
    const group =
      snapshot === null
        ? new ClassicGroup(groupId, config, nowMs)
        : ClassicGroup.restore(groupId, config, snapshot, nowMs);
    this.step(this.register(group, offsets), { kind: "loaded" });
  }

  private register(group: ClassicGroup, offsets: GroupOffsets): Entry {
    const { groupId } = group.state;
    const timers = new TimerTable(this.context.clock, (timer) => {
      this.step(entry, { kind: "timer", timer });
      this.dropIfVacant(entry);
    });
    const entry: Entry = { groupId, group, offsets, timers, isDeleting: false, countedBytes: 0 };
    this.entries.set(groupId, entry);
    this.context.usage.groups++;
    return entry;
  }
}

function replayRecord(
  found: Map<string, { snapshot: GroupSnapshot | null; offsets: GroupOffsets }>,
  key: Uint8Array,
  value: Uint8Array | null,
): void {
  const record = decodeRecord(key, value);
  if (record.kind === "other") return;
  const state = found.get(record.groupId) ?? { snapshot: null, offsets: new GroupOffsets() };
  found.set(record.groupId, state);
  if (record.kind === "group") state.snapshot = record.value;
  else state.offsets.apply(record.topic, record.partition, record.value);
}

function isKind<Kind extends AnswerKind>(
  answer: Answer,
  kind: Kind,
): answer is Extract<Answer, { readonly kind: Kind }> {
  return answer.kind === kind;
}
