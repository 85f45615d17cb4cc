import type { EpochStart } from "../log/leader-epochs.ts";
import type { ProducerSnapshot } from "../log/producer-state.ts";

/** What an archive says of itself: its manifest, and where its table of contents begins. */
export interface ArchiveFacts {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly generation: number;
  readonly base: number;
  readonly last: number;
  readonly records: number;
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  /** Of the batches. */
  readonly rawBytes: number;
  readonly documents: number;
  readonly aborted: number;
  readonly index: string;
  readonly createdMs: number;
  readonly tocPosition: number;
  readonly epochs: readonly EpochStart[];
  readonly producers: readonly ProducerSnapshot[];
}
