import type { Portions } from "../lib/turn-budget.ts";
import type { GroupConfig } from "./config.ts";
import type { ClassicGroup } from "./group.ts";
import type { ExpiryRule } from "./offsets.ts";
import type { CoordinatorTopics, OffsetsRecord } from "./ports.ts";

/** What every group is asked, whatever protocol its members speak. */
export interface CoordinatedGroup {
  readonly groupId: string;
  readonly kind: "classic" | "consumer" | "share";
  /** As ListGroups names it: "Empty", "Stable", … */
  readonly stateName: string;
  /** "consumer", "share", …; "" while nobody has ever joined. */
  readonly protocolType: string;
  /** Bytes held for members and assignments, roughly. */
  readonly sizeBytes: number;
  /** Nothing ever happened here, or nothing is left of it: need not be remembered. */
  readonly isVacant: boolean;
  /** No members and nothing under way: may be deleted. */
  readonly isUnused: boolean;
  isSubscribedTo(topic: string): boolean;
  /** How its offsets age; null: not now. */
  expiryRule(): ExpiryRule | null;
  /** Records that erase the group from the log. */
  tombstones(timestamp: number): OffsetsRecord[];
}

export type Group = ClassicGroup | RecordGroup;

/** What a step of a record group may look at. */
export interface StepContext {
  /** Wall-clock time: it may be stored. */
  readonly nowMs: number;
  readonly config: GroupConfig;
  readonly topics: CoordinatorTopics;
  /** Configs set for one group, as text; null when there are none. */
  groupConfig(groupId: string): ReadonlyMap<string, string> | null;
}

export type TimerEffect =
  /** Starts the timer, or moves its deadline if it runs already. */
  | { readonly kind: "setTimer"; readonly timer: string; readonly delayMs: number }
  /** Starts the timer unless it runs. */
  | { readonly kind: "startTimer"; readonly timer: string; readonly delayMs: number }
  | { readonly kind: "cancelTimer"; readonly timer: string };

/** What one step of a record group has come to. The group has changed already. */
export interface RecordStep<Answer> {
  /** To be given when the records are durable. */
  readonly answer: Answer;
  /** In order; they reach the log together with nothing of the same group under way. */
  readonly records: readonly OffsetsRecord[];
  /**
   * Rising indexes of records that may begin a batch of their own where all of them are too much
   * for one: what stands before must be a whole state of the group. None: all or nothing.
   */
  readonly breaks?: readonly number[];
  readonly timers: readonly TimerEffect[];
  /**
   * Takes the changes back but for those of the first `kept` records (0, or one of `breaks`): the
   * log refused the others. Later steps were taken back before.
   */
  undo(kept: number): void;
  /** What is to be computed beside other work. */
  readonly later?: readonly LaterWork[];
  /** The classic group that stands in the place of this one from now on. */
  readonly becomes?: ClassicSuccessor;
}

/** A computation too large for one step; its result comes back as a step of its own. */
export interface LaterWork {
  readonly lane: "assignments" | "expressions";
  readonly portions: Portions<(context: StepContext) => RecordStep<void>>;
}

export interface ClassicSuccessor {
  readonly group: ClassicGroup;
  /** Its members are to join anew. */
  readonly rebalances: boolean;
}

/**
 * A group whose state is the sum of its records: KIP-848 consumer groups and share groups. Pure:
 * it reads no clock, waits for nothing and touches no log. `RecordDriver` runs its steps.
 */
export interface RecordGroup extends CoordinatedGroup {
  readonly kind: "consumer" | "share";
  /** A timer of an earlier step has run out. */
  onTimer(timer: string, context: StepContext): RecordStep<void>;
  /** Read back from the log, or a step was taken back: every member's timers start anew. */
  restartTimers(context: StepContext): readonly TimerEffect[];
}

/** Gathers the groups of one kind while a partition is replayed. */
export interface KindReplay {
  readonly recordTypes: readonly number[];
  /** `key` stands behind its record type. Throws ProtocolError on bytes that are not a record. */
  replay(recordType: number, key: Uint8Array, value: Uint8Array | null): void;
  /** What the log came to; groups that are vacant may be among them. */
  groups(): Iterable<RecordGroup>;
}

export function isRecordGroup(group: Group): group is RecordGroup {
  return group.kind !== "classic";
}
