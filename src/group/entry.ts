import type { Clock } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import type { Lane, TurnBudget } from "../lib/turn-budget.ts";
import type { GroupConfig } from "./config.ts";
import type { ClassicGroup } from "./group.ts";
import type { Group } from "./group-kinds.ts";
import type { GroupOffsets } from "./offsets.ts";
import type { CoordinatorTopics } from "./ports.ts";
import type { TimerTable } from "./timer-table.ts";

/** What all shards of a coordinator share. */
export interface ShardContext {
  readonly config: GroupConfig;
  readonly topics: CoordinatorTopics;
  readonly clock: Clock;
  readonly onProblem: (error: BrokerError) => void;
  /** Groups and bytes held by all shards. */
  readonly usage: { groups: number; bytes: number };
  readonly turns: TurnBudget;
  /** Target assignments too large for one step: one for each group at most. */
  readonly assignments: Lane;
  /** Expressions to be matched with all topics: one for each request and each group at most. */
  readonly expressions: Lane;
}

/** One group as the shard keeps it. */
export interface Entry {
  readonly groupId: string;
  /** Replaced by one of another kind when the group migrates. */
  group: Group;
  readonly offsets: GroupOffsets;
  readonly timers: TimerTable;
  /** Its deletion is being written: whoever asks is to come back. */
  isDeleting: boolean;
  countedBytes: number;
}

export type ClassicEntry = Entry & { group: ClassicGroup };

export function isClassic(entry: Entry): entry is ClassicEntry {
  return entry.group.kind === "classic";
}
