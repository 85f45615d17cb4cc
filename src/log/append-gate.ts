import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type BatchHeader, parseBatchHeader, recordsPayload } from "../protocol/record-batch.ts";
import { parseRecords } from "../protocol/records.ts";
import type { AppendBudget } from "./append-budget.ts";
import type { Appender, AppendResult } from "./appender.ts";
import {
  type AppendOrigin,
  checkFacts,
  checkHeader,
  checkMany,
  checkRecords,
  checkSize,
  needsRecords,
  type Rejection,
  recompressionOf,
  rejection,
} from "./batch-rules.ts";
import type { LogLimits, PartitionLogConfig, TopicCompression } from "./config.ts";
import type { BatchFacts, RecompressedBatch, Wal } from "./ports.ts";
import type { ProducerMarker } from "./producer-entry.ts";
import type { Turns } from "./turns.ts";
import type { WalSpace } from "./wal-space.ts";

/** Above this a batch is checked on a worker, not on the event loop. */
const inlineBytesMax = 256 << 10;
const compressionMask = 0x07;
const noBytes = new Uint8Array(0);

export interface AppendOptions {
  readonly origin: AppendOrigin;
  /** Called at the moment the sequence is checked and the offset given, after whatever had to be
   * waited for, and not for a retry: an ErrorCode other than 0 rejects the batch. */
  readonly transactionCheck?: () => number;
  /** Of the producer's transactions; from 2 on an unknown producer starts at sequence 0. */
  readonly transactionVersion?: 0 | 1 | 2;
  /** How long the client waits for its answer; 30 s when not given. What finds no room in the WAL
   * waits for a part of that. */
  readonly timeoutMs?: number;
}

const timeoutMsDefault = 30_000;

interface Waiting {
  batch: Uint8Array;
  header: BatchHeader;
  /** What it is compressed to first; null: it is stored as it came. */
  readonly target: TopicCompression | null;
  readonly options: AppendOptions;
  readonly marker: ProducerMarker | null;
  readonly resolve: (result: AppendResult) => void;
  /** Monotonic: until then it may wait for room in the WAL. */
  readonly giveUpMs: number;
  /** Booked for it while it does. */
  heldBytes: number;
  /** Largest timestamp of its records, once known. */
  maxTimestamp: number;
  checked: boolean;
  rejection: Rejection | null;
}

export interface GateParts {
  readonly wal: Wal;
  readonly clock: Clock;
  readonly limits: LogLimits;
  readonly budget: AppendBudget;
  readonly space: WalSpace;
  readonly recompressions: Turns;
  readonly appender: Appender;
  /** Read at the moment of the append. */
  readonly config: () => PartitionLogConfig;
  readonly leaderEpoch: () => number;
}

/**
 * Validation in front of the append path. What can be checked at once goes straight through; a
 * batch that needs a worker (compressed, large, to be compressed anew), memory or room in the WAL
 * waits, and all behind it wait in order, up to a limit; when room is not made in time all of them
 * are refused, so that none goes in front of one its producer sent before. Only markers pass.
 * Bytes of the caller are not used after `append` returned.
 */
export class AppendGate {
  private readonly parts: GateParts;
  private readonly waiting: Waiting[] = [];
  private waitsForMemory = false;
  private waitsForSpace = false;
  /** The oldest batch that waits found no room in the WAL. */
  private isHeld = false;
  private holdTimer: { readonly timer: Timer; readonly atMs: number } | null = null;

  constructor(parts: GateParts) {
    this.parts = parts;
  }

