import { ErrorCode } from "../protocol/error-code.ts";
import type {
  CommitPartition,
  CommitRequest,
  DeleteOffsetsResult,
  FetchedPartition,
  FetchedTopic,
  FetchResult,
  TopicPartitions,
  TransactionalCommitRequest,
} from "./api-types.ts";
import { type CommitCheck, ConsumerGroup, type OffsetsClient } from "./consumer-group.ts";
import { fetchedPartition } from "./describe.ts";
import { type Entry, isClassic } from "./entry.ts";
import type { GroupShards } from "./group-shards.ts";
import { consumerProtocolType } from "./group-state.ts";
import { type OffsetChange, writeOffsets } from "./offset-writes.ts";
import { isForTopic } from "./offsets.ts";
import type { TransactionalWriter } from "./ports.ts";
import type { GroupShard } from "./shard.ts";

/** First version of OffsetCommit that members of the consumer protocol may use; any of
 * TxnOffsetCommit is fine. */
const consumerProtocolFrom = 9;

/** Commits, reads and deletions of a group's offsets, whatever protocol its members speak. */

/** Resolves, when the offsets are durable, with one ErrorCode a partition, in their order. */
export async function commitOffsets(
  shards: GroupShards,
  request: CommitRequest,
): Promise<readonly number[]> {
  const { groupId, partitions } = request;
  const all = (errorCode: number): number[] => partitions.map(() => errorCode);
  const lookup = shards.ready(groupId, "emptyIdIsFine");
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return all(errorCode);

  const known = shard.find(groupId);
  if (known === null && request.generationId >= 0) return all(request.unknownGroupError);
  const bytes = partitions.reduce((sum, one) => sum + (one.metadata?.length ?? 0), 0);
  // A commit without a generation makes a simple group, one that only has offsets.
  const entry = shards.hasRoomFor(bytes) ? (known ?? shard.create(groupId)) : null;
  if (entry === null || entry.isDeleting) return all(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const check = checkCommit(shard, entry, request);
  if (typeof check === "number" && check !== ErrorCode.NONE) {
    shard.dropIfVacant(entry);
    return all(check);
  }

  const { retentionTimeMs } = request;
  return await writeCommit(shards, shard, entry, { partitions, retentionTimeMs, check });
}

/**
 * Commits inside a transaction: resolves, when the offsets are durable, with one ErrorCode a
 * partition. They count when the transaction's marker comes.
 */
export async function commitTransactionalOffsets(
  shards: GroupShards,
  request: TransactionalCommitRequest,
): Promise<readonly number[]> {
  const { groupId, partitions } = request;
  const all = (errorCode: number): number[] => partitions.map(() => errorCode);
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return all(errorCode);

  const known = shard.find(groupId);
  if (known === null && request.generationId >= 0) return all(ErrorCode.ILLEGAL_GENERATION);
  const bytes = partitions.reduce((sum, one) => sum + (one.metadata?.length ?? 0), 0);
  const entry = shards.hasRoomFor(bytes) ? (known ?? shard.create(groupId)) : null;
  if (entry === null || entry.isDeleting) return all(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const check = checkTransactionalCommit(entry, request);
  if (typeof check === "number" && check !== ErrorCode.NONE) {
    shard.dropIfVacant(entry);
    return all(check);
  }
  // All or nothing: a transaction with half of a member's offsets is not what it asked for.
  for (const { topicId, partition } of partitions) {
    const stale = typeof check === "number" ? check : check(topicId, partition);
    if (stale !== ErrorCode.NONE) return all(stale);
  }
  const { writer } = request;
  return await writeCommit(shards, shard, entry, {
    partitions,
    retentionTimeMs: -1,
    check,
    writer,
  });
}

interface AllowedCommit {
  readonly partitions: readonly CommitPartition[];
  readonly retentionTimeMs: number;
  /** NONE: all of them are allowed. */
  readonly check: number | CommitCheck;
  readonly writer?: TransactionalWriter;
}

async function writeCommit(
  shards: GroupShards,
  shard: GroupShard,
  entry: Entry,
  { partitions, retentionTimeMs, check, writer }: AllowedCommit,
): Promise<readonly number[]> {
  const { offsetMetadataBytesMax, batchBytesMax } = shards.config;
  const nowMs = shards.clock.nowMs();
  const expireTimestampMs = retentionTimeMs < 0 ? -1 : nowMs + retentionTimeMs;
  const errorCodes = partitions.map((): number => ErrorCode.NONE);
  const changes: OffsetChange[] = [];
  for (const [index, { topic, partition, metadata, ...rest }] of partitions.entries()) {
    if (metadata !== null && metadata.length > offsetMetadataBytesMax) {
      errorCodes[index] = ErrorCode.OFFSET_METADATA_TOO_LARGE;
      continue;
    }
    const { offset, leaderEpoch, topicId } = rest;
    const partitionError = typeof check === "number" ? check : check(topicId, partition);
    if (partitionError !== ErrorCode.NONE) {
      errorCodes[index] = partitionError;
      continue;
    }
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
  const written = await writeOffsets(shard, entry, changes, nowMs, batchBytesMax, writer);
  shard.dropIfVacant(entry);
  return errorCodes.map((one) => (one === ErrorCode.NONE ? written : one));
}

/**
 * Committed offsets of the named partitions, or (null) of all that have one. `requireStable`
 * waits for commits that are being written, and answers UNSTABLE_OFFSET_COMMIT for what an open
 * transaction has written. Offsets of a topic that was deleted since count as none.
 */
export async function fetchOffsets(
  shards: GroupShards,
  groupId: string,
  wanted: readonly TopicPartitions[] | null,
  requireStable: boolean,
  client: OffsetsClient,
): Promise<FetchResult> {
  const lookup = shards.ready(groupId, "emptyIdIsFine");
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return { errorCode, topics: [] };
  if (requireStable && shard.find(groupId)?.offsets.hasPending) await shard.drained();
  const entry = shard.find(groupId);
  const group = entry?.group;
  const refused = group instanceof ConsumerGroup ? group.checkFetch(client) : ErrorCode.NONE;
  if (refused !== ErrorCode.NONE) return { errorCode: refused, topics: [] };
  const topics =
    wanted === null
      ? allOffsets(shards, entry, requireStable)
      : someOffsets(shards, entry, wanted, requireStable);
  return { errorCode, topics };
}

/** Deletes offsets of topics the group does not read now. */
export async function deleteOffsets(
  shards: GroupShards,
  groupId: string,
  topics: readonly TopicPartitions[],
): Promise<DeleteOffsetsResult> {
  const lookup = shards.ready(groupId);
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return { errorCode, partitions: [] };
  const entry = shard.find(groupId);
  const groupError = offsetDeleteError(entry);
  if (entry === null || groupError !== ErrorCode.NONE) {
    return { errorCode: groupError, partitions: [] };
  }
  const results: { topic: string; partition: number; errorCode: number }[] = [];
  const changes: OffsetChange[] = [];
  for (const { topic, partitions } of topics) {
    const isRead = entry.group.isSubscribedTo(topic);
    const topicError = isRead ? ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode.NONE;
    for (const partition of partitions) {
      results.push({ topic, partition, errorCode: topicError });
      if (!isRead && entry.offsets.hasOrWillHave(topic, partition)) {
        changes.push({ topic, partition, committed: null });
      }
    }
  }
  const nowMs = shards.clock.nowMs();
  const written = await writeOffsets(shard, entry, changes, nowMs, shards.config.batchBytesMax);
  shard.dropIfVacant(entry);
  return { errorCode: written, partitions: written === ErrorCode.NONE ? results : [] };
}

function allOffsets(
  shards: GroupShards,
  entry: Entry | null,
  requireStable: boolean,
): FetchedTopic[] {
  const topics: FetchedTopic[] = [];
  for (const [topic, offsets] of entry?.offsets.all() ?? []) {
    const topicId = shards.topics.topicId(topic);
    const partitions: FetchedPartition[] = [];
    for (const [partition, committed] of offsets) {
      const isUnstable = requireStable && entry?.offsets.isUnstable(topic, partition) === true;
      if (isUnstable) partitions.push(unstablePartition(partition));
      else if (isForTopic(committed, topicId))
        partitions.push(fetchedPartition(partition, committed));
    }
    if (partitions.length > 0) topics.push({ topic, partitions });
  }
  return topics;
}

function someOffsets(
  shards: GroupShards,
  entry: Entry | null,
  wanted: readonly TopicPartitions[],
  requireStable: boolean,
): FetchedTopic[] {
  return wanted.map(({ topic, partitions }) => {
    const topicId = shards.topics.topicId(topic);
    const fetched = partitions.map((partition) => {
      const isUnstable = requireStable && entry?.offsets.isUnstable(topic, partition) === true;
      if (isUnstable) return unstablePartition(partition);
      const committed = entry?.offsets.get(topic, partition) ?? null;
      const isCurrent = committed !== null && isForTopic(committed, topicId);
      return fetchedPartition(partition, isCurrent ? committed : null);
    });
    return { topic, partitions: fetched };
  });
}

/** May this member commit now? Its session is kept alive if it is one of the classic protocol. */
function checkCommit(
  shard: GroupShard,
  entry: Entry,
  request: CommitRequest,
): number | CommitCheck {
  if (isClassic(entry)) return shard.classic.checkCommit(entry, request);
  const { group } = entry;
  if (!(group instanceof ConsumerGroup)) return ErrorCode.UNKNOWN_MEMBER_ID;
  const { memberId, generationId: memberEpoch } = request;
  return group.checkCommit({ memberId, memberEpoch }, request.apiVersion);
}

/** May this member's producer commit for it? */
function checkTransactionalCommit(
  entry: Entry,
  request: TransactionalCommitRequest,
): number | CommitCheck {
  if (isClassic(entry)) return entry.group.transactionalCommitError(request);
  const { group } = entry;
  if (!(group instanceof ConsumerGroup)) return ErrorCode.UNKNOWN_MEMBER_ID;
  const { memberId, generationId: memberEpoch, groupInstanceId } = request;
  // Old producers say nothing of the member.
  if (memberEpoch === -1 && memberId === "" && groupInstanceId === null) return ErrorCode.NONE;
  const check = group.checkCommit({ memberId, memberEpoch }, consumerProtocolFrom);
  if (typeof check === "number") return generationError(check);
  return (topicId, partition) => generationError(check(topicId, partition));
}

/** Producers know generations, not member epochs. */
function generationError(errorCode: number): number {
  const isStale = errorCode === ErrorCode.STALE_MEMBER_EPOCH;
  return isStale ? ErrorCode.ILLEGAL_GENERATION : errorCode;
}

function unstablePartition(partition: number): FetchedPartition {
  return { ...fetchedPartition(partition, null), errorCode: ErrorCode.UNSTABLE_OFFSET_COMMIT };
}

function offsetDeleteError(entry: Entry | null): number {
  if (entry === null) return ErrorCode.GROUP_ID_NOT_FOUND;
  if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  const { stateName, protocolType } = entry.group;
  // Only a consumer group says which topics it reads; of another nothing is safe to delete.
  const isOpaque = protocolType !== consumerProtocolType;
  return stateName !== "Empty" && isOpaque ? ErrorCode.NON_EMPTY_GROUP : ErrorCode.NONE;
}
