import { assert } from "../lib/assert.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { BrokerError } from "../lib/errors.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type {
  CommitRequest,
  CoordinatorAddress,
  DeleteOffsetsResult,
  DescribedGroup,
  FetchedPartition,
  FetchedTopic,
  FetchResult,
  JoinRequest,
  LeaveRequest,
  ListedGroup,
  MemberRequest,
  SyncRequest,
  TopicPartitions,
} from "./api-types.ts";
import type { GroupConfig } from "./config.ts";
import { describedGroup, fetchedPartition, listedGroup, undescribedGroup } from "./describe.ts";
import { expireShard } from "./expiry.ts";
import { consumerProtocolType, joinFailure } from "./group-state.ts";
import type { JoinResponse, LeaveResponse, SyncResponse } from "./group-types.ts";
import { batchSizeMax, inBatches } from "./in-batches.ts";
import { emptyBytes, protocolBytes } from "./member.ts";
import { deleteEntry, type OffsetChange, writeOffsets } from "./offset-writes.ts";
import { isForTopic } from "./offsets.ts";
import { partitionForGroup } from "./partition-hash.ts";
import type { CoordinatorNodes, CoordinatorTopics } from "./ports.ts";
import { type Entry, GroupShard, type ShardContext } from "./shard.ts";

export interface GroupCoordinatorOptions {
  readonly config: GroupConfig;
  readonly topics: CoordinatorTopics;
  readonly nodes: CoordinatorNodes;
  readonly clock: Clock;
  /** Something an operator should see: a partition that cannot be loaded or written. */
  readonly onProblem: (error: BrokerError) => void;
  /** Random part of new member ids. */
  readonly uuid?: () => string;
}

const offsetsTopic = "__consumer_offsets";

/** Partitions read at once at start: each holds a few megabytes while it is read. */
const loadsAtOnceMax = 8;

/**
 * The classic group coordinator: consumer groups and their offsets, kept in `__consumer_offsets`.
 * Every answer that reports a change is given after the change is durable. A request that finds its
 * partition loaded is applied before the first await, so a connection's requests keep their order.
 */
export class GroupCoordinator {
  readonly topics: CoordinatorTopics;
  readonly config: GroupConfig;
  private readonly nodes: CoordinatorNodes;
  private readonly clock: Clock;
  private readonly uuid: () => string;
  private readonly context: ShardContext;
  private readonly shards: readonly GroupShard[];
  private expiryTimer: Timer | null = null;
  private isStarting = false;
  private isClosed = false;

  constructor(options: GroupCoordinatorOptions) {
    this.topics = options.topics;
    this.config = options.config;
    this.nodes = options.nodes;
    this.clock = options.clock;
    this.uuid = options.uuid ?? (() => crypto.randomUUID());
    const { config, clock, onProblem } = options;
    this.context = { config, clock, onProblem, usage: { groups: 0, bytes: 0 } };
    this.shards = Array.from(
      { length: options.topics.partitionCount },
      (_, partition) =>
        new GroupShard(partition, this.context, () => this.topics.offsetsLog(partition)),
    );
  }

  get groupCount(): number {
    return this.context.usage.groups;
  }

  /** Bytes held for members and offsets, roughly. */
  get stateBytes(): number {
    return this.context.usage.bytes;
  }

  /** Loads the groups that are stored; resolves when all partitions were tried. */
  async start(): Promise<void> {
    this.scheduleExpiry();
    if (!this.topics.topicExists(offsetsTopic)) return;
    this.isStarting = true;
    await inBatches(this.shards, loadsAtOnceMax, (shard) => shard.becomeReady());
    this.isStarting = false;
  }

  /** Answers every parked request with NOT_COORDINATOR and stops all timers. */
  close(): void {
    this.isClosed = true;
    this.expiryTimer?.cancel();
    this.expiryTimer = null;
    for (const shard of this.shards) shard.close();
  }

  partitionFor(groupId: string): number {
    return partitionForGroup(groupId, this.topics.partitionCount);
  }

