import { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { PartitionStore } from "./partition-store.ts";

/** What this needs to know of its partition at the moment it is asked. */
interface StartView {
  readonly highWatermark: number;
  readonly isOpen: boolean;
  readonly damage: unknown;
  readonly config: { readonly delete: boolean };
}

export interface StartEvents {
  /** The log start moved, durably; archives may lie below it. */
  moved(): void;
  failed(error: BrokerError): void;
}

/** Moves the start of a partition's log: DeleteRecords and retention. It only ever goes up, and is
 * durable before anybody hears of it or anything below it goes. */
export class LogStart {
  private readonly store: PartitionStore;
  private readonly epochs: LeaderEpochs;
  private readonly view: StartView;
  private readonly events: StartEvents;

  constructor(store: PartitionStore, epochs: LeaderEpochs, view: StartView, events: StartEvents) {
    this.store = store;
    this.epochs = epochs;
    this.view = view;
    this.events = events;
  }

  /** DeleteRecords; −1 means the high watermark. */
  async deleteBefore(offset: number): Promise<{ errorCode: number; logStartOffset: number }> {
    const { highWatermark, config, isOpen, damage } = this.view;
    const target = offset === -1 ? highWatermark : offset;
    const failed = (errorCode: number) => ({ errorCode, logStartOffset: -1 });
    if (!config.delete) return failed(ErrorCode.POLICY_VIOLATION);
    if (target < 0 || target > highWatermark) return failed(ErrorCode.OFFSET_OUT_OF_RANGE);
    if (!isOpen) return failed(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    if (damage !== null) return failed(ErrorCode.KAFKA_STORAGE_ERROR);
    try {
      if (target > this.store.logStartOffset) {
        await this.advance(target);
        this.events.moved();
        await this.releaseDeleted();
      }
      return { errorCode: ErrorCode.NONE, logStartOffset: this.store.logStartOffset };
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.events.failed(error);
      return failed(ErrorCode.KAFKA_STORAGE_ERROR);
    }
  }

  /** Durable when resolved. Rejects with a BrokerError. */
  async advance(offset: number): Promise<void> {
    if (offset <= this.store.logStartOffset) return;
    await this.store.checkpoint({ logStart: offset });
    this.epochs.truncateFromStart(this.store.logStartOffset);
  }

  /** Unlinks sealed segments that lie below the log start as a whole; bytes freed. */
  releaseDeleted(): Promise<number> {
    return this.store.releaseBelow();
  }
}
