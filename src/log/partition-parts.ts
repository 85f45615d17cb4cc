import type { Clock } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import type { AbortedBudget } from "./aborted-budget.ts";
import type { AppendBudget } from "./append-budget.ts";
import type { ColdPace } from "./cold-pace.ts";
import type { LogLimits } from "./config.ts";
import type { Partition } from "./partition.ts";
import type { ColdReader, Damage, Files, Wal } from "./ports.ts";
import type { ReadStats } from "./read-stats.ts";
import type { Turns } from "./turns.ts";
import type { WalSpace } from "./wal-space.ts";

/** What an operator should hear of; broker.ts turns these into log lines and metrics. */
export interface LogEvents {
  damaged(partition: Partition, damage: Damage): void;
  /** Appends failed and the log was cut back to its durable end. */
  rolledBack(partition: Partition, error: BrokerError): void;
  /** A range that should be readable is not. */
  unreadable(partition: Partition, offset: number, error: BrokerError): void;
  /** A checkpoint in the background failed; the next one tries again. */
  checkpointFailed(partition: Partition, error: unknown): void;
  /** A file of aborted transactions was lost or damaged; the log told its content again. */
  abortsRebuilt(file: string, error: BrokerError): void;
  /** It can be neither read nor made again now; who needs it next tries both. */
  abortsNotRebuilt(file: string, error: BrokerError): void;
  /** DeleteRecords moved the log start, durably: archives below it may go. */
  logStartMoved(partition: Partition): void;
  quarantined(from: string, to: string, reason: string): void;
}

export interface PartitionParts {
  readonly wal: Wal;
  readonly files: Files;
  readonly cold: ColdReader;
  readonly clock: Clock;
  readonly limits: LogLimits;
  readonly budget: AppendBudget;
  /** Of user topics. */
  readonly space: WalSpace;
  readonly abortedBudget: AbortedBudget;
  /** Of batches that are compressed anew. */
  readonly recompressions: Turns;
  /** Of all partitions. */
  readonly reads: ReadStats;
  /** Of those who read archives, of all partitions. */
  readonly coldPace: ColdPace;
  readonly events: LogEvents;
}
