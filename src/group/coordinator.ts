import type { Clock, Timer } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { Lane, TurnBudget } from "../lib/turn-budget.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type {
  CommitRequest,
  ConsumerGroupDescription,
  CoordinatorAddress,
  DeleteOffsetsResult,
  DescribedGroup,
  FetchResult,
  JoinRequest,
  LeaveRequest,
  ListedGroup,
  MemberRequest,
  SyncRequest,
  TopicPartitions,
  TransactionalCommitRequest,
} from "./api-types.ts";
import { heartbeat, joinGroup, leaveGroup, syncGroup } from "./classic-requests.ts";
import type { GroupConfig } from "./config.ts";
import type { OffsetsClient } from "./consumer-group.ts";
import type { ConsumerHeartbeat, ConsumerHeartbeatAnswer } from "./consumer-heartbeat.ts";
import { consumerHeartbeat, describeConsumerGroup } from "./consumer-requests.ts";
import { expireShard } from "./expiry.ts";
import { deleteGroup, describeGroup, listGroups } from "./group-requests.ts";
import { GroupShards } from "./group-shards.ts";
import type { JoinResponse, LeaveResponse, SyncResponse } from "./group-types.ts";
import { batchSizeMax, inBatches } from "./in-batches.ts";
import {
  commitOffsets,
  commitTransactionalOffsets,
  deleteOffsets,
  fetchOffsets,
} from "./offset-requests.ts";
import { type OffsetChange, writeOffsets } from "./offset-writes.ts";
import { isForTopic } from "./offsets.ts";
import { partitionForGroup } from "./partition-hash.ts";
import type {
  CoordinatorNodes,
  CoordinatorTopics,
  ShareStates,
  TransactionMarker,
} from "./ports.ts";
import { ShareMembership } from "./share-membership.ts";

export interface GroupCoordinatorOptions {
  readonly config: GroupConfig;
  readonly topics: CoordinatorTopics;
  readonly nodes: CoordinatorNodes;
  /** Where share groups keep how far they are. */
  readonly shareStates: ShareStates;
  readonly clock: Clock;
  /** Something an operator should see: a partition that cannot be loaded or written. */
  readonly onProblem: (error: BrokerError) => void;
  /** Random part of new member ids. */
  readonly uuid?: () => string;
}

/** An administrator, or a consumer that does not say who it is. */
const nobody: OffsetsClient = { memberId: null, memberEpoch: -1 };

const offsetsTopic = "__consumer_offsets";

/** Partitions read at once at start: each holds a few megabytes while it is read. */
const loadsAtOnceMax = 8;

/**
 * The group coordinator: groups of every kind and their offsets, kept in `__consumer_offsets`.
 * Every answer that reports a change is given after the change is durable. A request that finds its
 * partition loaded is applied, or stands in line for its turn, before the first await, so a
 * connection's requests keep their order.
 */
export class GroupCoordinator {
  readonly topics: CoordinatorTopics;
  readonly config: GroupConfig;
  /** Share groups' members and offsets (KIP-932). */
  readonly share: ShareMembership;
  private readonly nodes: CoordinatorNodes;
  private readonly clock: Clock;
  private readonly uuid: () => string;
  private readonly shards: GroupShards;
  private expiryTimer: Timer | null = null;

  constructor(options: GroupCoordinatorOptions) {
    this.topics = options.topics;
    this.config = options.config;
    this.nodes = options.nodes;
    this.clock = options.clock;
    this.uuid = options.uuid ?? (() => crypto.randomUUID());
    const { config, topics, clock, onProblem } = options;
    const turns = new TurnBudget(clock);
    this.shards = new GroupShards({
      turns,
      assignments: new Lane(turns),
      expressions: new Lane(turns),
      config,
      topics,
      clock,
      onProblem,
      usage: { groups: 0, bytes: 0 },
    });
    this.share = new ShareMembership(this.shards, options.shareStates);
  }

  get groupCount(): number {
    return this.shards.context.usage.groups;
  }

  /** Bytes held for members and offsets, roughly. */
  get stateBytes(): number {
    return this.shards.context.usage.bytes;
  }

  /** Loads the groups that are stored; resolves when all partitions were tried. */
  async start(): Promise<void> {
    this.scheduleExpiry();
    if (!this.topics.topicExists(offsetsTopic)) return;
    this.shards.isStarting = true;
    await inBatches(this.shards.all, loadsAtOnceMax, (shard) => shard.becomeReady());
    this.shards.isStarting = false;
  }

  /** Answers every parked request with NOT_COORDINATOR and stops all timers. */
  close(): void {
    this.expiryTimer?.cancel();
    this.expiryTimer = null;
    this.shards.close();
  }

  partitionFor(groupId: string): number {
    return partitionForGroup(groupId, this.topics.partitionCount);
  }

  /** Where the group's coordinator is; makes sure that its partition exists. */
  async findCoordinator(groupId: string, listener: string): Promise<CoordinatorAddress> {
    const nowhere = { nodeId: -1, host: "", port: -1 };
    if (this.shards.isClosed || groupId.length > this.config.textCharsMax) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    const shard = this.shards.shardOf(groupId);
    const errorCode = shard.isReady || shard.isLoading ? 0 : await shard.becomeReady();
    const node = this.nodes.coordinatorOf(shard.partition, listener);
    if (errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE || node === null) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    return { errorCode: ErrorCode.NONE, ...node };
  }

