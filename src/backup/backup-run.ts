import { BrokerError } from "../lib/errors.ts";
import { ErrorCode, errorName } from "../protocol/error-code.ts";
import type { ObjectStore } from "../store/object-store.ts";
import {
  encodeFrame,
  encodeManifest,
  type JournalParts,
  type Manifest,
  manifestKey,
  type Part,
} from "./format.ts";
import { chainKey, cleanedState, LogChains, type LogPlan } from "./log-chains.ts";
import { writtenByAnother } from "./old-backups.ts";
import { deflate, getWhole, type PartOwner, PartWriter, type Pause } from "./parts.ts";
import type { BackupPartition, BackupSources, JournalSource } from "./ports.ts";

/** What the last complete backup of this process holds. */
export interface Backed {
  readonly registry: JournalParts;
  readonly metadata: JournalParts;
  readonly partitions: readonly Part[];
  /** Of the frames in `partitions`. */
  readonly partitionsSha256: string;
  readonly logs: LogChains;
  readonly manifest: Manifest;
}

export interface RunParts {
  readonly store: ObjectStore;
  readonly sources: BackupSources;
  readonly owner: PartOwner;
  readonly nodeId: number;
  readonly run: string;
  readonly createdMs: number;
  readonly pause: Pause;
  /** A log that cannot be read now; what earlier backups hold of it stays. */
  readonly skipped: (partition: BackupPartition, why: string) => void;
  readonly faultPoint: (name: string) => Promise<void>;
}

/** Increments of a journal beyond which it is taken whole. */
const journalPartsMax = 50;
const readBytesMax = 1 << 20;
/** Frames between two pauses. */
const framesPerTurn = 64;
const rereadsMax = 3;
const noData = new Uint8Array(0);
const noHead = {};

/**
 * One backup. The order makes any mix of moments safe (FORMAT.md): the registry first, metadata
 * last, transactions before the offsets they commit. Null: nothing changed since `before`.
 */
export async function makeBackup(parts: RunParts, before: Backed | null): Promise<Backed | null> {
  const { sources, store, owner } = parts;
  const registry = await journal(parts, sources.registry, "registry", before?.registry ?? null);
  const partitions = await partitionMarks(parts, before);
  const logs = await internalLogs(parts, before?.logs);
  const metadata = await journal(parts, sources.metadata, "metadata", before?.metadata ?? null);
  const isSame =
    before !== null &&
    before.registry === registry &&
    before.metadata === metadata &&
    before.partitionsSha256 === partitions.sha256 &&
    before.logs === logs;
  if (isSame) return null;
  const { clusterId, sequence } = owner;
  const manifest: Manifest = {
    ...{ clusterId, sequence },
    nodeId: parts.nodeId,
    run: parts.run,
    createdMs: parts.createdMs,
    registry,
    partitions: partitions.parts,
    logs: logs.parts,
    metadata,
  };
  await parts.faultPoint("backup-put");
  await putManifest(store, manifest);
  return {
    registry,
    metadata,
    partitions: partitions.parts,
    partitionsSha256: partitions.sha256,
    logs,
    manifest,
  };
}

/** Puts the manifest and reads it back. CHRONIK_BACKUP_CONFLICT: another broker was faster. */
async function putManifest(store: ObjectStore, manifest: Manifest): Promise<void> {
  const { clusterId, sequence } = manifest;
  const key = manifestKey(clusterId, sequence);
  const packed = await deflate(encodeManifest(manifest));
  await store.putBytes(key, packed);
  const head = await store.head(key);
  const found = head === null ? noData : await getWhole(store, key, head.bytes);
  if (Buffer.compare(found, packed) === 0) return;
  throw writtenByAnother(clusterId, sequence);
}

/** The journal's parts. What a snapshot takes away while it is copied is copied from that. */
async function journal(
  parts: RunParts,
  source: JournalSource,
  kind: string,
  before: JournalParts | null,
): Promise<JournalParts> {
  for (let attempt = 1; ; attempt++) {
    const { liveStart } = source;
    try {
      return await copyJournal(parts, source, kind, before);
    } catch (error) {
      if (source.liveStart === liveStart || attempt >= rereadsMax) throw error;
    }
  }
}

/** The entries since the last backup, or all of them where a snapshot replaced what lay between. */
async function copyJournal(
  { store, owner, pause }: RunParts,
  source: JournalSource,
  kind: string,
  before: JournalParts | null,
): Promise<JournalParts> {
  const end = source.durableEnd;
  if (before !== null && before.end === end) return before;
  const goesOn =
    before !== null && before.end >= source.liveStart && before.parts.length < journalPartsMax;
  const writer = new PartWriter(store, owner, kind, pause);
  let frames = 0;
  await source.copy(goesOn ? before.end : null, end, async (entry) => {
    await writer.add(noHead, entry);
    frames++;
    if (frames % framesPerTurn === 0) await pause();
  });
  const added = await writer.finish();
  return { end, parts: goesOn ? [...before.parts, ...added] : added };
}