  /** Where the group's coordinator is; makes sure that its partition exists. */
  async findCoordinator(groupId: string, listener: string): Promise<CoordinatorAddress> {
    const nowhere = { nodeId: -1, host: "", port: -1 };
    if (this.isClosed || groupId.length > this.config.textCharsMax) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    const shard = this.shardOf(groupId);
    const errorCode = shard.isReady || shard.isLoading ? 0 : await shard.becomeReady();
    const node = this.nodes.coordinatorOf(shard.partition, listener);
    if (errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE || node === null) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, ...nowhere };
    }
    return { errorCode: ErrorCode.NONE, ...node };
  }

  /** Answered when the join phase is over, which may take the rebalance timeout. */
  async joinGroup(request: JoinRequest): Promise<JoinResponse> {
    const { groupId, memberId, sessionTimeoutMs } = request;
    const { sessionTimeoutMsMin, sessionTimeoutMsMax } = this.config;
    // The request's bytes are borrowed until the first await; what the group keeps is its own.
    const protocols = request.protocols.map((protocol) => ({
      name: protocol.name,
      metadata: new Uint8Array(protocol.metadata),
    }));
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId);
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return joinFailure(memberId, errorCode);
    if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
      return joinFailure(memberId, ErrorCode.INVALID_SESSION_TIMEOUT);
    }
    const known = shard.find(groupId);
    if (known === null && memberId !== "") {
      return joinFailure(memberId, ErrorCode.UNKNOWN_MEMBER_ID);
    }
    // A member that rejoins brings what it had before; only newcomers need room.
    const isMember = known?.group.state.members.has(memberId) ?? false;
    const hasRoom = isMember || this.hasRoomFor(protocolBytes(request.protocols));
    const entry = hasRoom ? (known ?? shard.create(groupId)) : null;
    if (entry === null || entry.isDeleting) {
      return joinFailure(memberId, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    }
    const uuid = this.uuid();
    const answer = shard.ask(entry, "respondJoin", (token) => ({
      ...request,
      protocols,
      kind: "join",
      request: token,
      uuid,
    }));
    shard.dropIfVacant(entry);
    return (await answer).response;
  }

  /** Answered when the leader's assignment is durable. */
  async syncGroup(request: SyncRequest): Promise<SyncResponse> {
    const assignments = request.assignments.map((one) => ({
      memberId: one.memberId,
      assignment: new Uint8Array(one.assignment),
    }));
    const shard = this.shardOf(request.groupId);
    const refused = this.refusal(request.groupId);
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return syncFailure(errorCode);
    const entry = shard.find(request.groupId);
    if (entry === null) return syncFailure(ErrorCode.UNKNOWN_MEMBER_ID);
    if (entry.isDeleting) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const bytes = request.assignments.reduce((sum, one) => sum + one.assignment.length, 0);
    if (!this.hasRoomFor(bytes)) return syncFailure(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const answer = await shard.ask(entry, "respondSync", (token) => ({
      ...request,
      assignments,
      kind: "sync",
      request: token,
    }));
    return answer.response;
  }

  /** Resolves with an ErrorCode. */
  async heartbeat(request: MemberRequest): Promise<number> {
    const shard = this.shardOf(request.groupId);
    const refused = this.refusal(request.groupId);
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    // While the group is being read nobody's session runs out: all is well.
    if (errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) return ErrorCode.NONE;
    if (errorCode !== ErrorCode.NONE) return errorCode;
    const entry = shard.find(request.groupId);
    if (entry === null) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const answer = await shard.ask(entry, "respondHeartbeat", (token) => ({
      ...request,
      kind: "heartbeat",
      request: token,
    }));
    return answer.errorCode;
  }

  /** Answered when what the departure changes in the log is durable. */
  async leaveGroup(request: LeaveRequest): Promise<LeaveResponse> {
    const shard = this.shardOf(request.groupId);
    const refused = this.refusal(request.groupId);
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return { errorCode, members: [] };
    const entry = shard.find(request.groupId);
    if (entry === null) {
      const unknown = { errorCode: ErrorCode.UNKNOWN_MEMBER_ID };
      return { errorCode, members: request.members.map((one) => ({ ...one, ...unknown })) };
    }
    if (entry.isDeleting) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, members: [] };
    const { members } = request;
    const answer = shard.ask(entry, "respondLeave", (token) => ({
      kind: "leave",
      request: token,
      members,
    }));
    shard.dropIfVacant(entry);
    return (await answer).response;
  }

  /** Resolves, when the offsets are durable, with one ErrorCode a partition, in their order. */
  async commitOffsets(request: CommitRequest): Promise<readonly number[]> {
    const { groupId, partitions } = request;
    const all = (errorCode: number): number[] => partitions.map(() => errorCode);
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId, "emptyIdIsFine");
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return all(errorCode);

    const known = shard.find(groupId);
    if (known === null && request.generationId >= 0) return all(request.unknownGroupError);
    const bytes = partitions.reduce((sum, one) => sum + (one.metadata?.length ?? 0), 0);
    // A commit without a generation makes a simple group, one that only has offsets.
    const entry = this.hasRoomFor(bytes) ? (known ?? shard.create(groupId)) : null;
    if (entry === null || entry.isDeleting) return all(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const refusedCommit = shard.checkCommit(entry, request);
    if (refusedCommit !== ErrorCode.NONE) {
      shard.dropIfVacant(entry);
      return all(refusedCommit);
    }

    const nowMs = this.clock.nowMs();
    const { retentionTimeMs } = request;
    const expireTimestampMs = retentionTimeMs < 0 ? -1 : nowMs + retentionTimeMs;
    const errorCodes = all(ErrorCode.NONE);
    const changes: OffsetChange[] = [];
    for (const [index, { topic, partition, metadata, ...rest }] of partitions.entries()) {
      if (metadata !== null && metadata.length > this.config.offsetMetadataBytesMax) {
        errorCodes[index] = ErrorCode.OFFSET_METADATA_TOO_LARGE;
        continue;
      }
      const { offset, leaderEpoch, topicId } = rest;
      const committed = {
        offset,
        leaderEpoch,
        metadata: metadata ?? "",
        commitTimestampMs: nowMs,
        expireTimestampMs,
        topicId,
      };
      changes.push({ topic, partition, committed });
    }
    const written = await writeOffsets(shard, entry, changes, nowMs, this.config.batchBytesMax);
    shard.dropIfVacant(entry);
    return errorCodes.map((one) => (one === ErrorCode.NONE ? written : one));
  }

  /**
   * Committed offsets of the named partitions, or (null) of all that have one. `requireStable`
   * waits for commits that are being written. Offsets of a topic that was deleted since count as
   * none.
   */
  async fetchOffsets(
    groupId: string,
    wanted: readonly TopicPartitions[] | null,
    requireStable: boolean,
  ): Promise<FetchResult> {
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId, "emptyIdIsFine");
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return { errorCode, topics: [] };
    if (requireStable && shard.find(groupId)?.offsets.hasPending) await shard.drained();
    const entry = shard.find(groupId);
    const topics = wanted === null ? this.allOffsets(entry) : this.someOffsets(entry, wanted);
    return { errorCode, topics };
  }

  /** Deletes offsets of topics the group does not read now. */
  async deleteOffsets(
    groupId: string,
    topics: readonly TopicPartitions[],
  ): Promise<DeleteOffsetsResult> {
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId);
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return { errorCode, partitions: [] };
    const entry = shard.find(groupId);
    const groupError = offsetDeleteError(entry);
    if (entry === null || groupError !== ErrorCode.NONE) {
      return { errorCode: groupError, partitions: [] };
    }
    const results: { topic: string; partition: number; errorCode: number }[] = [];
    const changes: OffsetChange[] = [];
    for (const { topic, partitions } of topics) {
      const isRead = entry.group.state.isSubscribedTo(topic);
      const topicError = isRead ? ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode.NONE;
      for (const partition of partitions) {
        results.push({ topic, partition, errorCode: topicError });
        if (!isRead && entry.offsets.hasOrWillHave(topic, partition)) {
          changes.push({ topic, partition, committed: null });
        }
      }
    }
    const nowMs = this.clock.nowMs();
    const written = await writeOffsets(shard, entry, changes, nowMs, this.config.batchBytesMax);
    shard.dropIfVacant(entry);
    return { errorCode: written, partitions: written === ErrorCode.NONE ? results : [] };
  }

  /** Deletes an empty group with its offsets; resolves with an ErrorCode. */
  async deleteGroup(groupId: string): Promise<number> {
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId, "emptyIdIsFine");
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return errorCode;
    const entry = shard.find(groupId);
    if (entry === null) return ErrorCode.GROUP_ID_NOT_FOUND;
    if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (entry.group.state.name !== "Empty") return ErrorCode.NON_EMPTY_GROUP;
    return await deleteEntry(shard, entry, this.clock.nowMs(), this.config.batchBytesMax);
  }

  /** All groups, those of partitions that were never needed excepted: they hold none. */
  async listGroups(): Promise<{
    readonly errorCode: number;
    readonly groups: readonly ListedGroup[];
  }> {
    if (this.isClosed) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, groups: [] };
    if (this.isStarting) return { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, groups: [] };
    // A list that silently lacks a partition's groups would pass for the whole truth.
    for (const shard of this.shards) {
      const errorCode = shard.hasFailed ? await shard.becomeReady() : ErrorCode.NONE;
      if (errorCode !== ErrorCode.NONE) return { errorCode, groups: [] };
    }
    const groups: ListedGroup[] = [];
    for (const shard of this.shards) {
      if (shard.isLoading) return { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, groups: [] };
      for (const entry of shard.all()) groups.push(listedGroup(entry));
    }
    return { errorCode: ErrorCode.NONE, groups };
  }

  async describeGroup(groupId: string): Promise<DescribedGroup> {
    const shard = this.shardOf(groupId);
    const refused = this.refusal(groupId, "emptyIdIsFine");
    const errorCode = refused !== 0 || shard.isReady ? refused : await shard.becomeReady();
    if (errorCode !== ErrorCode.NONE) return undescribedGroup(groupId, errorCode);
    const entry = shard.find(groupId);
    if (entry === null) return undescribedGroup(groupId, ErrorCode.GROUP_ID_NOT_FOUND);
    return describedGroup(entry);
  }

  /** A topic is gone: its offsets go too, in every group. Resolves when that is durable. */
  async topicDeleted(topic: string, topicId: string): Promise<void> {
    const nowMs = this.clock.nowMs();
    for (const shard of this.shards) {
      if (!shard.isReady) continue;
      await inBatches([...shard.all()], batchSizeMax, async (entry) => {
        const changes: OffsetChange[] = [];
        for (const [partition, committed] of entry.offsets.all().get(topic) ?? []) {
          if (isForTopic(committed, topicId)) changes.push({ topic, partition, committed: null });
        }
        await writeOffsets(shard, entry, changes, nowMs, this.config.batchBytesMax);
        shard.dropIfVacant(entry);
      });
    }
  }

  private shardOf(groupId: string): GroupShard {
    const shard = this.shards[this.partitionFor(groupId)];
    assert(shard !== undefined, "every group has a partition");
    return shard;
  }

  /** Why a request for this group id is refused before anything is looked at; 0 if it is not. */
  private refusal(groupId: string, emptyId?: "emptyIdIsFine"): number {
    if (this.isClosed) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (groupId.length > this.config.textCharsMax) return ErrorCode.INVALID_GROUP_ID;
    return groupId === "" && emptyId === undefined ? ErrorCode.INVALID_GROUP_ID : ErrorCode.NONE;
  }

  private hasRoomFor(bytes: number): boolean {
    return this.context.usage.bytes + bytes <= this.config.stateBytesMax;
  }

  private allOffsets(entry: Entry | null): FetchedTopic[] {
    const topics: FetchedTopic[] = [];
    for (const [topic, offsets] of entry?.offsets.all() ?? []) {
      const topicId = this.topics.topicId(topic);
      const partitions: FetchedPartition[] = [];
      for (const [partition, committed] of offsets) {
        if (isForTopic(committed, topicId)) partitions.push(fetchedPartition(partition, committed));
      }
      if (partitions.length > 0) topics.push({ topic, partitions });
    }
    return topics;
  }

  private someOffsets(entry: Entry | null, wanted: readonly TopicPartitions[]): FetchedTopic[] {
    return wanted.map(({ topic, partitions }) => {
      const topicId = this.topics.topicId(topic);
      const fetched = partitions.map((partition) => {
        const committed = entry?.offsets.get(topic, partition) ?? null;
        const isCurrent = committed !== null && isForTopic(committed, topicId);
        return fetchedPartition(partition, isCurrent ? committed : null);
      });
      return { topic, partitions: fetched };
    });
  }

  private scheduleExpiry(): void {
    const intervalMs = this.config.offsetsRetentionCheckIntervalMs;
    this.expiryTimer = this.clock.schedule(intervalMs, () => this.expireFrom(0));
  }

  /** One partition a turn, so that other work gets its turns too. */
  private expireFrom(index: number): void {
    const shard = this.shards[index];
    if (shard === undefined) {
      this.scheduleExpiry();
      return;
    }
    void expireShard(shard, this.config, this.clock.nowMs()).then(() => {
      if (this.isClosed) return;
      this.expiryTimer = this.clock.schedule(0, () => this.expireFrom(index + 1));
    });
  }
}

function syncFailure(errorCode: number): SyncResponse {
  return { errorCode, protocolType: null, protocolName: null, assignment: emptyBytes };
}

function offsetDeleteError(entry: Entry | null): number {
  if (entry === null) return ErrorCode.GROUP_ID_NOT_FOUND;
  if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  const { name, protocolType } = entry.group.state;
  // Only a consumer group says which topics it reads; of another nothing is safe to delete.
  const isOpaque = protocolType !== consumerProtocolType;
  return name !== "Empty" && isOpaque ? ErrorCode.NON_EMPTY_GROUP : ErrorCode.NONE;
}
