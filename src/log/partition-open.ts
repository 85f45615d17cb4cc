import { BrokerError } from "../lib/errors.ts";
import { isControl, isTransactional } from "../protocol/record-batch.ts";
import { uuidToBytes } from "../protocol/uuid.ts";
import { AbortedLog } from "./aborted-log.ts";
import { runIdOf } from "./aborted-run.ts";
import type { ScannedLog } from "./aborted-scan.ts";
import { type Checkpoint, decodeCheckpoint } from "./checkpoint.ts";
import type { PartitionLogConfig } from "./config.ts";
import { LeaderEpochs } from "./leader-epochs.ts";
import { Partition } from "./partition.ts";
import type { PartitionParts } from "./partition-parts.ts";
import { checkpointFile } from "./partition-store.ts";
import type { Damage, OpenedLog, RecoveredBatch } from "./ports.ts";
import { ProducerState } from "./producer-state.ts";
import { SegmentList } from "./segment-list.ts";
import type { TailCache } from "./tail-cache.ts";

export interface OpenPartitionOptions {
  readonly topic: { readonly name: string; readonly id: string; readonly internal: boolean };
  readonly index: number;
  readonly leaderEpoch: number;
  readonly config: PartitionLogConfig;
  /** `{wal}/{topic}/{index}`; the topic's folder exists and is this topic id's. */
  readonly dir: string;
}

interface LoadedCheckpoint {
  readonly checkpoint: Checkpoint | null;
  readonly damage: Damage | null;
}

/**
 * Recovery (design D2a): the checkpoint, then the WAL frames past it. What contradicts the
 * checkpoint or the archive registry — an end below theirs, a hole between — is damage: the
 * partition opens, answers KAFKA_STORAGE_ERROR and says why. Rejects only when its files cannot be
 * read at all, or were written by a newer chronik.
 */
export async function openPartition(
  options: OpenPartitionOptions,
  parts: PartitionParts,
  tails: TailCache,
): Promise<Partition> {
  const { topic, index, dir, config, leaderEpoch } = options;
  const { checkpoint, damage: unread } = await loadCheckpoint(options, parts);
  const fromOffset = checkpoint?.logEnd ?? 0;
  const opened = await parts.wal.openLog({
    dir,
    prefix: `wal_${index}`,
    logId: Buffer.from(uuidToBytes(topic.id)).toString("hex"),
    partition: index,
    fromOffset,
    segmentIdNext: checkpoint?.segmentIdNext ?? 0,
    segmentBytesMax: config.segmentBytesMax,
  });
  const archived = parts.cold.archivedRange(topic.id, index);
  const holdsFrames = opened.segments.length > 0;
  const logEnd = holdsFrames ? opened.end : Math.max(fromOffset, opened.end);
  const logStart = checkpoint?.logStart ?? archived?.start ?? 0;
  const epochs = new LeaderEpochs([...(checkpoint?.epochs ?? []), ...opened.epochs]);
  epochs.assign(leaderEpoch, logEnd);
  const nowMs = parts.clock.monotonicMs();
  const { space } = parts;
  const segments = topic.internal
    ? new SegmentList(opened.segments, nowMs)
    : new SegmentList(opened.segments, nowMs, (change) => space.added(change));
  const scanned = { wal: parts.wal, log: opened.log, start: () => segments.start };
  const damage =
    unread ?? opened.damage ?? findDamage(dir, opened, logStart, logEnd, fromOffset, archived);
  const opening = openAborted(options, parts, checkpoint, scanned, damage === null);
  const aborted = await opening.catch(async (error: unknown) => {
    segments.forget();
    await parts.wal.closeLog(opened.log);
    throw error;
  });
  return new Partition(
    {
      topic: topic.name,
      topicId: topic.id,
      index,
      internal: topic.internal,
      dir,
      log: opened.log,
      leaderEpoch,
      config,
      logStart,
      logEnd,
      stored: {
        logStart: checkpoint?.logStart ?? 0,
        logEnd: checkpoint?.logEnd ?? 0,
        archivedTo: checkpoint?.archivedTo ?? 0,
        segmentIdNext: checkpoint?.segmentIdNext ?? 0,
      },
      epochs,
      producers: recoverProducers(checkpoint, opened, parts, aborted, logEnd),
      aborted,
      segments,
      tail: tails.openTail(),
      damage,
    },
    parts,
  );
}

async function loadCheckpoint(
  options: OpenPartitionOptions,
  parts: PartitionParts,
): Promise<LoadedCheckpoint> {
  const file = `${options.dir}/${checkpointFile}`;
  try {
    const checkpoint = decodeCheckpoint(await parts.files.readFile(file), file);
    if (checkpoint.topicId === options.topic.id && checkpoint.partition === options.index) {
      return { checkpoint, damage: null };
    }
    const { topicId, partition } = checkpoint;
    const reason = `the checkpoint is of partition ${partition} of topic id ${topicId}`;
    return { checkpoint: null, damage: { file, position: 0, reason } };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    if (error.code === "CHRONIK_NOT_FOUND") return { checkpoint: null, damage: null };
    if (error.code !== "CHRONIK_CORRUPT") throw error;
    return { checkpoint: null, damage: { file, position: 0, reason: error.message } };
  }
}

