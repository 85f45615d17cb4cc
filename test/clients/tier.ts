import { until } from "../support/broker-process.ts";

/** What the admin API tells about tiering; all knowledge of its JSON is here. */

interface SegmentEntry {
  readonly topic: string;
  readonly partition: number;
  readonly base_offset: number;
  readonly last_offset: number;
}

interface WalPartition {
  readonly topic: string;
  readonly partition: number;
  readonly segments: readonly { readonly base_offset: number; readonly records: number }[];
}

async function getJson(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (response.status !== 200) throw new Error(`${url} answers ${response.status}`);
  return await response.json();
}

/** The registry's segments of one partition, in the order of their offsets. */
export async function archivedSegments(
  adminUrl: string,
  topic: string,
  partition: number,
): Promise<SegmentEntry[]> {
  const query = new URLSearchParams({ topic, partition: String(partition) });
  const answer = (await getJson(`${adminUrl}/admin/segments?${query}`)) as
    | SegmentEntry[]
    | { segments: SegmentEntry[] };
  const list = Array.isArray(answer) ? answer : answer.segments;
  return list
    .filter((entry) => entry.topic === topic && entry.partition === partition)
    .toSorted((a, b) => a.base_offset - b.base_offset);
}

/** True when the archives hold every offset below `endOffset` and the WAL holds none of them. */
async function isArchived(
  adminUrl: string,
  topic: string,
  partition: number,
  endOffset: number,
): Promise<boolean> {
  let next = 0;
  for (const entry of await archivedSegments(adminUrl, topic, partition)) {
    if (entry.base_offset > next) return false;
    next = Math.max(next, entry.last_offset + 1);
  }
  if (next < endOffset) return false;
  const status = (await getJson(`${adminUrl}/admin/wal/status`)) as { partitions: WalPartition[] };
  return !status.partitions.some(
    (wal) =>
      wal.topic === topic &&
      wal.partition === partition &&
      wal.segments.some((segment) => segment.records > 0 && segment.base_offset < endOffset),
  );
}

/** Runs the indexer until everything below `endOffset` is in archives and out of the WAL. */
export async function untilArchived(
  adminUrl: string,
  topic: string,
  partition: number,
  endOffset: number,
  timeoutMs = 120_000,
): Promise<void> {
  const everyMs = 250;
  await until(
    `${topic}-${partition} is archived up to offset ${endOffset}`,
    timeoutMs,
    async () => {
      if (await isArchived(adminUrl, topic, partition, endOffset)) return true;
      const run = await fetch(`${adminUrl}/admin/indexer/run`, {
        method: "POST",
        signal: AbortSignal.timeout(timeoutMs),
      });
      await run.arrayBuffer();
      // 409: a run is under way already, which is as good.
      if (!run.ok && run.status !== 409) throw new Error(`the indexer answers ${run.status}`);
      return await isArchived(adminUrl, topic, partition, endOffset);
    },
    everyMs,
  );
}