/** Log start, high watermark and leader epochs of every partition. */
async function partitionMarks(
  { store, owner, pause, sources }: RunParts,
  before: Backed | null,
): Promise<{ parts: readonly Part[]; sha256: string }> {
  const hasher = new Bun.CryptoHasher("sha256");
  const writer = new PartWriter(store, owner, "partitions", pause);
  const heads: object[] = [];
  for (const partition of sources.partitions()) {
    const head = {
      topicId: partition.topicId,
      partition: partition.index,
      logStart: partition.logStartOffset,
      highWatermark: partition.highWatermark,
      epochs: partition.leaderEpochs(),
    };
    hasher.update(encodeFrame(head, noData));
    heads.push(head);
    if (heads.length % framesPerTurn === 0) await pause();
  }
  const sha256 = hasher.digest("hex");
  if (before !== null && sha256 === before.partitionsSha256) {
    return { parts: before.partitions, sha256 };
  }
  for (const [index, head] of heads.entries()) {
    await writer.add(head, noData);
    if (index % framesPerTurn === 0) await pause();
  }
  return { parts: await writer.finish(), sha256 };
}

/** What is new in the logs of internal topics; `before` itself when nothing is. */
async function internalLogs(parts: RunParts, before: LogChains | undefined): Promise<LogChains> {
  const internal = [...parts.sources.partitions()].filter((one) => one.internal && one.isOpen);
  internal.sort(transactionsFirst);
  const logs = new LogChains(before);
  logs.restartIfLong();
  logs.keepOnly(new Set(internal.map(chainKey)));
  const writer = new PartWriter(parts.store, parts.owner, "logs", parts.pause);
  const keys: string[] = [];
  for (const partition of internal) {
    if (partition.damage !== null) {
      parts.skipped(partition, "it is damaged");
      continue;
    }
    const read = await readLog(parts, logs, partition, writer);
    if (read !== null) keys.push(read);
  }
  const added = await writer.finish();
  logs.addParts(added, keys);
  const isSame =
    before !== undefined && keys.length === 0 && before.parts.length === logs.parts.length;
  return isSame ? before : logs;
}

/** The key of what was read; null: nothing was new. A compaction meanwhile makes it begin again. */
async function readLog(
  parts: RunParts,
  logs: LogChains,
  partition: BackupPartition,
  writer: PartWriter,
): Promise<string | null> {
  for (let attempt = 0; attempt < rereadsMax; attempt++) {
    const plan = logs.plan(partition);
    if (plan === null) return null;
    const cleaned = cleanedState(partition.segments(), plan.from);
    const bytes = await copyLog(parts, partition, plan, writer);
    // What was copied is superseded by the next attempt's reset.
    logs.add(partition, plan, bytes);
    if (cleanedState(partition.segments(), plan.from) === cleaned) return chainKey(partition);
    logs.taint(partition);
  }
  const name = `${partition.topic}-${partition.index}`;
  throw new BrokerError("CHRONIK_BACKUP", `${name} is compacted faster than it can be read`);
}

/** Bytes of the batches. */
async function copyLog(
  parts: RunParts,
  partition: BackupPartition,
  { from, to, reset }: LogPlan,
  writer: PartWriter,
): Promise<number> {
  const { topicId, index } = partition;
  let bytes = 0;
  let isFirst = true;
  for (let at = from; isFirst || at < to; isFirst = false) {
    const read =
      at < to
        ? await partition.read({ offset: at, bytesMax: readBytesMax, offsetLimit: to })
        : { errorCode: 0, chunks: [], nextOffset: to };
    const isStuck = read.nextOffset <= at && at < to;
    if (read.errorCode !== ErrorCode.NONE || isStuck) {
      const name = `${partition.topic}-${index} cannot be read at offset ${at}`;
      throw new BrokerError("CHRONIK_BACKUP", `${name}: ${errorName(read.errorCode)}`);
    }
    const data = Buffer.concat(read.chunks);
    const head = { topicId, partition: index, from: at, to: read.nextOffset };
    await writer.add({ ...head, reset: reset && isFirst }, data);
    await parts.pause();
    bytes += data.length;
    at = read.nextOffset;
  }
  return bytes;
}

/** A marker that is in the backed up offsets was decided in the backed up transactions before. */
function transactionsFirst(left: BackupPartition, right: BackupPartition): number {
  const rank = ({ topic }: BackupPartition) => (topic === "__transaction_state" ? 0 : 1);
  return rank(left) - rank(right);
}
