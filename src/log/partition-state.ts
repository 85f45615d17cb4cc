import type { AbortedLog } from "./aborted-log.ts";
import type { PartitionLogConfig } from "./config.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { StoredMarks } from "./partition-store.ts";
import type { Damage } from "./ports.ts";
import type { ProducerState } from "./producer-state.ts";
import type { SegmentList } from "./segment-list.ts";
import type { Tail } from "./tail-cache.ts";

/** What recovery found (partition-open.ts). */
export interface PartitionState {
  readonly topic: string;
  readonly topicId: string;
  readonly index: number;
  readonly internal: boolean;
  readonly dir: string;
  readonly log: number;
  readonly leaderEpoch: number;
  readonly config: PartitionLogConfig;
  readonly logStart: number;
  readonly logEnd: number;
  readonly stored: StoredMarks;
  readonly epochs: LeaderEpochs;
  readonly producers: ProducerState;
  readonly aborted: AbortedLog;
  readonly segments: SegmentList;
  readonly tail: Tail;
  readonly damage: Damage | null;
}