  /** `marker`: what `batch` says, when it is the end of a transaction. */
  append(
    batch: Uint8Array,
    options: AppendOptions,
    marker: ProducerMarker | null = null,
  ): Promise<AppendResult> {
    const { wal, config: configOf, appender } = this.parts;
    const config = configOf();
    const header = checkHeader(batch, config, marker === null ? options.origin : "marker");
    if ("errorCode" in header) return Promise.resolve(appender.rejected(header));
    const compressed = (header.attributes & compressionMask) !== 0;
    // The engine's checks are of what clients may send; the broker built its own batches itself.
    const trusted = options.origin === "coordinator";
    const target = trusted ? null : recompressionOf(header.attributes, config);
    const heavy = compressed || target !== null || batch.length > inlineBytesMax;
    const inWorker = !trusted && heavy;
    let { maxTimestamp } = header;
    if (!inWorker && !trusted) {
      const facts = wal.checkBatch(batch);
      const why = checkFacts(facts) ?? this.checkEach(facts, header, batch);
      if (why !== null) return Promise.resolve(appender.rejected(why));
      maxTimestamp = facts.maxTimestamp;
    }
    return new Promise((resolve) => {
      const checked = !inWorker;
      const fields = { batch, header, target, options, marker, resolve, maxTimestamp };
      const item: Waiting = { ...fields, checked, giveUpMs: 0, heldBytes: 0, rejection: null };
      const direct = checked && (this.waiting.length === 0 || this.mayPass(item));
      if (!direct || this.submit(item) !== "taken") this.park(item);
    });
  }

  /** Fails everything that waits; for a partition that is dropped. */
  close(why: Rejection): void {
    for (const item of this.waiting.splice(0)) this.reject(item, why);
    this.endHold();
  }

  private reject(item: Waiting, why: Rejection): void {
    this.unbook(item);
    item.resolve(this.parts.appender.rejected(why));
  }

  private unbook(item: Waiting): void {
    this.parts.budget.unqueue(item.batch.length);
    if (item.heldBytes > 0) this.parts.space.unhold(item.heldBytes);
  }

  /** A transaction must end whatever waits for room: archiving makes it, and waits for that end. */
  private mayPass({ marker }: Waiting): boolean {
    return this.isHeld && marker !== null;
  }

  /** Keys and timestamps of an uncompressed batch, where the topic asks for more than the facts. */
  private checkEach(facts: BatchFacts, header: BatchHeader, batch: Uint8Array): Rejection | null {
    const config = this.parts.config();
    const nowMs = this.parts.clock.nowMs();
    if (!needsRecords(facts, config, nowMs)) return null;
    return checkRecords(parseRecords(recordsPayload(batch, 0, header), header), config, nowMs);
  }

  private submit(item: Waiting): ReturnType<Appender["submit"]> {
    const { batch, header, options, marker, maxTimestamp, resolve } = item;
    const { appender, config, leaderEpoch } = this.parts;
    const stampTime = config().timestampType === "LogAppendTime";
    return appender.submit({
      batch,
      header,
      leaderEpoch: leaderEpoch(),
      maxTimestamp: stampTime ? null : maxTimestamp,
      transactionCheck: options.transactionCheck ?? null,
      transactionVersion: options.transactionVersion ?? 0,
      marker,
      resolve,
    });
  }

  private park(item: Waiting): void {
    const { limits, budget, space, clock, appender } = this.parts;
    const { length } = item.batch;
    if (this.waiting.length >= limits.appendsWaitingMax || !budget.tryQueue(length)) {
      item.resolve(appender.rejected(this.isHeld ? space.refusal() : overloaded()));
      return;
    }
    const patienceMs = space.holdMs(item.options.timeoutMs ?? timeoutMsDefault);
    const giveUpMs = clock.monotonicMs() + patienceMs;
    const owned: Waiting = { ...item, giveUpMs, batch: new Uint8Array(item.batch) };
    this.waiting.push(owned);
    if (!owned.checked) void this.validate(owned);
    else this.drain();
  }

  /** Never rejects: a worker's failure is an answer too. */
  private async validate(item: Waiting): Promise<void> {
    try {
      item.rejection = await this.look(item);
    } catch (error) {
      item.rejection = rejection(ErrorCode.KAFKA_STORAGE_ERROR, errorText(error));
    }
    item.checked = true;
    this.drain();
  }

  private async look(item: Waiting): Promise<Rejection | null> {
    const { wal, recompressions, config } = this.parts;
    const { batch, target } = item;
    if (target === null) return this.judge(item, await wal.validateBatch(batch));
    await recompressions.take();
    try {
      const made = await wal.recompressBatch(batch, target, config().maxMessageBytes);
      return (await this.judge(item, made.facts)) ?? this.replace(item, made);
    } finally {
      recompressions.give();
    }
  }

