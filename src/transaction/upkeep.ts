import type { IdEntry, TransactionShard } from "./shard.ts";
import type { TransactionStateName } from "./transaction-types.ts";

/** A timeout of this length never runs out (two-phase commit). */
const noTimeoutMs = 0x7fff_ffff;
/** Ids one batch of tombstones may hold. */
const idsPerBatch = 500;

const expirable: ReadonlySet<TransactionStateName> = new Set([
  "Empty",
  "CompleteCommit",
  "CompleteAbort",
]);

/** Has its transaction been open for longer than its producer allowed? */
export function isTimedOut({ transaction: { pending, data } }: IdEntry, nowMs: number): boolean {
  if (pending !== null || data.state !== "Ongoing" || data.timeoutMs >= noTimeoutMs) return false;
  return data.startMs + data.timeoutMs < nowMs;
}

/** Transactions that are timed out. */
export function timedOutEntries(shard: TransactionShard, nowMs: number): IdEntry[] {
  if (!shard.isReady) return [];
  return [...shard.all()].filter((entry) => isTimedOut(entry, nowMs));
}

/** Ids without a transaction that were last used at `usedMs` or before, in batches; each batch is
 * looked for when the one before is done with. */
export function* expiredEntries(shard: TransactionShard, usedMs: number): Generator<IdEntry[]> {
  if (!shard.isReady) return;
  let batch: IdEntry[] = [];
  for (const entry of [...shard.all()]) {
    const { pending, data } = entry.transaction;
    const isUnused = pending === null && expirable.has(data.state);
    if (!isUnused || data.lastUpdateMs > usedMs || shard.find(entry.id) !== entry) continue;
    batch.push(entry);
    if (batch.length < idsPerBatch) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0 && shard.isReady) yield batch;
}
