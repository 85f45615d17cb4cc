import { ErrorCode } from "../protocol/error-code.ts";
import type { DescribedGroup, ListedGroup } from "./api-types.ts";
import { describedGroup, listedGroup, undescribedGroup } from "./describe.ts";
import { type Entry, isClassic } from "./entry.ts";
import type { GroupShards } from "./group-shards.ts";
import { deleteEntry } from "./offset-writes.ts";
import type { GroupShard } from "./shard.ts";

/** Listing, describing and deleting groups. */

/**
 * Deletes an empty group with its offsets; resolves with an ErrorCode. `eraseFirst` erases what a
 * group keeps elsewhere; without success the group stays.
 */
export async function deleteGroup(
  shards: GroupShards,
  groupId: string,
  eraseFirst: (shard: GroupShard, entry: Entry) => Promise<number>,
): Promise<number> {
  const lookup = shards.ready(groupId, "emptyIdIsFine");
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return errorCode;
  const entry = shard.find(groupId);
  if (entry === null) return ErrorCode.GROUP_ID_NOT_FOUND;
  if (entry.isDeleting) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  if (entry.group.stateName !== "Empty") return ErrorCode.NON_EMPTY_GROUP;
  entry.isDeleting = true;
  const erased = await eraseFirst(shard, entry);
  entry.isDeleting = false;
  if (erased !== ErrorCode.NONE) return erased;
  return await deleteEntry(shard, entry, shards.clock.nowMs(), shards.config.batchBytesMax);
}

/** All groups, those of partitions that were never needed excepted: they hold none. */
export async function listGroups(shards: GroupShards): Promise<{
  readonly errorCode: number;
  readonly groups: readonly ListedGroup[];
}> {
  if (shards.isClosed) return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, groups: [] };
  if (shards.isStarting) return { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, groups: [] };
  // A list that silently lacks a partition's groups would pass for the whole truth.
  for (const shard of shards.all) {
    const errorCode = shard.hasFailed ? await shard.becomeReady() : ErrorCode.NONE;
    if (errorCode !== ErrorCode.NONE) return { errorCode, groups: [] };
  }
  const groups: ListedGroup[] = [];
  for (const shard of shards.all) {
    if (shard.isLoading) return { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, groups: [] };
    for (const entry of shard.all()) groups.push(listedGroup(entry));
  }
  return { errorCode: ErrorCode.NONE, groups };
}

export async function describeGroup(shards: GroupShards, groupId: string): Promise<DescribedGroup> {
  const lookup = shards.ready(groupId, "emptyIdIsFine");
  const { shard, errorCode } = lookup instanceof Promise ? await lookup : lookup;
  if (errorCode !== ErrorCode.NONE) return undescribedGroup(groupId, errorCode);
  const entry = shard.find(groupId);
  if (entry === null) return undescribedGroup(groupId, ErrorCode.GROUP_ID_NOT_FOUND);
  if (!isClassic(entry)) return undescribedGroup(groupId, ErrorCode.GROUP_ID_NOT_FOUND);
  return describedGroup(entry);
}
