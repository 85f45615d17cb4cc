import type { GroupConfig } from "./config.ts";
import type { Entry } from "./entry.ts";
import { batchSizeMax, inBatches } from "./in-batches.ts";
import { deleteEntry, type OffsetChange, writeOffsets } from "./offset-writes.ts";
import type { GroupShard } from "./shard.ts";

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
  const rule = entry.group.expiryRule();
  if (rule === null) return;
  const { group } = entry;
  const expired = entry.offsets.expired(rule, config.offsetsRetentionMs, nowMs, (topic) =>
    group.isSubscribedTo(topic),
  );
  const isNothingLeft = expired.length === entry.offsets.partitions().length;
  if (isNothingLeft && group.isUnused) {
    await deleteEntry(shard, entry, nowMs, config.batchBytesMax);
    return;
  }
  const changes = expired.map(
    ({ topic, partition }): OffsetChange => ({ topic, partition, committed: null }),
  );
  if (changes.length > 0) await writeOffsets(shard, entry, changes, nowMs, config.batchBytesMax);
}
