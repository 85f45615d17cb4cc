import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { AbortedBudget } from "./aborted-budget.ts";
import { AppendBudget } from "./append-budget.ts";
import { ColdPace } from "./cold-pace.ts";
import type { LogLimits, PartitionLogConfig } from "./config.ts";
import { Deadlines } from "./deadlines.ts";
import type { Partition } from "./partition.ts";
import { openPartition } from "./partition-open.ts";
import type { LogEvents, PartitionParts } from "./partition-parts.ts";
import type { ColdReader, Files, Wal } from "./ports.ts";
import { ReadBudget } from "./read-budget.ts";
import { ReadStats } from "./read-stats.ts";
import { TailCache } from "./tail-cache.ts";
import { TopicFolders } from "./topic-folders.ts";
import { Turns } from "./turns.ts";
import { Waiters } from "./waiters.ts";
import { WalSpace } from "./wal-space.ts";

export interface PartitionsOptions {
  readonly dataDir: string;
  readonly wal: Wal;
  readonly files: Files;
  readonly cold: ColdReader;
  readonly clock: Clock;
  readonly limits: LogLimits;
  readonly events: LogEvents;
}

export interface TopicRef {
  readonly name: string;
  readonly id: string;
  readonly internal: boolean;
}

/** The partitions open on this broker, by topic and by topic id. */
export class Partitions {
  /** Parked fetches of all partitions. */
  readonly waiters: Waiters;
  /** Timeouts of produce requests. */
  readonly deadlines: Deadlines;
  readonly readBudget: ReadBudget;
  /** What the WAL of user topics holds, and may hold. */
  readonly walSpace: WalSpace;
  private readonly parts: PartitionParts;
  private readonly folders: TopicFolders;
  private readonly tails: TailCache;
  private readonly byName = new Map<string, Map<number, Partition>>();
  private readonly byTopicId = new Map<string, Map<number, Partition>>();
  /** Openings under way, so that a drop or a second opening meets them. */
  private readonly opening = new Map<string, Promise<Partition>>();
  private expiration: Timer | null = null;

  constructor(options: PartitionsOptions) {
    const { wal, files, cold, clock, limits, events } = options;
    const budget = new AppendBudget(limits.appendBytesInFlightMax);
    const recompressions = new Turns(limits.recompressionsMax);
    const abortedBudget = new AbortedBudget(limits.abortedAllMax);
    // Half of what may wait at all: the rest stays for whom the cap does not concern.
    const heldBytesMax = limits.appendBytesInFlightMax / 2;
    this.walSpace = new WalSpace({ bytesMax: limits.walBytesMax, heldBytesMax });
    const shared = {
      ...{ budget, space: this.walSpace, abortedBudget, recompressions },
      reads: new ReadStats(),
      coldPace: new ColdPace(clock, limits.coldPercentBesideTails),
    };
    this.parts = { wal, files, cold, clock, limits, ...shared, events };
    this.folders = new TopicFolders(files, options.dataDir, events);
    this.tails = new TailCache(limits.tailCacheBytesMax);
    this.waiters = new Waiters(clock, limits.fetchWaitersMax);
    this.deadlines = new Deadlines(clock);
    this.readBudget = new ReadBudget(limits.readBytesMax);
    this.scheduleExpiration();
  }

  get reads(): ReadStats {
    return this.parts.reads;
  }

  get coldPace(): ColdPace {
    return this.parts.coldPace;
  }

  /** Memory of all tails. */
  get tailCacheBytes(): number {
    return this.tails.bytes;
  }

  /** Bytes submitted and not yet durable. */
  get appendBytesInFlight(): number {
    return this.parts.budget.bytes;
  }

  /** Aborted transactions in memory. */
  get abortsInMemory(): number {
    return this.parts.abortedBudget.size;
  }

  get(topic: string, index: number): Partition | undefined {
    return this.byName.get(topic)?.get(index);
  }

  byId(topicId: string, index: number): Partition | undefined {
    return this.byTopicId.get(topicId)?.get(index);
  }

  *all(): Generator<Partition> {
    for (const partitions of this.byTopicId.values()) yield* partitions.values();
  }

  /** Recovers and opens a partition; one already open is given epoch and config, and returned. */
  async open(
    topic: TopicRef,
    index: number,
    leaderEpoch: number,
    config: PartitionLogConfig,
  ): Promise<Partition> {
    const key = `${topic.id}/${index}`;
    for (let ahead = this.opening.get(key); ahead !== undefined; ahead = this.opening.get(key)) {
      await Promise.allSettled([ahead]);
    }
    const known = this.byId(topic.id, index);
    if (known !== undefined) {
      const { segmentBytesMax } = config;
      if (segmentBytesMax !== null && segmentBytesMax !== known.config.segmentBytesMax) {
        await this.parts.wal.setSegmentBytes(known.walHandle, segmentBytesMax);
      }
      known.config = config;
      if (leaderEpoch > known.leaderEpoch) known.becomeLeader(leaderEpoch);
      return known;
    }
    const opening = this.openNow(topic, index, leaderEpoch, config);
    this.opening.set(key, opening);
    try {
      return await opening;
    } finally {
      this.opening.delete(key);
    }
  }

  /** Ends a deleted topic: its partitions stop at once, its folder is in the trash when this
   * resolves. Removing the files follows with `emptyTrash`. */
  async drop(topicId: string): Promise<void> {
    const underWay = [...this.opening].filter(([key]) => key.startsWith(`${topicId}/`));
    await Promise.allSettled(underWay.map(([, opening]) => opening));
    const partitions = [...(this.byTopicId.get(topicId)?.values() ?? [])];
    this.byTopicId.delete(topicId);
    for (const partition of partitions) {
      if (this.byName.get(partition.topic)?.get(partition.index) !== partition) continue;
      this.byName.delete(partition.topic);
    }
    await Promise.all(partitions.map((partition) => partition.abandon()));
    await this.folders.discard(topicId);
  }

  /** Removes the files of dropped topics; call it at start too. */
  emptyTrash(): Promise<void> {
    return this.folders.emptyTrash();
  }

  /** Clean stop of every partition: drained, checkpointed, closed. */
  async close(): Promise<void> {
    this.expiration?.cancel();
    await Promise.allSettled(this.opening.values());
    const partitions = [...this.all()];
    this.byName.clear();
    this.byTopicId.clear();
    const ends = await Promise.allSettled(partitions.map((partition) => partition.close()));
    this.deadlines.close();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  private async openNow(
    topic: TopicRef,
    index: number,
    leaderEpoch: number,
    config: PartitionLogConfig,
  ): Promise<Partition> {
    const folder = await this.folders.claim(topic.name, topic.id);
    const dir = `${folder}/${index}`;
    const options = { topic, index, leaderEpoch, config, dir };
    const partition = await openPartition(options, this.parts, this.tails);
    const named = this.byName.get(topic.name);
    const other = named?.values().next().value;
    assert(other === undefined || other.topicId === topic.id, "a topic name has one topic id");
    put(this.byName, topic.name, partition);
    put(this.byTopicId, topic.id, partition);
    return partition;
  }

  private scheduleExpiration(): void {
    const { clock, limits } = this.parts;
    this.expiration = clock.schedule(limits.producerIdCheckIntervalMs, () => {
      for (const partition of this.all()) partition.expireProducers();
      this.scheduleExpiration();
    });
  }
}

function put(map: Map<string, Map<number, Partition>>, key: string, partition: Partition): void {
  const inner = map.get(key);
  if (inner === undefined) map.set(key, new Map([[partition.index, partition]]));
  else inner.set(partition.index, partition);
}
