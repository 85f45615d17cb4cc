import type { Partition } from "./log/partition.ts";
import type { IndexMode, TierPartition, WalSegment } from "./tier/ports.ts";

/** A partition as the tier room sees it: one object per partition, for as long as it is open. */
class PartitionForTier implements TierPartition {
  private readonly partition: Partition;
  private readonly indexMode: () => IndexMode;

  constructor(partition: Partition, indexMode: () => IndexMode) {
    this.partition = partition;
    this.indexMode = indexMode;
  }

  get topic(): string {
    return this.partition.topic;
  }

  get topicId(): string {
    return this.partition.topicId;
  }

  get index(): number {
    return this.partition.index;
  }

  get internal(): boolean {
    return this.partition.internal;
  }

  get damage(): unknown {
    return this.partition.damage;
  }

  get log(): number {
    return this.partition.log;
  }

  get archivableEnd(): number {
    return this.partition.archivableEnd;
  }

  segments(): readonly WalSegment[] {
    return this.partition.segments();
  }

  unsealedAgeMs(): number | null {
    return this.partition.unsealedAgeMs();
  }

  seal(): Promise<void> {
    return this.partition.seal();
  }

  checkpoint(archivedTo: number): Promise<void> {
    return this.partition.checkpoint(archivedTo);
  }

  releaseSegments(ids: readonly number[]): Promise<number> {
    return this.partition.releaseSegments(ids);
  }

  leaderEpochs(): readonly (readonly [epoch: number, startOffset: number])[] {
    return this.partition.leaderEpochs().map(({ epoch, startOffset }) => [epoch, startOffset]);
  }

  producerSnapshot(): string {
    return this.partition.producerSnapshot();
  }

  searchIndexMode(): IndexMode {
    return this.indexMode();
  }
}

/** Wraps partitions for the tier room; the same partition always gives the same object. */
export class TierPartitions {
  private readonly views = new WeakMap<Partition, TierPartition>();
  private readonly open: () => Iterable<Partition>;
  private readonly indexMode: (topic: string) => IndexMode;

  constructor(open: () => Iterable<Partition>, indexMode: (topic: string) => IndexMode) {
    this.open = open;
    this.indexMode = indexMode;
  }

  *all(): Generator<TierPartition> {
    for (const partition of this.open()) {
      let view = this.views.get(partition);
      if (!view) {
        view = new PartitionForTier(partition, () => this.indexMode(partition.topic));
        this.views.set(partition, view);
      }
      yield view;
    }
  }
}
