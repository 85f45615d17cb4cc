import type { Clock } from "../lib/clock.ts";
import type { Partition } from "../log/partition.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { AcknowledgementBatch } from "./acknowledge-type.ts";
import type { ShareConfig, ShareGroupSettings } from "./config.ts";
import { type DeadLetterParts, DeadLetters } from "./dead-letters.ts";
import type { Persister } from "./persister.ts";
import { stateKey } from "./records.ts";
import { type ShareSession, ShareSessions, type TopicIdPartition } from "./sessions.ts";
import { SharePartition } from "./share-partition.ts";

export interface ShareGroupsOptions {
  readonly config: ShareConfig;
  readonly persister: Persister;
  readonly clock: Clock;
  /** The partition this broker leads, or why not as an ErrorCode. */
  readonly find: (one: TopicIdPartition) => Partition | number;
  readonly settingsOf: (groupId: string) => ShareGroupSettings;
  readonly deadLetters: Omit<DeadLetterParts, "config" | "clock" | "settingsOf">;
}

export interface PartitionAcknowledgement extends TopicIdPartition {
  readonly batches: readonly AcknowledgementBatch[];
}

/** Share partitions at work and the sessions of those who read them. */
export class ShareGroups {
  readonly config: ShareConfig;
  readonly persister: Persister;
  readonly sessions: ShareSessions;
  private readonly options: ShareGroupsOptions;
  private readonly open = new Map<string, SharePartition>();
  private readonly deadLetters: DeadLetters;

  constructor(options: ShareGroupsOptions) {
    this.options = options;
    this.config = options.config;
    this.persister = options.persister;
    this.sessions = new ShareSessions(options.config);
    this.deadLetters = new DeadLetters({ ...options, ...options.deadLetters });
  }

  /** Share partitions that are in memory. */
  get openCount(): number {
    return this.open.size;
  }

  /** Records that await their copies in dead letter queues. */
  get deadLettersWaiting(): number {
    let count = 0;
    for (const share of this.open.values()) count += share.deadLetterCount;
    return count;
  }

  settingsOf(groupId: string): ShareGroupSettings {
    return this.options.settingsOf(groupId);
  }

  /** Resolves when of the dead letters under way is written that they were copied. */
  async close(): Promise<void> {
    this.deadLetters.close();
    await Promise.all([...this.open.values()].map((share) => share.untilIdle()));
    for (const share of this.open.values()) share.fence();
    this.open.clear();
    this.persister.close();
  }

  /** The share partition, loaded or not; an ErrorCode where there is no such partition. */
  partition(groupId: string, one: TopicIdPartition): SharePartition | number {
    const log = this.options.find(one);
    if (typeof log === "number") return log;
    const key = { groupId, topicId: one.topicId, partition: one.partition };
    const name = stateKey(key);
    const known = this.open.get(name);
    if (known?.isOpen && known.log === log) return known;
    known?.fence();
    const { persister, clock } = this.options;
    const settings = () => this.options.settingsOf(groupId);
    const onIdle = (idle: SharePartition) => this.idle(idle);
    const parts = { persister, clock, settings, deadLetters: this.deadLetters, onIdle };
    const share = new SharePartition(key, log, parts);
    this.open.set(name, share);
    return share;
  }

  /** Drops it from memory: its state could not be read, or is another's by now. */
  drop(share: SharePartition): void {
    share.fence();
    const name = stateKey(share.key);
    if (this.open.get(name) === share) this.open.delete(name);
  }

  /** An ErrorCode for each partition, once what it changed is durable. */
  async acknowledge(
    groupId: string,
    memberId: string,
    partitions: readonly PartitionAcknowledgement[],
  ): Promise<number[]> {
    const jobs = partitions.map(({ topicId, partition, batches }) => {
      const share = this.open.get(stateKey({ groupId, topicId, partition }));
      if (share === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      return share.acknowledge(memberId, batches).then((errorCode) => {
        if (errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER) this.drop(share);
        return errorCode;
      });
    });
    return await Promise.all(jobs);
  }

  /** Ends a session; what its member holds becomes available again. */
  async endSession(session: ShareSession): Promise<void> {
    const { groupId, memberId } = session;
    this.sessions.remove(session);
    const jobs = [...session.partitions.values()].map(async ({ topicId, partition }) => {
      const share = this.open.get(stateKey({ groupId, topicId, partition }));
      // A release that cannot be written leaves the locks to their timer.
      await share?.release(memberId);
    });
    await Promise.all(jobs);
    if (this.sessions.hasGroup(groupId)) return;
    for (const share of [...this.open.values()]) {
      if (share.key.groupId === groupId) this.idle(share);
    }
  }

  async connectionClosed(connectionId: number): Promise<void> {
    await Promise.all(this.sessions.ofConnection(connectionId).map((one) => this.endSession(one)));
  }

  /** Drops it where nobody reads for the group any more and no dead letter is under way. */
  private idle(share: SharePartition): void {
    if (!share.isBusy && !this.sessions.hasGroup(share.key.groupId)) this.drop(share);
  }

  /** The states of these partitions were changed by an operator. */
  dropStates(groupId: string, partitions: readonly TopicIdPartition[]): void {
    for (const { topicId, partition } of partitions) {
      const share = this.open.get(stateKey({ groupId, topicId, partition }));
      if (share !== undefined) this.drop(share);
    }
  }

  async topicDeleted(topicId: string): Promise<void> {
    for (const share of [...this.open.values()]) {
      if (share.key.topicId === topicId) this.drop(share);
    }
    await this.persister.topicDeleted(topicId);
  }
}