  /** Answered when the join phase is over, which may take the rebalance timeout. */
  joinGroup(request: JoinRequest): Promise<JoinResponse> {
    return joinGroup(this.shards, request, this.uuid);
  }

  /** Answered when the leader's assignment is durable. */
  syncGroup(request: SyncRequest): Promise<SyncResponse> {
    return syncGroup(this.shards, request);
  }

  /** Resolves with an ErrorCode. */
  heartbeat(request: MemberRequest): Promise<number> {
    return heartbeat(this.shards, request);
  }

  /** Answered when what the departure changes in the log is durable. */
  leaveGroup(request: LeaveRequest): Promise<LeaveResponse> {
    return leaveGroup(this.shards, request);
  }

  /** Resolves, when the offsets are durable, with one ErrorCode a partition, in their order. */
  commitOffsets(request: CommitRequest): Promise<readonly number[]> {
    return commitOffsets(this.shards, request);
  }

  /** TxnOffsetCommit: as `commitOffsets`; the offsets count once the transaction is committed. */
  commitTransactionalOffsets(request: TransactionalCommitRequest): Promise<readonly number[]> {
    return commitTransactionalOffsets(this.shards, request);
  }

  /**
   * Ends a producer's transaction in one partition of `__consumer_offsets`; resolves, when the
   * marker is durable, with an ErrorCode.
   */
  async completeTransaction(partition: number, marker: TransactionMarker): Promise<number> {
    const shard = this.shards.all[partition];
    if (shard === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    const errorCode = shard.isReady ? ErrorCode.NONE : await shard.becomeReady();
    // The transaction coordinator is to come again.
    if (errorCode !== ErrorCode.NONE) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    return await shard.writeMarker(marker);
  }

  /**
   * Committed offsets of the named partitions, or (null) of all that have one. `requireStable`
   * waits for commits that are being written. Offsets of a topic that was deleted since count as
   * none.
   */
  fetchOffsets(
    groupId: string,
    wanted: readonly TopicPartitions[] | null,
    requireStable: boolean,
    client: OffsetsClient = nobody,
  ): Promise<FetchResult> {
    return fetchOffsets(this.shards, groupId, wanted, requireStable, client);
  }

  /** Deletes offsets of topics the group does not read now. */
  deleteOffsets(groupId: string, topics: readonly TopicPartitions[]): Promise<DeleteOffsetsResult> {
    return deleteOffsets(this.shards, groupId, topics);
  }

  /** Deletes an empty group with its offsets; resolves with an ErrorCode. */
  deleteGroup(groupId: string): Promise<number> {
    return deleteGroup(this.shards, groupId, (shard, entry) => this.share.erase(shard, entry));
  }

  /** All groups, those of partitions that were never needed excepted: they hold none. */
  listGroups(): Promise<{ readonly errorCode: number; readonly groups: readonly ListedGroup[] }> {
    return listGroups(this.shards);
  }

  /** Answered when what the heartbeat changed is durable. */
  consumerHeartbeat(groupId: string, request: ConsumerHeartbeat): Promise<ConsumerHeartbeatAnswer> {
    return consumerHeartbeat(this.shards, groupId, request);
  }

  describeConsumerGroup(groupId: string): Promise<ConsumerGroupDescription> {
    return describeConsumerGroup(this.shards, groupId);
  }

  describeGroup(groupId: string): Promise<DescribedGroup> {
    return describeGroup(this.shards, groupId);
  }

  /** A topic is gone: its offsets go too, in every group. Resolves when that is durable. */
  async topicDeleted(topic: string, topicId: string): Promise<void> {
    const nowMs = this.clock.nowMs();
    for (const shard of this.shards.all) {
      if (!shard.isReady) continue;
      await inBatches([...shard.all()], batchSizeMax, async (entry) => {
        const changes: OffsetChange[] = [];
        const gone = new Set<number>();
        for (const { partition, committed } of entry.offsets.ofTopic(topic)) {
          if (isForTopic(committed, topicId)) gone.add(partition);
        }
        for (const partition of gone) changes.push({ topic, partition, committed: null });
        await writeOffsets(shard, entry, changes, nowMs, this.config.batchBytesMax);
        await this.share.topicDeleted(shard, entry, topicId);
        shard.dropIfVacant(entry);
      });
    }
  }

  private scheduleExpiry(): void {
    const intervalMs = this.config.offsetsRetentionCheckIntervalMs;
    this.expiryTimer = this.clock.schedule(intervalMs, () => this.expireFrom(0));
  }

  /** One partition a turn, so that other work gets its turns too. */
  private expireFrom(index: number): void {
    const shard = this.shards.all[index];
    if (shard === undefined) {
      this.scheduleExpiry();
      return;
    }
    void expireShard(shard, this.config, this.clock.nowMs()).then(() => {
      if (this.shards.isClosed) return;
      this.expiryTimer = this.clock.schedule(0, () => this.expireFrom(index + 1));
    });
  }
}
