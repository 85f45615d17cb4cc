import { type BrokerProcess, until } from "./broker-process.ts";

/** What the admin API tells about the registry and the WAL. */

/** Flags under which segments rotate, seal, are archived and released all the time. */
export const busyTierArgs: readonly string[] = [
  ["--wal-indexing-interval", "1"],
  ["-X", "min_segment_age_secs=0"],
  ["-X", "wal.segment_bytes_max=1MiB"],
].flat();

export interface RegistrySegment {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  readonly base_offset: number;
  readonly last_offset: number;
  readonly key: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly generation: number;
  readonly index: string;
  readonly documents: number;
}

export interface WalPartition {
  readonly topic: string;
  readonly partition: number;
  readonly log_start_offset: number;
  readonly log_end_offset: number;
  readonly leader_epoch: number;
  readonly damage: unknown;
  readonly segments: readonly { readonly state: string; readonly last_offset: number }[];
}

interface TopicStatus {
  readonly internal: boolean;
  readonly partitions: readonly {
    readonly high_watermark: number;
    readonly archived: { readonly end_offset: number } | null;
  }[];
}

async function admin<T>(broker: BrokerProcess, path: string, method = "GET"): Promise<T> {
  const response = await fetch(`${broker.adminUrl}${path}`, { method });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
  return (await response.json()) as T;
}

export async function registrySegments(broker: BrokerProcess): Promise<RegistrySegment[]> {
  return (await admin<{ segments: RegistrySegment[] }>(broker, "/admin/segments")).segments;
}

export async function walPartitions(broker: BrokerProcess): Promise<WalPartition[]> {
  return (await admin<{ partitions: WalPartition[] }>(broker, "/admin/wal/status")).partitions;
}

/** Runs the indexer until archives cover every topic up to its end and its WAL is empty. */
export async function untilAllArchived(broker: BrokerProcess, timeoutMs = 60_000): Promise<void> {
  await until("everything is archived and released", timeoutMs, async () => {
    await admin(broker, "/admin/indexer/run", "POST");
    const { topics } = await admin<{ topics: TopicStatus[] }>(broker, "/admin/topics");
    const partitions = topics.filter(({ internal }) => !internal).flatMap((t) => t.partitions);
    if (partitions.some((p) => (p.archived?.end_offset ?? 0) !== p.high_watermark)) return false;
    const wal = await walPartitions(broker);
    return wal.every((p) => p.topic.startsWith("__") || p.segments.length === 0);
  });
}
