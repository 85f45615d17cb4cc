import type { GroupConfig } from "./config.ts";
import { consumerProtocolType } from "./group-state.ts";
import { batchSizeMax, inBatches } from "./in-batches.ts";
import { deleteEntry, type OffsetChange, writeOffsets } from "./offset-writes.ts";
import type { ExpiryRule } from "./offsets.ts";
import type { Entry, GroupShard } from "./shard.ts";

/** Deletes what has outlived its time in one shard: offsets, and groups with nothing left. */
export async function expireShard(
  shard: GroupShard,
  config: GroupConfig,
  nowMs: number,
): Promise<void> {
  if (!shard.isReady) return;
  await inBatches([...shard.all()], batchSizeMax, async (entry) => {
    const isThere = shard.find(entry.groupId) === entry;
    if (isThere && !entry.isDeleting) await expireEntry(shard, entry, config, nowMs);
  });
}

async function expireEntry(
  shard: GroupShard,
  entry: Entry,
  config: GroupConfig,
  nowMs: number,
): Promise<void> {
  const rule = ruleFor(entry);
  if (rule === null) return;
  const { state } = entry.group;
  const expired = entry.offsets.expired(rule, config.offsetsRetentionMs, nowMs, (topic) =>
    state.isSubscribedTo(topic),
  );
  const isNothingLeft = expired.length === entry.offsets.partitions().length;
  const isUnused =
    state.name === "Empty" && state.pendingJoin.size === 0 && state.pendingPersists.size === 0;
  if (isNothingLeft && isUnused) {
    await deleteEntry(shard, entry, nowMs, config.batchBytesMax);
    return;
  }
  const changes = expired.map(
    ({ topic, partition }): OffsetChange => ({ topic, partition, committed: null }),
  );
  if (changes.length > 0) await writeOffsets(shard, entry, changes, nowMs, config.batchBytesMax);
}

/**
 * A group that had members keeps its offsets until it has been empty for the retention time; while
 * it is stable, only offsets of topics it no longer reads age, from their commits. A simple
 * consumer's offsets always age from their commits.
 */
function ruleFor(entry: Entry): ExpiryRule | null {
  const { state } = entry.group;
  if (state.protocolType === null) return { sinceMs: null };
  if (state.name === "Empty") {
    return { sinceMs: state.stateTimestampMs >= 0 ? state.stateTimestampMs : null };
  }
  const knowsTopics =
    state.protocolType === consumerProtocolType && state.subscribedTopics !== null;
  return state.name === "Stable" && knowsTopics ? { sinceMs: null } : null;
}
