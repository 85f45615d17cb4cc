import type { Clock } from "../lib/clock.ts";
import { errorText } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { type BatchHeader, compressionOf, recordsPayload } from "../protocol/record-batch.ts";
import { parseRecords } from "../protocol/records.ts";
import type { AppendBudget } from "./append-budget.ts";
import type { Appender, AppendResult } from "./appender.ts";
import {
  type AppendOrigin,
  checkFacts,
  checkHeader,
  checkRecords,
  needsRecords,
  type Rejection,
  rejection,
} from "./batch-rules.ts";
import type { LogLimits, PartitionLogConfig } from "./config.ts";
import type { Wal } from "./ports.ts";

/** Above this a batch is checked on a worker, not on the event loop. */
const inlineBytesMax = 256 << 10;
const compressionMask = 0x07;

interface Waiting {
  readonly batch: Uint8Array;
  readonly header: BatchHeader;
  readonly resolve: (result: AppendResult) => void;
  checked: boolean;
  rejection: Rejection | null;
}

export interface GateParts {
  readonly wal: Wal;
  readonly clock: Clock;
  readonly limits: LogLimits;
  readonly budget: AppendBudget;
  readonly appender: Appender;
  /** Read at the moment of the append. */
  readonly config: () => PartitionLogConfig;
  readonly leaderEpoch: () => number;
}

/**
 * Validation in front of the append path. What can be checked at once goes straight through; a
 * batch that needs a worker (compressed, large) or memory waits, and all behind it wait in order,
 * up to a limit. Bytes of the caller are not used after `append` returned.
 */
export class AppendGate {
  private readonly parts: GateParts;
  private readonly waiting: Waiting[] = [];
  private waitsForMemory = false;

  constructor(parts: GateParts) {
    this.parts = parts;
  }

  append(batch: Uint8Array, origin: AppendOrigin): Promise<AppendResult> {
    const { wal, config: configOf, appender } = this.parts;
    const config = configOf();
    const header = checkHeader(batch, config, origin);
    if ("errorCode" in header) return Promise.resolve(appender.rejected(header));
    let inWorker = (header.attributes & compressionMask) !== 0 || batch.length > inlineBytesMax;
    if (!inWorker) {
      const facts = wal.checkBatch(batch);
      const why = checkFacts(facts);
      if (why !== null) return Promise.resolve(appender.rejected(why));
      inWorker = needsRecords(facts, config, this.parts.clock.nowMs()) && origin === "client";
    }
    return new Promise((resolve) => {
      const direct = !inWorker && this.waiting.length === 0;
      if (direct && this.submit(batch, header, resolve)) return;
      this.park({ batch, header, resolve, checked: !inWorker, rejection: null });
    });
  }

  /** Fails everything that waits; for a partition that is dropped. */
  close(why: Rejection): void {
    for (const { batch, resolve } of this.waiting.splice(0)) {
      this.parts.budget.unqueue(batch.length);
      resolve(this.parts.appender.rejected(why));
    }
  }

  private submit(
    batch: Uint8Array,
    header: BatchHeader,
    resolve: (result: AppendResult) => void,
  ): boolean {
    const { appender, config, leaderEpoch } = this.parts;
    const stampTime = config().timestampType === "LogAppendTime";
    return appender.submit(batch, header, leaderEpoch(), stampTime, resolve);
  }

  private park(item: Waiting): void {
    const { limits, budget, appender } = this.parts;
    const { length } = item.batch;
    if (this.waiting.length >= limits.appendsWaitingMax || !budget.tryQueue(length)) {
      const text = "too many batches wait to be appended: the broker is overloaded";
      item.resolve(appender.rejected(rejection(ErrorCode.REQUEST_TIMED_OUT, text)));
      return;
    }
    const owned: Waiting = { ...item, batch: new Uint8Array(item.batch) };
    this.waiting.push(owned);
    if (!owned.checked) void this.validate(owned);
    else this.drain();
  }

  /** Never rejects: a worker's failure is an answer too. */
  private async validate(item: Waiting): Promise<void> {
    try {
      item.rejection = await this.look(item.batch, item.header);
    } catch (error) {
      item.rejection = rejection(ErrorCode.KAFKA_STORAGE_ERROR, errorText(error));
    }
    item.checked = true;
    this.drain();
  }

  private async look(batch: Uint8Array, header: BatchHeader): Promise<Rejection | null> {
    const { wal, clock, limits } = this.parts;
    const facts = await wal.validateBatch(batch);
    const why = checkFacts(facts);
    const config = this.parts.config();
    const nowMs = clock.nowMs();
    if (why !== null || !needsRecords(facts, config, nowMs)) return why;
    const codec = header.attributes & compressionMask;
    const payload = recordsPayload(batch, 0, header);
    const records =
      compressionOf(header.attributes) === "none"
        ? payload
        : await wal.decompress(codec, payload, limits.decompressedBytesMax);
    return checkRecords(parseRecords(records, header), config, nowMs);
  }

  private drain(): void {
    for (let head = this.waiting[0]; head?.checked === true; head = this.waiting[0]) {
      const { batch, header, resolve } = head;
      if (head.rejection !== null) resolve(this.parts.appender.rejected(head.rejection));
      else if (!this.submit(batch, header, resolve)) {
        this.waitForMemory();
        return;
      }
      this.waiting.shift();
      this.parts.budget.unqueue(batch.length);
    }
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