  private async judge(item: Waiting, facts: BatchFacts): Promise<Rejection | null> {
    const { wal, clock, limits } = this.parts;
    const { batch, header } = item;
    const why = checkFacts(facts);
    if (why !== null) return why;
    item.maxTimestamp = facts.maxTimestamp;
    const codec = header.attributes & compressionMask;
    if (codec === 0) return this.checkEach(facts, header, batch);
    const config = this.parts.config();
    const nowMs = clock.nowMs();
    if (!needsRecords(facts, config, nowMs)) return null;
    const certain = checkMany(facts, config, nowMs);
    if (certain !== null) return certain;
    const payload = recordsPayload(batch, 0, header);
    const records = await wal.decompress(codec, payload, limits.decompressedBytesMax);
    return checkRecords(parseRecords(records, header), config, nowMs);
  }

  /** The batch is from here on what the topic's codec made of it. */
  private replace(item: Waiting, { bytes, batch }: RecompressedBatch): Rejection | null {
    const { budget, config } = this.parts;
    const tooLarge = checkSize(bytes, config());
    if (tooLarge !== null) return tooLarge;
    // The limit was raised while the batch was made: a retry meets the new one.
    if (batch === null) return overloaded();
    const header = parseBatchHeader(batch);
    assert(typeof header !== "string", "the engine makes whole batches");
    // Closed meanwhile: it was answered, and nothing is booked for it.
    if (!this.waiting.includes(item)) return null;
    budget.unqueue(item.batch.length);
    item.batch = noBytes;
    if (!budget.tryQueue(batch.length)) return overloaded();
    item.batch = batch;
    item.header = header;
    return null;
  }

  private drain(): void {
    for (let head = this.waiting[0]; head?.checked === true; head = this.waiting[0]) {
      const outcome = head.rejection === null ? this.submit(head) : "taken";
      if (outcome === "no-space") {
        this.hold(head);
        return;
      }
      if (outcome === "no-memory") {
        this.waitForMemory();
        break;
      }
      this.waiting.shift();
      this.unbook(head);
      if (head.rejection !== null) head.resolve(this.parts.appender.rejected(head.rejection));
    }
    this.endHold();
  }

  /** `head` waits for room in the WAL, and all behind it. */
  private hold(head: Waiting): void {
    const { space, clock } = this.parts;
    this.isHeld = true;
    for (const item of this.waiting.filter(({ marker, checked }) => marker !== null && checked)) {
      if (this.submit(item) !== "taken") break;
      this.waiting.splice(this.waiting.indexOf(item), 1);
      this.unbook(item);
    }
    for (const item of this.waiting) {
      if (item.heldBytes > 0) continue;
      if (!space.tryHold(item.batch.length)) {
        this.refuseHeld();
        return;
      }
      item.heldBytes = item.batch.length;
    }
    const atMs = this.waiting.reduce(
      (least, item) => Math.min(least, item.giveUpMs),
      head.giveUpMs,
    );
    if (this.holdTimer?.atMs !== atMs) {
      this.holdTimer?.timer.cancel();
      const timer = clock.schedule(atMs - clock.monotonicMs(), () => this.refuseHeld());
      this.holdTimer = { timer, atMs };
    }
    if (this.waitsForSpace) return;
    this.waitsForSpace = true;
    space.wait(() => {
      this.waitsForSpace = false;
      this.drain();
    });
  }

  /** No room was made in time, or more waits for it than may. */
  private refuseHeld(): void {
    this.endHold();
    const all = this.waiting.splice(0);
    this.waiting.push(...all.filter(({ marker }) => marker !== null));
    for (const item of all) {
      if (item.marker === null) this.reject(item, this.parts.space.refusal());
    }
    if (this.waiting.length > 0) this.drain();
  }

  private endHold(): void {
    this.isHeld = false;
    this.holdTimer?.timer.cancel();
    this.holdTimer = null;
  }

  private waitForMemory(): void {
    if (this.waitsForMemory) return;
    this.waitsForMemory = true;
    this.parts.budget.wait(() => {
      this.waitsForMemory = false;
      this.drain();
    });
  }
}

function overloaded(): Rejection {
  const text = "too many batches wait to be appended: the broker is overloaded";
  return rejection(ErrorCode.REQUEST_TIMED_OUT, text);
}