/** What the WAL lacks of what checkpoint and registry say was acknowledged. */
function findDamage(
  dir: string,
  opened: OpenedLog,
  logStart: number,
  logEnd: number,
  checkpointEnd: number,
  archived: { start: number; end: number } | null,
): Damage | null {
  const damage = (reason: string): Damage => ({ file: dir, position: 0, reason });
  if (logEnd < checkpointEnd) {
    return damage(`the log ends at offset ${logEnd} and its checkpoint at ${checkpointEnd}`);
  }
  if (archived !== null && logEnd < archived.end) {
    return damage(`the log ends at offset ${logEnd} and its archives at ${archived.end}`);
  }
  const walStart = opened.segments[0]?.base ?? logEnd;
  const covered = Math.max(logStart, archived?.end ?? 0);
  if (walStart > covered) {
    return damage(`offsets ${covered} to ${walStart - 1} are neither in the WAL nor archived`);
  }
  return null;
}

/** What the checkpoint names. A file that it does not name is left of a run that ended before its
 * next checkpoint, or before the file was removed: this checkpoint and the log tell the same. In
 * the folder of a damaged partition nothing is written or removed. */
async function openAborted(
  { topic, index, dir, config }: OpenPartitionOptions,
  parts: PartitionParts,
  checkpoint: Checkpoint | null,
  log: ScannedLog,
  isSound: boolean,
): Promise<AbortedLog> {
  const { files, clock, limits, events } = parts;
  const runs = checkpoint?.abortedRuns ?? [];
  const named = new Set(runs.map(({ id }) => id));
  let nextId = 0;
  for (const { name } of await files.listDir(dir)) {
    const id = runIdOf(name);
    if (id === null) continue;
    nextId = Math.max(nextId, id + 1);
    if (isSound && checkpoint !== null && !named.has(id)) await files.removeFile(`${dir}/${name}`);
  }
  for (const id of named) nextId = Math.max(nextId, id + 1);
  const isCleaned = topic.internal && config.compact;
  return new AbortedLog(
    {
      dir,
      owner: { topicId: uuidToBytes(topic.id), partition: index },
      files,
      clock,
      log,
      budget: parts.abortedBudget,
      memoryMax: limits.abortedMax,
      spillMin: isSound && !isCleaned ? limits.abortedSpillMin : null,
      rebuilt: (file, error) => events.abortsRebuilt(file, error),
      notRebuilt: (file, error) => events.abortsNotRebuilt(file, error),
    },
    checkpoint?.aborted ?? [],
    runs,
    nextId,
  );
}

/** The checkpoint's state, then what the frames behind it did to it. */
function recoverProducers(
  checkpoint: Checkpoint | null,
  opened: OpenedLog,
  parts: PartitionParts,
  aborted: AbortedLog,
  logEnd: number,
): ProducerState {
  const { producerIdExpirationMs, producersMax, transactionsMax } = parts.limits;
  const nowMs = parts.clock.monotonicMs();
  const producers = new ProducerState({
    expirationMs: producerIdExpirationMs,
    producersMax,
    transactionsMax,
    hasRoom: () => aborted.hasRoom,
  });
  const positionOf = positionsBefore(opened, logEnd);
  producers.restore(checkpoint?.producers ?? [], positionOf, nowMs);
  for (const batch of opened.producers) {
    replay(producers, batch, positionOf(batch.baseOffset), logEnd, nowMs);
  }
  aborted.add(producers.settle(logEnd));
  return producers;
}

/**
 * Bytes of the log in front of an offset, counted from the opening: below 0, by the average of what
 * is there. Readers who wait hear from it that something became stable, and about how much.
 */
function positionsBefore({ segments }: OpenedLog, logEnd: number): (offset: number) => number {
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const offsets = logEnd - (segments[0]?.base ?? logEnd);
  const bytesPerOffset = Math.max(1, Math.ceil(bytes / Math.max(1, offsets)));
  return (offset) => (offset - logEnd) * bytesPerOffset;
}

function replay(
  producers: ProducerState,
  batch: RecoveredBatch,
  position: number,
  logEnd: number,
  nowMs: number,
): void {
  const { producerId, producerEpoch, baseSequence, lastSequence, marker } = batch;
  const { baseOffset: firstOffset, lastOffset, maxTimestamp: timestamp } = batch;
  const placed = { firstOffset, lastOffset, timestamp };
  const transactionVersion = 0;
  if (marker !== null) {
    const ends = { producerId, producerEpoch, transactionVersion, ...marker };
    producers.appendMarker(ends, placed, logEnd, nowMs);
    return;
  }
  if (isControl(batch.attributes)) return;
  const data = { producerId, producerEpoch, baseSequence, lastSequence, transactionVersion };
  const isInTransaction = isTransactional(batch.attributes);
  producers.append({ ...data, isTransactional: isInTransaction }, placed, position, logEnd, nowMs);
}
