/** One fetch session (KIP-227): what a client asks of each partition, and what it was last told.
 * (pure) */
import { ErrorCode } from "../protocol/error-code.ts";
import type { FetchResponsePartitionData } from "../protocol/messages/01-fetch.ts";

/** A partition as the request names it: by topic name, or from v13 on by topic id. */
export interface PartitionName {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}

/** What a client asks of one partition; −1: no epoch given. */
export interface FetchAsk extends PartitionName {
  readonly fetchOffset: number;
  readonly partitionMaxBytes: number;
  readonly currentLeaderEpoch: number;
  readonly lastFetchedEpoch: number;
}

/** The answer to an ask. */
export type FetchAnswer = FetchResponsePartitionData;

export const noSessionId = 0;
export const finalEpoch = -1;
export const initialEpoch = 0;
const epochMax = 2 ** 31 - 1;
const unknownOffset = -1;

/** Memory of one partition beside its topic's name, about. */
const partitionBytes = 320;

/** The epoch after `epoch`: 1 follows the largest int32. */
export function nextEpoch(epoch: number): number {
  if (epoch < 0) return finalEpoch;
  return epoch === epochMax ? 1 : epoch + 1;
}

/** Tells partitions of a session apart; a session names topics in one way only. */
export function keyOf({ topic, topicId, partition }: PartitionName): string {
  return `${partition}/${topicId}/${topic}`;
}

/** What the session remembers of one partition. */
export class SessionPartition implements FetchAsk {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly key: string;
  fetchOffset: number;
  partitionMaxBytes: number;
  currentLeaderEpoch: number;
  lastFetchedEpoch: number;
  private highWatermark: number;
  private logStartOffset: number;

  constructor(ask: FetchAsk, key: string) {
    this.topic = ask.topic;
    this.topicId = ask.topicId;
    this.partition = ask.partition;
    this.key = key;
    this.fetchOffset = ask.fetchOffset;
    this.partitionMaxBytes = ask.partitionMaxBytes;
    this.currentLeaderEpoch = ask.currentLeaderEpoch;
    this.lastFetchedEpoch = ask.lastFetchedEpoch;
    this.highWatermark = unknownOffset;
    this.logStartOffset = unknownOffset;
  }

  get bytes(): number {
    return partitionBytes + 2 * this.topic.length;
  }

  ask(ask: FetchAsk): void {
    this.fetchOffset = ask.fetchOffset;
    this.partitionMaxBytes = ask.partitionMaxBytes;
    this.currentLeaderEpoch = ask.currentLeaderEpoch;
    this.lastFetchedEpoch = ask.lastFetchedEpoch;
  }

  /** Whether the client must hear of `answer`: data, an error, or something it was not told. */
  hasNews(answer: FetchAnswer): boolean {
    return (
      hasRecords(answer) ||
      answer.highWatermark !== this.highWatermark ||
      (answer.logStartOffset ?? unknownOffset) !== this.logStartOffset ||
      (answer.preferredReadReplica ?? -1) >= 0 ||
      answer.errorCode !== ErrorCode.NONE ||
      (answer.divergingEpoch?.epoch ?? -1) >= 0
    );
  }

  /** The client is told `answer`. After an error the next good answer is news. */
  told(answer: FetchAnswer): void {
    this.highWatermark = answer.errorCode === ErrorCode.NONE ? answer.highWatermark : unknownOffset;
    this.logStartOffset = answer.logStartOffset ?? unknownOffset;
  }
}

export function hasRecords({ records }: FetchAnswer): boolean {
  return records !== null && records.length > 0;
}

/** Partitions in the order in which they are read: those that gave data wait for all others. */
export class FetchSession {
  readonly id: number;
  /** A follower's: consumers never push it out. */
  readonly privileged: boolean;
  readonly usesTopicIds: boolean;
  readonly createdMs: number;
  usedMs: number;
  /** The epoch the next request must carry. */
  epoch = nextEpoch(initialEpoch);
  /** Whether younger consumers, or only followers, may push it out; set when it was last used. */
  evictableByAll = false;
  evictableByPrivileged = false;
  private readonly partitions = new Map<string, SessionPartition>();
  private bytesHeld = 0;

  constructor(id: number, privileged: boolean, usesTopicIds: boolean, nowMs: number) {
    this.id = id;
    this.privileged = privileged;
    this.usesTopicIds = usesTopicIds;
    this.createdMs = nowMs;
    this.usedMs = nowMs;
  }

  get size(): number {
    return this.partitions.size;
  }

  /** Memory of its partitions, about. */
  get bytes(): number {
    return this.bytesHeld;
  }

  asks(): SessionPartition[] {
    return [...this.partitions.values()];
  }

  add(partition: SessionPartition): void {
    this.partitions.set(partition.key, partition);
    this.bytesHeld += partition.bytes;
  }

  /** Takes over what a request asks anew, then forgets what it no longer wants. */
  update(asks: readonly FetchAsk[], forget: readonly PartitionName[]): void {
    for (const ask of asks) {
      const key = keyOf(ask);
      const known = this.partitions.get(key);
      if (known === undefined) this.add(new SessionPartition(ask, key));
      else known.ask(ask);
    }
    for (const name of forget) {
      const key = keyOf(name);
      const known = this.partitions.get(key);
      if (known === undefined) continue;
      this.partitions.delete(key);
      this.bytesHeld -= known.bytes;
    }
  }

  /** Notes that `answer` is sent; a partition that gave data goes to the end of the line. */
  told(partition: SessionPartition, answer: FetchAnswer): void {
    partition.told(answer);
    if (!hasRecords(answer) || this.partitions.get(partition.key) !== partition) return;
    this.partitions.delete(partition.key);
    this.partitions.set(partition.key, partition);
  }
}
