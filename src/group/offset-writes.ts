import { ErrorCode } from "../protocol/error-code.ts";
import { coordinatorErrorOf } from "./append-error.ts";
import type { Entry } from "./entry.ts";
import type { CommittedOffset } from "./offsets.ts";
import type { OffsetsRecord, TransactionalWriter } from "./ports.ts";
import { encodeOffset } from "./records.ts";
import type { GroupShard } from "./shard.ts";

/** One change to a group's offsets: a commit, or (null) a deletion. */
export interface OffsetChange {
  readonly topic: string;
  readonly partition: number;
  readonly committed: CommittedOffset | null;
}

/**
 * Writes changes to a group's offsets in batches of bounded size; each becomes visible when its
 * batch is durable, or, inside a transaction, when that is committed. Resolves with the first
 * error, as a client is to see it.
 */
export async function writeOffsets(
  shard: GroupShard,
  entry: Entry,
  changes: readonly OffsetChange[],
  nowMs: number,
  batchBytesMax: number,
  writer?: TransactionalWriter,
): Promise<number> {
  const writes: Promise<number>[] = [];
  let batch: { records: OffsetsRecord[]; changes: OffsetChange[]; bytes: number } | null = null;
  const flush = (): void => {
    if (batch === null) return;
    const { records, changes: written } = batch;
    batch = null;
    for (const change of written) entry.offsets.beginWrite(change.topic, change.partition);
    const done = (errorCode: number) => finish(shard, entry, written, errorCode, writer);
    writes.push(shard.write(records, done, writer));
  };
  for (const change of changes) {
    const { topic, partition, committed } = change;
    const record = encodeOffset(entry.groupId, topic, partition, committed, nowMs);
    const bytes = record.key.length + (record.value?.length ?? 0);
    if (batch !== null && batch.bytes + bytes > batchBytesMax) flush();
    batch ??= { records: [], changes: [], bytes: 0 };
    batch.records.push(record);
    batch.changes.push(change);
    batch.bytes += bytes;
  }
  flush();
  const errorCodes = await Promise.all(writes);
  const failed = errorCodes.find((errorCode) => errorCode !== ErrorCode.NONE);
  return coordinatorErrorOf(failed ?? ErrorCode.NONE);
}

/**
 * Deletes an empty group with all its offsets. Until that is durable, requests to it are sent away;
 * if it fails, the group stays. Resolves with the error a client is to see.
 */
export async function deleteEntry(
  shard: GroupShard,
  entry: Entry,
  nowMs: number,
  batchBytesMax: number,
): Promise<number> {
  entry.isDeleting = true;
  // What is under way may bring the group a member; then it stays. All of it comes to the log
  // first, be it several batches: behind the tombstones it would bring the group back.
  await shard.records.settled(entry);
  if (!entry.group.isUnused) {
    entry.isDeleting = false;
    return ErrorCode.NON_EMPTY_GROUP;
  }
  const changes = entry.offsets
    .partitions()
    .map(({ topic, partition }): OffsetChange => ({ topic, partition, committed: null }));
  // Both are handed to the log now, in this order; nothing of the group can come after them.
  const offsetsGone = writeOffsets(shard, entry, changes, nowMs, batchBytesMax);
  const groupGone = shard.write(entry.group.tombstones(nowMs), () => undefined);
  const [offsetsError, groupError] = await Promise.all([offsetsGone, groupGone]);
  entry.isDeleting = false;
  const errorCode = offsetsError === ErrorCode.NONE ? coordinatorErrorOf(groupError) : offsetsError;
  if (errorCode === ErrorCode.NONE) shard.forget(entry);
  return errorCode;
}

function finish(
  shard: GroupShard,
  entry: Entry,
  changes: readonly OffsetChange[],
  errorCode: number,
  writer: TransactionalWriter | undefined,
): void {
  for (const { topic, partition, committed } of changes) {
    entry.offsets.endWrite(topic, partition);
    if (errorCode !== ErrorCode.NONE) continue;
    if (writer === undefined || committed === null) {
      entry.offsets.apply(topic, partition, committed);
      continue;
    }
    entry.offsets.applyTransactional(writer.producerId, topic, partition, committed);
    shard.transactions.opened(writer.producerId, entry);
  }
  shard.account(entry);
}
